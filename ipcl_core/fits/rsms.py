"""
Activations -> the RSM of every layer.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from ..files import open_hdf5, pair_files, write_hdf5
from ..rsa.similarity import compute_rsm, measure_distances


def make_rsms(
    activations: str | Path, rsms: str | Path, *, brain: str, model: str, distances: Sequence[str] = ()
) -> None:
    """Write the RSM of every layer, reading one layer at a time.

    Args:
        activations: HDF5 file of `extract_activations`.
        rsms: HDF5 file to write: `stimuli` (n names), `layers/<layer>` (n, n) float64 with the attribute `n_units`;
            attributes `brain`, `model`, `layers` (their order) and `network`; where distances name other than correlation,
            also `euclidean/<layer>` (n, n) of `similarity.measure_distances`.
        brain, model: names of the brain data set and of the model.
        distances: see `config.Statistics`.
    """
    with open_hdf5(activations) as source, write_hdf5(rsms) as file:
        file.attrs["brain"], file.attrs["model"] = brain, model
        file["stimuli"] = source["stimuli"][:]
        for layer in source.attrs["layers"]:
            patterns = source[f"layers/{layer}"][:]
            dataset = file.create_dataset(f"layers/{layer}", data=compute_rsm(patterns))
            dataset.attrs["n_units"] = int(np.prod(patterns.shape[1:]))
            if set(distances) - {"correlation"}:
                file[f"euclidean/{layer}"] = measure_distances(patterns)
        for name in ("layers", "network"):
            file.attrs[name] = source.attrs[name]


def read_names(rsms: str | Path) -> tuple[str, str]:
    """Return the names of the brain data set and of the model that RSMs are of.

    Raises:
        ValueError: the file does not say.
    """
    with open_hdf5(rsms) as file:
        if "model" not in file.attrs:
            raise ValueError(f"{rsms}: does not say which brain and model it is of; make it again")
        return str(file.attrs["brain"]), str(file.attrs["model"])


def name_rows(table: pd.DataFrame, rsms: str | Path) -> pd.DataFrame:
    """Return a table made from RSMs with the columns brain and model, which say what these are of, as its first."""
    named = table.copy()
    for position, (column, name) in enumerate(zip(("brain", "model"), read_names(rsms), strict=True)):
        named.insert(position, column, name)
    return named


def pair_rsms(rsms: Iterable[str | Path], wanted: Iterable[tuple[str, str]]) -> dict[tuple[str, str], str | Path]:
    """Return (brain, model) -> file of `make_rsms`, by what the files say; arguments and errors of `files.pair_files`."""
    return pair_files(((path, read_names(path)) for path in rsms), wanted)
