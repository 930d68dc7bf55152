"""
One's own brain data, in the files that `config.OwnData` names -> stimuli and brain.h5.
"""

import hashlib
import logging
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..config import OwnData
from ..config.templates import fill_template
from .distances import check_measure, make_rsv
from .labels import Labels
from .names import check_order, check_owner, check_voxels, refuse_names
from .own_files import Content, NotThereError, read_values
from .patterns import (
    compare_units,
    compute_rsv,
    divide_by_noise,
    find_varying,
    keep_reliable,
    orient_patterns,
    orient_residuals,
    refuse_fill_values,
    whiten_noise,
)
from .stimuli import copy_stimuli, find_pictures, list_conditions, name_stimuli
from .store import Region, write_brain
from .triplets import read_triplets

logger = logging.getLogger(__name__)

ALIKE = 1e-5
"""Difference of all similarities below which two measurements are one."""
COMPARED = 1 << 17
"""Pairs by which measurements of many stimuli are told apart."""


def import_own_brain(layout: OwnData, stimuli_folder: str | Path, brain: str | Path) -> None:
    """Import stimuli and every participant's patterns, distances or similarities in each region.

    Args:
        layout: the block of the configuration.
        stimuli_folder: receives a PNG of each stimulus.
        brain: HDF5 file to write.

    Raises:
        ValueError: a file is missing or cannot be read, or does not fit the stimuli, the participants or what is declared
            about it; the message names file, region and participant, what was found and what would be right.
    """
    conditions = list_conditions(layout.stimuli, layout.order)
    find_pictures(list(conditions.values()), Path(layout.stimuli))  # before data are read that do not fit a wrong order
    if layout.triplets:
        answers, _ = read_triplets(layout.triplets, list(conditions))
        logger.info("%s: %d odd-one-out judgments", layout.triplets, len(answers))

    def read_regions() -> Iterator[Region]:
        seen, said = {}, set()
        for region in layout.regions:
            yield _read_region(layout, list(conditions), region, seen, said)
        # here, so that there are no pictures where data are refused, and no data where pictures are
        copy_stimuli(conditions.items(), Path(layout.stimuli), Path(stimuli_folder), layout.background)

    write_brain(brain, name_stimuli(conditions), refuse_alike(read_regions()))


def _read_region(layout: OwnData, conditions: list[str], region: str, seen: dict[bytes, str], said: set) -> Region:
    """Return what is measured of those participants who have the region.

    `seen` grows by the SHA-256 of each array, with whose it is: what comes again is refused. `said`: see `check_order`.
    """
    templates = {key: getattr(layout, key) for key in ("files", "reliability", "residuals")}
    readers = {key: _make_readers(template, layout, region, said) for key, template in templates.items() if template}
    found, absent = {}, []
    for participant in layout.participants:
        try:
            contents = {key: [read(participant) for read in each] for key, each in readers.items()}
        except NotThereError as error:
            absent.append(f"region {region}, participant {participant}: {error}")
            if layout.missing == "error":
                raise ValueError(f"{absent[0]}; where participants lack regions, give missing: leave_out") from None
            logger.warning("%s: left out", absent[-1])
            continue
        who = f"{fill_template(layout.files, participant, region)}: region {region}, participant {participant}"
        for run, content in zip(layout.runs or [None], contents["files"], strict=True):
            _check_names(layout, content, conditions, participant, region, who, said)
            _refuse_again(content.values, who if run is None else f"{who}, run {run}", seen)
        for content in contents.get("residuals", []):
            _refuse_again(content.values, f"{who}, residuals", dict(seen))  # a copy: residuals may be alike
        if layout.kind == "patterns":
            check_voxels(_list_voxels(layout, contents), who)
            arrays = {key: [content.values for content in each] for key, each in contents.items()}
            patterns = _prepare_patterns(layout, len(conditions), who, **arrays)
            found[participant] = patterns, compute_rsv(patterns.mean(0), conditions, layout.min_voxels, who)
            logger.info("region %s, participant %s: %d voxels", region, participant, patterns.shape[2])
        else:
            content = contents["files"][0]
            triangle = content.triangle or layout.triangle
            check_measure(content.measure, layout.distance, who)
            rsv = make_rsv(content.values, layout.kind, layout.distance, triangle, conditions, who)
            found[participant] = None, rsv
    if not found:
        raise ValueError(f"no participant has region {region}; the first of {len(absent)}: {absent[0]}")
    logger.info("%s: %d participant(s): %s", region, len(found), ", ".join(found))
    if len(found) == 1:
        logger.warning("%s: one participant: no noise ceiling, and nothing over participants", region)
    if layout.kind == "patterns":
        compare_units({participant: runs for participant, (runs, _) in found.items()}, region)
    patterns, rsvs = map(list, zip(*found.values(), strict=True))
    return Region(region, rsvs, list(found), group=False, patterns=patterns if layout.kind == "patterns" else None)


def _make_readers(template: str, layout: OwnData, region: str, said: set) -> list[Callable[[str], Content]]:
    """Return `_make_reader`'s function for each run, or one where the template names no runs."""
    runs = layout.runs if "{run}" in template else [""]
    return [_make_reader(template.replace("{run}", run), layout, region, said) for run in runs]


def _make_reader(template: str, layout: OwnData, region: str, said: set) -> Callable[[str], Content]:
    """Return a function from a participant to what the template names; an array of all participants is read once."""

    def read(participant: str) -> Content:
        mask = layout.masks and fill_template(layout.masks, participant, region)
        return read_values(fill_template(template, participant, region), mask)

    if "{participant}" in template:
        return lambda participant: _refuse_no_array(read(participant), fill_template(template, participant, region))
    content, who = read(layout.participants[0]), f"{fill_template(template, '', region)}: region {region}"
    check_order(content.labels, layout.participants, "participant", who, said)
    values, n = content.values, len(layout.participants)
    if n == 1 and values.dtype != object and values.ndim <= (1 if layout.triangle else 2):
        values = [values]
    elif layout.participants_axis == "last" and values.dtype != object and values.ndim > 1:
        values = np.moveaxis(values, -1, 0)
    if np.ndim(values) == 0 or len(values) != n:
        shape = content.values.shape
        last = n in shape[-1:] and layout.participants_axis == "first"
        raise ValueError(
            f"{who}: found an array of shape {shape}; {{participant}} does not stand in {template}, so that the first axis "
            f"is that of the {n} participants"
            + ("; if they are the last axis, give participants_axis: last" if last else "")
        )
    each = {one: replace(content, values=np.asarray(v)) for one, v in zip(layout.participants, values, strict=True)}
    return lambda participant: _refuse_no_array(each[participant], f"{who}, participant {participant}")


def _refuse_no_array(content: Content, who: str) -> Content:
    """MATLAB's [] stands for what is not there; of its cells one is to be named."""
    if content.values.ndim > 1 and not any(content.values.shape):
        raise NotThereError(f"{who}: holds an empty array, []")
    values = content.values
    if values.dtype == object and values.ndim == 1 and any(isinstance(one, np.ndarray) for one in values):
        shapes = ", ".join(str(np.shape(one)) for one in values[:3])
        raise ValueError(
            f"{who}: holds {len(values)} cells, of shapes {shapes}, and needs one array; name one of them, as (1) behind the "
            "name, or save an array"
        )
    return content


def _prepare_patterns(
    layout: OwnData, n: int, who: str, files: list[np.ndarray], reliability=(), residuals=()
) -> np.ndarray:
    """Return the (n_runs, n_stimuli, n_voxels) responses of the reliable voxels, divided by their noise where residuals are
    given; those of several runs are taken together."""
    names = [f", run {run}" for run in layout.runs or []] or [""]
    runs = [orient_patterns(array, n, layout.axes, who + name) for array, name in zip(files, names, strict=True)]
    if len(numbers := {run.shape[1] for run in runs}) > 1:
        raise ValueError(f"{who}: runs of {' and '.join(map(str, sorted(numbers)))} voxels; all need the same ones")
    patterns = np.concatenate(runs)  # (n_runs * n_stimuli, n_voxels)
    noise = [orient_residuals(array, patterns.shape[1], layout.axes, who) for array in residuals]
    for array in reliability:
        noise = [keep_reliable(part, array, layout.reliability_threshold, who) for part in noise]
        patterns = keep_reliable(patterns, array, layout.reliability_threshold, who)
    varying = find_varying(patterns.reshape(len(runs), n, -1).mean(0), who)
    patterns, noise = patterns[:, varying], [part[:, varying] for part in noise]
    refuse_fill_values(patterns, who)
    if noise:
        normalize = divide_by_noise if layout.noise_normalization == "univariate" else whiten_noise
        patterns = normalize(patterns, np.concatenate(noise), who)
    return patterns.reshape(len(runs), n, -1)


def _refuse_again(values: np.ndarray, who: str, seen: dict[bytes, str]) -> None:
    """Two participants, regions or runs never have the same numbers; a copied file would raise the noise ceiling."""
    digest = hashlib.sha256(values.tobytes()).digest()
    if digest in seen:
        raise ValueError(
            f"{who}: holds the same numbers as {seen[digest]}; has a file been copied, or a name been left out?"
        )
    seen[digest] = who


def refuse_alike(regions: Iterable[Region]) -> Iterator[Region]:
    """Yield regions as they come.

    Raises:
        ValueError: two measurements have the same similarities, within ALIKE: as a copy has that has other digits, its voxels
            in another order, or another scale. Of more than COMPARED pairs some are looked at, evenly spaced.
    """
    known: dict[str, np.ndarray] = {}
    for region in regions:
        for participant, rsv in zip(region.participants, region.rsvs, strict=True):
            some = rsv[:: math.ceil(len(rsv) / COMPARED)].copy()
            _refuse_known(some, f"region {region.name}, participant {participant}", known)
            del rsv
        yield region
        del region  # before the next one is read


def _refuse_known(some: np.ndarray, name: str, known: dict[str, np.ndarray]) -> None:
    for other, its in known.items():
        if np.abs(some - its).max() < ALIKE:
            raise ValueError(
                f"{name}: has the same similarities as {other}; has a file been copied, or a name been left out?"
            )
    known[name] = some


def _list_voxels(layout: OwnData, contents: dict[str, list[Content]]) -> list[Labels]:
    """Return the lists of names along the axis of the voxels; reliabilities have no other."""
    axis = 1 - layout.axes.split(" x ").index("stimuli")
    found = [(key, labels) for key, each in contents.items() for content in each for labels in content.labels]
    return [one for key, one in found if one.axis is not None and (key == "reliability" or one.axis == axis)]


def _check_names(
    layout: OwnData, content: Content, conditions: list[str], participant: str, region: str, who: str, said: set
) -> None:
    """Compare the names in a file with the stimuli's, along their axis, and with the participant's and the region's."""
    labels = content.labels
    if layout.kind == "patterns":
        position = layout.axes.split(" x ").index("stimuli")
        across = [one for one in labels if one.axis == 1 - position]
        refuse_names(
            across, conditions, f"{who}: the names of the stimuli stand along the axis of the voxels; see axes"
        )
        labels = [one for one in labels if one not in across]
    check_order(labels, conditions, "stimulus", who, said)
    if "{participant}" in layout.files:
        check_owner(labels, participant, layout.participants, who)
    if "{region}" in layout.files:
        check_owner([one for one in labels if not one.apart], region, layout.regions, who)
