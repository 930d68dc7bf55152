"""
A participant's voxel patterns: their axes, the reliable voxels, the similarity vector; every error says whose they are.
"""

import logging
from collections.abc import Sequence

import numpy as np

from ..rsa.similarity import compute_rsm, vectorize_rsm

logger = logging.getLogger(__name__)

FILL, GAP = 100, 2
"""Times the median size, and times the next largest one, above which a number that repeats is a fill value. Below a number at
which data were clipped, others come close."""
ENDS = (-(2**15), 2**15 - 1, 2**16 - 1, -(2**31), 2**31 - 1, 2**32 - 1)
"""Smallest and largest numbers of integer types, which stand for missing ones at less than FILL times the median too."""
UNEQUAL = 10
"""Times another's size up to which a participant's responses may be in the same unit."""
LARGEST = 1e150
"""Of numbers whose squares can be summed in double precision; the smallest is its inverse."""


def orient_patterns(array: np.ndarray, n: int, axes: str, who: str) -> np.ndarray:
    """Return patterns as (n_stimuli, n_voxels) float64.

    Args:
        array: as it was read; of four axes, three are those of a volume and are flattened.
        n: number of stimuli.
        axes: "stimuli x voxels" or "voxels x stimuli".
        who: file, region and participant, which begins each message.

    Raises:
        ValueError: the array has another shape (which says so where it is transposed), no real numbers, or is an RDM or RSM
            (square and symmetric, its diagonal constant).
    """
    array = _flatten_volumes(np.asarray(array), axes)
    position = axes.split(" x ").index("stimuli")
    if array.ndim != 2 or array.shape[position] != n:
        transposed = array.ndim == 2 and array.shape[1 - position] == n
        raise ValueError(
            f"{who}: found an array of shape {array.shape}, needs {axes.replace('stimuli', f'{n} stimuli')}"
            + ("; is it transposed?" if transposed else "")
        )
    array = to_float64(array, who)
    if array.shape == (n, n) and _is_rsm(array):
        raise ValueError(
            f"{who}: the array is square and symmetric, its diagonal is {array[0, 0]:.3g}, as of distances or similarities of "
            "the stimuli; give kind: rdm or rsm"
        )
    return array.T if position else array


def _is_rsm(array: np.ndarray) -> bool:
    """Whether a square matrix is symmetric and its diagonal constant, within parts of its largest number."""
    unit = np.abs(array).max(initial=0, where=np.isfinite(array))
    return np.ptp(np.diag(array)) <= 1e-4 * unit and _is_symmetric(array)


def _is_symmetric(array: np.ndarray) -> bool:
    unit = np.abs(array).max(initial=0, where=np.isfinite(array))
    return array.shape == array.T.shape and np.allclose(array, array.T, rtol=1e-5, atol=1e-8 * unit)


def orient_residuals(array: np.ndarray, n_voxels: int, axes: str, who: str) -> np.ndarray:
    """Return residuals as (n_samples, n_voxels) float64, from the axes that the patterns have.

    Raises:
        ValueError: the array is not of these voxels, has fewer than two samples, or no real numbers, or is symmetric.
    """
    array = _flatten_volumes(np.asarray(array), axes)
    if array.ndim == 2 and not axes.startswith("stimuli"):
        array = array.T
    if array.ndim != 2 or array.shape[1] != n_voxels or len(array) < 2:
        raise ValueError(
            f"{who}: found residuals of shape {array.shape}, needs two or more samples of {n_voxels} voxels, with the axes "
            "as in the patterns"
        )
    array = to_float64(array, f"{who}, residuals")
    if _is_symmetric(array):
        raise ValueError(
            f"{who}: the residuals are square and symmetric, as covariances of the {n_voxels} voxels are; give what these "
            "were computed from"
        )
    return array


def _flatten_volumes(array: np.ndarray, axes: str) -> np.ndarray:
    if array.ndim != 4:
        return array
    return array.reshape(len(array), -1) if axes.startswith("stimuli") else array.reshape(-1, array.shape[-1])


def divide_by_noise(patterns: np.ndarray, residuals: np.ndarray, who: str) -> np.ndarray:
    """Return patterns divided, voxel by voxel, by the standard deviation of the residuals: univariate noise normalisation.

    Args:
        patterns: (n_stimuli, n_voxels).
        residuals: (n_samples, n_voxels), of the regression that the patterns come from.

    Raises:
        ValueError: a voxel's residuals are constant or not finite.

    Source: Walther et al. 2016.
    """
    return patterns / _measure_noise(residuals, who)


def whiten_noise(patterns: np.ndarray, residuals: np.ndarray, who: str) -> np.ndarray:
    """Return patterns times the symmetric inverse root of the residuals' covariance: multivariate noise normalisation.

    Squared Euclidean distances become squared Mahalanobis distances. The covariance is `shrink_covariance`'s.

    Args and errors: see `divide_by_noise`; also where the covariance is singular.

    Source: Walther et al. 2016.
    """
    _measure_noise(residuals, who)
    variances, vectors = np.linalg.eigh(shrink_covariance(residuals))
    if variances[0] <= 1e-10 * variances[-1]:
        raise ValueError(f"{who}: the residuals' covariance is singular; some voxels repeat others: give more samples")
    return patterns @ (vectors / np.sqrt(variances)) @ vectors.T


def shrink_covariance(residuals: np.ndarray) -> np.ndarray:
    """Return the covariance over voxels of (n, n_voxels) residuals, shrunk towards its diagonal: (n_voxels, n_voxels).

    The share of the shrinkage is the one that is expected to be best for n residuals: rsatoolbox's shrinkage_diag.

    Source: Schäfer and Strimmer 2005.
    """
    n = len(residuals)
    centered = residuals - residuals.mean(0)
    covariance = centered.T @ centered / (n - 1)
    standard = centered / np.sqrt(np.diag(covariance))
    r = standard.T @ standard / (n - 1)
    variances = n / (n - 1) ** 2 * ((standard**2).T @ standard**2 / (n - 1) - r**2)  # of each r
    off = ~np.eye(len(r), dtype=bool)
    share = np.clip(variances[off].sum() / max((r[off] ** 2).sum(), np.finfo(float).tiny), 0, 1)
    return covariance * np.where(off, 1 - share, 1)


def _measure_noise(residuals: np.ndarray, who: str) -> np.ndarray:
    noise = residuals.std(axis=0, ddof=1)
    if wrong := (~(noise > 0) | ~np.isfinite(noise)).sum():
        raise ValueError(
            f"{who}: the residuals of {wrong} of {len(noise)} voxels are constant or not finite; leave these voxels out of "
            "the files, or give them a reliability of NaN"
        )
    return noise


def to_float64(array: np.ndarray, who: str) -> np.ndarray:
    """Return the numbers in float64: sums of half and single precision would lose digits.

    Raises:
        ValueError: the array holds other than real numbers.
    """
    if array.dtype.kind not in "fiu":
        raise ValueError(f"{who}: found numbers of type {array.dtype}, needs real ones")
    return array.astype(np.float64)


def keep_reliable(patterns: np.ndarray, reliability: np.ndarray, threshold: float, who: str) -> np.ndarray:
    """Return the voxels whose reliability is above the threshold; NaN is not.

    Args:
        patterns: (n_stimuli, n_voxels).
        reliability: (n_voxels,), or the volume of them; for example split-half correlations.

    Raises:
        ValueError: the reliabilities are not one number a voxel.
    """
    reliability = np.atleast_1d(reliability)
    if reliability.dtype == bool:  # a mask
        reliability = reliability.astype(np.float64)
    if reliability.ndim == 3 or 1 in reliability.shape:
        reliability = reliability.ravel()
    if reliability.shape != patterns.shape[1:]:
        raise ValueError(f"{who}: reliabilities of shape {reliability.shape} for {patterns.shape[1]} voxels")
    numbers = to_float64(reliability, f"{who}, reliability")
    if (largest := numbers.max(initial=-1, where=~np.isnan(numbers))) > 1 + 1e-6:
        logger.warning("%s: reliabilities up to %.3g; is the threshold, %g, of the same unit?", who, largest, threshold)
    return patterns[:, reliability > threshold]  # in their own precision, in which one may equal the threshold


def find_varying(patterns: np.ndarray, who: str) -> np.ndarray:
    """Return which voxels do not hold the same number in every pattern that is compared: (n_voxels,) bool.

    Args:
        patterns: (n_stimuli, n_voxels); of several runs their mean, in which a voxel that is constant within each run is so.

    The others, as zeros outside of the brain, say nothing of the stimuli and would change all similarities; their number is
    logged.
    """
    varying = np.ptp(patterns, axis=0) != 0
    if n := (~varying).sum():
        logger.warning("%s: %d of %d voxels hold one number for all stimuli; left out", who, n, len(varying))
    return varying


def refuse_fill_values(patterns: np.ndarray, who: str) -> None:
    """Raise a ValueError where a number stands for missing ones, as -999 or 1e20: the largest by far, again and again.

    Args:
        patterns: (n_stimuli, n_voxels); where all are whole numbers and none is negative, as counts are, only the ends of
            integer types are looked for.
    """
    sizes = np.where(np.isfinite(patterns), np.abs(patterns), 0)
    if not sizes.any():
        return
    value, usual = patterns.flat[sizes.argmax()], np.median(sizes[sizes > 0])
    places, following = patterns == value, sizes[sizes < abs(value)].max(initial=0)
    if value not in ENDS and (sizes % 1 == 0).all() and patterns.min() >= 0:
        return
    if abs(value) > max(0 if value in ENDS else FILL * usual, GAP * following) and places.sum() > 1:
        raise ValueError(
            f"{who}: {value:.6g} stands in {places.any(0).sum()} of {places.shape[1]} voxels, {places.sum()} times, and half "
            f"of the numbers are below {usual:.3g}: it seems to stand for missing ones; leave these voxels out of the file, "
            "or give them a reliability of NaN"
        )


def compare_units(patterns: dict[str, np.ndarray], region: str) -> None:
    """Warn where participants' responses are so unequal in size that they can hardly be in one unit.

    Args:
        patterns: participant -> (n_runs, n_stimuli, n_voxels).
        region: begins the message.
    """
    sizes = {who: float(np.sqrt(runs.mean(0).var(0).mean())) for who, runs in patterns.items()}
    least, most = min(sizes, key=sizes.__getitem__), max(sizes, key=sizes.__getitem__)
    if sizes[most] > UNEQUAL * sizes[least]:
        logger.warning(
            "region %s: stimuli differ by %.3g in participant %s and by %.3g in %s; are both in one unit? Correlation "
            "distances are the same in any; the group's euclidean and crossnobis distances are almost those of %s alone",
            *(region, sizes[least], least, sizes[most], most, most),
        )


def compute_rsv(patterns: np.ndarray, stimuli: Sequence[str], min_voxels: int, who: str) -> np.ndarray:
    """Return the (n_pairs,) Pearson similarities of (n_stimuli, n_voxels) patterns.

    Raises:
        ValueError: too few voxels, numbers that are not finite (how many voxels, which stimuli), or a stimulus whose pattern
            is constant; also numbers too large or too small to be squared.
    """
    if patterns.shape[1] < min_voxels:
        raise ValueError(f"{who}: {patterns.shape[1]} voxels are left; at least {min_voxels} are needed")
    finite = np.isfinite(patterns)
    if not finite.all():
        raise ValueError(
            f"{who}: {_name_patterns(~finite.all(1), stimuli)} holds numbers that are not finite, in "
            f"{(~finite.all(0)).sum()} of {patterns.shape[1]} voxels; leave these voxels out of the file, or give them a "
            "reliability of NaN"
        )
    if not 1 / LARGEST < np.abs(patterns).max() < LARGEST:
        raise ValueError(f"{who}: numbers up to {np.abs(patterns).max():.3g} cannot be squared; scale them")
    constant = np.ptp(patterns, axis=1) == 0
    if constant.any():
        raise ValueError(
            f"{who}: {_name_patterns(constant, stimuli)} is the same in every voxel, so that it correlates with nothing"
        )
    rsv = vectorize_rsm(compute_rsm(patterns))
    if rsv.max() > 1 - 1e-12:
        pair = name_pair(rsv.argmax(), stimuli)
        logger.warning("%s: the patterns of %s correlate with 1; has one been copied?", who, pair)
    return rsv


def name_pair(number: int, stimuli: Sequence[str]) -> str:
    """Return the names of the two stimuli of a place in a similarity vector."""
    return " and ".join(stimuli[i[number]] for i in np.tril_indices(len(stimuli), -1))


def _name_patterns(wrong: np.ndarray, stimuli: Sequence[str]) -> str:
    return f"the pattern of {wrong.sum()} stimuli ({', '.join(np.array(stimuli)[wrong][:3])})"
