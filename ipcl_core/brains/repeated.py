"""
What importers of published sets have in common: which images were shown how often, volumes, and the regions of brain.h5.
"""

import logging
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..config.templates import find_suffix
from .kinds import refuse_kind
from .own_files import AFFINE, NO_NIFTI, check_mask
from .patterns import compute_rsv, find_varying
from .store import Region

logger = logging.getLogger(__name__)


def choose_images(
    shown: Mapping[str, Sequence[Hashable | None]], n_repetitions: int, where: str | Path
) -> tuple[list, dict[str, NDArray]]:
    """Return the images that all participants saw often enough, sorted, and the trials that showed them.

    Args:
        shown: participant -> what each trial showed; None: nothing that is wanted.
        n_repetitions: how often.
        where: begins the messages.

    Returns:
        The images; participant -> (n_repetitions, n_images) numbers of the first trials of each, from 0.

    Raises:
        ValueError: there are fewer than three.
    """
    found: dict[str, dict] = {}
    for one, names in shown.items():
        found[one] = {}
        for trial, name in enumerate(names):
            if name is not None:
                found[one].setdefault(name, []).append(trial)
    often = [{name for name, trials in of.items() if len(trials) >= n_repetitions} for of in found.values()]
    images = sorted(set.intersection(*often))
    who = ", ".join(shown)
    if len(images) < 3:
        counts = ", ".join(str(len(each)) for each in often)
        raise ValueError(
            f"{where}: {who} all saw {len(images)} images {n_repetitions} times or more (each one: {counts}); needs three or "
            "more such images"
        )
    logger.info("%s: %d images were seen %d times or more by %s", where, len(images), n_repetitions, who)
    return images, {one: np.array([of[name][:n_repetitions] for name in images]).T for one, of in found.items()}


def gather_regions(
    measured: Mapping[str, tuple[Sequence[Hashable | None], NDArray, Mapping[str, NDArray]]],
    n_repetitions: int,
    min_voxels: int,
    where: str | Path,
) -> tuple[list, list[Region]]:
    """Return the images that all participants saw often enough, and the regions of brain.h5.

    Args:
        measured: participant -> what each trial showed, the (n_trials, n_voxels) responses, region -> (n_voxels,) bool.
        n_repetitions, min_voxels, where: see `choose_images`, `make_regions`, and their errors.
    """
    images, chosen = choose_images({one: shown for one, (shown, _, _) in measured.items()}, n_repetitions, where)
    patterns = {
        region: {one: values[chosen[one]][:, :, masks[region]] for one, (_, values, masks) in measured.items()}
        for region in next(iter(measured.values()))[2]
    }
    return images, make_regions(patterns, images, min_voxels, where)


def make_regions(
    patterns: Mapping[str, Mapping[str, NDArray]], stimuli: Sequence[str], min_voxels: int, where: str | Path
) -> list[Region]:
    """Return the regions of brain.h5; voxels that are not finite or do not vary are left out.

    Args:
        patterns: region -> participant -> (n_runs, n_stimuli, n_voxels).
        stimuli: their names.
        min_voxels: fewest voxels of a participant in a region.
        where: begins the messages.

    Raises:
        ValueError: see `compute_rsv`.
    """
    regions = []
    for region, of in patterns.items():
        kept, rsvs = [], []
        for one, array in of.items():
            who = f"{where}: region {region}, participant {one}"
            finite = np.isfinite(array).all((0, 1))
            if n := (~finite).sum():
                logger.warning("%s: %d of %d voxels are not finite; left out", who, n, len(finite))
            array = array[:, :, finite]
            array = array[:, :, find_varying(array.mean(0), who)]
            rsvs.append(compute_rsv(array.mean(0), stimuli, min_voxels, who))
            kept.append(array)
            logger.info("%s: %d voxels", who, array.shape[2])
        regions.append(Region(region, np.stack(rsvs), list(of), group=False, patterns=kept))
    return regions


def standardize(values: NDArray) -> NDArray:
    """Return (n_trials, n_voxels) values less their mean over trials, divided by their standard deviation; 0 where it is 0."""
    values = values.astype(np.float64)
    spread = values.std(0)
    return (values - values.mean(0)) / np.where(spread > 0, spread, 1)


def read_volume(path: Path) -> NDArray:
    """Return a NIfTI file's numbers, (x, y, z) or (x, y, z, n); errors of `read_image`."""
    return read_image(path)[0]


def read_image(path: Path) -> tuple[NDArray, NDArray]:
    """Return a NIfTI file's numbers, (x, y, z) or (x, y, z, n), and its affine, (4, 4), in millimetres.

    Raises:
        ValueError: nibabel cannot be imported, or the file not be read.
    """
    try:
        import nibabel
    except ImportError as error:
        raise ValueError(f"{path}: {NO_NIFTI.format(error)}") from None
    try:
        image = nibabel.load(path)
        return np.asarray(image.dataobj), image.affine
    except (OSError, EOFError, nibabel.filebasedimages.ImageFileError) as error:
        if path.is_file():
            refuse_kind(path, find_suffix(path))
        raise ValueError(f"{path}: cannot be read: {error}") from None


def read_masks(
    paths: Mapping[str, Sequence[Path]], shape: tuple[int, ...], who: str, affine: NDArray | None = None
) -> tuple[NDArray, dict[str, NDArray]]:
    """Return the numbers of the voxels that are in any region, and region -> which of them are in it.

    Args:
        paths: region -> its masks, of which a voxel is in one.
        shape: (x, y, z) of the measurements.
        who: begins the messages.
        affine: (4, 4) of the measurements; None: of sets whose masks are known to lie on their voxels, whatever headers say.

    Raises:
        ValueError: a mask has another shape or affine, or more than two numbers.
    """
    masks = {}
    for region, files in paths.items():
        volumes = []
        for path in files:
            volume, placed = read_image(path)
            if volume.shape != shape:
                raise ValueError(f"{path}: a mask of shape {volume.shape}; {who} needs one of {shape}")
            if affine is not None and not np.allclose(placed, affine, rtol=0, atol=AFFINE):
                raise ValueError(
                    f"{path}: a mask that lies elsewhere than {who}: their affines differ by up to "
                    f"{np.abs(placed - affine).max():.3g} mm; resample the mask to the maps"
                )
            check_mask(volume, path)
            volumes.append(volume > 0)
        masks[region] = np.any(volumes, axis=0).ravel()
    inside = np.flatnonzero(np.any(list(masks.values()), axis=0))
    return inside, {region: mask[inside] for region, mask in masks.items()}
