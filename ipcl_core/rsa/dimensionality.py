"""
Effective dimensionality of a layer: over how many directions its responses to the stimuli are spread.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .similarity import as_units, compute_gram, read_blocks

MIN_DIMENSIONS = 6
"""Eigenvalues above 0 that a power law needs: three ranks."""
ROUNDING = 1e-12
"""Share of the largest eigenvalue up to which one is rounding."""


class Dimensionality(NamedTuple):
    """Two numbers of the eigenvalues l_1 >= l_2 >= ... of a layer's covariance over stimuli."""

    participation_ratio: float
    """(sum l)^2 / sum l^2, from 1 to n_stimuli - 1; NaN where all stimuli have the same activations."""
    power_law_exponent: float
    """alpha of l_i ~ i^-alpha; NaN with fewer than MIN_DIMENSIONS eigenvalues above 0."""


def measure_dimensionality(patterns: ArrayLike) -> Dimensionality:
    """Return the effective dimensionality of some patterns.

    The eigenvalues are those of the (n_stimuli, n_stimuli) matrix of scalar products of the patterns less their mean, which
    the covariance of the units shares: the smaller of the two is made. The exponent is fitted by least squares of log l on
    log i over the first half of the ranks whose eigenvalue is above 0: the spectrum of a sample falls off behind. Both numbers
    grow with the number of stimuli and are compared for the same stimuli alone.

    Args:
        patterns: (n_stimuli, ...) activations; the axes behind the first are flattened.

    Raises:
        ValueError: a pattern holds a non-finite value.

    Source: participation ratio: Gao et al. 2017, Elmoznino and Bonner 2024; power law of visual responses: Stringer et al.
    2019 (there over ranks 11 to 500 of 2,800 stimuli).
    """
    if not _differ(patterns):
        return Dimensionality(math.nan, math.nan)
    eigenvalues = np.linalg.eigvalsh(_compute_smaller(patterns))[::-1]
    eigenvalues = eigenvalues[eigenvalues > ROUNDING * eigenvalues[0]]
    ratio = float(eigenvalues.sum() ** 2 / (eigenvalues**2).sum())
    if len(eigenvalues) < MIN_DIMENSIONS:
        return Dimensionality(ratio, math.nan)
    first = np.log(eigenvalues[: len(eigenvalues) // 2])
    ranks = np.log(np.arange(1, len(first) + 1))
    return Dimensionality(ratio, -float(np.polyfit(ranks, first, 1)[0]))


def _differ(patterns: ArrayLike) -> bool:
    """Return whether some stimuli differ by more than rounding; blocks behind the first in which they do are not read."""
    blocks = read_blocks(as_units(patterns), np.float64)
    return any(not (np.abs(block - block[0]) <= ROUNDING * np.abs(block).max()).all() for block in blocks)


def _compute_smaller(patterns: ArrayLike) -> NDArray:
    """Return the scalar products of the stimuli, `compute_gram`, or of the units where there are fewer of them."""
    n, units = len(patterns), math.prod(np.shape(patterns)[1:])
    if units >= n:
        return compute_gram(patterns)
    columns = np.asarray(patterns[:, :] if hasattr(patterns, "shape") else patterns, np.float64).reshape(n, -1)
    columns = columns - columns.mean(0)
    products = columns.T @ columns
    if not np.isfinite(products).all():
        raise ValueError("patterns hold non-finite values")
    return products
