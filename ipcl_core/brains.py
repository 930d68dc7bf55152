"""
Published brain data -> a folder of stimuli and one HDF5 file of every participant's similarity vectors.

The HDF5 file: dataset `stimuli` (n names, in order); for each region, in hierarchical order, dataset
`regions/<region>` (n_participants, n_pairs) of Pearson similarities (lower triangle, see `rsa`), with the attributes
`participants` (their names) and `group` (true where only a group average is published: no noise ceiling).
"""

import re
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import h5py
import numpy as np
import scipy.io
from PIL import Image

from .downloads import read_members
from .files import write_hdf5
from .rsa import compute_rsm, vectorize_rsm

STIMULUS_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")


@dataclass
class Region:
    """The similarity vectors of one brain region."""

    name: str
    rsvs: np.ndarray
    """(n_participants, n_pairs) float64, Pearson similarities."""
    participants: list[str]
    group: bool
    """One group average instead of participants."""


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


def list_stimuli(folder: str | Path) -> list[Path]:
    """Return the images of a folder of stimuli in their order, that of their names; hidden files are left out."""
    return sorted(Path(folder).glob("[!.]*"))


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
    betas: str | Path, images: str | Path, regions: dict[str, str], stimuli_folder: str | Path, brain: str | Path
) -> None:
    """Import the 72 objects and every participant's voxel patterns in each sector.

    Args:
        betas: ExploringObjectsData_SECTORS.mat, a struct with Betas[sector] (per participant: voxels x stimuli) and
            conditions (names of the stimuli).
        images: folder of the stimuli; file names without suffix are the conditions.
        regions: name here -> sector in the file.
        stimuli_folder: receives a PNG of each stimulus.
        brain: HDF5 file to write.

    Raises:
        ValueError: a sector or an image is missing, or a participant's array does not fit the stimuli.

    Source: Magri and Konkle 2019; sections 4.2 and C.2 of the paper.
    """
    content = scipy.io.loadmat(betas, simplify_cells=True)
    struct = next((value for key, value in content.items() if not key.startswith("__")), {})
    if not isinstance(struct, dict) or not {"Betas", "conditions"} <= struct.keys():
        raise ValueError(f"{betas}: needs one struct with the fields Betas and conditions")
    conditions = [str(name) for name in np.atleast_1d(struct["conditions"])]
    found = {path.stem: path for path in Path(images).iterdir() if path.suffix.lower() in STIMULUS_SUFFIXES}
    missing = [name for name in conditions if name not in found and Path(name).stem not in found]
    if missing:
        raise ValueError(
            f"{images}: no image for {len(missing)} of {len(conditions)} conditions, among them {missing[0]!r}"
        )
    names = [f"{i + 1:02d}_{re.sub(r'[^A-Za-z0-9_-]+', '_', Path(name).stem)}" for i, name in enumerate(conditions)]
    folder = Path(stimuli_folder)
    folder.mkdir(parents=True, exist_ok=True)
    for condition, name in zip(conditions, names, strict=True):
        source = found.get(condition) or found[Path(condition).stem]
        Image.open(source).convert("RGB").save(folder / f"{name}.png")
    parsed = []
    for region, sector in regions.items():
        if sector not in struct["Betas"]:
            raise ValueError(f"{betas}: no sector {sector!r}; there are {', '.join(struct['Betas'])}")
        patterns = struct["Betas"][sector]
        for participant, array in enumerate(patterns):
            if array.ndim != 2 or array.shape[1] != len(conditions):
                raise ValueError(
                    f"{betas}: {sector}, participant {participant + 1}: found an array of shape {array.shape}, needs "
                    f"voxels x {len(conditions)} stimuli"
                )
        rsvs = np.stack([vectorize_rsm(compute_rsm(array.T)) for array in patterns])
        parsed.append(Region(region, rsvs, [f"{i + 1:02d}" for i in range(len(patterns))], group=False))
    write_brain(brain, names, parsed)
