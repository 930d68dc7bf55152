"""
How well the responses to held-out stimuli are predicted: r and R2 of each voxel, and veRSA.

r is the mean over folds of the correlation within a fold's held-out stimuli. These are independent of the prediction where
nothing is to be predicted, so that the expected r is 0. It would not be in correlations over all folds: every prediction
starts from the mean of the training stimuli, which is lower the higher the held-out ones are; nor in products added up over
folds, as predictions that go wrong are smaller.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..rsa.similarity import compute_rsm, vectorize_rsm


def find_constant(values: Tensor) -> Tensor:
    """Return which columns are constant but for rounding: (n, k) -> (k,) bool."""
    return _is_rounding((values - values.mean(0)).norm(dim=0), values)


def _is_rounding(norms: Tensor, values: Tensor) -> Tensor:
    """Return which columns' norms, (k,), of the (n, k) values less their means, are rounding."""
    return norms <= 1e-12 * values.abs().amax(0) * len(values) ** 0.5


def correlate_columns(predictions: Tensor, responses: Tensor) -> Tensor:
    """Return the correlation of each column over one fold's held-out stimuli: (n_test, k), (n_test, k) -> (k,).

    0 where predictions are constant but for rounding, NaN where responses are.
    """
    p, y = predictions - predictions.mean(0), responses - responses.mean(0)
    p_norm, y_norm = p.norm(dim=0), y.norm(dim=0)
    r = ((p * y).sum(0) / (p_norm * y_norm)).clamp(-1, 1)
    defined = torch.where(_is_rounding(p_norm, predictions), 0, r)
    return torch.where(_is_rounding(y_norm, responses), torch.nan, defined)


def correlate_added(predictions: Tensor, others: Tensor, responses: Tensor) -> Tensor:
    """Return the partial correlation of each column over one fold's held-out stimuli, given what others predict: (k,).

    0 where predictions are the others' but for a factor, NaN where responses are constant. As r, its mean is 0 where nothing
    is to be predicted; unlike a difference of R2, which is below 0 there.

    Args:
        predictions, others, responses: (n_test, k).
    """
    known = others - others.mean(0)
    known = known / known.norm(dim=0).clamp(min=torch.finfo(known.dtype).tiny)
    p, y = predictions - predictions.mean(0), responses - responses.mean(0)
    rest = p - known * (known * p).sum(0)
    rest = torch.where(rest.norm(dim=0) > 1e-8 * p.norm(dim=0), rest, 0)
    return correlate_columns(rest, y - known * (known * y).sum(0))


def compare_fold(predictions: Tensor, responses: Tensor, means: Tensor) -> NDArray:
    """Return r, the squared errors and those of the training stimuli's means, over one fold's held-out stimuli: (3, n_voxels).

    Args:
        predictions, responses: (n_test, n_voxels).
        means: (n_voxels,) of the training stimuli.
    """
    errors = [((one - responses) ** 2).sum(0) for one in (predictions, means)]
    return torch.stack([correlate_columns(predictions, responses), *errors]).cpu().numpy()


def find_r2(folds: NDArray) -> NDArray:
    """Return 1 - all squared errors / all those of the training stimuli's means; below 0 where the means do better.

    Args:
        folds: (n_folds, 3, n_voxels) of `compare_fold`.

    Returns:
        (n_voxels,); NaN where responses are constant.
    """
    errors, baseline = folds[:, 1].sum(0), folds[:, 2].sum(0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(baseline > 0, 1 - errors / baseline, np.nan)


def make_rsv(patterns: Tensor) -> NDArray:
    """Return the (n_pairs,) similarities of measured or predicted (n_test, n_voxels) patterns."""
    return vectorize_rsm(compute_rsm(patterns.cpu().numpy()))
