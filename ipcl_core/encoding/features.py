"""
A layer's activations in an HDF5 file -> the kernel of a regression, without ever holding a layer that is wider than memory.
"""

from collections.abc import Iterator, Sequence

import h5py
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .ridge import choose_device, sum_kernel

BLOCK_BYTES = 1 << 28
"""Activations in memory at a time."""


def read_units(activations: h5py.Dataset) -> Iterator[NDArray]:
    """Yield the (n, ...) activations in blocks of units, (n, k), along the second axis."""
    n, width, *rest = activations.shape
    step = max(1, BLOCK_BYTES // (n * int(np.prod(rest)) * activations.dtype.itemsize))
    for start in range(0, width, step):
        yield activations[:, start : start + step].reshape(n, -1)


def project_units(activations: h5py.Dataset, *, eps: float, seed: int) -> NDArray:
    """Return a sparse random projection of a layer, (n, k), k the least with which distances change by at most a share eps.

    A layer that is no wider than k stays as it is. The matrix is scikit-learn's SparseRandomProjection; with eps .1 and seed 0
    that of DeepNSD.

    Source: Achlioptas 2003; Li et al. 2006; Conwell et al. 2024.
    """
    from scipy.sparse import csr_matrix
    from sklearn.random_projection import SparseRandomProjection, johnson_lindenstrauss_min_dim

    n, units = len(activations), int(np.prod(activations.shape[1:]))
    k = int(johnson_lindenstrauss_min_dim(n, eps=eps))
    if units <= k:
        return activations[:].reshape(n, -1)
    empty = csr_matrix((n, units), dtype=activations.dtype)  # the matrix depends on the shape alone
    projection = SparseRandomProjection(k, random_state=seed).fit(empty)
    step = max(1, BLOCK_BYTES // (units * activations.dtype.itemsize))
    rows = [activations[start : start + step].reshape(-1, units) for start in range(0, n, step)]
    return np.concatenate([projection.transform(block) for block in rows])


def make_kernel(
    activations: h5py.Dataset, rows: Sequence[Sequence[int]] | None = None, *, projection: float | None = None,
    standardize: NDArray | None = None, seed: int = 0,
) -> Tensor:  # fmt: skip
    """Return the (n, n) kernel of a layer, see `ridge.sum_kernel`.

    Args:
        activations: (n_pictures, ...) dataset.
        rows: of each stimulus those of its pictures, whose mean activations are its own; None: a picture a stimulus.
        projection: eps of `project_units`; None: the layer as it is.
        standardize: (n,) bool, the stimuli over which each unit is divided by its standard deviation (a unit that is constant
            there is left out); None: units keep their own scale.
        seed: of the projection.
    """
    blocks = read_units(activations) if projection is None else [project_units(activations, eps=projection, seed=seed)]
    tensors = (torch.from_numpy(block).to(choose_device()) for block in blocks)
    if rows is not None and len(rows) < len(activations):
        tensors = (torch.stack([block[each].double().mean(0) for each in rows]) for block in tensors)
    if standardize is not None:
        tensors = (_standardize(block.double(), torch.from_numpy(standardize)) for block in tensors)
    return sum_kernel(tensors)


def find_equal(activations: h5py.Dataset, rows: NDArray) -> NDArray:
    """Return which pictures have the same activations but for rounding, (k, k) bool: their squared distance is below 1e-9 of
    the mean squared length.

    Args:
        activations: (n_pictures, ...) dataset.
        rows: (k,) numbers of pictures.
    """
    products = torch.zeros(len(rows), len(rows), dtype=torch.float64, device=choose_device())
    for block in read_units(activations):
        part = torch.from_numpy(block[rows]).to(products.device).double()
        products.addmm_(part, part.T)
    lengths = products.diagonal().clone()
    distances = products.mul_(-2).add_(lengths).add_(lengths[:, None])
    return (distances <= 1e-9 * lengths.mean()).cpu().numpy()


def _standardize(block: Tensor, train: Tensor) -> Tensor:
    deviations, means = torch.std_mean(block[train.to(block.device)], dim=0, correction=0)
    kept = deviations > 1e-12 * means.abs()
    return (block[:, kept] - means[kept]) / deviations[kept]
