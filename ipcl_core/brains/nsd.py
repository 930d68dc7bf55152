"""
The Natural Scenes Dataset (Allen et al. 2022) -> a folder of stimuli, and brain.h5 (`store`).

Read from the download, of each participant in volumes of 1.8 mm:

    nsddata/experiments/nsd/nsd_expdesign.mat                                     which image each trial showed
    nsddata/experiments/nsd/nsd_stim_info_merged.csv                              cocoId of each nsdId, for `halves` alone
    nsddata/ppdata/<participant>/func1pt8mm/roi/<file>.nii.gz                     regions, a number a voxel
    nsddata/ppdata/<participant>/func1pt8mm/<file>.nii.gz                         other volumes, as floc_facestval
    nsddata_betas/ppdata/<participant>/func1pt8mm/betas_fithrf_GLMdenoise_RR/     betas_session<nn>.hdf5, ncsnr.nii.gz
    nsddata_stimuli/stimuli/nsd/shared1000/shared<nnnn>_nsd<nnnnn>.png            the images that all participants saw, or
    nsddata_stimuli/stimuli/nsd/nsd_stimuli.hdf5                                  all 73,000 images

The betas are (750 trials, z, y, x) int16, 300 times the signal change in %; the other volumes are (x, y, z). An image's number
is counted from 1 in the design and the pictures' names, from 0 as nsdId (NSD data manual; checked against public loaders).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import h5py
import numpy as np
import pandas as pd
import scipy
from PIL import Image

from ..files import open_hdf5
from .folds import TRAIN
from .repeated import choose_images, make_regions, read_volume, standardize
from .stimuli import copy_stimuli
from .store import write_brain

N_TRIALS, N_REPETITIONS, SCALE = 750, 3, 300


def import_nsd(
    folder: str | Path,
    participants: list[str],
    regions: dict[str, str],
    stimuli_folder: str | Path,
    brain: str | Path,
    *,
    min_ncsnr: float | None,
    min_voxels: int,
    halves: str | None = None,
) -> None:
    """Import the shared images that every participant saw three times, in the sessions that are there.

    Betas are z-scored in each voxel within each session, over all its trials. The three repetitions are three runs.

    Args:
        folder: of the download.
        participants: subj01 to subj08.
        regions: name here -> its voxels, see `config.NSD`.
        stimuli_folder: receives a PNG of each image.
        brain: HDF5 file to write.
        min_ncsnr: voxels with a noise-ceiling signal-to-noise ratio of at least this are kept; None: all.
        min_voxels: fewest voxels of a participant in a region.
        halves: coco: hold out every second image in the order of COCO's numbers; None: no division of the set's own.

    Raises:
        ValueError: a file is missing or has another layout, fewer than three images are left, or too few voxels.

    Source: Allen et al. 2022, Nature Neuroscience 25, 116-126; the data set's manual.
    """
    folder = Path(folder)
    images, trials = choose_images({one: _list_trials(folder, one) for one in participants}, N_REPETITIONS, folder)
    folds = _divide_images(folder, images) if halves else None
    with _find_pictures(folder, images) as (place, pictures):  # before hours of reading
        patterns: dict[str, dict] = {region: {} for region in regions}
        for one in participants:
            shape = _read_shape(folder, one)
            masks = {region: _read_mask(folder, one, term, min_ncsnr, shape) for region, term in regions.items()}
            inside = np.flatnonzero(np.any(list(masks.values()), axis=0))
            betas = _read_betas(folder, one, trials[one], inside, shape)
            for region, mask in masks.items():
                patterns[region][one] = betas[:, :, mask[inside]]
        found = make_regions(patterns, list(map(str, images)), min_voxels, folder)
        names = copy_stimuli([(name, [name]) for name in pictures], place, Path(stimuli_folder))
    write_brain(brain, names, found, folds=folds)


@contextmanager
def _find_pictures(folder: Path, images: list[int]) -> Iterator[tuple[Path, list[str]]]:
    """Give the folder of the images' pictures, and their names there; of nsd_stimuli.hdf5, one that is removed at the end."""
    place = folder / "nsddata_stimuli/stimuli/nsd"
    path, shared = place / "nsd_stimuli.hdf5", _read_design(folder)["sharedix"].tolist()
    names = [f"shared{shared.index(image) + 1:04d}_nsd{image:05d}.png" for image in images]
    lost = [name for name in names if not (place / "shared1000" / name).is_file()]
    if not lost:
        yield place / "shared1000", names
        return
    if not path.is_file():
        raise ValueError(f"{place}: needs shared1000/{lost[0]}, or nsd_stimuli.hdf5 with all images")
    with TemporaryDirectory() as made, open_hdf5(path) as file:
        bricks = _find_dataset(file, "imgBrick")  # (73,000, side, side, 3) uint8
        for image, name in zip(images, names, strict=True):
            Image.fromarray(bricks[image - 1]).save(Path(made) / name)
        yield Path(made), names


def _divide_images(folder: Path, images: list[int]) -> list[str]:
    """Return the fold of each image: in the order of COCO's numbers every second one is held out."""
    path = folder / "nsddata/experiments/nsd/nsd_stim_info_merged.csv"
    try:
        numbers = pd.read_csv(path, index_col="nsdId")["cocoId"]
        coco = numbers.loc[[image - 1 for image in images]].to_numpy()
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(f"{path}: needs the columns nsdId and cocoId, with all images: {error}") from None
    ranks = coco.argsort().argsort()
    return [TRAIN if rank % 2 == 0 else "held out" for rank in ranks]


def _find_betas(folder: Path, participant: str) -> Path:
    return folder / "nsddata_betas/ppdata" / participant / "func1pt8mm/betas_fithrf_GLMdenoise_RR"


def _list_trials(folder: Path, participant: str) -> list[int | None]:
    """Return the shared image (its number among 73,000, from 1) of each trial in the sessions there; None of other images."""
    place = _find_betas(folder, participant)
    sessions = sorted(place.glob("betas_session*.hdf5"))
    expected = [f"betas_session{i:02d}.hdf5" for i in range(1, len(sessions) + 1)]
    if not sessions or [session.name for session in sessions] != expected:
        raise ValueError(
            f"{place}: needs betas_session01.hdf5 and so on, without a gap; found {len(sessions)} sessions"
        )
    design = _read_design(folder)
    images, shared = design["subjectim"][int(participant.removeprefix("subj")) - 1], set(design["sharedix"].tolist())
    numbers = [int(images[number - 1]) for number in design["masterordering"][: N_TRIALS * len(sessions)].tolist()]
    return [number if number in shared else None for number in numbers]


def _read_design(folder: Path) -> dict[str, np.ndarray]:
    """Return masterordering (30,000,), sharedix (1,000,) and subjectim (8, 10,000), whose numbers are all from 1."""
    path, names = folder / "nsddata/experiments/nsd/nsd_expdesign.mat", ["masterordering", "sharedix", "subjectim"]
    try:
        design = scipy.io.loadmat(path, squeeze_me=True, variable_names=names)
        if [design[name].ndim for name in names] != [1, 1, 2] or len(design["subjectim"]) != 8:
            raise ValueError("its variables have other shapes")
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise ValueError(f"{path}: is no experimental design of NSD: {error}") from None
    return design


def _read_shape(folder: Path, participant: str) -> tuple[int, ...]:
    """Return the (z, y, x) of a participant's betas."""
    path = _find_betas(folder, participant) / "betas_session01.hdf5"
    with open_hdf5(path) as file:
        return _find_dataset(file, "betas").shape[1:]


def _find_dataset(file: h5py.File, name: str) -> h5py.Dataset:
    if name not in file:
        raise ValueError(f"{file.filename}: has no dataset {name}, but {', '.join(file) or 'none'}")
    return file[name]


def _read_mask(
    folder: Path, participant: str, place: str, min_ncsnr: float | None, shape: tuple[int, ...]
) -> np.ndarray:
    """Return which voxels are those of a region, and reliable: (n_voxels,) bool."""
    volumes = folder / "nsddata/ppdata" / participant / "func1pt8mm"
    parts = [[_read_term(volumes, term, shape) for term in part.split(" & ")] for part in place.split(" | ")]
    mask = np.any([np.all(part, axis=0) for part in parts], axis=0)
    if min_ncsnr is not None:
        mask &= _read_flat(_find_betas(folder, participant) / "ncsnr.nii.gz", shape) >= min_ncsnr
    return mask


def _read_flat(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    """Return a volume's voxels in the order of the betas, whose (z, y, x) it must have."""
    volume = read_volume(path)  # (x, y, z)
    if volume.shape != shape[::-1]:
        raise ValueError(f"{path}: a volume of shape {volume.shape}; the betas need one of {shape[::-1]}")
    return volume.T.ravel()


def _read_term(volumes: Path, term: str, shape: tuple[int, ...]) -> np.ndarray:
    """Return which voxels have one of the numbers, as in streams=5,6, or at least a value, as in floc_facestval>=1."""
    if ">=" in term:
        name, least = term.split(">=")
        return _read_flat(volumes / f"{name}.nii.gz", shape) >= float(least)
    name, _, numbers = term.partition("=")
    volume = _read_flat(volumes / f"roi/{name}.nii.gz", shape)
    return np.isin(volume, [int(number) for number in numbers.split(",")]) if numbers else volume > 0


def _read_betas(
    folder: Path, participant: str, trials: np.ndarray, voxels: np.ndarray, shape: tuple[int, ...]
) -> np.ndarray:
    """Return the (n_runs, n_images, n_voxels) betas of some trials and voxels, z-scored within each session.

    They are read plane by plane, since the release stores each voxel's trials together: trial by trial every voxel would be
    read many times.
    """
    betas, planes = np.empty((*trials.shape, len(voxels))), voxels // np.prod(shape[1:])
    for session in np.unique(trials // N_TRIALS):
        path = _find_betas(folder, participant) / f"betas_session{session + 1:02d}.hdf5"
        values = [np.empty((N_TRIALS, 0), np.int16)]
        with open_hdf5(path) as file:
            raw = _find_dataset(file, "betas")
            if raw.shape != (N_TRIALS, *shape):
                raise ValueError(f"{path}: found betas of shape {raw.shape}, needs {(N_TRIALS, *shape)}")
            for plane in np.unique(planes):
                here = voxels[planes == plane] - plane * np.prod(shape[1:])
                values.append(raw[:, plane].reshape(N_TRIALS, -1)[:, here])
        values = standardize(np.concatenate(values, axis=1) / SCALE)
        here = trials // N_TRIALS == session
        betas[here] = values[trials[here] % N_TRIALS]
    return betas
