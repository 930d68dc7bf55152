"""
One's own brain data, in the files that `config.OwnBrain` names -> stimuli and brain.h5.
"""

import hashlib
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from ..config.templates import fill_template
from ..rsa.similarity import count_stimuli, vectorize_rsm
from .own_files import Content, NotThereError, read_values
from .patterns import (
    check_real,
    compute_rsv,
    divide_by_noise,
    find_varying,
    keep_reliable,
    orient_patterns,
    orient_residuals,
    whiten_noise,
)
from .stimuli import copy_stimuli, list_conditions, strip_suffix
from .store import Region, write_brain

logger = logging.getLogger(__name__)


def import_own_brain(block: dict, stimuli_folder: str | Path, brain: str | Path) -> None:
    """Import stimuli and every participant's patterns, distances or similarities in each region.

    Args:
        block: the checked block of the configuration, see `config.OwnBrain`.
        stimuli_folder: receives a PNG of each stimulus.
        brain: HDF5 file to write.

    Raises:
        ValueError: a file is missing or cannot be read, or does not fit the stimuli, the participants or what is declared
            about it; the message names file, region and participant, what was found and what would be right.
    """
    layout = SimpleNamespace(**block)
    conditions = list_conditions(layout.stimuli, layout.order)
    parsed, seen = [], {}
    for region in layout.regions:
        found = _read_region(layout, conditions, region, seen)
        patterns, rsvs = zip(*found.values(), strict=True)
        logger.info("%s: %d participant(s): %s", region, len(found), ", ".join(found))
        if len(found) == 1:
            logger.warning("%s: one participant: no noise ceiling, and nothing over participants", region)
        patterns = list(patterns) if layout.kind == "patterns" else None
        parsed.append(Region(region, np.stack(rsvs), list(found), group=False, patterns=patterns))
    write_brain(brain, copy_stimuli(conditions, Path(layout.stimuli), Path(stimuli_folder)), parsed)


def _read_region(layout: SimpleNamespace, conditions: list[str], region: str, seen: dict) -> dict[str, tuple]:
    """Return participant -> (patterns or None, similarity vector) of those who have the region.

    `seen` grows by the SHA-256 of each array, with whose it is: what comes again is refused.
    """
    templates = {key: getattr(layout, key) for key in ("files", "reliability", "residuals")}
    readers = {key: _make_readers(template, layout, region) for key, template in templates.items() if template}
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
            _check_names(content, conditions, who)
            _refuse_again(content.values, who if run is None else f"{who}, run {run}", seen)
        if layout.kind == "patterns":
            arrays = {key: [content.values for content in each] for key, each in contents.items()}
            patterns = _prepare_patterns(layout, len(conditions), who, **arrays)
            found[participant] = patterns, compute_rsv(patterns.mean(0), conditions, layout.min_voxels, who)
            logger.info("region %s, participant %s: %d voxels", region, participant, patterns.shape[2])
        else:
            found[participant] = None, _make_rsv(layout, contents["files"][0], conditions, who)
    if not found:
        raise ValueError(f"no participant has region {region}; the first of {len(absent)}: {absent[0]}")
    return found


def _make_readers(template: str, layout: SimpleNamespace, region: str) -> list[Callable[[str], Content]]:
    """Return `_make_reader`'s function for each run, or one where the template names no runs."""
    runs = layout.runs if "{run}" in template else [""]
    return [_make_reader(template.replace("{run}", run), layout, region) for run in runs]


def _make_reader(template: str, layout: SimpleNamespace, region: str) -> Callable[[str], Content]:
    """Return a function from a participant to what the template names; an array of all participants is read once."""

    def read(participant: str) -> Content:
        mask = layout.masks and fill_template(layout.masks, participant, region)
        return read_values(fill_template(template, participant, region), mask)

    if "{participant}" in template:
        return read
    content, n = read(layout.participants[0]), len(layout.participants)
    values = content.values
    if n == 1 and values.dtype != object and values.ndim <= (1 if layout.triangle else 2):
        values = [values]
    if np.ndim(values) == 0 or len(values) != n:
        raise ValueError(
            f"{fill_template(template, '', region)}: region {region}: found an array of shape {content.values.shape}, needs "
            f"one of the {n} participants after the other, as {{participant}} does not stand in {template}"
        )
    return {
        participant: replace(content, values=np.asarray(value))
        for participant, value in zip(layout.participants, values, strict=True)
    }.__getitem__


def _prepare_patterns(
    layout: SimpleNamespace, n: int, who: str, files: list[np.ndarray], reliability=(), residuals=()
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
    varying = find_varying(patterns, who)
    patterns, noise = patterns[:, varying], [part[:, varying] for part in noise]
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


def _check_names(content: Content, conditions: list[str], who: str) -> None:
    """Compare the names in a file with the stimuli's. Lists with less than half of them describe something else."""
    stems = [strip_suffix(name) for name in conditions]
    for names in ([strip_suffix(name) for name in names] for names in content.names):
        if names == stems or 2 * len(set(names) & set(stems)) < len(stems):
            continue
        if sorted(names) == sorted(stems):
            i = next(i for i, pair in enumerate(zip(names, stems, strict=True)) if len(set(pair)) == 2)
            raise ValueError(
                f"{who}: the stimuli stand in another order: number {i + 1} is {names[i]}, and {stems[i]} by the order that "
                "the configuration gives"
            )
        strange = next((f"; {name} is no stimulus" for name in names if name not in stems), "")
        raise ValueError(f"{who}: names {len(names)} stimuli, the configuration {len(stems)}{strange}")


def _make_rsv(layout: SimpleNamespace, content: Content, conditions: list[str], who: str) -> np.ndarray:
    """Return the (n_pairs,) similarities of a matrix or a vector of pairs, whose kind is declared.

    The most similar pair is logged: nothing in a vector tells whether it holds distances or similarities.

    Correlation distances d become 1 - d. Others, which may be negative (cross-validated ones), become 1 - (d - m) / s, with
    m the smallest of 0 and all d, s the largest of all d - m.
    """
    values = np.asarray(content.values)
    check_real(values, who)
    values = _take_pairs(
        values.astype(np.float64), content.triangle or layout.triangle, layout.kind, len(conditions), who
    )
    if not np.isfinite(values).all():
        raise ValueError(f"{who}: {(~np.isfinite(values)).sum()} of {len(values)} pairs hold no finite number")
    low, high = values.min(), values.max()
    if low == high:
        raise ValueError(f"{who}: all {len(values)} pairs hold {low:.6g}, so that nothing correlates with them")
    found = f"found {low:.3g} to {high:.3g}"
    size, closest = ("small", values.argmin()) if layout.kind == "rdm" else ("large", values.argmax())
    pair = " and ".join(conditions[i[closest]] for i in np.tril_indices(len(conditions), -1))
    logger.info("%s: %s, %s, where %s means similar; the most similar pair: %s", who, layout.kind, found, size, pair)
    if layout.kind == "rsm":
        if max(-low, high) > 1 + 1e-6:
            raise ValueError(f"{who}: an RSM holds correlations, from -1 to 1, {found}; of distances give kind: rdm")
        return values
    if layout.distance == "correlation":
        if low < -1e-6 or high > 2 + 1e-6:
            raise ValueError(
                f"{who}: distances 1 - r lie between 0 and 2, {found}; give distance: other for other distances, kind: rsm "
                "for similarities"
            )
        return 1 - values
    values = values - min(low, 0)
    return 1 - values / values.max()


def _take_pairs(values: np.ndarray, triangle: str | None, kind: str, n: int, who: str) -> np.ndarray:
    """Return the lower triangle, row by row, of a square matrix or of a vector of either triangle."""
    n_pairs = n * (n - 1) // 2
    if values.ndim == 2 and 1 in values.shape:  # MATLAB's vectors
        values = values.ravel()
    if values.shape == (n, n):
        _check_diagonal(np.diag(values), kind, who)
        try:
            return vectorize_rsm(values)
        except ValueError as error:
            raise ValueError(f"{who}: {error}") from None
    if values.shape == (n_pairs,):
        if triangle is None:
            raise ValueError(
                f"{who}: holds {n_pairs} pairs in an order that must be declared: triangle: upper (row by row: pdist of scipy "
                "and MATLAB, rsatoolbox) or lower (row by row: numpy.tril_indices)"
            )
        if triangle == "lower":
            return values
        matrix = np.zeros((n, n))
        matrix[np.triu_indices(n, 1)] = values
        return matrix.T[np.tril_indices(n, -1)]
    m = len(values) if values.ndim == 2 else count_stimuli(values.size)
    hint = f"; that is for {m} stimuli" if values.shape in ((m, m), (m * (m - 1) // 2,)) else ""
    raise ValueError(
        f"{who}: found an array of shape {values.shape}{hint}, needs ({n}, {n}) or ({n_pairs},) for {n} stimuli"
    )


def _check_diagonal(diagonal: np.ndarray, kind: str, who: str) -> None:
    """Distances of stimuli with themselves are 0, similarities 1; NaN means that they are not given."""
    right, other = (0, 1) if kind == "rdm" else (1, 0)
    if np.isnan(diagonal).all() or np.allclose(diagonal, right, rtol=0, atol=1e-4):
        return
    if np.allclose(diagonal, other, rtol=0, atol=1e-4):
        what, declared = ("an RSM", "rsm") if kind == "rdm" else ("an RDM", "rdm")
        raise ValueError(f"{who}: its diagonal is {other}, as of {what}; give kind: {declared}")
    raise ValueError(
        f"{who}: the diagonal of an {kind.upper()} is {right}, found {np.nanmin(diagonal):.3g} to {np.nanmax(diagonal):.3g}"
    )
