"""
How sure a similarity of RSMs is: bootstrap over participants and stimuli, permutations, held-out choice of layers.

All functions take RSVs (`similarity`, `tiles`) and do every resample and layer at once, in blocks of bounded memory. A
resample of the stimuli is how often each one was drawn (`resampled`).

Source: Nili et al. 2014 (permutations); Schütt et al. 2023, eLife 12:e82566 (bootstraps and their correction).
"""

from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import NDArray

from ..config import Comparator
from .resampled import BLOCK_BYTES, compare_resampled
from .similarity import KERNELS, compare_rsvs, count_stimuli, embed_rsvs, embed_tiles, find_best
from .tiles import RSVs, average_rows, list_tiles, locate_pairs, mix_rows

MIN_PARTICIPANTS = 3
MIN_STIMULI = 10
"""With fewer than these no interval is given."""
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Resamples:
    """Bootstrap resamples of participants and stimuli."""

    participants: NDArray
    """(n_resamples, n_participants): how often each was drawn."""
    stimuli: NDArray
    """(n_resamples, n_stimuli): the same; at least three stimuli differ."""


def draw_resamples(n_participants: int, n_stimuli: int, *, n_resamples: int, seed: int) -> Resamples:
    """Draw as many participants and stimuli as there are, with replacement. One factor's draws do not depend on the size
    of the other. Needs three stimuli or more; resamples with fewer than three different ones are drawn again."""

    def draw(n: int, n_different: int, stream: int) -> NDArray:
        rng, counts = np.random.default_rng([seed, stream]), np.zeros((n_resamples, n))
        while (few := (counts > 0).sum(1) < n_different).any():
            counts[few] = _count(rng.integers(n, size=(few.sum(), n)), n)
        return counts

    if n_stimuli < 3:
        raise ValueError(f"{n_stimuli} stimuli: resampling needs at least three")
    return Resamples(draw(n_participants, min(1, n_participants), 0), draw(n_stimuli, 3, 1))


def _count(drawn: NDArray, n: int) -> NDArray:
    """Return how often each of n was drawn: (b, n_drawn) -> (b, n)."""
    return (drawn[:, :, None] == np.arange(n)).sum(1, dtype=float)


def permute_similarity(
    rsvs: RSVs, target: NDArray, permutations: NDArray, comparator: Comparator = "pearson"
) -> NDArray:
    """Return the similarity of RSVs with a target whose stimuli are permuted: (n_permutations, n_layers).

    Args:
        rsvs: (n_layers, n_pairs).
        target: (n_pairs,).
        permutations: (n_permutations, n_stimuli) of 0 to n_stimuli - 1.
        comparator: see `similarity.embed_rsvs`; kendall is not permuted.
    """
    x, y = embed_tiles(rsvs, comparator), embed_rsvs(target[None], comparator)[0]
    n, diagonal = permutations.shape[1], comparator in KERNELS
    matrix = np.zeros((n, n))
    for tile in list_tiles(len(y)):
        rows, columns = locate_pairs(tile, diagonal=diagonal)
        matrix[rows, columns] = matrix[columns, rows] = y[tile]
    matrix = matrix.ravel()
    permutations = permutations.astype(np.int32)
    similarities = np.zeros((len(permutations), len(rsvs)))
    for tile in list_tiles(len(y)):
        rows, columns = (each.astype(np.int32) for each in locate_pairs(tile, diagonal=diagonal))
        part, size = x(tile).T, max(1, BLOCK_BYTES // (16 * len(rows)))
        for start in range(0, len(permutations), size):
            order = permutations[start : start + size]
            permuted = matrix[order[:, rows] * n + order[:, columns]]  # (b, m)
            similarities[start : start + size] += permuted @ part
    return similarities


def draw_permutations(n_stimuli: int, *, n_permutations: int, seed: int) -> NDArray:
    """Return random orders of the stimuli, (n_permutations, n_stimuli)."""
    rng = np.random.default_rng([seed, 2])
    return rng.permuted(np.tile(np.arange(n_stimuli), (n_permutations, 1)), axis=1)


def find_p_values(observed: NDArray, permuted: NDArray) -> tuple[NDArray, NDArray]:
    """Return how often chance gives a similarity as high as the one observed, and how often the best layer does.

    One-sided, with the observed order counted as one of the permutations.

    Args:
        observed: (n_layers,).
        permuted: (n_permutations, n_layers) of `permute_similarity`.

    Returns:
        p of each layer alone, and p against the maximum over the layers, (n_layers,) each; NaN where observed is.
    """
    rounding = 1e-12
    best = np.fmax.reduce(permuted, axis=1, initial=-1)[:, None]
    p_values = [(1 + (chance >= observed - rounding).sum(0)) / (1 + len(permuted)) for chance in (permuted, best)]
    return tuple(np.where(np.isnan(observed), np.nan, p) for p in p_values)


def bootstrap_similarity(
    rsvs: RSVs, participants: RSVs, resamples: Resamples, comparator: Comparator = "pearson"
) -> dict[str, NDArray]:
    """Return the similarity of RSVs with the group RSV, the participants' mean, in each resample.

    Args:
        rsvs: (n_layers, n_pairs).
        participants: (n_participants, n_pairs), or the group's alone, (1, n_pairs).
        resamples: of `draw_resamples`.
        comparator: see `compare_resampled`.

    Returns:
        What was resampled, "participants", "stimuli" or "both" -> (n_resamples, n_layers). Only what is not too few:
        MIN_PARTICIPANTS, MIN_STIMULI.
    """
    samples, groups = {}, mix_rows(resamples.participants, participants)
    if enough_participants := len(participants) >= MIN_PARTICIPANTS:
        samples["participants"] = compare_rsvs(groups, rsvs, comparator)
    if resamples.stimuli.shape[1] >= MIN_STIMULI:
        mean = average_rows(participants)[None]
        samples["stimuli"] = compare_resampled(rsvs, mean, resamples.stimuli, comparator)
        if enough_participants:
            samples["both"] = compare_resampled(rsvs, groups, resamples.stimuli, comparator)
    return samples


def estimate_variances(samples: dict[str, NDArray], n_participants: int, n_stimuli: int) -> dict[str, NDArray]:
    """Return the variance over each kind of resample, corrected as in rsatoolbox 0.3: key -> (n_layers,).

    Resamples in which a vector is constant (NaN) are left out; where they are more than half, the variance is NaN. The
    variance over one factor is multiplied by n / (n - 1). That over both is the sum of the two, less their
    interaction, which the resampling of both counts too often; it is at least each of them, and at most the uncorrected.

    Args:
        samples: of `bootstrap_similarity`, or differences of such.

    Source: Schütt et al. 2023, "two-factor bootstrap".
    """
    raw = {key: _find_variance(sample) for key, sample in samples.items()}
    scales = {"participants": n_participants / max(1, n_participants - 1), "stimuli": n_stimuli / (n_stimuli - 1)}
    variances = {key: scale * raw[key] for key, scale in scales.items() if key in raw}
    if "both" in raw:
        interaction = scales["participants"] * scales["stimuli"] * (raw["both"] - raw["participants"] - raw["stimuli"])
        single = np.maximum(variances["participants"], variances["stimuli"])
        both = np.maximum(variances["participants"] + variances["stimuli"] - interaction, single)
        variances["both"] = np.minimum(both, raw["both"])
    return variances


def _find_variance(sample: NDArray) -> NDArray:
    """Return the variance over the first axis of what is defined; NaN where more than half is not."""
    variance, undefined = np.var(sample, axis=0, ddof=1), np.isnan(sample).sum(0)
    some = (undefined > 0) & (2 * undefined <= len(sample))
    if some.any():
        n = np.maximum(len(sample) - undefined, 2)
        squares = np.nansum((sample - np.nansum(sample, axis=0) / n) ** 2, axis=0)
        variance = np.where(some, squares / (n - 1), variance)
    return variance


def count_freedom(n_participants: int, n_stimuli: int) -> dict[str, int]:
    """Return the degrees of freedom of each kind of resample, as in rsatoolbox."""
    single = {"participants": n_participants - 1, "stimuli": n_stimuli - 1}
    return single | {"both": min(single.values())}


def find_interval(center: NDArray, variance: NDArray, freedom: int, *, largest: float = 1) -> tuple[NDArray, NDArray]:
    """Return the limits of the CONFIDENCE interval of Student's t around an estimate, cut at -largest and largest."""
    half = scipy.stats.t.ppf((1 + CONFIDENCE) / 2, freedom) * np.sqrt(variance)
    return np.clip(center - half, -largest, largest), np.clip(center + half, -largest, largest)


def find_p_of_differences(difference: NDArray, variance: NDArray, freedom: int, *, one_sided: bool = False) -> NDArray:
    """Return the p of differences against 0 by Student's t, as in rsatoolbox: two-sided, or that they are above 0."""
    t = difference / np.sqrt(np.maximum(variance, np.finfo(float).eps))
    return scipy.stats.t.sf(t, freedom) if one_sided else 2 * scipy.stats.t.sf(np.abs(t), freedom)


def control_false_discoveries(p: NDArray) -> NDArray:
    """Return Benjamini and Hochberg's q of each p; NaN stay NaN and do not count."""
    q, known = np.full(len(p), np.nan), ~np.isnan(p)
    if known.any():
        q[known] = scipy.stats.false_discovery_control(p[known])
    return q


@dataclass(frozen=True)
class HeldOut:
    """How well a layer does on data that did not choose it."""

    layers: NDArray
    """(n_choices,) the layers chosen without the held-out data."""
    r: float
    """Mean correlation of these layers on the held-out data."""
    r_same: float
    """The same for the layer that all data chose: it has seen the held-out data."""

    @property
    def shrinkage(self) -> float:
        return self.r_same - self.r


def hold_out_participants(rsvs: RSVs, participants: RSVs) -> HeldOut:
    """Choose the layer on all participants but one, judge it on that one; each in turn.

    Args:
        rsvs: (n_layers, n_pairs), all defined.
        participants: (n_participants, n_pairs), two or more.
    """
    n = len(participants)
    others = mix_rows(1 - np.eye(n), participants)  # their mean but for a factor
    chosen = find_best(compare_rsvs(others, rsvs))
    single = compare_rsvs(participants, rsvs)
    best = find_best(compare_rsvs(average_rows(participants)[None], rsvs)[0])
    return HeldOut(chosen, float(single[np.arange(n), chosen].mean()), float(single[:, best].mean()))


def hold_out_stimuli(rsvs: RSVs, group: NDArray, *, n_splits: int, seed: int) -> HeldOut:
    """Choose the layer on one half of the stimuli, judge it on the other; both ways, in random splits.

    A vector that is constant over a half counts as a correlation of 0 there.

    Args:
        rsvs: (n_layers, n_pairs), all defined.
        group: (n_pairs,), for six stimuli or more.
    """
    n = count_stimuli(len(group))
    order = draw_permutations(n, n_permutations=n_splits, seed=seed)
    first = (order < n // 2).astype(float)
    halves = [np.nan_to_num(compare_resampled(rsvs, group[None], half)) for half in (first, 1 - first)]
    chosen = np.concatenate([find_best(half) for half in halves])
    judged = np.concatenate(halves[::-1])
    best = find_best(compare_rsvs(group[None], rsvs)[0])
    return HeldOut(chosen, float(judged[np.arange(len(judged)), chosen].mean()), float(judged[:, best].mean()))
