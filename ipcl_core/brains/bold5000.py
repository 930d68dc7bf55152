"""
BOLD5000 (Chang et al. 2019), release 2.0 -> a folder of stimuli, and brain.h5 (`store`).

Read, of each participant (CSI1 to CSI4):

    <folder>/<participant>_GLMbetas-TYPED-FITHRF-GLMDENOISE-RR_ses-<nn>.nii.gz    (x, y, z, trials), % signal change
    <folder>/<participant>_imgnames.txt                                           the image of each trial, over all sessions
    <masks>/sub-<participant>/sub-<participant>_mask-<LH or RH><region>.nii.gz    some are named otherwise, see ALIASES
    <stimuli>/COCO, ImageNet, Scene/<image>

Layout: the release's README (BOLD5000-dataset/BOLD5000), and the public loader bonner.datasets.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..config.brain_sets import BOLD5000
from .repeated import gather_regions, read_masks, read_volume, standardize
from .stimuli import copy_stimuli
from .store import write_brain

N_RUN = 37
"""Trials of a run."""
BETAS = "GLMbetas-TYPED-FITHRF-GLMDENOISE-RR"
"""The version that the release recommends."""
ALIASES = {"LOC": "LO", "RSC": "RRSC"}
"""Region -> its name in the files of some participants."""


def import_bold5000(block: BOLD5000, stimuli_folder: str | Path, brain: str | Path) -> None:
    """Import the images that were shown often enough, in the sessions that are there; by default those shown four times.

    Betas are z-scored in each voxel within each session, as the release recommends.

    Args:
        block: of the configuration.
        stimuli_folder: receives a PNG of each image.
        brain: HDF5 file to write.

    Raises:
        ValueError: a file is missing or does not fit the others, or too few images or voxels.

    Source: Chang et al. 2019, Scientific Data 6, 49.
    """
    folder = Path(block.folder)
    measured = {one: _read_participant(block, one) for one in block.participants}
    images, regions = gather_regions(measured, block.repetitions, block.min_voxels, folder)
    pictures = Path(block.stimuli)
    places = {path.name: path.relative_to(pictures) for path in pictures.rglob("*") if path.is_file()}
    pairs = [(name, [str(places.get(name, name))]) for name in images]
    names = copy_stimuli(pairs, pictures, Path(stimuli_folder), block.background)
    write_brain(brain, names, regions)


def _read_participant(block: BOLD5000, one: str) -> tuple[list[str], NDArray, dict[str, NDArray]]:
    """Return the image of each trial, the (n_trials, n_voxels) betas inside of any region, and region -> which voxels."""
    folder = Path(block.folder)
    path = folder / f"{one}_imgnames.txt"
    try:
        names = path.read_text(encoding="utf-8").split()
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {error}") from None
    sessions = sorted({*folder.glob(f"{one}_{BETAS}_ses-*.nii.gz"), *folder.glob(f"{one}_{BETAS}_ses-*.nii")})
    expected = [f"{one}_{BETAS}_ses-{i:02d}" for i in range(1, len(sessions) + 1)]
    if not sessions or [session.name.split(".")[0] for session in sessions] != expected:
        raise ValueError(
            f"{folder}: needs {one}_{BETAS}_ses-01.nii.gz and so on; found {len(sessions)} sessions, or a gap"
        )
    parts, inside, masks = [], None, {}
    for session in sessions:
        volume = read_volume(session)
        if inside is None:
            paths = {region: _find_masks(Path(block.masks), one, name) for region, name in block.regions.items()}
            inside, masks = read_masks(paths, volume.shape[:3], session.name)
            shape = volume.shape[:3]
        if volume.shape[:3] != shape or volume.ndim != 4 or volume.shape[3] % N_RUN:
            raise ValueError(
                f"{session}: found betas of shape {volume.shape}, needs {shape} as {sessions[0].name}, and "
                f"whole runs of {N_RUN} trials"
            )
        parts.append(standardize(volume.reshape(-1, volume.shape[3])[inside].T))
    betas = np.concatenate(parts)
    if len(betas) > len(names):
        raise ValueError(f"{path}: names {len(names)} images; the {len(sessions)} sessions have {len(betas)} trials")
    return names[: len(betas)], betas, masks


def _find_masks(folder: Path, one: str, region: str) -> list[Path]:
    """Return the masks of both hemispheres, or of one where the other has none."""
    place, found = folder / f"sub-{one}", []
    for side in ("LH", "RH"):
        names = [f"sub-{one}_mask-{side}{name}.nii.gz" for name in (region, ALIASES.get(region, region))]
        found += [place / name for name in names if (place / name).is_file()][:1]
    if not found:
        there = ", ".join(sorted(path.name for path in place.glob("*mask*"))) or "none"
        raise ValueError(
            f"{place}: has no mask sub-{one}_mask-LH{region}.nii.gz or -RH{region}.nii.gz; there are {there}"
        )
    return found
