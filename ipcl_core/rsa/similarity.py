"""
Representational similarity analysis: RSMs and their comparison.

RSM: (n, n) matrix of the Pearson correlations, over units or voxels, between the patterns of n stimuli. RSV: its lower
triangle without the diagonal as a vector of n (n - 1) / 2 pairs (the paper calls it RDV).

Source: Konkle and Alvarez 2020, section 4.2, appendix C.2; Kriegeskorte et al. 2008.
"""

import math
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..config import Comparator
from .tiles import RSVs, Tiled, list_tiles, measure_rows

KERNELS = ("whitened_pearson", "whitened_cosine", "cka")
"""Comparators of whole matrices, centred over rows and columns, instead of pairs."""
SUMS = ("pearson", "cosine")
"""Comparators that are sums over pairs, so that they are made in tiles."""

BLOCK = 8192
"""Units whose products are summed at a time: 2.4 MB of 72 float32 patterns, 330 MB of 10,000."""


def compute_rsm(patterns: ArrayLike) -> NDArray:
    """Return the representational similarity matrix of some patterns.

    Wide float32 patterns are read once, and their products summed in float32 within BLOCK units and in float64 over
    blocks: the result differs from that in float64 by at most 2e-6. Where that is not enough (a pattern that hardly varies
    around its mean, very large or small values, fewer than 2 BLOCK units) and for all other types, everything is done in
    float64.

    Args:
        patterns: (n_stimuli, ...) activations or voxel responses, an array or what gives arrays by `[:, start:stop]`, as a
            dataset in a file, of which a block of units is in memory at a time; the axes behind the first are flattened.

    Returns:
        (n_stimuli, n_stimuli) float64 Pearson correlations, in [-1, 1]; NaN in the row and column of a stimulus whose
        pattern is constant, where the correlation is not defined.

    Raises:
        ValueError: fewer than two units, no real numbers, or a pattern holds a masked or non-finite value; the message names
            the stimulus's number.

    Example:
        >>> compute_rsm([[1, 2, 3], [2, 4, 6], [3, 2, 1]]).round(3).tolist()
        [[1.0, 1.0, -1.0], [1.0, 1.0, -1.0], [-1.0, -1.0, 1.0]]
    """
    patterns = as_units(patterns)
    units = math.prod(patterns.shape[1:])
    if units < 2:
        raise ValueError(f"patterns of {units} unit(s): a correlation needs at least two")
    if patterns.dtype == np.float32 and units >= 2 * BLOCK:
        with np.errstate(over="ignore", invalid="ignore"):
            products, means, _ = _sum_products(patterns, np.float32)
            norms = np.sqrt(np.diag(products))
        least = np.maximum(1e-2 * np.abs(means).max(1), 1e-15) * math.sqrt(units)
        if np.isfinite(norms).all() and (norms > least).all() and np.isfinite(products).all():
            return _normalize(products, norms)
    products, _, largest = _sum_products(patterns, np.float64)
    finite = np.isfinite(largest)
    if not finite.all():
        raise ValueError(f"the pattern of stimulus {np.flatnonzero(~finite)[0]} (from 0) holds non-finite values")
    norms = np.sqrt(np.diag(products))
    return _normalize(products, np.where(norms <= 1e-12 * largest * math.sqrt(units), np.nan, norms))


def as_units(patterns: ArrayLike) -> NDArray:
    """Return patterns as they are where they can be read in blocks of units, else as an array, (n, ...)."""
    if not isinstance(getattr(patterns, "dtype", None), np.dtype) or np.ma.isMaskedArray(patterns):
        patterns = fill_masked(patterns)
    if patterns.dtype.kind not in "biuf":
        raise ValueError(f"patterns of type {patterns.dtype}: needs real numbers")
    return patterns if len(patterns.shape) > 1 else np.asarray(patterns)[:, None]


def fill_masked(values: ArrayLike) -> NDArray:
    """Return an array, or a tensor, as an array whose masked numbers are NaN: numpy would pass over the mask."""
    if hasattr(values, "detach"):  # torch
        values = values.detach().cpu()
        values = values.float() if str(values.dtype) == "torch.bfloat16" else values  # numpy has no such numbers
    return values.astype(np.float64).filled(np.nan) if np.ma.is_masked(values) else np.asarray(values)


def read_blocks(patterns: NDArray, dtype: type) -> Iterator[NDArray]:
    """Yield the (n, ...) patterns in blocks of BLOCK units, (n, BLOCK or fewer)."""
    n, rest = len(patterns), math.prod(patterns.shape[2:])
    units = patterns.shape[1] * rest
    for start in range(0, units, BLOCK):
        stop = min(start + BLOCK, units)
        first = start // rest
        part = patterns[:, first : -(-stop // rest)].reshape(n, -1)
        yield part[:, start - first * rest : stop - first * rest].astype(dtype, copy=False)


def _sum_products(patterns: NDArray, dtype: type) -> tuple[NDArray, NDArray, NDArray]:
    """Return the sums of the products of (n, ...) patterns less their means, (n, n) float64, the means of each block of
    units, (n, n_blocks), and the largest number of each pattern, (n,); numbers that are not finite stay so.

    The products are taken around the block's means; those of the block's means around the whole mean are added.
    """
    n, units = len(patterns), math.prod(patterns.shape[1:])
    products, means, widths, largest = np.zeros((n, n)), [], [], np.zeros(n)
    centered = np.empty((n, min(BLOCK, units)), dtype)
    with np.errstate(over="ignore", invalid="ignore"):
        for block in read_blocks(patterns, dtype):
            widths.append(block.shape[1])
            means.append(block @ np.full(widths[-1], 1 / widths[-1], dtype))
            if dtype == np.float64:
                largest = np.maximum(largest, np.maximum(block.max(1), -block.min(1)))
            block = np.subtract(block, means[-1][:, None], out=centered[:, : widths[-1]])
            products += block @ block.T
        means, widths = np.array(means, np.float64).T, np.array(widths)  # (n, n_blocks), (n_blocks,)
        around = means - (means @ widths / units)[:, None]
        products += (around * widths) @ around.T
    return products, means, largest


def _normalize(products: NDArray, norms: NDArray) -> NDArray:
    rsm = np.outer(norms, norms)
    np.clip(np.divide(products, rsm, out=rsm), -1, 1, out=rsm)
    np.fill_diagonal(rsm, np.where(np.isnan(norms), np.nan, 1.0))
    return rsm


def measure_distances(patterns: ArrayLike) -> NDArray:
    """Return the squared Euclidean distances of patterns, divided by the number of units.

    Args:
        patterns: (n_stimuli, ...) activations or voxel responses; the axes behind the first are flattened.

    Returns:
        (n_stimuli, n_stimuli) float64, 0 on the diagonal; of noise-normalised voxels squared Mahalanobis distances.

    Raises:
        ValueError: a pattern holds a non-finite value.
    """
    patterns = as_units(patterns)
    products = compute_gram(patterns)  # of patterns less their mean: distances stay, rounding is less
    norms = np.diag(products).copy()
    distances = norms[:, None] + norms
    products *= 2
    distances -= products
    np.maximum(distances, 0, out=distances)
    distances /= math.prod(patterns.shape[1:])
    np.fill_diagonal(distances, 0)
    return distances


def compute_gram(patterns: ArrayLike) -> NDArray:
    """Return the scalar products of patterns less their mean over stimuli, computed in float64 by blocks of units.

    Args:
        patterns: (n_stimuli, ...) activations or voxel responses; the axes behind the first are flattened.

    Returns:
        (n_stimuli, n_stimuli) float64: the Gram matrix.

    Raises:
        ValueError: a pattern holds a non-finite value.
    """
    patterns = as_units(patterns)
    products = np.zeros((len(patterns), len(patterns)))
    for block in read_blocks(patterns, np.float64):
        block = block - block.mean(0)
        products += block @ block.T
    if not np.isfinite(products).all():
        raise ValueError("patterns hold non-finite values")
    return products


def measure_crossnobis(patterns: ArrayLike) -> NDArray:
    """Return the crossnobis distances of repeated measurements: cross-validated, squared, divided by the number of voxels.

    The differences of two patterns in each two runs are multiplied, so that noise which runs do not share adds nothing on
    average: those of equal patterns lie around 0. They are Mahalanobis distances where voxels are noise-normalised, else
    Euclidean.

    Args:
        patterns: (n_runs, n_stimuli, n_voxels), two runs or more.

    Returns:
        (n_stimuli, n_stimuli) float64, 0 on the diagonal.

    Raises:
        ValueError: a pattern holds a non-finite value, or there is one run.

    Source: Walther et al. 2016; Diedrichsen et al. 2021.
    """
    runs = np.asarray(patterns, np.float64)
    n_runs, _, n_voxels = runs.shape
    if n_runs < 2 or not np.isfinite(runs).all():
        raise ValueError(f"needs finite patterns of two runs or more, found {n_runs}")
    runs = runs - runs.mean(1, keepdims=True)  # distances stay, rounding is less
    total = runs.sum(0)
    products = (total @ total.T - np.einsum("riv,rjv->ij", runs, runs, optimize=True)) / (n_runs * (n_runs - 1))
    norms = np.diag(products)
    distances = (norms[:, None] + norms - products - products.T) / n_voxels
    np.fill_diagonal(distances, 0)
    return distances


def bound_rounding(rows: NDArray) -> NDArray:
    """Return the largest norm that (..., n) rows less their mean can owe to rounding alone: (...)."""
    return 1e-12 * np.abs(rows).max(-1, initial=0) * math.sqrt(rows.shape[-1])


def center_rows(rows: NDArray) -> tuple[NDArray, NDArray]:
    """Return (..., n) rows less their mean, and the norms of these, (...): NaN for a row that is constant."""
    centered = rows - rows.mean(-1, keepdims=True)
    norms = np.linalg.norm(centered, axis=-1)
    return centered, np.where(norms <= bound_rounding(rows), np.nan, norms)


def vectorize_rsm(rsm: ArrayLike, *, unit: float = 1) -> NDArray:
    """Return the lower triangle of a (n, n) matrix without its diagonal: (n (n - 1) / 2,), row by row.

    Args:
        rsm: similarities, or distances.
        unit: how large they are, as 1 of correlations.

    Raises:
        ValueError: the matrix is not square, or not symmetric within 1e-6 of the unit (of its largest number where that is
            above).

    Example:
        >>> vectorize_rsm([[1, 0.5, 0.2], [0.5, 1, 0.3], [0.2, 0.3, 1]]).tolist()
        [0.5, 0.2, 0.3]
    """
    rsm = fill_masked(rsm)
    if rsm.ndim != 2 or rsm.shape != rsm.T.shape:
        raise ValueError(f"found an array of shape {rsm.shape}, needs a square matrix")
    largest = np.abs(rsm).max(initial=unit, where=np.isfinite(rsm))
    for start in range(0, len(rsm), 256):  # a matrix of 10,000 patterns is of 0.8 GB
        rows = slice(start, start + 256)
        equal = np.isclose(rsm[rows], rsm[:, rows].T, rtol=0, atol=1e-6 * largest, equal_nan=True)
        if not equal.all():
            row, column = np.argwhere(~equal)[0] + (start, 0)
            raise ValueError(
                f"the matrix is not symmetric: {rsm[row, column]:.6g} in row {row}, column {column} (from 0), "
                f"{rsm[column, row]:.6g} across"
            )
    return rsm[np.tri(len(rsm), k=-1, dtype=bool)]


def correlate(a: ArrayLike, b: ArrayLike) -> float:
    """Return the Pearson correlation of two RSVs, NaN where either is constant or holds NaN."""
    a, a_norm = center_rows(np.asarray(a, dtype=np.float64))
    b, b_norm = center_rows(np.asarray(b, dtype=np.float64))
    return float(a @ b / (a_norm * b_norm))


def embed_rsvs(rsvs: ArrayLike, comparator: Comparator = "pearson") -> NDArray:
    """Return unit vectors whose scalar products are the similarity of RSVs by a comparator other than kendall.

    Args:
        rsvs: (k, n_pairs) Pearson similarities.
        comparator: pearson; spearman; cosine (of the distances 1 - similarity); cka (linear centred kernel alignment of
            the patterns, each standardised over its units, for which the RSM is the kernel); whitened_cosine and
            whitened_pearson (the same two of distances whose noise is correlated, because pairs share stimuli, and is
            whitened: rsatoolbox's cosine_cov and corr_cov for patterns with equal, independent noise).

    Returns:
        (k, n_pairs), for KERNELS (k, n (n + 1) / 2) with the diagonal; NaN in the rows that are constant or hold NaN.

    Source: Kriegeskorte et al. 2008; Kornblith et al. 2019 (cka); Diedrichsen et al. 2021 (whitening; whitened_cosine of
    all stimuli equals cka).
    """
    rsvs = np.asarray(rsvs, dtype=np.float64)
    if comparator in SUMS:
        return embed_tiles(rsvs, comparator)(slice(0, rsvs.shape[1]))
    if comparator in KERNELS:
        if comparator == "whitened_pearson":
            rsvs = 1 + rsvs - rsvs.mean(1, keepdims=True)
        kernels = fill_rsms(rsvs)
        means = kernels.mean(1, keepdims=True)  # (k, 1, n)
        kernels = kernels - means - means.swapaxes(1, 2) + means.mean(2, keepdims=True)
        rows, columns = np.tril_indices(kernels.shape[1])
        vectors = kernels[:, rows, columns] * np.where(rows == columns, 1, math.sqrt(2))
        norms = np.linalg.norm(vectors, axis=1)
        norms[norms <= bound_rounding(rsvs)] = np.nan
    else:
        vectors, norms = center_rows(_rank(join_ties(rsvs)))
        norms[np.isnan(rsvs).any(1)] = np.nan
    return vectors / norms[:, None]


def embed_tiles(rsvs: RSVs, comparator: Comparator = "pearson") -> Callable[[slice], NDArray]:
    """Return a function from places of the vectors of `embed_rsvs` to these parts, (k, n_places).

    By the comparators SUMS, of RSVs in tiles that is all that is ever in memory; by the others all is.
    """
    if comparator not in SUMS:
        vectors = embed_rsvs(rsvs, comparator)
        return lambda places: vectors[:, places]
    if comparator == "pearson":
        means, norms, _ = measure_rows(rsvs)
    else:
        squares = [((1 - np.asarray(rsvs[:, tile], np.float64)) ** 2).sum(1) for tile in list_tiles(rsvs.shape[1])]
        norms = np.sqrt(sum(squares))
        norms[norms == 0] = np.nan

    def read(places: slice) -> NDArray:
        rows = np.asarray(rsvs[:, places], np.float64)
        return (rows - means[:, None] if comparator == "pearson" else 1 - rows) / norms[:, None]

    return read


def count_places(n_pairs: int, comparator: Comparator) -> int:
    """Return the length of the vectors of `embed_rsvs`."""
    return n_pairs + count_stimuli(n_pairs) if comparator in KERNELS else n_pairs


def join_ties(rsvs: ArrayLike) -> NDArray:
    """Return (..., n_pairs) RSVs, by their largest number, in which what differs by rounding alone is equal: as means of the
    same ratings, added in another order, or RSMs of patterns of 0 and 1."""
    rsvs = np.asarray(rsvs, np.float64)
    largest = np.abs(rsvs).max(-1, keepdims=True, initial=0)
    return np.round(rsvs / np.where(largest == 0, 1, largest), 12)


def _rank(rsvs: NDArray) -> NDArray:
    from scipy.stats import rankdata  # here, because most jobs import this module and need no ranks: a second for each

    return rankdata(rsvs, axis=1)


def fill_rsms(rsvs: NDArray) -> NDArray:
    """Return the symmetric matrices with unit diagonals whose RSVs these are: (k, n_pairs) -> (k, n, n)."""
    n = count_stimuli(rsvs.shape[-1])
    rsms = np.ones((len(rsvs), n, n))
    rows, columns = np.tril_indices(n, -1)
    rsms[:, rows, columns] = rsms[:, columns, rows] = rsvs
    return rsms


def count_stimuli(n_pairs: int) -> int:
    """Return n for n (n - 1) / 2 pairs."""
    return (1 + math.isqrt(1 + 8 * n_pairs)) // 2


def compare_rsvs(a: ArrayLike | Tiled, b: ArrayLike | Tiled, comparator: Comparator = "pearson") -> NDArray:
    """Return the similarity of each RSV of (k, n_pairs) with each of (l, n_pairs) by a comparator: (k, l).

    kendall is tau-a, which does not prefer models that predict ties. NaN where an RSV is constant or holds NaN. The other
    comparators: see `embed_rsvs`.

    Raises:
        ValueError: RSVs of different numbers of pairs, or one that is no row of several.

    Example:
        >>> compare_rsvs([[0.1, 0.2, 0.6]], [[0.2, 0.4, 1.2], [0.6, 0.2, 0.1]], "spearman").round(3).tolist()
        [[1.0, -1.0]]
    """
    a, b = (one if isinstance(one, Tiled) else fill_masked(one).astype(np.float64, copy=False) for one in (a, b))
    if not len(a.shape) == len(b.shape) == 2 or a.shape[1] != b.shape[1]:
        raise ValueError(f"RSVs of shapes {a.shape} and {b.shape}: needs (k, n_pairs) and (l, n_pairs)")
    if comparator == "kendall":
        return np.array([[_measure_tau_a(one, other) for other in join_ties(b)] for one in join_ties(a)])
    x, y = (embed_tiles(one, comparator) for one in (a, b))
    tiles = list_tiles(count_places(a.shape[1], comparator))
    return np.clip(sum(x(tile) @ y(tile).T for tile in tiles), -1, 1)


def _measure_tau_a(a: NDArray, b: NDArray) -> float:
    """tau-a from scipy's tau-b, which is divided by the pairs of values that are not tied."""
    from scipy.stats import kendalltau  # see `_rank`

    n = len(a) * (len(a) - 1) / 2
    untied = [n - (counts * (counts - 1)).sum() / 2 for _, counts in (np.unique(v, return_counts=True) for v in (a, b))]
    return float(kendalltau(a, b).statistic * math.sqrt(untied[0] * untied[1]) / n)


def find_best(r: ArrayLike) -> NDArray:
    """Return the index of the best layer along the last axis: the first of those within 1e-9 of the largest r, which differ by
    rounding alone. NaN is never the best, unless all are."""
    r = np.nan_to_num(np.asarray(r, dtype=np.float64), nan=-np.inf)
    return (r >= r.max(-1, keepdims=True) - 1e-9).argmax(-1)
