"""
A participant's distances or similarities of stimuli -> the similarity vector; every error says whose they are.
"""

import logging
from collections.abc import Sequence

import numpy as np

from ..rsa.similarity import count_stimuli, vectorize_rsm
from .patterns import name_pair, to_float64

logger = logging.getLogger(__name__)

SMALL = {"rdm": 0.1, "rsm": 0.05}
"""Distances 1 - r, or similarities, of which none is larger are seldom what they are declared to be."""


def make_rsv(
    values: np.ndarray, kind: str, distance: str, triangle: str | None, conditions: Sequence[str], who: str
) -> np.ndarray:
    """Return the (n_pairs,) similarities of a matrix or a vector of pairs, whose kind is declared.

    The most similar pair is logged: nothing in a vector tells whether it holds distances or similarities.

    Correlation distances d become 1 - d. Others become 1 - (d - m) / s, with m the smallest of 0 and all d (cross-validated
    ones may be negative), s the largest of all d - m.

    Args:
        values: (n, n) or (n_pairs,).
        kind, distance, triangle: see `config.OwnData`.
        conditions: names of the n stimuli.
        who: file, region and participant, which begins each message.

    Raises:
        ValueError: the array has another shape, is not symmetric, holds other than finite real numbers or always the same one,
            or its diagonal or range is not that of its kind.
    """
    values = to_float64(np.asarray(values), who)
    unit = 1 if kind == "rsm" or distance == "correlation" else np.abs(values).max(initial=0, where=np.isfinite(values))
    pairs = _take_pairs(values, triangle, kind, len(conditions), unit, who)
    if not np.isfinite(pairs).all():
        raise ValueError(f"{who}: {(~np.isfinite(pairs)).sum()} of {len(pairs)} pairs hold no finite number")
    low, high = pairs.min(), pairs.max()
    if low == high:
        raise ValueError(f"{who}: all {len(pairs)} pairs hold {low:.6g}, so that nothing correlates with them")
    found = f"found {low:.3g} to {high:.3g}"
    size, closest = ("small", pairs.argmin()) if kind == "rdm" else ("large", pairs.argmax())
    pair = name_pair(closest, conditions)
    logger.info("%s: %s, %s, where %s means similar; the most similar pair: %s", who, kind, found, size, pair)
    _check_range(pairs, kind, distance, unit, found, who)
    if kind == "rsm":
        return pairs
    if distance == "correlation":
        return 1 - pairs
    pairs = pairs - min(low, 0)
    return 1 - pairs / pairs.max()


def _check_range(pairs: np.ndarray, kind: str, distance: str, unit: float, found: str, who: str) -> None:
    """Stop at numbers that their kind never has; warn of those that it hardly ever has."""
    low, high = pairs.min(), pairs.max()
    if kind == "rsm" and max(-low, high) > 1 + 1e-6:
        raise ValueError(
            f"{who}: an RSM holds correlations, from -1 to 1, {found}; of Fisher's z give their hyperbolic tangent, of "
            "distances kind: rdm"
        )
    if kind == "rdm" and low < -1e-6 * unit and distance != "crossvalidated":
        raise ValueError(
            f"{who}: distances are not negative, {found}; correlations, or their Fisher z, are similarities (kind: rsm, with "
            "1 on the diagonal; of z their hyperbolic tangent); cross-validated distances are distance: crossvalidated"
        )
    if kind == "rdm" and distance == "correlation" and high > 2 + 1e-6:
        raise ValueError(
            f"{who}: distances 1 - r lie between 0 and 2, {found}; give distance: other for other distances, kind: rsm for "
            "similarities"
        )
    if distance == "correlation" or kind == "rsm":
        what = "distances 1 - r" if kind == "rdm" else "correlations"
        advice = "distance: other" if kind == "rdm" else "kind: rdm"
        if max(-low, high) < SMALL[kind]:
            logger.warning("%s: %s are seldom all so small, %s; of other distances give %s", who, what, found, advice)
        r = 1 - pairs if kind == "rdm" else pairs
        tenth, median = np.quantile(r, [0.1, 0.5])
        if len(r) >= 15 and r.min() >= 0 and tenth < 0.25 * median:
            logger.warning(
                "%s: no correlation is negative, and many are near 0, %s, as absolute values and squares are, which do not "
                "tell similar from opposite patterns; give r",
                *(who, found),
            )
        steps = np.diff(np.sort(pairs))
        if len(steps) >= 10 and np.ptp(steps) < 1e-3 * steps.mean():
            logger.warning("%s: the pairs are evenly spaced, %s, as ranks or percentiles are, not %s", who, found, what)
    elif high <= 0:
        raise ValueError(
            f"{who}: no distance is positive, {found}; similarities are kind: rsm, distances with another sign need their own"
        )
    elif (share := (pairs < 0).mean()) > 0.25:
        logger.warning(
            "%s: %.0f%% of the distances are negative, %s; cross-validated ones lie around 0 where no stimuli differ; "
            "correlations, or their Fisher z, are similarities, and taken for distances turn every result round",
            *(who, 100 * share, found),
        )


def check_measure(measure: str | None, distance: str, who: str) -> None:
    """Raise a ValueError where a file says that its distances are others than those which are declared.

    Args:
        measure: rsatoolbox's name of the distances, as correlation, squared euclidean, crossnobis; None where there is none.
        distance: see `config.OwnData`.
    """
    if measure and (measure.lower() == "correlation") != (distance == "correlation"):
        right = "correlation" if distance != "correlation" else "other, or crossvalidated where they may be negative"
        raise ValueError(f"{who}: by the file its distances are {measure!r}; give distance: {right}")


def _take_pairs(values: np.ndarray, triangle: str | None, kind: str, n: int, unit: float, who: str) -> np.ndarray:
    """Return the lower triangle, row by row, of a square matrix or of a vector of either triangle.

    Args:
        unit: of the numbers, within a part of which the matrix is symmetric, and its diagonal 0 or 1.
    """
    n_pairs = n * (n - 1) // 2
    if values.ndim == 2 and 1 in values.shape:  # MATLAB's vectors
        values = values.ravel()
    if values.shape == (n, n):
        _check_diagonal(values, kind, unit, who)
        if np.isnan(values[0, -1]) != np.isnan(values[-1, 0]):  # one triangle is left out
            values = np.where(np.isnan(values), values.T, values)
        try:
            return vectorize_rsm(values, unit=unit)
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
    if values.shape == (n_pairs + n,):
        hint = ", as of the pairs and the diagonal; leave the diagonal out"
    raise ValueError(
        f"{who}: found an array of shape {values.shape}{hint}, needs ({n}, {n}) or ({n_pairs},) for {n} stimuli"
    )


def _check_diagonal(values: np.ndarray, kind: str, unit: float, who: str) -> None:
    """Distances of stimuli with themselves are 0, similarities 1; NaN means that they are not given."""
    diagonal = np.diag(values)
    diagonal = diagonal[~np.isnan(diagonal)]  # what else is missing is said where pairs are read
    right = 0 if kind == "rdm" else 1
    if np.allclose(diagonal, right, rtol=0, atol=1e-4 * unit):
        return
    if kind == "rdm" and np.allclose(diagonal, 1, rtol=0, atol=1e-4):
        raise ValueError(f"{who}: its diagonal is 1, as of an RSM; give kind: rsm, or 1 - r")
    if kind == "rsm" and np.allclose(diagonal, 0, rtol=0, atol=1e-4):
        if np.nanmin(values) < -1e-4:
            raise ValueError(
                f"{who}: its diagonal is 0, and others are negative, down to {np.nanmin(values):.3g}: correlations, or their "
                "Fisher z, whose diagonal was set to 0; of correlations set it to 1, of z give the hyperbolic tangent and 1"
            )
        raise ValueError(
            f"{who}: its diagonal is 0, as of an RDM (give kind: rdm if small numbers mean similar), or of similarities whose "
            "diagonal was set to 0 (set it to 1)"
        )
    if kind == "rsm" and np.isposinf(diagonal).all():
        raise ValueError(f"{who}: its diagonal is infinite, as of Fisher's z; give their hyperbolic tangent")
    found = f"found {diagonal.min():.3g} to {diagonal.max():.3g}"
    raise ValueError(f"{who}: the diagonal of an {kind.upper()} is {right}, {found}")
