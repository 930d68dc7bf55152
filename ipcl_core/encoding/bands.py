"""
Banded ridge regression, and what of the variance each of several models explains alone and with others.

Every band of features (a model's layer) has a penalty of its own. In kernel form that is the ridge regression on a weighted
sum of the bands' kernels, each scaled to the same size; each voxel gets weights from a grid, chosen with the penalty.

Source: Nunez-Elizalde, Huth and Gallant 2019; Dupré la Tour et al. 2022 (himalaya's random search, here a grid); de Heer et
al. 2017 (variance partition).
"""

import itertools
from collections.abc import Mapping, Sequence
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .ridge import Fold, fit_fold, measure_spread

Name = TypeVar("Name")
STEPS = {1: 1, 2: 10, 3: 6}
"""Number of bands -> steps from 0 to 1 of the grid of their weights."""


def list_subsets(names: Sequence[Name]) -> list[tuple[Name, ...]]:
    """Return all subsets but the empty one, from single names to all: A, B, A and B."""
    return [subset for size in range(1, len(names) + 1) for subset in itertools.combinations(names, size)]


def list_mixtures(n_bands: int) -> NDArray:
    """Return the weights of the bands, (n_mixtures, n_bands), each not negative and of sum 1: 11 for two bands, 40 for three.

    Of every subset of the bands those of its grid in which no weight is 0, from single bands to all.
    """
    mixtures = []
    for bands in list_subsets(range(n_bands)):
        steps = STEPS[len(bands)]
        for weights in itertools.product(range(1, steps + 1), repeat=len(bands)):
            if sum(weights) == steps:
                mixtures.append(np.zeros(n_bands))
                mixtures[-1][list(bands)] = np.array(weights) / steps
    return np.stack(mixtures)


def fit_bands(
    kernels: Mapping[str, Tensor], responses: Tensor, train: Tensor, test: Tensor, penalties: Sequence[float]
) -> dict[tuple[str, ...], Fold]:
    """Predict the responses to test stimuli by banded ridge regressions on training stimuli, from each subset of the bands.

    Each voxel gets the weights of the bands and the penalty with the least squared error when each training stimulus is
    predicted from the others. A mixture is fitted once, for all subsets that have its bands. One band: `ridge.fit_fold`.
    A band that is the same for all training stimuli adds nothing.

    Args:
        kernels: name of a band -> (n, n), see `ridge.sum_kernel`.
        responses, train, test, penalties: see `ridge.fit_fold`.
    """
    units = [measure_spread(kernel, train) for kernel in kernels.values()]
    scaled = [torch.where(unit > 0, kernel / unit, 0) for kernel, unit in zip(kernels.values(), units, strict=True)]
    best: dict[tuple[str, ...], Fold] = {}
    for weights in list_mixtures(len(kernels)):
        mixed = sum(weight * kernel for weight, kernel in zip(weights, scaled, strict=True) if weight)
        fold = fit_fold(mixed, responses, train, test, penalties)
        used = {name for name, weight in zip(kernels, weights, strict=True) if weight}
        for subset in list_subsets(list(kernels)):
            if used <= set(subset):
                best[subset] = _take_better(best[subset], fold) if subset in best else fold
    return best


def _take_better(one: Fold, other: Fold) -> Fold:
    """Return of each voxel the fold with the higher score, of equal ones the first."""
    better = other.scores > one.scores
    parts = ("predictions", "penalties", "scores")
    return Fold(*(torch.where(better, getattr(other, part), getattr(one, part)) for part in parts))


def partition_variance(r2: Mapping[tuple[str, ...], NDArray]) -> dict[tuple[str, ...], NDArray]:
    """Return the parts of the variance that exactly the models of a subset explain, from what each subset explains together.

    Of A and B: A alone R2(A, B) - R2(B), B alone R2(A, B) - R2(A), shared R2(A) + R2(B) - R2(A, B). The parts add up to R2
    of all. A part can be below 0: by noise, or where models explain more together than one by one (suppression).

    Args:
        r2: subset of `list_subsets` -> R2 of any shape.
    """
    names = max(r2, key=len)

    def explain(subset: tuple[str, ...]) -> NDArray | float:
        return r2[subset] if subset else 0.0

    parts = {}
    for subset in r2:
        others = tuple(name for name in names if name not in subset)
        # inclusion and exclusion over what is added to the others
        parts[subset] = sum(
            (-1) ** (len(taken) + 1) * explain(tuple(name for name in names if name in {*others, *taken}))
            for size in range(len(subset) + 1)
            for taken in itertools.combinations(subset, size)
        )
    return parts
