"""
Published brain data -> a folder of stimuli, and brain.h5 (`store`).
"""

import logging
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import scipy
from PIL import Image

from ..config import MagriKonkle2019
from ..downloads import read_members
from ..images.litdata import INDEX, export_pictures
from ..rsa.similarity import vectorize_rsm
from .distances import make_rsv
from .matlab import NoVariableError, finish, follow, read_mat
from .names import match_pictures
from .patterns import compute_rsv, find_varying, keep_reliable, orient_patterns, refuse_fill_values
from .stimuli import copy_stimuli
from .store import BEHAVIOUR, Region, write_brain

logger = logging.getLogger(__name__)


def import_kriegeskorte_2008(archive: str | Path, subset: str, stimuli_folder: str | Path, brain: str | Path) -> None:
    """Import the 92 object images, human IT of four participants, early visual cortex (one group matrix), and similarity
    judgments of 16 other people.

    Participants' IT distance matrices (1 - Pearson r) are averaged over their two sessions and turned into similarities.
    Early visual cortex ("EVA") is published as one group matrix; it comes from the same scans as IT. The judges arranged the
    objects on a screen; their distances are scaled to similarities as those of `config.OwnData` with `distance: other`.

    Args:
        archive: the source archive of rsatoolbox 0.0.4, which carries the data in demos/92imageData.
        subset: all (92 images) or inanimate (the 44 inanimate ones).
        stimuli_folder: receives one PNG of 175 x 175 pixels a stimulus.
        brain: HDF5 file to write, regions EarlyV, IT and Behaviour.

    Source: Kriegeskorte et al. 2008, Neuron 60, 1126-1141; judgments: Mur et al. 2013, Frontiers in Psychology 4, 128.
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
    # "hIT | BE | Session: 1"
    participants = [str(sessions[0]["name"].item()).split("|")[1].strip() for sessions in scans]
    judgments = {
        str(item["name"].item()).split("|")[1].strip(): item["RDM"][np.ix_(kept, kept)]
        for item in read("92_behavRDMs.mat")["rdms_behav_92"][0]
    }  # "simJudge | subject1"
    judged = [make_rsv(rdm, "rdm", "other", None, names, f"{archive}: {judge}") for judge, rdm in judgments.items()]
    models = {str(item["name"].item()): item["RDM"] for item in read("92_modelRDMs.mat")["Models"][0]}
    regions = [
        Region("EarlyV", take(models["EVA"])[None], ["group average"], group=True),
        Region("IT", rsvs, participants, group=False),
        Region(BEHAVIOUR, np.stack(judged), list(judgments), group=False),
    ]
    write_brain(brain, names, regions)


def import_magri_konkle_2019(layout: MagriKonkle2019, stimuli_folder: str | Path, brain: str | Path) -> None:
    """Import the 72 objects and every participant's voxel patterns in each region.

    Args:
        layout: the block of the configuration; betas is a file, a struct SECTORS or GRADIENT with Betas[region] and
            Reliability[region] (per participant: voxels x stimuli, and voxels) and conditions (names of the stimuli), and
            stimuli a folder. The pairs of conditions and pictures are logged.
        stimuli_folder: receives a PNG of each stimulus.
        brain: HDF5 file to write; a participant's name is the number in the file, from 01.

    Raises:
        ValueError: a region or an image is missing, a participant's array does not fit the stimuli, or too few voxels or
            participants are left; the message names region and participant.

    Source: Magri and Konkle 2019; sections 4.2 and C.2 of the paper.
    """
    betas, images, threshold = layout.betas, layout.stimuli, layout.reliability_threshold
    struct = _read_struct(Path(betas))
    conditions = [
        str(name.item()) for name in finish(follow(struct, "conditions", str(betas))[0], "conditions", str(betas))
    ]
    parsed = []
    for region, key in layout.regions.items():
        where = f"{betas}: {key}"
        patterns = _list_participants(struct, "Betas", key, where)
        reliability = None
        if threshold is not None:
            reliability = _list_participants(struct, "Reliability", key, where)
            if len(reliability) != len(patterns):
                raise ValueError(f"{where}: reliabilities of {len(reliability)} participants, betas of {len(patterns)}")
        if beyond := [number for number in layout.left_out if not 1 <= number <= len(patterns)]:
            raise ValueError(f"{where}: participant {beyond[0]} is to be left out; there are 1 to {len(patterns)}")
        kept = [number for number in range(1, len(patterns) + 1) if number not in layout.left_out]
        if len(kept) < 2:
            raise ValueError(f"{where}: {len(kept)} participant(s) left; a noise ceiling needs at least two")
        arrays, rsvs = [], []
        for number in kept:
            who = f"{where}, participant {number}"
            array = orient_patterns(patterns[number - 1], len(conditions), "voxels x stimuli", who)
            if reliability is not None:
                array = keep_reliable(array, reliability[number - 1], threshold, who)
            array = array[:, find_varying(array, who)]
            refuse_fill_values(array, who)
            rsvs.append(compute_rsv(array, conditions, layout.min_voxels, who))
            arrays.append(array[None])
        parsed.append(
            Region(region, np.stack(rsvs), [f"{number:02d}" for number in kept], group=False, patterns=arrays)
        )
    with TemporaryDirectory() as temporary:
        if Path(images, INDEX).exists():
            export_pictures(images, temporary)
            images = temporary
        names = copy_stimuli(match_pictures(conditions, images), Path(images), Path(stimuli_folder), layout.background)
    write_brain(brain, names, parsed)


def _read_struct(path: Path) -> np.ndarray:
    """Return the struct SECTORS or GRADIENT as a record array; see `matlab`."""
    try:
        content = read_mat(path)
    except MemoryError:
        raise
    except Exception as error:  # of damaged files, of many kinds
        raise ValueError(f"{path}: cannot be read: {error}") from None
    names = content.dtype.names or ()
    known = [key for key in ("SECTORS", "GRADIENT") if key in names]
    if len(known) != 1:
        raise ValueError(f"{path}: needs a struct SECTORS or GRADIENT, and holds {', '.join(names) or 'nothing'}")
    struct = content[known[0]].item()
    if not {"Betas", "conditions"} <= set(struct.dtype.names or ()) or not struct["Betas"].item().dtype.names:
        raise ValueError(f"{path}: {known[0]} needs the fields Betas (with a field a region) and conditions")
    return struct


def _list_participants(struct: np.ndarray, field: str, key: str, where: str) -> list[np.ndarray]:
    """Return one array a participant of a cell array."""
    try:
        cells = finish(follow(struct, f"{field}/{key}", where)[0], key, where)
    except NoVariableError as error:
        names = error.names if error.missing == key else []
        raise ValueError(f"{where}: no such region under {field}; there are {', '.join(names) or 'none'}") from None
    return list(cells) if cells.dtype == object else [cells]
