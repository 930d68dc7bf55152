"""
Ridge regression from a layer's units to voxels, in kernel form; each voxel's penalty by leave-one-out on training stimuli.

A kernel holds the scalar products of the stimuli's activations, (n, n). More than its products a regression does not need from
the units, of which there are mostly more than stimuli. With w and V the eigenvalues and -vectors of the training stimuli's
kernel, centred on their mean, Y their responses less their mean, and a penalty l,

    weights of the stimuli   V (V'Y / (w + l))
    residuals                V (l V'Y / (w + l))
    leave-one-out            residual_i / (1 - h_i),   h_i = 1 / n + sum_k V_ik^2 w_k / (w_k + l)

so that one decomposition serves every penalty and voxel. The intercept is free. Everything is done in double precision by
torch, on a GPU where there is one.

Source: Hastie, Tibshirani and Friedman 2009, sections 3.4.1, 7.10; equal to scikit-learn's RidgeCV, himalaya's KernelRidgeCV.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

VOXELS = 4096
"""Voxels that are fitted at a time: 320 MB for 10,000 stimuli."""
ROUNDING = 1e-12
"""Share by which squared errors differ that are equal but for rounding."""
RESIDUALS = 1 << 18
"""Residuals that are squared at a time, about what a processor's cache holds; never of fewer than 256 voxels."""


@dataclass(frozen=True)
class Fold:
    """What the regressions on the training stimuli of one fold say of the held-out ones."""

    predictions: Tensor
    """(n_test, n_voxels)."""
    penalties: Tensor
    """(n_voxels,) the penalty that each voxel got, as a multiple of the mean squared length of a training stimulus."""
    scores: Tensor
    """(n_voxels,) R2 of the training stimuli, each predicted from the others, whose mean has R2 0; -inf where all of them have
    the same activations, so that no fit is worse."""
    left_out: Tensor | None = None
    """(n_train, n_voxels) of the training stimuli, each predicted from the others, where they were asked for."""


def choose_device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def sum_kernel(blocks: Iterable[Tensor]) -> Tensor:
    """Return the kernel of features that are read block by block.

    Args:
        blocks: (n, units of the block) of any float type; their means over the stimuli are taken off, which changes no
            regression with an intercept, and rounding less.

    Returns:
        (n, n) float64 scalar products.
    """
    kernel = None
    for block in blocks:
        block = block.double()
        block = block - block.mean(0)
        kernel = block @ block.T if kernel is None else kernel.addmm_(block, block.T)
    return kernel


def center_kernel(kernel: Tensor, train: Tensor, test: Tensor) -> tuple[Tensor, Tensor]:
    """Return the kernels of training with training, and of test with training stimuli, both less the training stimuli's mean.

    Args:
        kernel: (n, n).
        train, test: (n,) bool.

    Returns:
        (n_train, n_train), (n_test, n_train).
    """
    inner, outer = kernel[train][:, train], kernel[test][:, train]
    means = inner.mean(0)
    inner = inner - means - means[:, None] + means.mean()
    return inner, outer - outer.mean(1, keepdim=True) - means + means.mean()


def measure_spread(kernel: Tensor, train: Tensor) -> Tensor:
    """Return the mean squared length of the training stimuli's centred activations; 0 where they differ by rounding alone.

    Args:
        kernel: (n, n) of `sum_kernel`.
        train: (n,) bool.
    """
    inner = kernel[train][:, train]
    lengths = inner.diagonal().mean()
    spread = lengths - inner.mean()
    return torch.where(spread > 1e-12 * lengths, spread, 0)


def fit_fold(
    kernel: Tensor,
    responses: Tensor,
    train: Tensor,
    test: Tensor,
    penalties: Sequence[float],
    *,
    leave_out: bool = False,
) -> Fold:
    """Predict the responses to test stimuli by ridge regressions on training stimuli.

    Of the penalties each voxel gets the one with the least squared error when each training stimulus is predicted from the
    others; of equal ones, but for rounding, the first. Where all training stimuli have the same activations, their mean
    response is predicted.

    Args:
        kernel: (n, n) of `sum_kernel`.
        responses: (n, n_voxels) float64.
        train, test: (n,) bool, no stimulus in both.
        penalties: multiples of the mean squared length of the training stimuli's centred activations, so that one list
            serves every layer.
        leave_out: also return what is predicted of each training stimulus from the others.
    """
    inner, outer = center_kernel(kernel, train, test)
    known = measure_spread(kernel, train) > 0
    unit = torch.where(known, inner.diagonal().mean(), 1)
    inner, outer = torch.where(known, inner, 0), torch.where(known, outer, 0)
    values, vectors = torch.linalg.eigh(inner)
    del inner
    values, outer = values.clamp(min=0), outer @ vectors
    scale = torch.as_tensor(penalties, dtype=values.dtype, device=values.device) * unit
    parts = [
        _fit_voxels(values, vectors, outer, responses[train, start : start + VOXELS], scale, leave_out)
        for start in range(0, responses.shape[1], VOXELS)
    ]
    predictions, chosen, scores, *left_out = (torch.cat(part, dim=-1) for part in zip(*parts, strict=True))
    return Fold(predictions, (scale / unit)[chosen], torch.where(known, scores, -torch.inf), *left_out)


def _fit_voxels(
    values: Tensor, vectors: Tensor, outer: Tensor, responses: Tensor, penalties: Tensor, leave_out: bool
) -> tuple[Tensor, ...]:
    """Return predictions, the index of the penalty, the score and, with `leave_out`, the training stimuli of some voxels, each
    predicted from the others, see `fit_fold`.

    Args:
        values, vectors: of the training stimuli's kernel.
        outer: (n_test, n_train), in the eigenvectors' axes.
        responses: (n_train, n_voxels).
    """
    n, mean = len(values), responses.mean(0)
    centered = responses - mean
    rotated = centered.T @ vectors  # (n_voxels, n_train)
    errors = _sum_errors(values, vectors, rotated, penalties)
    least = errors.amin(0)
    chosen = (errors <= least * (1 + ROUNDING)).byte().argmax(0)  # the first
    weights = rotated / (values + penalties[chosen][:, None])
    baseline = centered.square().sum(0) * (n / (n - 1)) ** 2  # each from the mean of the others
    found = outer @ weights.T + mean, chosen, 1 - least / baseline
    if not leave_out:
        return found
    residuals = vectors @ (penalties[chosen][:, None] * weights).T
    return *found, responses - residuals / _measure_left(values, vectors, penalties)[chosen].T


def _measure_left(values: Tensor, vectors: Tensor, penalties: Tensor) -> Tensor:
    """Return 1 - h of each training stimulus, (n_penalties, n_train)."""
    kept = penalties[:, None] / (values + penalties[:, None])  # (k, n) share of each axis that the fit leaves
    return kept @ (vectors**2).T - 1 / len(values)  # as the axes' shares sum to 1 over all axes


def _sum_errors(values: Tensor, vectors: Tensor, rotated: Tensor, penalties: Tensor) -> Tensor:
    """Return the sum of the squared leave-one-out errors, (n_penalties, n_voxels).

    Args:
        rotated: (n_voxels, n_train), responses in the eigenvectors' axes.
    """
    n, found = len(values), []
    for some in penalties.split(max(1, RESIDUALS // n**2)):
        kept = some[:, None] / (values + some[:, None])
        left = _measure_left(values, vectors, some)
        maps = (vectors * kept[:, None] / left[..., None]).reshape(-1, n).T  # (n, k n): one product for all k penalties
        blocks = rotated.split(max(256, RESIDUALS // maps.shape[1]))
        found.append(torch.cat([(block @ maps).view(-1, len(some), n).square_().sum(2) for block in blocks]))
    return torch.cat(found, 1).T
