"""
Noise ceilings: how well participants' RSVs predict each other's.

Source: Konkle and Alvarez 2020, section 4.2, appendix C.2.
"""

import functools
import itertools
import math
from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray

from .inference import CONFIDENCE, MIN_PARTICIPANTS
from .similarity import compare_rsvs
from .tiles import RSVs, Tiled, list_tiles, measure_rows

SPLIT_HALF = "split-half over participants"
"""The kind of noise ceiling that the paper reports."""


@dataclass(frozen=True)
class NoiseCeiling:
    """Split-half reliability of a region's group RSV."""

    r: float
    """Mean correlation between the two halves' mean RSVs, not corrected for their size; NaN with fewer than two
    participants."""
    n_splits: int
    """Splits that were averaged."""
    exhaustive: bool
    """Whether these are all distinct splits."""


def measure_noise_ceiling(rsvs: ArrayLike | Tiled, *, n_splits: int, seed: int) -> NoiseCeiling:
    """Estimate the reliability of the group RSV by splitting the participants into two halves.

    Where there are no more than `n_splits` distinct splits, each is used once; else `n_splits` random ones are drawn.
    With an odd number of participants one half is larger by one.

    Args:
        rsvs: (n_participants, n_pairs).
        n_splits: largest number of splits.
        seed: of the random splits.

    Source: appendix C.2 ("we split participants into two sets ... 1000 times").
    """
    n = len(rsvs)
    if n < 2:
        return NoiseCeiling(float("nan"), 0, True)
    first, exhaustive = list_halves(n, n_splits, seed)  # (n_splits, n)
    means, _, bounds = measure_rows(rsvs := _as_rsvs(rsvs))
    tiles = (rsvs[:, tile] - means[:, None] for tile in list_tiles(rsvs.shape[1]))
    gram = sum(tile @ tile.T for tile in tiles)
    products = [((a @ gram) * b).sum(1) for a, b in ((first, first), (1 - first, 1 - first), (first, 1 - first))]
    rounding = (n * bounds.max()) ** 2
    norms = [np.where(product <= rounding, np.nan, product) for product in products[:2]]
    return NoiseCeiling(float(np.mean(products[2] / np.sqrt(norms[0] * norms[1]))), len(first), exhaustive)


def _as_rsvs(rsvs: ArrayLike | Tiled) -> RSVs:
    return rsvs if isinstance(rsvs, Tiled) else np.asarray(rsvs, np.float64)


@functools.cache
def list_halves(n: int, n_splits: int, seed: int) -> tuple[NDArray, bool]:
    """Return who of n participants is in the first half, (n_splits, n) of 0 and 1, and whether these are all splits."""
    half = n // 2
    n_distinct = math.comb(n, half) // (2 if n % 2 == 0 else 1)
    exhaustive = n_distinct <= n_splits
    if exhaustive:
        members = np.array(list(itertools.islice(itertools.combinations(range(n), half), n_distinct)))
    else:
        rng = np.random.default_rng(seed)
        members = np.array([rng.permutation(n)[:half] for _ in range(n_splits)])
    first = np.zeros((len(members), n))
    np.put_along_axis(first, members, 1, axis=1)
    return first, exhaustive


def correct_length(r: ArrayLike, n: ArrayLike, *, least: float = 0) -> NDArray:
    """Return the reliability of a mean over n participants, or runs, from the correlation of their halves' means.

    2 r / (r + sqrt(r^2 + 4 p q (1 - r^2))), with p and q the halves' shares; of an even number 2 r / (1 + r) (Spearman-Brown).

    Args:
        r, n: of any shape; with odd n one half is larger by one.
        least: where r is not above it, NaN is returned.

    Source: Horst 1951, Psychometrika 16, 153-156 (halves of unequal length).
    """
    r, n = np.asarray(r, np.float64), np.asarray(n, np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.floor(n / 2) / n
        return np.where(r > least, 2 * r / (r + np.sqrt(r**2 + 4 * share * (1 - share) * (1 - r**2))), np.nan)


def measure_leave_one_out(rsvs: ArrayLike | Tiled) -> tuple[float, float]:
    """Return the (lower, upper) noise ceiling of a model's mean correlation with single participants.

    lower: mean correlation of each participant's RSV with the mean of the others'; upper: with the mean of all, which
    no other vector exceeds. RSVs are standardised before they are averaged. NaN with fewer than two participants.

    Args:
        rsvs: (n_participants, n_pairs).

    Source: Nili et al. 2014.
    """
    lower, upper = _correlate_participants(rsvs)
    return (float(lower.mean()), float(upper.mean())) if len(lower) > 1 else (float("nan"), float("nan"))


def find_agreement(rsvs: ArrayLike | Tiled) -> tuple[float, float]:
    """Return the confidence interval, over participants, of the mean correlation of each one's RSV with the others' mean.

    Where it does not lie above 0, nothing shows that the region's RSV is more than noise. Student's t over participants, whose
    correlations share what the others have in common: an approximation. NaN with fewer than inference.MIN_PARTICIPANTS.

    Args:
        rsvs: (n_participants, n_pairs).
    """
    r, _ = _correlate_participants(rsvs)
    if len(r) < MIN_PARTICIPANTS:
        return float("nan"), float("nan")
    half = scipy.stats.t.ppf((1 + CONFIDENCE) / 2, len(r) - 1) * r.std(ddof=1) / math.sqrt(len(r))
    low, high = np.clip([r.mean() - half, r.mean() + half], -1, 1)
    return float(low), float(high)


def _correlate_participants(rsvs: ArrayLike | Tiled) -> tuple[NDArray, NDArray]:
    """Return each participant's correlation with the mean of the others, and with that of all, (n_participants,) each."""
    gram = compare_rsvs(rsvs, rsvs)
    own, total = gram.sum(1), gram.sum()  # with the sum of all; of the sum of all with itself
    with np.errstate(invalid="ignore", divide="ignore"):
        return (own - 1) / np.sqrt(total - 2 * own + 1), own / np.sqrt(total)
