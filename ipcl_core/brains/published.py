"""
Published brain data -> a folder of stimuli and one HDF5 file of every participant's similarity vectors.

The HDF5 file: dataset `stimuli` (n names, in order); for each region, in hierarchical order, dataset
`regions/<region>` (n_participants, n_pairs) of Pearson similarities (lower triangle, see `rsa`), with the attributes
`participants` (their names) and `group` (true where only a group average is published: no noise ceiling); where voxels are
known, dataset `patterns/<region>/<participant>` (n_runs, n_stimuli, n_voxels), the responses whose mean over runs they were
computed from.
"""

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import h5py
import numpy as np
import scipy.io
from PIL import Image

from ..downloads import read_members
from ..files import write_hdf5
from ..images.decoding import IMAGE_SUFFIXES, read_image
from ..rsa.similarity import vectorize_rsm
from .patterns import compute_rsv, find_varying, keep_reliable, orient_patterns

logger = logging.getLogger(__name__)


@dataclass
class Region:
    """The similarity vectors of one brain region."""

    name: str
    rsvs: np.ndarray
    """(n_participants, n_pairs) float64, Pearson similarities."""
    participants: list[str]
    group: bool
    """One group average instead of participants."""
    patterns: list[np.ndarray] | None = None
    """Each participant's (n_runs, n_stimuli, n_voxels) responses, of the voxels that the similarities were computed from; None
    where only similarities are published."""


def write_brain(path: str | Path, stimuli: list[str], regions: list[Region]) -> None:
    """Write the regions' similarity vectors (layout: see the module).

    Raises:
        ValueError: a name stands twice; a vector has the wrong number of pairs, or a value that is no finite real number in
            [-1, 1]; the message names region and participant.
    """
    if len(set(stimuli)) < len(stimuli) or len(stimuli) < 3:
        raise ValueError(
            f"{path}: needs three or more stimuli, each once; found {len(stimuli)}, {len(set(stimuli))} names"
        )
    names = [region.name for region in regions]
    if len(set(names)) < len(names) or not names:
        raise ValueError(f"{path}: needs one or more regions, each once; found {', '.join(names) or 'none'}")
    for region in regions:
        _check_region(region, len(stimuli))
    with write_hdf5(path) as file:
        file["stimuli"] = stimuli
        for region in regions:
            dataset = file.create_dataset(f"regions/{region.name}", data=region.rsvs, track_order=True)
            dataset.attrs["participants"] = region.participants
            dataset.attrs["group"] = region.group
            if region.patterns is not None:
                for participant, patterns in zip(region.participants, region.patterns, strict=True):
                    file[f"patterns/{region.name}/{participant}"] = patterns
        file.attrs["regions"] = names


def _check_region(region: Region, n: int) -> None:
    n_pairs, rsvs = n * (n - 1) // 2, np.asarray(region.rsvs)
    n_names = len(set(region.participants))
    if rsvs.ndim != 2 or len(rsvs) != len(region.participants) or len(rsvs) != n_names or n_names == 0:
        raise ValueError(
            f"region {region.name}: needs one row of similarities a participant; found an array of shape {rsvs.shape} for "
            f"{', '.join(region.participants) or 'nobody'}"
        )
    if region.group and n_names > 1:
        raise ValueError(f"region {region.name}: is one group average, and has {n_names} rows")
    if rsvs.dtype.kind not in "fiu":
        raise ValueError(f"region {region.name}: found numbers of type {rsvs.dtype}, needs real ones")
    for participant, rsv in zip(region.participants, rsvs, strict=True):
        who = f"region {region.name}, participant {participant}"
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


def read_brain(path: str | Path) -> tuple[list[str], list[Region]]:
    """Read (names of the stimuli, regions in hierarchical order) from a file written by `write_brain`.

    Raises:
        ValueError: it is no such file.
    """
    try:
        with h5py.File(path) as file:
            stimuli = list(file["stimuli"].asstr())
            regions = []
            for name in file.attrs["regions"]:
                dataset = file[f"regions/{name}"]
                participants, group = list(dataset.attrs["participants"]), bool(dataset.attrs["group"])
                regions.append(Region(name, dataset[:], participants, group))
    except FileNotFoundError:
        raise
    except (OSError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise ValueError(f"{path}: is no whole file of brain data ({error})") from None
    return stimuli, regions


def read_patterns(path: str | Path, region: str) -> dict[str, np.ndarray]:
    """Read the voxel patterns of a region from a file written by `write_brain`.

    Returns:
        Participant -> (n_runs, n_stimuli, n_voxels), one run where the measurement is not repeated; empty where only
        similarities are known.
    """
    with h5py.File(path) as file:
        group = file.get(f"patterns/{region}", {})
        return {participant: group[participant][:] for participant in group}


def import_kriegeskorte_2008(archive: str | Path, subset: str, stimuli_folder: str | Path, brain: str | Path) -> None:
    """Import the 92 object images, human IT of four participants, and early visual cortex (one group matrix).

    Participants' IT distance matrices (1 - Pearson r) are averaged over their two sessions and turned into similarities.
    Early visual cortex ("EVA") is published as one group matrix; it comes from the same scans as IT.

    Args:
        archive: the source archive of rsatoolbox 0.0.4, which carries the data in demos/92imageData.
        subset: all (92 images) or inanimate (the 44 inanimate ones).
        stimuli_folder: receives one PNG of 175 x 175 pixels a stimulus.
        brain: HDF5 file to write, regions EarlyV and IT.

    Source: Kriegeskorte et al. 2008, Neuron 60, 1126-1141.
    """

    def read(name: str) -> dict:
        return scipy.io.loadmat(BytesIO(next(iter(read_members(archive, f"demos/92imageData/{name}").values()))))

    objects = read("Kriegeskorte_Neuron2008_supplementalData.mat")["stimuli_92objs"][0]
    categories = [str(item["category"].item()) for item in objects]
    kept = [i for i, category in enumerate(categories) if subset == "all" or "inanimate" in category]
    names = [f"{i + 1:02d}_{categories[i].replace(' ', '_')}" for i in kept]
    folder = Path(stimuli_folder)
    folder.mkdir(parents=True, exist_ok=True)
    for i, name in zip(kept, names, strict=True):
        Image.fromarray(objects[i]["image"]).save(folder / f"{name}.png")

    def take(distances: np.ndarray) -> np.ndarray:
        return vectorize_rsm(1 - distances[np.ix_(kept, kept)])

    scans = read("92_brainRDMs.mat")["RDMs"][0]  # (4 participants, 2 sessions)
    rsvs = np.stack([take(np.mean([session["RDM"] for session in sessions], axis=0)) for sessions in scans])
    participants = [
        str(sessions[0]["name"].item()).split("|")[1].strip() for sessions in scans
    ]  # "hIT | BE | Session: 1"
    models = {str(item["name"].item()): item["RDM"] for item in read("92_modelRDMs.mat")["Models"][0]}
    regions = [
        Region("EarlyV", take(models["EVA"])[None], ["group average"], group=True),
        Region("IT", rsvs, participants, group=False),
    ]
    write_brain(brain, names, regions)


def import_magri_konkle_2019(
    betas: str | Path,
    images: str | Path,
    regions: dict[str, str],
    stimuli_folder: str | Path,
    brain: str | Path,
    *,
    reliability_threshold: float | None = None,
    min_voxels: int = 2,
    left_out: Sequence[int] = (),
) -> None:
    """Import the 72 objects and every participant's voxel patterns in each region.

    Args:
        betas: ExploringObjectsData_SECTORS.mat or ..._GRADIENT.mat: a struct SECTORS or GRADIENT with Betas[region] and
            Reliability[region] (per participant: voxels x stimuli, and voxels) and conditions (names of the stimuli).
        images: folder of the stimuli; file names without suffix are the conditions.
        regions: name here -> region in the file.
        stimuli_folder: receives a PNG of each stimulus.
        brain: HDF5 file to write; a participant's name is the number in the file, from 01.
        reliability_threshold: voxels with a reliability above it are kept; None keeps all and reads no reliability.
        min_voxels: fewest voxels of a participant in a region.
        left_out: numbers of the participants to leave out, from 1.

    Raises:
        ValueError: a region or an image is missing, a participant's array does not fit the stimuli, or too few voxels or
            participants are left; the message names region and participant.

    Source: Magri and Konkle 2019; sections 4.2 and C.2 of the paper.
    """
    struct = _read_struct(Path(betas))
    conditions = [str(name) for name in np.atleast_1d(struct["conditions"])]
    parsed = []
    for region, key in regions.items():
        where = f"{betas}: {key}"
        patterns = _list_participants(struct, "Betas", key, where)
        reliability = None
        if reliability_threshold is not None:
            reliability = _list_participants(struct, "Reliability", key, where)
            if len(reliability) != len(patterns):
                raise ValueError(f"{where}: reliabilities of {len(reliability)} participants, betas of {len(patterns)}")
        if beyond := [number for number in left_out if not 1 <= number <= len(patterns)]:
            raise ValueError(f"{where}: participant {beyond[0]} is to be left out; there are 1 to {len(patterns)}")
        kept = [number for number in range(1, len(patterns) + 1) if number not in left_out]
        if len(kept) < 2:
            raise ValueError(f"{where}: {len(kept)} participant(s) left; a noise ceiling needs at least two")
        arrays, rsvs = [], []
        for number in kept:
            who = f"{where}, participant {number}"
            array = orient_patterns(patterns[number - 1], len(conditions), "voxels x stimuli", who)
            if reliability is not None:
                array = keep_reliable(array, reliability[number - 1], reliability_threshold, who)
            array = array[:, find_varying(array, who)]
            rsvs.append(compute_rsv(array, conditions, min_voxels, who))
            arrays.append(array[None])
        parsed.append(
            Region(region, np.stack(rsvs), [f"{number:02d}" for number in kept], group=False, patterns=arrays)
        )
    names = copy_stimuli(conditions, Path(images), Path(stimuli_folder))
    write_brain(brain, names, parsed)


def _read_struct(path: Path) -> dict:
    try:
        content = scipy.io.loadmat(path, simplify_cells=True)
    except NotImplementedError:
        raise ValueError(f"{path}: is of MATLAB's version 7.3; save it in MATLAB by save(..., '-v7')") from None
    except MemoryError:
        raise
    except Exception as error:  # of damaged files, of many kinds
        raise ValueError(f"{path}: cannot be read: {error}") from None
    content = {key: value for key, value in content.items() if key[:2] != "__"}
    known = [key for key in ("SECTORS", "GRADIENT") if key in content]
    if len(known) != 1:
        raise ValueError(f"{path}: needs a struct SECTORS or GRADIENT, and holds {', '.join(content) or 'nothing'}")
    struct = content[known[0]]
    fields = {"Betas", "conditions"}
    if not isinstance(struct, dict) or not fields <= struct.keys() or not isinstance(struct["Betas"], dict):
        raise ValueError(f"{path}: {known[0]} needs the fields Betas (with a field a region) and conditions")
    return struct


def _list_participants(struct: dict, field: str, key: str, where: str) -> list:
    """One array a participant of a cell array, which scipy gives as the array itself if it has one cell."""
    if key not in (regions := struct.get(field, {})):
        raise ValueError(f"{where}: no such region under {field}; there are {', '.join(regions) or 'none'}")
    cells = np.asarray(regions[key])
    return list(cells) if cells.dtype == object else [cells]


def strip_suffix(name: str) -> str:
    """Return the name of an image without its suffix, where it has that of an image."""
    return Path(name).stem if Path(name).suffix.lower() in IMAGE_SUFFIXES else name


def copy_stimuli(conditions: list[str], images: Path, folder: Path) -> list[str]:
    """Write each condition's image as a PNG whose name sorts in the order of the conditions; return the names.

    Args:
        conditions: names of the images, with or without a suffix.
        images: folder of the images.
        folder: receives the PNG files.

    Raises:
        ValueError: there is no folder, a condition has no image or several, or its image cannot be decoded.
    """
    if not images.is_dir():
        raise ValueError(f"{images}: is no folder; stimuli are a folder with one image a condition")
    stems = [strip_suffix(name) for name in conditions]
    if len(set(stems)) < len(stems):
        raise ValueError(f"the conditions hold a name twice: {next(stem for stem in stems if stems.count(stem) > 1)!r}")
    found: dict[str, Path] = {}
    for path in sorted(images.iterdir()):
        if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith("."):
            if path.stem in found:
                raise ValueError(f"{images}: {found[path.stem].name} and {path.name} are images of one condition")
            found[path.stem] = path
    if missing := [stem for stem in stems if stem not in found]:
        raise ValueError(
            f"{images}: no image for {len(missing)} of {len(stems)} conditions, among them {missing[0]!r}; the "
            f"{len(found)} images there need the conditions' names, and are, for example, "
            f"{', '.join(path.name for path in list(found.values())[:3]) or 'none'}"
        )
    digits = max(2, len(str(len(stems))))
    names = [f"{i + 1:0{digits}d}_{re.sub(r'[^A-Za-z0-9_-]+', '_', stem)}" for i, stem in enumerate(stems)]
    folder.mkdir(parents=True, exist_ok=True)
    cropped = []
    for stem, name in zip(stems, names, strict=True):
        try:
            pixels = read_image(found[stem])
        except MemoryError:
            raise
        except Exception as error:  # of damaged files, decoders raise errors of many kinds
            raise ValueError(f"{found[stem]}: cannot be decoded: {error}") from None
        height, width = pixels.shape[:2]
        if height != width:
            cropped.append(f"{found[stem].name} ({width} x {height} pixels)")
        Image.fromarray(pixels).save(folder / f"{name}.png")
    if cropped:
        logger.warning(
            "%s: %d of %d stimuli are not square; models see only their central square, among them of %s",
            images,
            len(cropped),
            len(names),
            cropped[0],
        )
    return names
