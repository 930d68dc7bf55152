"""
Beta maps in BIDS derivatives -> a folder of stimuli, and brain.h5 (`store`).

A file's name holds entities, as in sub-01_task-objects_run-1_contrast-dog_stat-effect_statmap.nii.gz. A map of a condition
has contrast-<name>, as nilearn's save_glm_to_bids and FitLins write it; other files hold a map for each row of the events
that the raw data have of the same sub, ses, task and run: <raw>/sub-01/[ses-2/]func/..._events.tsv, or of fewer of these,
there or in <raw>, where none names all.

Layout: the Brain Imaging Data Structure, task events and stimuli (stim_file); nilearn.interfaces.bids.save_glm_to_bids.
"""

import logging
import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..config.brain_sets import BIDSMaps
from ..config.templates import fill_template
from .kinds import refuse_broken_link
from .names import match_pictures
from .own_files import AFFINE
from .repeated import gather_regions, read_image, read_masks
from .stimuli import copy_stimuli
from .store import write_brain
from .tables import read_table

logger = logging.getLogger(__name__)

PAIRED = ("sub", "ses", "task", "run")


def import_bids_maps(block: BIDSMaps, stimuli_folder: str | Path, brain: str | Path) -> None:
    """Import the conditions or images that every participant saw often enough; numbers are taken as they are.

    Args:
        block: of the configuration.
        stimuli_folder: receives a PNG of each stimulus.
        brain: HDF5 file to write.

    Raises:
        ValueError: a participant has no maps; maps and events differ in number; maps or masks differ in shape or affine; a
            condition has no picture; too few conditions or voxels.

    Source: Gorgolewski et al. 2016, Scientific Data 3, 160044.
    """
    folder, pictures = Path(block.folder), Path(block.stimuli)
    measured = {one: _read_participant(block, one) for one in block.participants}
    conditions, regions = gather_regions(measured, block.repetitions, block.min_voxels, folder)
    others = sorted({name for names, _, _ in measured.values() for name in names if name is not None} - set(conditions))
    if others:
        logger.warning(
            "%s: %d conditions are left out, as not every participant has them %d times, among them %s",
            *(folder, len(others), block.repetitions, ", ".join(others[:3])),
        )
    pairs = [(name, [name]) for name in conditions] if block.events else match_pictures(conditions, pictures)
    names = copy_stimuli(pairs, pictures, Path(stimuli_folder), block.background)
    write_brain(brain, names, regions)


def _read_participant(block: BIDSMaps, one: str) -> tuple[list[str | None], NDArray, dict[str, NDArray]]:
    """Return the condition of each map, the (n_maps, n_voxels) maps inside of any region, and region -> which voxels."""
    place = Path(block.folder) / f"sub-{one}"
    there = [path for path in place.glob(block.maps) if not path.name.startswith(".")]
    for path in there:
        refuse_broken_link(path)
    files = sorted((path for path in there if path.is_file()), key=_read_order)
    if not files:
        raise ValueError(f"{place}: no file has a name as {block.maps}")
    _refuse_same(block, files)
    names: list[str | None] = []
    parts, inside, masks = [], None, {}
    for path in files:
        volume, affine = read_image(path)
        volume = volume[..., None] if volume.ndim == 3 else volume
        here = _list_conditions(block, path)
        if len(here) != volume.shape[3]:
            raise ValueError(
                f"{path}: holds {volume.shape[3]} maps, and there are {len(here)} conditions or events for it"
            )
        if inside is None:
            paths = {region: [Path(fill_template(block.masks, one, region))] for region in block.regions}
            inside, masks = read_masks(paths, volume.shape[:3], path.name, affine)
            shape, first = volume.shape[:3], affine
        if volume.shape[:3] != shape or not np.allclose(affine, first, rtol=0, atol=AFFINE):
            raise ValueError(
                f"{path}: maps of shape {volume.shape[:3]} and affine {affine.tolist()}, those of {files[0].name} have "
                f"{shape} and {first.tolist()}"
            )
        parts.append(volume.reshape(-1, volume.shape[3])[inside].T.astype(np.float64))
        names += here
    return names, np.concatenate(parts), masks


def _refuse_same(block: BIDSMaps, files: list[Path]) -> None:
    """Stop where maps would count as repetitions and are none: two of one run, one of all runs beside those of single ones."""
    seen: dict[tuple, dict[int | None, Path]] = {}
    for path in files:
        entities = read_entities(path)
        if block.events is None and "contrast" not in entities:
            continue  # refused by `_list_conditions`
        keys = ("contrast", "task", "ses") if block.events is None else ("task", "ses")
        runs = seen.setdefault(tuple(entities.get(key) for key in keys), {})
        run = _read_number(entities["run"]) if "run" in entities else None
        if others := [other for number, other in runs.items() if run is None or number in (run, None)]:
            raise ValueError(
                f"{path}: of the same run as {others[0].name}, or one of both is of all runs; they would count as "
                f"repetitions. Narrow maps, now {block.maps}, to those of one kind"
            )
        runs[run] = path


def _list_paired(path: Path) -> set[tuple[str, str | int]]:
    """Return the entities by which a file of events belongs to maps; runs as numbers."""
    entities = read_entities(path)
    return {(key, _read_number(entities[key]) if key == "run" else entities[key]) for key in PAIRED if key in entities}


def _read_number(entity: str) -> int:
    return int(re.sub(r"\D", "", entity) or 0)


def read_entities(path: Path) -> dict[str, str]:
    """Return the entities in a file's name, as in sub-01_run-2_bold.nii.gz."""
    return dict(re.findall(r"(?:^|_)([a-zA-Z]+)-([^_.]+)", path.name))


def _read_order(path: Path) -> tuple:
    """Sessions and runs by their numbers, then by name: the order of repetitions."""
    entities = read_entities(path)
    numbers = [_read_number(entities.get(key, "")) for key in ("ses", "run")]
    return (*numbers, path.name)


def _list_conditions(block: BIDSMaps, path: Path) -> list[str | None]:
    """Return the condition or picture of each map of a file; None of trials without a picture."""
    entities = read_entities(path)
    if block.events is None:
        if "contrast" not in entities:
            raise ValueError(
                f"{path}: its name has no contrast-<condition>; give events, the raw data set, for maps of trials"
            )
        return [entities["contrast"]]
    there = [*Path(block.events).glob("*_events.tsv")]
    there += Path(block.events).glob(f"sub-{entities.get('sub')}/**/*_events.tsv")
    wanted = _list_paired(path)
    fitting = [(len(paired), file) for file in there if (paired := _list_paired(file)) <= wanted]
    found = [file for n, file in fitting if n == max(fitting)[0]]  # by the inheritance of BIDS
    if len(found) != 1:
        what = "_".join(f"{key}-{entities[key]}" for key in PAIRED if key in entities)
        raise ValueError(f"{path}: {block.events} has {len(found)} files {what}*_events.tsv; needs one")
    table = read_table(found[0], [block.picture], separator="\t")
    return [None if name in ("n/a", "") else name for name in table[block.picture]]
