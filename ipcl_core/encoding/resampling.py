"""
How sure held-out numbers are: other participants, other held-out stimuli.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ..rsa import inference

VALUES = 1 << 22
"""Numbers of one kind in memory at a time."""
PARTICIPANTS, BOTH = "participants", "both"


def resample_r(
    predictions: NDArray, responses: NDArray, folds: NDArray, stimuli: NDArray, *, others: NDArray | None = None,
    average: Callable[..., NDArray] = np.mean,
) -> NDArray:  # fmt: skip
    """Return the mean over voxels of r, as of `scores`, in each resample of the held-out stimuli.

    Predictions stay as they are: what is learnt is not learnt anew. Folds of which a resample holds too few different stimuli
    are left out of its mean: fewer than three, or four of a partial correlation.

    Args:
        predictions, responses: (n, n_voxels).
        folds: (n,) the number of the fold that holds a stimulus out, -1 where none does.
        stimuli: (n_resamples, n), how often each was drawn.
        others: (n, n_voxels) what others predict; r is then the partial correlation of `scores.correlate_added`.
        average: with axis=1: (b, n_voxels) r of voxels -> (b, ...).

    Returns:
        (n_resamples, ...); NaN where no fold is left.
    """
    size, found = max(1, VALUES // predictions.shape[1]), []
    for start in range(0, len(stimuli), size):
        block = stimuli[start : start + size]
        r, n_folds = np.zeros((len(block), predictions.shape[1])), np.zeros((len(block), 1))
        for fold in range(folds.max() + 1):
            test = folds == fold
            known = (block[:, test] > 0).sum(1) > (2 if others is None else 3)
            if known.any():
                parts = [part[test] for part in (predictions, responses, others) if part is not None]
                r[known] += _correlate_added(*parts, drawn=block[known][:, test])
                n_folds[known] += 1
        found.append(average(r / np.maximum(n_folds, 1), axis=1))
        found[-1][n_folds[:, 0] == 0] = np.nan
    return np.concatenate(found)


def resample_r2(predictions: NDArray, responses: NDArray, means: NDArray, stimuli: NDArray) -> NDArray:
    """Return the mean over voxels of R2, as of `scores.find_r2`, in each resample of the held-out stimuli: (n_resamples,).

    Args:
        predictions, responses: (n, n_voxels).
        means: (n, n_voxels) of the training stimuli of the fold that holds a stimulus out.
        stimuli: (n_resamples, n), how often each was drawn.
    """
    errors, baseline = ((one - responses) ** 2 for one in (predictions, means))
    known, size, found = baseline.sum(0) > 0, max(1, VALUES // predictions.shape[1]), []
    for start in range(0, len(stimuli), size):
        sums = [stimuli[start : start + size] @ one[:, known] for one in (errors, baseline)]
        found.append((1 - sums[0] / sums[1]).mean(1))
    return np.concatenate(found)


def _correlate_added(p: NDArray, y: NDArray, q: NDArray | None = None, *, drawn: NDArray) -> NDArray:
    """Return the correlations of (n, v) columns in each resample, partial ones given q: (b, n) -> (b, v)."""
    p, y = p - p.mean(0), y - y.mean(0)
    if q is None:
        return _correlate(p, y, drawn)
    q = q - q.mean(0)
    q = q / np.maximum(np.linalg.norm(q, axis=0), np.finfo(float).tiny)
    rest = p - q * (q * p).sum(0)  # its partial correlations are those of p, and it is 0 where p adds nothing
    rest *= np.linalg.norm(rest, axis=0) > 1e-8 * np.linalg.norm(p, axis=0)
    r, known = _correlate(rest, y, drawn), [_correlate(one, q, drawn) for one in (rest, y)]
    left = np.prod([np.maximum(1 - one**2, 0) for one in known], axis=0)
    return np.divide(r - known[0] * known[1], np.sqrt(left), out=np.zeros_like(r), where=left > 1e-12)


def _correlate(p: NDArray, y: NDArray, drawn: NDArray) -> NDArray:
    """Return the weighted correlations of (n, v) columns of means around 0: (b, n) -> (b, v); 0 where one is constant."""
    shares = drawn / drawn.sum(1, keepdims=True)
    p_mean, y_mean = shares @ p, shares @ y
    both = shares @ (p * y) - p_mean * y_mean
    squares = [shares @ (one * one) - mean**2 for one, mean in ((p, p_mean), (y, y_mean))]
    least = [1e-12 * (one * one).mean(0) for one in (p, y)]
    defined = (squares[0] > least[0]) & (squares[1] > least[1])
    return np.divide(
        both, np.sqrt(np.where(defined, squares[0] * squares[1], 1)), out=np.zeros_like(both), where=defined
    )


def infer_mean(
    values: NDArray, resampled: NDArray | None, participants: NDArray, n_stimuli: int, *, largest: float = 1,
    one_sided: bool = False,
) -> dict[str, dict]:  # fmt: skip
    """Return how sure a mean over participants is: over PARTICIPANTS, the same stimuli, and over BOTH, other stimuli too.

    Student's t with the variance over participants, and with that of a bootstrap of both
    (`inference.estimate_variances`).

    Args:
        values: (n_participants,), all defined.
        resampled: (n_participants, n_resamples) the same with the held-out stimuli resampled; None: nothing over both.
        participants: (n_resamples, n_participants), how often each was drawn.
        n_stimuli: that are held out.
        largest: see `inference.find_interval`.
        one_sided: p is that the mean is above 0, else that it is not 0.

    Returns:
        What is resampled -> low, high, p; only a note where there are too few.
    """
    n = len(values)
    if n < inference.MIN_PARTICIPANTS:
        few = f"{n} participant(s), fewer than {inference.MIN_PARTICIPANTS}: nothing over participants"
        return {kind: {"note": few} for kind in (PARTICIPANTS, BOTH)[: 1 if resampled is None else 2]}
    variances = {PARTICIPANTS: values.var(ddof=1, keepdims=True) / n}
    if resampled is not None and n_stimuli >= inference.MIN_STIMULI:
        samples = {
            PARTICIPANTS: participants @ values / n, "stimuli": resampled.mean(0),
            BOTH: (participants.T * resampled).sum(0) / n,
        }  # fmt: skip
        samples = {kind: sample[:, None] for kind, sample in samples.items()}
        variances[BOTH] = inference.estimate_variances(samples, n, n_stimuli)[BOTH]
    found, freedom = {}, inference.count_freedom(n, n_stimuli)
    for kind, variance in variances.items():
        (low,), (high,) = inference.find_interval(values.mean(), variance, freedom[kind], largest=largest)
        (p,) = inference.find_p_of_differences(values.mean(), variance, freedom[kind], one_sided=one_sided)
        found[kind] = {"low": low, "high": high, "p": p}
    if resampled is not None and BOTH not in found:
        found[BOTH] = {"note": f"{n_stimuli} stimuli, fewer than {inference.MIN_STIMULI}: nothing over them"}
    return found
