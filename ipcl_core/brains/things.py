"""
THINGS-fMRI (Hebart et al. 2023), single-trial responses in table format -> a folder of stimuli, and brain.h5 (`store`).

Read from the folder betas_csv, of each participant:

    sub-<nn>_ResponseData.h5        pandas' fixed format, ResponseData/block0_values: (voxels, trials)
    sub-<nn>_StimulusMetadata.csv   a row a trial: trial_type, session, stimulus (dog_12s.jpg), concept (dog)
    sub-<nn>_VoxelMetadata.csv      a row a voxel: nc_testset (%), and a column of 0 and 1 for each region

Layout: the set's notebooks fmri_usage and working_with_rois (ViCCo-Group/THINGS-data), and public loaders for the HDF5 file,
which pandas itself reads by PyTables alone.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..config.brain_sets import ThingsFMRI
from ..files import open_hdf5
from .repeated import choose_images, make_regions, standardize
from .stimuli import copy_stimuli
from .store import write_brain

ROWS = 1000
"""Voxels that are read at a time: 80 MB."""


def import_things_fmri(block: ThingsFMRI, stimuli_folder: str | Path, brain: str | Path) -> None:
    """Import the images that were shown often enough: by default the test set, its twelve repetitions as runs.

    Responses are z-scored in each voxel within each session, over all its trials.

    Args:
        block: of the configuration.
        stimuli_folder: receives a PNG of each image.
        brain: HDF5 file to write.

    Raises:
        ValueError: a file is missing, has another layout or does not fit the others; too few images or voxels.

    Source: Hebart et al. 2023, eLife 12, e82580.
    """
    folder = Path(block.folder)
    trials = {
        one: _read_table(folder / f"sub-{one}_StimulusMetadata.csv", ["session", "stimulus", "concept"])
        for one in block.participants
    }
    shown = {one: list(table["stimulus"]) for one, table in trials.items()}
    images, chosen = choose_images(shown, block.repetitions, folder)
    patterns: dict[str, dict] = {region: {} for region in block.regions}
    for one, table in trials.items():
        masks = _read_masks(folder / f"sub-{one}_VoxelMetadata.csv", block)
        inside = np.flatnonzero(np.any(list(masks.values()), axis=0))
        path, n_voxels = folder / f"sub-{one}_ResponseData.h5", len(next(iter(masks.values())))
        values = _read_responses(path, (n_voxels, len(table)), inside)
        for session in table["session"].unique():
            here = (table["session"] == session).to_numpy()
            values[here] = standardize(values[here])
        for region, mask in masks.items():
            patterns[region][one] = values[chosen[one]][:, :, mask[inside]]
    regions = make_regions(patterns, images, block.min_voxels, folder)
    concepts = pd.concat(trials.values()).drop_duplicates("stimulus").set_index("stimulus")["concept"]
    pictures = Path(block.stimuli)
    pairs = [(name, [f"{concepts[name]}/{name}" if (pictures / concepts[name]).is_dir() else name]) for name in images]
    names = copy_stimuli(pairs, pictures, Path(stimuli_folder), block.background)
    write_brain(brain, names, regions)


def _read_table(path: Path, columns: list[str]) -> pd.DataFrame:
    try:
        table = pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: cannot be read: {error}") from None
    if lacking := [name for name in columns if name not in table]:
        some = ", ".join(list(table)[:60])
        raise ValueError(f"{path}: has no column {lacking[0]}, but {some}")
    return table


def _read_masks(path: Path, block: ThingsFMRI) -> dict[str, NDArray]:
    """Return region -> (n_voxels,) bool."""
    wanted = [name for columns in block.regions.values() for name in columns]
    table = _read_table(path, wanted if block.min_nc is None else [*wanted, "nc_testset"])
    reliable = np.ones(len(table), bool) if block.min_nc is None else (table["nc_testset"] >= block.min_nc).to_numpy()
    return {name: (table[columns] > 0).any(axis=1).to_numpy() & reliable for name, columns in block.regions.items()}


def _read_responses(path: Path, shape: tuple[int, int], voxels: NDArray) -> NDArray:
    """Return the (n_trials, n_voxels) responses of some voxels."""
    with open_hdf5(path) as file:
        if "ResponseData/block0_values" not in file:
            raise ValueError(f"{path}: has no ResponseData/block0_values, but {', '.join(file) or 'nothing'}")
        dataset = file["ResponseData/block0_values"]
        if dataset.shape != shape:
            raise ValueError(
                f"{path}: responses of shape {dataset.shape}; the tables beside it have {shape[0]} voxels, {shape[1]} trials"
            )
        values = np.empty((len(voxels), shape[1]))
        for start in np.unique(voxels // ROWS) * ROWS:
            here = (voxels >= start) & (voxels < start + ROWS)
            values[here] = dataset[start : start + ROWS][voxels[here] - start]
    return values.T
