"""
How sure a held-out correlation is: voxels' r with the held-out stimuli resampled.
"""

import numpy as np
from numpy.typing import NDArray

VALUES = 1 << 23
"""Numbers of one kind in memory at a time."""


def resample_r(predictions: NDArray, responses: NDArray, folds: NDArray, stimuli: NDArray) -> NDArray:
    """Return the mean over voxels of r, as of `scores`, in each resample of the held-out stimuli.

    Predictions stay as they are: what is learnt is not learnt anew. Folds of which a resample holds fewer than three different
    stimuli are left out of its mean.

    Args:
        predictions, responses: (n, n_voxels).
        folds: (n,) the number of the fold that holds a stimulus out, -1 where none does.
        stimuli: (n_resamples, n), how often each was drawn.

    Returns:
        (n_resamples,); NaN where no fold is left.
    """
    size = max(1, VALUES // predictions.shape[1])
    found = np.full((len(stimuli), folds.max() + 1), np.nan)
    for fold in range(folds.max() + 1):
        test = folds == fold
        p, y = predictions[test], responses[test]
        p, y = p - p.mean(0), y - y.mean(0)
        for start in range(0, len(stimuli), size):
            drawn = stimuli[start : start + size, test]
            enough = (drawn > 0).sum(1) > 2
            if enough.any():
                found[start : start + size, fold][enough] = _correlate(p, y, drawn[enough]).mean(1)
    known = ~np.isnan(found)
    with np.errstate(invalid="ignore"):
        return np.where(known, found, 0).sum(1) / np.where(known.any(1), known.sum(1), np.nan)


def _correlate(p: NDArray, y: NDArray, drawn: NDArray) -> NDArray:
    """Return the weighted correlations of (n, v) columns of means around 0: (b, n) -> (b, v); 0 where p is constant."""
    shares = drawn / drawn.sum(1, keepdims=True)
    p_mean, y_mean = shares @ p, shares @ y
    both = shares @ (p * y) - p_mean * y_mean
    squares = [shares @ (one * one) - mean**2 for one, mean in ((p, p_mean), (y, y_mean))]
    least = [1e-12 * (one * one).mean(0) for one in (p, y)]
    defined = (squares[0] > least[0]) & (squares[1] > least[1])
    return np.divide(
        both, np.sqrt(np.where(defined, squares[0] * squares[1], 1)), out=np.zeros_like(both), where=defined
    )
