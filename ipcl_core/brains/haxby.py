"""
Haxby et al. 2001 -> a folder of stimuli, and brain.h5 (`store`).

Read from the folder that nilearn.datasets.fetch_haxby fills (with fetch_stimuli=True), of each participant:

    subj<n>/bold.nii.gz, <mask>.nii.gz     volumes every 2.5 s, of all runs; masks as mask4_vt
    subj<n>/labels.txt                     a header, then category and run of each volume
    stimuli/<category>s/                   the pictures of each category

Layout: nilearn's documentation of fetch_haxby; PyMVPA's page of the set.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..config.brain_sets import Haxby2001
from .repeated import make_regions, read_image, read_masks
from .stimuli import copy_stimuli
from .store import write_brain

FOLDERS = {
    "bottle": "bottles",
    "cat": "cats",
    "chair": "chairs",
    "face": "faces",
    "house": "houses",
    "scissors": "scissors",
    "shoe": "shoes",
}
"""Category -> folder of its pictures. Of the scrambled pictures nobody says which were shown."""
T_R = 2.5
"""Seconds between volumes."""


def import_haxby_2001(block: Haxby2001, stimuli_folder: str | Path, brain: str | Path) -> None:
    """Import the seven categories; each run with all of them gives one pattern a category.

    Patterns are the weights of a general linear model of each run: blocks convolved with SPM's haemodynamic response, cosines
    up to 1/128 Hz and a constant beside them, least squares.

    Args:
        block: of the configuration.
        stimuli_folder: receives a folder of PNGs for each category.
        brain: HDF5 file to write.

    Raises:
        ValueError: a file is missing or does not fit the others, no run has all categories, or too few voxels.

    Source: Haxby et al. 2001, Science 293, 2425-2430.
    """
    folder = Path(block.folder)
    patterns: dict[str, dict] = {region: {} for region in block.regions}
    for one in block.participants:
        bold, affine = read_image(folder / one / "bold.nii.gz")
        masks = {
            region: [folder / one / f"{name.removesuffix('.gz').removesuffix('.nii')}.nii.gz"]
            for region, name in block.regions.items()
        }
        inside, inner = read_masks(masks, bold.shape[:3], f"{one}/bold.nii.gz", affine)
        series = bold.reshape(-1, bold.shape[3])[inside].T.astype(np.float64)  # (n_volumes, n_voxels)
        runs = fit_runs(series, folder / one / "labels.txt")
        for region, mask in inner.items():
            patterns[region][one] = runs[:, :, mask]
    regions = make_regions(patterns, list(FOLDERS), block.min_voxels, folder)
    names = copy_stimuli(((name, [place]) for name, place in FOLDERS.items()), folder / "stimuli", Path(stimuli_folder))
    write_brain(brain, names, regions)


def fit_runs(series: NDArray, labels: Path) -> NDArray:
    """Return the weights of the categories in each run that has all of them, (n_runs, 7, n_voxels).

    Args:
        series: (n_volumes, n_voxels).
        labels: file of category and run of each volume.
    """
    from nilearn.glm.first_level import make_first_level_design_matrix

    try:
        table = pd.read_csv(labels, sep=r"\s+")
        kinds, chunks = table["labels"].to_numpy(), table["chunks"].to_numpy()
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(f"{labels}: needs the columns labels and chunks: {error}") from None
    if len(table) != len(series):
        raise ValueError(f"{labels}: names {len(table)} volumes; bold.nii.gz has {len(series)}")
    fitted = []
    for run in pd.unique(chunks):
        here = chunks == run
        names = kinds[here]
        if not set(FOLDERS) <= set(names):
            continue
        starts = np.flatnonzero(np.r_[True, names[1:] != names[:-1]])
        lengths = np.diff(np.r_[starts, len(names)])
        events = pd.DataFrame({"onset": starts * T_R, "duration": lengths * T_R, "trial_type": names[starts]})
        events = events[events["trial_type"] != "rest"]
        design = make_first_level_design_matrix(
            np.arange(len(names)) * T_R, events, hrf_model="spm", drift_model="cosine", high_pass=1 / 128
        )
        weights = np.linalg.lstsq(design.to_numpy(), series[here], rcond=None)[0]
        fitted.append(weights[[design.columns.get_loc(name) for name in FOLDERS]])
    if not fitted:
        raise ValueError(f"{labels}: no run has all of {', '.join(FOLDERS)}")
    return np.stack(fitted)
