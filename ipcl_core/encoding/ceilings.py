"""
How much of a voxel's variance over stimuli could be predicted at all, from repeated measurements.
"""

import numpy as np
import scipy.stats
from numpy.typing import NDArray

from ..rsa.noise_ceiling import correct_length, list_halves

NOISE = 0.05
"""Share of voxels without a signal that may be taken for voxels with one."""


def find_least_ceiling(n_runs: int, n_stimuli: int) -> float:
    """Return the ceiling of `measure_explainable` that noise alone reaches in a share NOISE of the voxels.

    The ceiling is 1 - 1 / F, with F the variance between stimuli over that of the residual of stimuli and runs, by
    Fisher's distribution with n - 1 and (n - 1) (m - 1) degrees of freedom where noise is normal and no stimulus differs.
    """
    return float(1 - 1 / scipy.stats.f.isf(NOISE, n_stimuli - 1, (n_stimuli - 1) * (n_runs - 1)))


def measure_explainable(runs: NDArray) -> NDArray:
    """Return the share of the variance of the runs' mean that runs have in common, of each voxel: its noise ceiling for R2.

    With the noise variance s2 of a single run (the variance that is left when stimuli's and runs' means are taken off) and
    the signal's variance t2 (that of the means over m runs less s2 / m), NCSNR is t / s and the share
    NCSNR^2 / (NCSNR^2 + 1 / m) = t2 / (t2 + s2 / m); 0 where t2 is not above 0. Runs' means are taken off where NSD z-scores
    sessions. The root of the share is the correlation with the runs' mean that a perfect model is expected to have.

    Args:
        runs: (m, n_stimuli, n_voxels), two runs or more.

    Returns:
        (n_voxels,) in [0, 1]; NaN with one run, and where a voxel's mean over runs is constant.

    Source: Allen et al. 2022, Nature Neuroscience 25, 116-126; it is Cronbach's alpha of the runs.
    """
    runs = np.asarray(runs, np.float64)
    m, n, _ = runs.shape
    if m < 2:
        return np.full(runs.shape[2], np.nan)
    runs = runs - runs.mean(1, keepdims=True)  # (m, n, v)
    mean = runs.mean(0)
    noise = ((runs - mean) ** 2).sum((0, 1)) / ((m - 1) * (n - 1))
    measured = (mean**2).sum(0) / (n - 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(measured > 0, np.maximum(0, 1 - noise / m / measured), np.nan)


def measure_split_half(runs: NDArray, *, n_splits: int, seed: int) -> NDArray:
    """Return the reliability of the runs' mean from halves of the runs, of each voxel.

    Made by `correct_length` from the mean, over `n_splits` random halvings or all that there are, of the correlation over
    stimuli of the halves' means. A share of the variance as `measure_explainable`, by another way; below 0 where halves do
    not agree.

    Args:
        runs: (m, n_stimuli, n_voxels).

    Returns:
        (n_voxels,); NaN with one run, where a half is constant, and where r is not above -1 / 2.
    """
    runs = np.asarray(runs, np.float64)
    if len(runs) < 2:
        return np.full(runs.shape[2], np.nan)
    halves, _ = list_halves(len(runs), n_splits, seed)  # (n_splits, m) of 0 and 1
    r = np.zeros(runs.shape[2])
    for half in halves:
        a, b = (np.tensordot(side / side.sum(), runs, 1) for side in (half, 1 - half))  # (n, v)
        a, b = a - a.mean(0), b - b.mean(0)
        with np.errstate(invalid="ignore", divide="ignore"):
            r += (a * b).sum(0) / np.sqrt((a**2).sum(0) * (b**2).sum(0)) / len(halves)
    return correct_length(r, len(runs), least=-0.5)
