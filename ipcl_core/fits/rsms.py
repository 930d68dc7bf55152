"""
Activations -> the RSM of every layer.
"""

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..config import Averaged
from ..files import open_hdf5, pair_files, write_hdf5
from ..rsa.dimensionality import measure_dimensionality
from ..rsa.similarity import compute_rsm, measure_distances, vectorize_rsm
from ..rsa.tiles import LARGE, RSVs, Tiled, locate_pairs


def make_rsms(
    activations: str | Path, rsms: str | Path, *, brain: str, model: str, distances: Sequence[str] = (),
    averaged: Averaged = "activations",
) -> None:  # fmt: skip
    """Write the RSM of every layer, reading one layer at a time, and of one that is larger than LARGE a block of units.

    Of stimuli with several pictures, activations are averaged before the RSM is computed; or, by `averaged`, an entry is the
    mean similarity (or distance) of all pairs of a picture of the one stimulus and a picture of the other.

    Args:
        activations: HDF5 file of `extract_activations`.
        rsms: HDF5 file to write: `stimuli` (n names), `layers/<layer>` (n, n) float64 with the attributes `n_units`,
            `participation_ratio` and `power_law_exponent` (see `dimensionality`); attributes `brain`, `model`, `layers` (their
            order) and `network`; where distances name other than correlation, also `euclidean/<layer>` (n, n) of
            `similarity.measure_distances`.
        brain, model: names of the brain data set and of the model.
        distances: see `config.Statistics`.
        averaged: see `config.OwnBrain`.
    """
    with open_hdf5(activations) as source, write_hdf5(rsms) as file:
        file.attrs["brain"], file.attrs["model"] = brain, model
        rows = list_conditions(source)
        file["stimuli"] = list(rows)
        for layer in source.attrs["layers"]:
            patterns = _read_layer(source[f"layers/{layer}"])
            means = _Means(patterns, rows) if len(rows) < len(patterns) else patterns
            if averaged == "activations":
                patterns = means
            dataset = file.create_dataset(f"layers/{layer}", data=average_pairs(compute_rsm(patterns), rows, 1))
            dataset.attrs["n_units"] = int(np.prod(patterns.shape[1:]))
            dataset.attrs.update(measure_dimensionality(means)._asdict())
            if set(distances) - {"correlation"}:
                file[f"euclidean/{layer}"] = average_pairs(measure_distances(patterns), rows, 0)
        for name in ("layers", "network"):
            file.attrs[name] = source.attrs[name]


def _read_layer(dataset: h5py.Dataset) -> NDArray | h5py.Dataset:
    return dataset if dataset.size * dataset.dtype.itemsize > LARGE else dataset[:]


class _Means:
    """Activations of which the pictures of each stimulus are averaged as blocks of units are read, `[:, units]`."""

    def __init__(self, patterns: NDArray | h5py.Dataset, rows: dict[str, list[int]]) -> None:
        self.patterns, self.rows, self.dtype = patterns, rows, patterns.dtype
        self.shape = (len(rows), *patterns.shape[1:])

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, key: tuple[slice, slice]) -> NDArray:
        return average_pictures(self.patterns[key], self.rows)


def list_conditions(activations: h5py.File) -> dict[str, list[int]]:
    """Return the stimuli of a file of `extract_activations`, in order -> the rows of their pictures."""
    rows: dict[str, list[int]] = {}
    for row, picture in enumerate(activations["stimuli"].asstr()):
        rows.setdefault(picture.split("/")[0], []).append(row)
    return rows


def average_pictures(values: NDArray, rows: dict[str, list[int]]) -> NDArray:
    """Return the means over each stimulus's pictures: (n_pictures, ...) -> (n_stimuli, ...), of the same type.

    Args:
        rows: of `list_conditions`. Where each stimulus has one picture, the values are returned as they are.
    """
    if len(rows) == len(values):
        return values
    return np.stack([values[each].mean(0, dtype=np.float64) for each in rows.values()]).astype(values.dtype)


def average_pairs(matrix: NDArray, rows: dict[str, list[int]], diagonal: float) -> NDArray:
    """Return the means over all pairs of two stimuli's pictures, (n_pictures, n_pictures) -> (n_stimuli, n_stimuli).

    The diagonal is that of one stimulus with itself, NaN where it is in the matrix. A matrix of stimuli stays as it is.
    """
    if len(rows) == len(matrix):
        return matrix
    means = average_pictures(average_pictures(matrix, rows).T, rows)
    np.fill_diagonal(means, np.where(np.isnan(np.diag(means)), np.nan, diagonal))
    return means


def read_rsvs(path: str | Path, distance: str = "correlation", *, tiled: bool = False) -> tuple[list[str], RSVs]:
    """Return the names of the layers and their RSVs, (n_layers, n_pairs); of other distances 1 - d, d up to 1.

    Layers are without noise: beside crossnobis distances of voxels stand their euclidean ones.

    Args:
        path: HDF5 file of `make_rsms`.
        distance: see `config.Statistics`.
        tiled: RSVs of correlations that are larger than LARGE stay in the file, and are read in tiles.
    """
    with open_hdf5(path) as file:
        names = list(file.attrs["layers"])
        if distance == "correlation":
            n = len(file["stimuli"])
            shape = len(names), n * (n - 1) // 2
            if tiled and 8 * math.prod(shape) > LARGE:
                return names, Tiled(shape, lambda pairs: _read_pairs(path, names, pairs))
            return names, np.stack([vectorize_rsm(file[f"layers/{name}"][:]) for name in names])
        if "euclidean" not in file:
            raise ValueError(
                f"{path} holds no {distance} distances; make it again with statistics.distances as it is now"
            )
        return names, np.stack([scale_distances(vectorize_rsm(file[f"euclidean/{name}"][:])) for name in names])


def _read_pairs(path: str | Path, layers: list[str], pairs: slice) -> NDArray:
    """Return some pairs of each layer's RSM, (n_layers, n_pairs of the slice), reading only their rows."""
    rows, _ = locate_pairs(slice(pairs.start, pairs.stop, max(1, pairs.stop - 1 - pairs.start)))
    first, last = rows[0], rows[-1]
    found = np.empty((len(layers), pairs.stop - pairs.start))
    start = pairs.start - first * (first - 1) // 2
    with open_hdf5(path) as file:
        for one, layer in zip(found, layers, strict=True):
            block = file[f"layers/{layer}"][first : last + 1, :last]
            triangle = np.concatenate([row[: first + i] for i, row in enumerate(block)])
            one[:] = triangle[start : start + len(one)]
    return found


def scale_distances(distances: NDArray) -> NDArray:
    """Return 1 - d / the largest d: comparators do not depend on the scale, rounding does. NaN where all are 0."""
    largest = distances.max()
    return 1 - distances / (largest if largest > 0 else np.nan)


def read_names(path: str | Path) -> tuple[str, str]:
    """Return the names of the brain data set and of the model that activations, RSMs or predictions of voxels are of.

    Raises:
        ValueError: the file does not say.
    """
    with open_hdf5(path) as file:
        if "model" not in file.attrs:
            raise ValueError(f"{path}: does not say which brain and model it is of; make it again")
        return str(file.attrs["brain"]), str(file.attrs["model"])


def name_rows(table: pd.DataFrame, rsms: str | Path) -> pd.DataFrame:
    """Return a table made from RSMs with the columns brain and model, which say what these are of, as its first."""
    named = table.copy()
    for position, (column, name) in enumerate(zip(("brain", "model"), read_names(rsms), strict=True)):
        named.insert(position, column, name)
    return named


def pair_named(paths: Iterable[str | Path], wanted: Iterable[tuple[str, str]]) -> dict[tuple[str, str], str | Path]:
    """Return (brain, model) -> HDF5 file, by what `read_names` finds; arguments and errors of `files.pair_files`."""
    return pair_files(((path, read_names(path)) for path in paths), wanted)
