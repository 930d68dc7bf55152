"""
Similarity of RSVs in resamples of the stimuli, in which each is drawn some number of times.

Every resample and layer is done at once, in blocks of bounded memory; by the comparators `similarity.SUMS` also in tiles of
pairs. Pairs of one and the same stimulus are left out, as in rsatoolbox.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ..config import Comparator
from .similarity import SUMS, embed_rsvs, embed_tiles, fill_rsms, join_ties
from .tiles import RSVs, list_tiles, locate_pairs

BLOCK_BYTES = 1 << 26


def compare_resampled(rsvs: RSVs, targets: RSVs, stimuli: NDArray, comparator: Comparator = "pearson") -> NDArray:
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
    if comparator in SUMS:
        # of unit vectors: the moments in a resample then differ little from 1
        x, y, sums = embed_tiles(rsvs, comparator), embed_tiles(targets, comparator), None
        for tile in list_tiles(n_pairs):
            found = _sum_tile(x(tile), y(tile), stimuli, tile)
            sums = found if sums is None else [a + b for a, b in zip(sums, found, strict=True)]
        return _divide_sums(sums, comparator)
    rsvs, targets = rsvs[:, :], targets[:, :]
    if comparator == "whitened_pearson":
        rsvs, targets = embed_rsvs(rsvs), embed_rsvs(targets)
    elif comparator == "whitened_cosine":
        rsvs, targets = 1 - rsvs, 1 - targets
    elif comparator == "spearman":
        rsvs, targets = join_ties(rsvs), join_ties(targets)
    width = 3 * (n_layers + 1) if comparator in ("spearman", "cka") else 16
    size = max(1, BLOCK_BYTES // (8 * n_pairs * width))
    similarities = np.empty((len(stimuli), n_layers))
    for start in range(0, len(stimuli), size):
        block = slice(start, start + size)
        y = targets[block] if len(targets) > 1 else targets
        similarities[block] = _compare_block(rsvs, y, stimuli[block], comparator)
    return similarities


def _sum_tile(x: NDArray, y: NDArray, stimuli: NDArray, tile: slice) -> list[NDArray]:
    """Return `_sum_pairs` of every resample: (n_layers, m), (b or 1, m), (b, n), the m pairs."""
    rows, columns = locate_pairs(tile)
    size, found = max(1, BLOCK_BYTES // (32 * len(rows))), []
    for start in range(0, len(stimuli), size):
        drawn = stimuli[start : start + size]
        each = y[start : start + size] if len(y) > 1 else y
        found.append(_sum_pairs(drawn[:, rows] * drawn[:, columns], x, each))
    return [np.concatenate(sums) for sums in zip(*found, strict=True)]


def _sum_pairs(weights: NDArray, x: NDArray, y: NDArray) -> list[NDArray]:
    """Return the weighted sums of 1, x, y, x x, x y and y y over pairs: (b, n_layers), of what is without x (b, 1).

    Args:
        weights: (b, m). x: (n_layers, m) or (b, n_layers, m). y: (b or 1, m).
    """

    def sum_with(vectors: NDArray, x: NDArray) -> NDArray:
        return vectors @ x.T if x.ndim == 2 else np.einsum("bm,blm->bl", vectors, x, optimize=True)

    weighted = weights * y
    total, y_sum, yy = (each.sum(1, keepdims=True) for each in (weights, weighted, weighted * y))
    return [total, sum_with(weights, x), y_sum, sum_with(weights, x * x), sum_with(weighted, x), yy]


def _divide_sums(sums: list[NDArray], comparator: Comparator, find_shared: Callable | None = None) -> NDArray:
    """Return the similarities by the sums of `_sum_pairs`: (b, n_layers).

    Args:
        find_shared: from means of x and y to what whitening takes off x x, x y and y y.
    """
    total, x_sum, y_sum, xx, xy, yy = sums
    x_mean, y_mean = np.zeros_like(xx), np.zeros_like(yy)
    if comparator in ("pearson", "spearman", "whitened_pearson"):
        x_mean, y_mean = x_sum / total, y_sum / total
        constant = 1e-12 * xx, 1e-12 * yy
        xx, xy, yy = xx - total * x_mean**2, xy - total * x_mean * y_mean, yy - total * y_mean**2
        xx, yy = np.where(xx <= constant[0], np.nan, xx), np.where(yy <= constant[1], np.nan, yy)
    if find_shared is not None:
        xx, xy, yy = (sums - part for sums, part in zip((xx, xy, yy), find_shared(x_mean, y_mean), strict=True))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.clip(xy / np.sqrt(xx * yy), -1, 1)


def _compare_block(x: NDArray, y: NDArray, stimuli: NDArray, comparator: Comparator) -> NDArray:
    """(n_layers, m), (b or 1, m), (b, n) -> (b, n_layers), by comparators other than SUMS."""
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
    find_shared = None
    if comparator.startswith("whitened"):

        def find_shared(x_mean: NDArray, y_mean: NDArray) -> tuple[NDArray, NDArray, NDArray]:
            return _find_shared_noise(x, y, x_mean, y_mean, stimuli)

    return _divide_sums(_sum_pairs(weights, x, y), comparator, find_shared)


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
