"""
Representational similarity analysis: RSMs, their comparison, the noise ceiling.

RSM: (n, n) matrix of the Pearson correlations, over units or voxels, between the patterns of n stimuli. RSV: its lower
triangle without the diagonal as a vector of n (n - 1) / 2 pairs (the paper calls it RDV).

Source: Konkle and Alvarez 2020, section 4.2, appendix C.2; Kriegeskorte et al. 2008.
"""

import itertools
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray


def compute_rsm(patterns: ArrayLike) -> NDArray:
    """Return the representational similarity matrix of some patterns.

    Args:
        patterns: (n_stimuli, ...) activations or voxel responses; the axes behind the first are flattened.

    Returns:
        (n_stimuli, n_stimuli) float64 Pearson correlations, in [-1, 1]; NaN in the row and column of a stimulus whose
        pattern is constant, where the correlation is not defined.

    Raises:
        ValueError: fewer than two units, or a pattern holds a non-finite value; the message names the stimulus's number.
    """
    patterns = np.asarray(patterns, dtype=np.float64).reshape(len(patterns), -1)  # (n, ...) -> (n, units)
    if patterns.shape[1] < 2:
        raise ValueError(f"patterns of {patterns.shape[1]} unit(s): a correlation needs at least two")
    finite = np.isfinite(patterns).all(1)
    if not finite.all():
        raise ValueError(f"the pattern of stimulus {np.flatnonzero(~finite)[0]} (from 0) holds non-finite values")
    centered, norms = _center(patterns)
    centered /= norms[:, None]
    rsm = np.clip(centered @ centered.T, -1, 1)
    np.fill_diagonal(rsm, np.where(np.isnan(norms), np.nan, 1.0))
    return rsm


def _center(rows: NDArray) -> tuple[NDArray, NDArray]:
    """Return (..., n) rows less their mean, and the norms of these, (...): NaN for a row that is constant."""
    centered = rows - rows.mean(-1, keepdims=True)
    norms = np.linalg.norm(centered, axis=-1)
    rounding = 1e-12 * np.abs(rows).max(-1, initial=0) * math.sqrt(rows.shape[-1])
    return centered, np.where(norms <= rounding, np.nan, norms)


def vectorize_rsm(rsm: ArrayLike) -> NDArray:
    """Return the lower triangle of a (n, n) matrix without its diagonal: (n (n - 1) / 2,), row by row."""
    rsm = np.asarray(rsm)
    return rsm[np.tril_indices(len(rsm), -1)]


def correlate(a: ArrayLike, b: ArrayLike) -> float:
    """Return the Pearson correlation of two RSVs, NaN where either is constant or holds NaN."""
    a, a_norm = _center(np.asarray(a, dtype=np.float64))
    b, b_norm = _center(np.asarray(b, dtype=np.float64))
    return float(a @ b / (a_norm * b_norm))


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


def measure_noise_ceiling(rsvs: ArrayLike, *, n_splits: int, seed: int) -> NoiseCeiling:
    """Estimate the reliability of the group RSV by splitting the participants into two halves.

    Where there are no more than `n_splits` distinct splits, each is used once; else `n_splits` random ones are drawn.
    With an odd number of participants one half is larger by one.

    Args:
        rsvs: (n_participants, n_pairs).
        n_splits: largest number of splits.
        seed: of the random splits.

    Source: appendix C.2 ("we split participants into two sets ... 1000 times").
    """
    rsvs = np.asarray(rsvs, dtype=np.float64)
    n = len(rsvs)
    if n < 2:
        return NoiseCeiling(float("nan"), 0, True)
    half = n // 2
    n_distinct = math.comb(n, half) // (2 if n % 2 == 0 else 1)
    exhaustive = n_distinct <= n_splits
    if exhaustive:
        halves = itertools.islice(itertools.combinations(range(n), half), n_distinct)
    else:
        rng = np.random.default_rng(seed)
        halves = (rng.permutation(n)[:half] for _ in range(n_splits))
    total, correlations = rsvs.sum(0), []
    for members in halves:
        first = rsvs[list(members)].sum(0)
        correlations.append(correlate(first / half, (total - first) / (n - half)))
    return NoiseCeiling(float(np.mean(correlations)), len(correlations), exhaustive)
