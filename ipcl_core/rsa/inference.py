"""
How sure a similarity of RSMs is: bootstrap over participants and stimuli, permutations, held-out choice of layers.

All functions take RSVs (`similarity`) and do every resample and layer at once, in blocks of bounded memory. A resample of the
stimuli is how often each one was drawn; pairs of one and the same stimulus are left out, as in rsatoolbox.

Source: Nili et al. 2014 (permutations); Schütt et al. 2023, eLife 12:e82566 (bootstraps and their correction).
"""

from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import NDArray

from ..config import Comparator
from .similarity import KERNELS, compare_rsvs, count_stimuli, embed_rsvs, fill_rsms, find_best

MIN_PARTICIPANTS = 3
MIN_STIMULI = 10
"""With fewer than these no interval is given."""
CONFIDENCE = 0.95
BLOCK_BYTES = 1 << 26


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


def compare_resampled(rsvs: NDArray, targets: NDArray, stimuli: NDArray, comparator: Comparator = "pearson") -> NDArray:
    """Return the similarity of RSVs with a target in each resample of the stimuli.

    Args:
        rsvs: (n_layers, n_pairs).
        targets: (n_resamples or 1, n_pairs), one a resample.
        stimuli: (n_resamples, n_stimuli), how often each was drawn.
        comparator: see `similarity.embed_rsvs`; there is no resampling of kendall.

    Returns:
        (n_resamples, n_layers); NaN where a vector is constant in a resample, or holds NaN.
    """
    n_layers, n_pairs = rsvs.shape
    # rsvs and targets as they are, once: the moments then differ little from those of standardised vectors
    if comparator in ("pearson", "whitened_pearson"):
        rsvs, targets = embed_rsvs(rsvs), embed_rsvs(targets)
    elif comparator in ("cosine", "whitened_cosine"):
        rsvs, targets = 1 - rsvs, 1 - targets
    widths = {"spearman": 3 * (n_layers + 1), "cka": 3 * (n_layers + 1), "pearson": 4, "cosine": 4}
    width = widths.get(comparator, 16)
    size = max(1, BLOCK_BYTES // (8 * n_pairs * width))
    similarities = np.empty((len(stimuli), n_layers))
    for start in range(0, len(stimuli), size):
        block = slice(start, start + size)
        y = targets[block] if len(targets) > 1 else targets
        similarities[block] = _compare_block(rsvs, y, stimuli[block], comparator)
    return similarities


def _compare_block(x: NDArray, y: NDArray, stimuli: NDArray, comparator: Comparator) -> NDArray:
    """(n_layers, m), (b or 1, m), (b, n) -> (b, n_layers)."""
    rows, columns = np.tril_indices(stimuli.shape[1], -1)
    if comparator == "cka":
        weights = (stimuli[:, :, None] * stimuli[:, None]).reshape(len(stimuli), -1)  # (b, n n)
        y = _center_kernels(fill_rsms(y)[:, None], stimuli)[:, 0]  # (b, n n)
        x = _center_kernels(fill_rsms(x)[None], stimuli)  # (b, n_layers, n n)
    else:
        weights = stimuli[:, rows] * stimuli[:, columns]  # (b, m)
    if comparator == "spearman":
        each = zip(y, weights[:, None], strict=True) if len(y) > 1 else [(y[0], weights)]
        y = np.concatenate([_rank(*one) for one in each])  # (b, m)
        x = np.stack([_rank(layer, weights) for layer in x], axis=1)  # (b, n_layers, m)

    def sum_with(vectors: NDArray, x: NDArray) -> NDArray:
        """(b, m), x -> (b, n_layers)"""
        return vectors @ x.T if x.ndim == 2 else np.einsum("bm,blm->bl", vectors, x, optimize=True)

    weighted = weights * y
    xx, xy, yy = sum_with(weights, x * x), sum_with(weighted, x), (weighted * y).sum(1, keepdims=True)
    if comparator in ("pearson", "spearman", "whitened_pearson"):
        total = weights.sum(1, keepdims=True)
        x_mean, y_mean = sum_with(weights, x) / total, weighted.sum(1, keepdims=True) / total
        constant = 1e-12 * xx, 1e-12 * yy
        xx, xy, yy = xx - total * x_mean**2, xy - total * x_mean * y_mean, yy - total * y_mean**2
        xx, yy = np.where(xx <= constant[0], np.nan, xx), np.where(yy <= constant[1], np.nan, yy)
    else:
        x_mean, y_mean = np.zeros_like(xx), np.zeros_like(yy)
    if comparator.startswith("whitened"):
        shared = _find_shared_noise(x, y, x_mean, y_mean, stimuli)
        xx, xy, yy = (sums - part for sums, part in zip((xx, xy, yy), shared, strict=True))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.clip(xy / np.sqrt(xx * yy), -1, 1)


def _rank(values: NDArray, weights: NDArray) -> NDArray:
    """Return the ranks, ties averaged, of (m,) values that stand (b, m) times each: (b, m)."""
    order = np.argsort(values)
    _, starts, ties = np.unique(values[order], return_index=True, return_inverse=True)
    size = np.add.reduceat(weights[:, order], starts, axis=1)  # (b, n_different)
    ranks = np.empty(weights.shape)
    ranks[:, order] = (np.cumsum(size, axis=1) - (size - 1) / 2)[:, ties]
    return np.where(np.isnan(values), np.nan, ranks)


def _find_shared_noise(
    x: NDArray, y: NDArray, x_mean: NDArray, y_mean: NDArray, stimuli: NDArray
) -> tuple[NDArray, NDArray, NDArray]:
    """Return what whitening takes off the sums of the products of distances, because pairs share stimuli.

    The covariance of the distances of independent, equally noisy patterns is proportional to V = 2 I + S S', where S
    (n_pairs, n) marks the two stimuli of a pair. Hence 2 x' inv(V) y = x'y - (S'x)' inv(2 I + S'S) S'y, here for pairs and
    stimuli that were drawn several times; pairs of one and the same stimulus are left out.

    Args:
        x: (n_layers, m). y: (b or 1, m).
        x_mean, y_mean: (b, n_layers), (b, 1), taken off x and y.
        stimuli: (b, n).

    Returns:
        The parts of x'x, x'y and y'y: (b, n_layers), the same, (b, 1).

    Source: Diedrichsen et al. 2021.
    """
    n = stimuli.shape[1]
    others = stimuli[:, :, None] * stimuli[:, None] * (1 - np.eye(n))  # (b, n, n), how often each pair was drawn
    inner = others + np.eye(n) * (others.sum(2) + 2 * stimuli + (stimuli == 0))[:, None]
    drawn, neighbours = stimuli[..., None], others.sum(2)[..., None]  # (b, n, 1)

    def sum_pairs(vectors: NDArray, means: NDArray) -> NDArray:
        """Sum the pairs of each stimulus: (k, m), (b, k') -> (b, n, k')."""
        matrices = fill_rsms(vectors) - np.eye(n)
        if len(vectors) == means.shape[1]:
            sums = np.einsum("kij,bj->bik", matrices, stimuli, optimize=True)
        else:  # one vector a resample
            sums = np.einsum("bij,bj->bi", matrices, stimuli)[..., None]
        return drawn * sums - neighbours * means[:, None]

    x_sums, y_sums = sum_pairs(x, x_mean), sum_pairs(y, y_mean)
    solved = np.linalg.solve(inner, np.concatenate([x_sums, y_sums], axis=2))  # (b, n, n_layers + 1)
    x_solved, y_solved = solved[..., :-1], solved[..., -1:]
    return (x_sums * x_solved).sum(1), (x_sums * y_solved).sum(1), (y_sums * y_solved).sum(1)


def _center_kernels(kernels: NDArray, stimuli: NDArray) -> NDArray:
    """Take the resample's means off (b or 1, k, n, n) kernels, twice: (b, k, n n)."""
    shares = stimuli / stimuli.sum(1, keepdims=True)
    means = np.einsum(
        "bkij,bj->bki", np.broadcast_to(kernels, (len(shares), *kernels.shape[1:])), shares, optimize=True
    )
    whole = np.einsum("bki,bi->bk", means, shares)[:, :, None, None]
    centered = kernels - means[..., None] - means[:, :, None] + whole
    return centered.reshape(*centered.shape[:2], -1)


def permute_similarity(
    rsvs: NDArray, target: NDArray, permutations: NDArray, comparator: Comparator = "pearson"
) -> NDArray:
    """Return the similarity of RSVs with a target whose stimuli are permuted: (n_permutations, n_layers).

    Args:
        rsvs: (n_layers, n_pairs).
        target: (n_pairs,).
        permutations: (n_permutations, n_stimuli) of 0 to n_stimuli - 1.
        comparator: see `similarity.embed_rsvs`; kendall is not permuted.
    """
    x, y = embed_rsvs(rsvs, comparator), embed_rsvs(target[None], comparator)[0]
    n = permutations.shape[1]
    rows, columns = np.tril_indices(n, 0 if comparator in KERNELS else -1)
    matrix = np.zeros((n, n))
    matrix[rows, columns] = matrix[columns, rows] = y
    matrix = matrix.ravel()
    rows, columns = rows.astype(np.int32), columns.astype(np.int32)
    permutations = permutations.astype(np.int32)
    size = max(1, BLOCK_BYTES // (16 * len(rows)))
    similarities = np.empty((len(permutations), len(x)))
    for start in range(0, len(permutations), size):
        order = permutations[start : start + size]
        permuted = matrix[order[:, rows] * n + order[:, columns]]  # (b, m)
        similarities[start : start + size] = permuted @ x.T
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
    rsvs: NDArray, participants: NDArray, resamples: Resamples, comparator: Comparator = "pearson"
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
    samples, groups = {}, resamples.participants @ participants / len(participants)
    if enough_participants := len(participants) >= MIN_PARTICIPANTS:
        samples["participants"] = compare_rsvs(groups, rsvs, comparator)
    if resamples.stimuli.shape[1] >= MIN_STIMULI:
        mean = participants.mean(0, keepdims=True)
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


def find_p_of_differences(difference: NDArray, variance: NDArray, freedom: int) -> NDArray:
    """Return the two-sided p of differences against 0 by Student's t, as in rsatoolbox."""
    t = difference / np.sqrt(np.maximum(variance, np.finfo(float).eps))
    return 2 * scipy.stats.t.sf(np.abs(t), freedom)


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


def hold_out_participants(rsvs: NDArray, participants: NDArray) -> HeldOut:
    """Choose the layer on all participants but one, judge it on that one; each in turn.

    Args:
        rsvs: (n_layers, n_pairs), all defined.
        participants: (n_participants, n_pairs), two or more.
    """
    n = len(participants)
    others = (participants.sum(0) - participants) / (n - 1)
    chosen = find_best(compare_rsvs(others, rsvs))
    single = compare_rsvs(participants, rsvs)
    best = find_best(compare_rsvs(participants.mean(0, keepdims=True), rsvs)[0])
    return HeldOut(chosen, float(single[np.arange(n), chosen].mean()), float(single[:, best].mean()))


def hold_out_stimuli(rsvs: NDArray, group: NDArray, *, n_splits: int, seed: int) -> HeldOut:
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
