"""
brain.h5: every participant's similarity vectors, and voxel patterns where they are known.

The HDF5 file: dataset `stimuli` (n names, in order); for each region, in hierarchical order, dataset `regions/<region>`
(n_participants, n_pairs) of Pearson similarities (lower triangle, see `rsa.similarity`), with the attributes
`participants` (their names) and `group` (true where only a group average is published: no noise ceiling); where voxels
are known, dataset `patterns/<region>/<participant>` (n_runs, n_stimuli, n_voxels), the responses whose mean over runs
they were computed from. Where the set has a division for `encoding` of its own, dataset `folds` (n names, see `folds`).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from ..files import open_hdf5, write_hdf5
from ..rsa.tiles import LARGE, Tiled

BEHAVIOUR = "Behaviour"
"""Name of a region that is none of the brain: people's judgments of the stimuli's similarity. Its tests are a family of their
own, and the paper's claims about brain regions leave it out."""


@dataclass
class Region:
    """The similarity vectors of one brain region."""

    name: str
    rsvs: np.ndarray | Tiled | list[np.ndarray]
    """(n_participants, n_pairs) float64, Pearson similarities; or a list of each participant's."""
    participants: list[str]
    group: bool
    """One group average instead of participants."""
    patterns: list[np.ndarray] | None = None
    """Each participant's (n_runs, n_stimuli, n_voxels) responses, of the voxels that the similarities were computed from; None
    where only similarities are published."""


def write_brain(
    path: str | Path, stimuli: list[str], regions: Iterable[Region], *, folds: list[str] | None = None
) -> None:
    """Write the regions' similarity vectors (layout: see the module).

    Args:
        regions: in hierarchical order; each is written before the next is asked for.
        folds: name of the fold of each stimulus, in their order; None: the set has no division of its own.

    Raises:
        ValueError: a name stands twice; a vector has the wrong number of pairs, or a value that is no finite real number in
            [-1, 1]; the message names region and participant.
    """
    if len(set(stimuli)) < len(stimuli) or len(stimuli) < 3:
        raise ValueError(
            f"{path}: needs three or more stimuli, each once; found {len(stimuli)}, {len(set(stimuli))} names"
        )
    names: list[str] = []
    with write_hdf5(path) as file:
        file["stimuli"] = stimuli
        if folds is not None:
            file["folds"] = folds
        for region in regions:
            names.append(region.name)
            if len(set(names)) < len(names):
                raise ValueError(f"{path}: needs one or more regions, each once; found {', '.join(names)}")
            _check_region(region, len(stimuli))
            _write_region(region, file)
            del region  # before the next one is read
        if not names:
            raise ValueError(f"{path}: needs one or more regions, each once; found none")
        file.attrs["regions"] = names


def _write_region(region: Region, file: h5py.File) -> None:
    shape = len(region.rsvs), *region.rsvs[0].shape
    dataset = file.create_dataset(f"regions/{region.name}", shape, region.rsvs[0].dtype, track_order=True)
    for row, rsv in enumerate(region.rsvs):
        dataset[row] = rsv
    dataset.attrs["participants"] = region.participants
    dataset.attrs["group"] = region.group
    if region.patterns is not None:
        for participant, patterns in zip(region.participants, region.patterns, strict=True):
            file[f"patterns/{region.name}/{participant}"] = patterns


def _check_region(region: Region, n: int) -> None:
    n_pairs, n_names = n * (n - 1) // 2, len(set(region.participants))
    if not 0 < n_names == len(region.participants) == len(region.rsvs):
        raise ValueError(
            f"region {region.name}: needs one row of similarities a participant; found an array of shape "
            f"{np.shape(region.rsvs)} for {', '.join(region.participants) or 'nobody'}"
        )
    if region.group and n_names > 1:
        raise ValueError(f"region {region.name}: is one group average, and has {n_names} rows")
    for participant, rsv in zip(region.participants, region.rsvs, strict=True):
        who = f"region {region.name}, participant {participant}"
        if rsv.dtype.kind not in "fiu":
            raise ValueError(f"{who}: found numbers of type {rsv.dtype}, needs real ones")
        if rsv.shape != (n_pairs,) or not np.isfinite(rsv).all():
            raise ValueError(
                f"{who}: needs {n_pairs} finite similarities for {n} stimuli, found {np.isfinite(rsv).sum()} of {rsv.size}"
            )
        if np.abs(rsv).max() > 1 + 1e-6:
            raise ValueError(
                f"{who}: needs correlations, from -1 to 1, found {rsv.min():.3g} to {rsv.max():.3g}; of distances 1 - r give r"
            )
        if np.ptp(rsv) == 0:
            raise ValueError(f"{who}: all pairs of stimuli are equally similar, so that nothing correlates with them")


def read_brain(path: str | Path, *, tiled: bool = False) -> tuple[list[str], list[Region]]:
    """Read (names of the stimuli, regions in hierarchical order) from a file written by `write_brain`.

    Args:
        path: the file.
        tiled: similarity vectors of more than LARGE bytes stay in the file, and are read in tiles.

    Raises:
        ValueError: it is no such file.
    """
    try:
        with open_hdf5(path) as file:
            stimuli = list(file["stimuli"].asstr())
            regions = []
            for name in file.attrs["regions"]:
                dataset = file[f"regions/{name}"]
                participants, group = list(dataset.attrs["participants"]), bool(dataset.attrs["group"])
                keep = tiled and dataset.size * dataset.dtype.itemsize > LARGE
                rsvs = _leave_in_file(path, dataset) if keep else dataset[:]
                regions.append(Region(name, rsvs, participants, group))
    except (FileNotFoundError, PermissionError):
        raise
    except (OSError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise ValueError(f"{path}: is no whole file of brain data ({error})") from None
    return stimuli, regions


def read_folds(path: str | Path) -> list[str] | None:
    """Read the name of each stimulus's fold from a file written by `write_brain`; None where the set has no division."""
    with open_hdf5(path) as file:
        return list(file["folds"].asstr()) if "folds" in file else None


def _leave_in_file(path: str | Path, dataset: h5py.Dataset) -> Tiled:
    name = dataset.name

    def read(pairs: slice) -> np.ndarray:
        with open_hdf5(path) as file:
            return file[name][:, pairs]

    return Tiled(dataset.shape, read)


def read_patterns(path: str | Path, region: str) -> dict[str, np.ndarray]:
    """Read the voxel patterns of a region from a file written by `write_brain`.

    Returns:
        Participant -> (n_runs, n_stimuli, n_voxels), one run where the measurement is not repeated; empty where only
        similarities are known.
    """
    with open_hdf5(path) as file:
        group = file.get(f"patterns/{region}", {})
        return {participant: group[participant][:] for participant in group}
