"""
RSVs in tiles of pairs, so that those of many stimuli need not be in memory at once.

What is called RSVs here has `shape` (k, n_pairs) and gives `[:, pairs]` as an array: a numpy array, or `Tiled`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

TILE = 1 << 15
"""Pairs at a time: all of 256 stimuli."""
LARGE = 1 << 28
"""Bytes of RSVs, or of a layer's activations, up to which they are held in memory."""


@dataclass(frozen=True)
class Tiled:
    """RSVs of which the pairs that are asked for are read or computed, those of all rows together."""

    shape: tuple[int, int]
    read: Callable[[slice], NDArray]
    """(k, n_pairs of the slice)."""

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: tuple[slice, slice]) -> NDArray:
        rows, pairs = key
        return self.read(slice(*pairs.indices(self.shape[1])))[rows]

    def __array__(self, dtype=None, copy=None) -> NDArray:
        return np.asarray(self[:, :], dtype)


RSVs = NDArray | Tiled


def list_tiles(n_pairs: int) -> list[slice]:
    return [slice(start, min(start + TILE, n_pairs)) for start in range(0, n_pairs, TILE)]


def locate_pairs(pairs: slice, *, diagonal: bool = False) -> tuple[NDArray, NDArray]:
    """Return the rows and columns of some pairs in a matrix, of `numpy.tril_indices`; with diagonal those of a triangle that
    has it.

    Example:
        >>> [list(map(int, each)) for each in locate_pairs(slice(0, 4))]
        [[1, 2, 2, 3], [0, 0, 1, 0]]
    """
    numbers = np.arange(pairs.start, pairs.stop, pairs.step)
    rows = ((1 + np.sqrt(1 + 8 * numbers)) // 2).astype(np.int64)
    columns = numbers - rows * (rows - 1) // 2
    return rows - diagonal, columns


def mix_rows(weights: NDArray, rsvs: RSVs) -> Tiled:
    """Return weighted sums of RSVs, divided by their number: (l, k), (k, n_pairs) -> (l, n_pairs)."""
    return Tiled((len(weights), rsvs.shape[1]), lambda pairs: weights @ rsvs[:, pairs] / len(rsvs))


def take_rows(rsvs: RSVs, rows: Sequence[int]) -> RSVs:
    """Return some of the RSVs; of all, those themselves."""
    if len(rows) == len(rsvs):
        return rsvs
    if isinstance(rsvs, Tiled):
        return Tiled((len(rows), rsvs.shape[1]), lambda pairs: rsvs[:, pairs][rows])
    return rsvs[rows]


def average_rows(rsvs: RSVs) -> NDArray:
    """Return the mean of RSVs, (n_pairs,)."""
    return np.concatenate([rsvs[:, tile].mean(0) for tile in list_tiles(rsvs.shape[1])])


def measure_rows(rsvs: RSVs) -> tuple[NDArray, NDArray, NDArray]:
    """Return the mean of each RSV, the norm of the RSV less its mean, and the largest norm that rounding alone can give,
    (k,) each; the norm is NaN where it is not larger than that."""
    n_pairs = rsvs.shape[1]
    tiles = list_tiles(n_pairs)
    means = sum(np.asarray(rsvs[:, tile], np.float64).sum(1) for tile in tiles) / n_pairs
    squares, largest = 0, 0
    for tile in tiles:
        rows = np.asarray(rsvs[:, tile], np.float64)
        squares = squares + ((rows - means[:, None]) ** 2).sum(1)
        largest = np.maximum(largest, np.abs(rows).max(1))
    norms, bounds = np.sqrt(squares), 1e-12 * largest * np.sqrt(n_pairs)
    return means, np.where(norms <= bounds, np.nan, norms), bounds
