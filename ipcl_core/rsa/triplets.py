"""
Odd-one-out judgments predicted from similarities: accuracy, what observers themselves reach, held-out choice of a layer.

Of three stimuli, the odd one is the one outside of the most similar pair.

Source: Hebart et al. 2020, Nature Human Behaviour 4, 1173-1185 (odd-one-out, and the consistency of observers as ceiling).
"""

from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import NDArray

from .inference import CONFIDENCE
from .similarity import find_best

CHANCE = 1 / 3
ROUNDING = 1e-12
BLOCK = 1 << 20
"""Answers that are compared at a time."""


@dataclass(frozen=True)
class Answers:
    """Answers by the three stimuli that they are about."""

    triplets: NDArray
    """(n_triplets, 3), the different triplets, each in ascending order."""
    triplet: NDArray
    """(n_answers,), the triplet of each answer."""
    odd: NDArray
    """(n_answers,), 0 to 2: which of the triplet's stimuli is the odd one."""

    @property
    def counts(self) -> NDArray:
        """(n_triplets, 3), how often each stimulus was the odd one."""
        counts = np.zeros((len(self.triplets), 3))
        np.add.at(counts, (self.triplet, self.odd), 1)
        return counts


def group_answers(answers: NDArray) -> Answers:
    """Return (n_answers, 3) answers of `brains.triplets.read_triplets` by triplets."""
    order = np.argsort(answers, axis=1)
    triplets, triplet = np.unique(np.take_along_axis(answers, order, 1), axis=0, return_inverse=True)
    return Answers(triplets, triplet.ravel(), (order == 2).argmax(1))


def predict_odd(rsm: NDArray, triplets: NDArray) -> NDArray:
    """Return the share of each of a triplet's stimuli in the predicted odd one: (n, n), (n_triplets, 3) -> (n_triplets, 3).

    1 for the stimulus outside of the most similar pair; pairs that are equally similar, but for rounding, share. NaN where a
    similarity is.
    """
    shares = []
    for start in range(0, len(triplets), BLOCK):
        a, b, c = triplets[start : start + BLOCK].T
        outside = np.stack([rsm[b, c], rsm[a, c], rsm[a, b]], axis=1)
        most = (outside >= outside.max(1, keepdims=True) - ROUNDING) / 1.0
        most[np.isnan(outside).any(1)] = np.nan
        shares.append(most / most.sum(1, keepdims=True))
    return np.concatenate(shares)


def count_hits(shares: NDArray, counts: NDArray) -> NDArray:
    """Return the number of answers to each triplet that are predicted: (n_triplets,)."""
    return (shares * counts).sum(1)


def estimate_accuracy(hits: NDArray, n_answers: NDArray) -> tuple[float, float, float, float]:
    """Return the accuracy, its 95% interval over clusters, and the one-sided p that it is above CHANCE.

    The share of all answers; clusters (the triplets, or the observers) are what could have been others, and answers within one
    may depend on each other. Student's t with the linearised variance of a ratio of sums.

    Where all answers are predicted, or none, no cluster differs from the others: then by the binomial distribution, as if each
    cluster were one answer.

    Args:
        hits: (n_clusters,) answers that are predicted. n_answers: (n_clusters,) all of them.

    Returns:
        accuracy, low, high, p; the last three NaN with fewer than three clusters, and where all have the same accuracy between
        0 and 1.

    Source: Cochran 1977, section 2.11; Clopper and Pearson 1934.
    """
    n, total = len(hits), n_answers.sum()
    accuracy = float(hits.sum() / total)
    if n < 3 or np.isnan(accuracy):
        return accuracy, np.nan, np.nan, np.nan
    error = np.sqrt(((hits - accuracy * n_answers) ** 2).sum() * n / (n - 1)) / total
    if error <= ROUNDING:
        if min(accuracy, 1 - accuracy) > ROUNDING:
            return accuracy, np.nan, np.nan, np.nan
        right = round(accuracy) * n
        interval = scipy.stats.binomtest(right, n).proportion_ci(CONFIDENCE)
        return accuracy, *interval, float(scipy.stats.binomtest(right, n, CHANCE, "greater").pvalue)
    half = scipy.stats.t.ppf((1 + CONFIDENCE) / 2, n - 1) * error
    p = float(scipy.stats.t.sf((accuracy - CHANCE) / error, n - 1))
    return accuracy, max(0.0, accuracy - half), min(1.0, accuracy + half), p


def measure_ceilings(counts: NDArray) -> tuple[float, float]:
    """Return the (lower, upper) ceiling of accuracy by triplets that were answered more than once.

    upper: the share of answers that are the most frequent one of their triplet, which no prediction by triplet exceeds
    (the consistency of Hebart et al.). lower: the share that the most frequent of the others' answers predicts, equally
    frequent ones each in part; with few answers a triplet both are far from what is between them.

    Args:
        counts: (n_triplets, 3). NaN where no triplet was answered twice.
    """
    counts = counts[counts.sum(1) > 1]
    if not len(counts):
        return np.nan, np.nan
    total, left_out = counts.sum(), 0.0
    for odd in range(3):
        others = counts - np.eye(3)[odd]
        most = others == others.max(1, keepdims=True)
        left_out += (counts[:, odd] * most[:, odd] / most.sum(1)).sum()
    return float(left_out / total), float(counts.max(1).sum() / total)


def hold_out_triplets(hits: NDArray, n_answers: NDArray, *, seed: int) -> tuple[NDArray, NDArray]:
    """Choose the layer on one random half of the triplets, judge it on the other; both ways.

    Args:
        hits: (n_layers, n_triplets), all defined. n_answers: (n_triplets,), of two triplets or more.

    Returns:
        The two layers, and the (n_triplets,) hits of the layer that did not see the triplet.
    """
    n = len(n_answers)
    first = np.random.default_rng([seed, 3]).permutation(n) < n // 2
    layers, judged = [], np.empty(n)
    for half in (first, ~first):
        layers.append(int(find_best(hits[:, half].sum(1) / n_answers[half].sum())))
        judged[~half] = hits[layers[-1], ~half]
    return np.array(layers), judged
