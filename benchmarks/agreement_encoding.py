"""
Encoding models, partitions, weights, triplets and ceilings of voxels beside independent computations of them, for `agreement`.
"""

import itertools
import statistics
from collections.abc import Iterator

import numpy as np
import rsatoolbox
import scipy.spatial.distance
import scipy.stats
import torch
from himalaya.kernel_ridge import KernelRidgeCV, MultipleKernelRidgeCV
from numpy.typing import NDArray
from sklearn.linear_model import LinearRegression, RidgeCV
from sklearn.metrics import accuracy_score, r2_score
from sklearn.model_selection import PredefinedSplit

from benchmarks.agreement_study import LOOP, N_STIMULI, N_VOXELS, Row, Study, compare, make_rdms
from ipcl_core.encoding.bands import fit_bands, list_mixtures, list_subsets, partition_variance
from ipcl_core.encoding.ceilings import measure_explainable, measure_split_half
from ipcl_core.encoding.ridge import fit_fold, sum_kernel
from ipcl_core.encoding.scores import compare_fold, find_r2, make_rsv
from ipcl_core.fits.weighting import fit_weights
from ipcl_core.rsa.similarity import (
    correlate,
    fill_rsms,
)
from ipcl_core.rsa.triplets import count_hits, estimate_accuracy, group_answers, measure_ceilings, predict_odd

PENALTIES = [10.0**k for k in range(-3, 4)]


def mix_bands(bands: list[NDArray], y: NDArray, train: NDArray, test: NDArray) -> NDArray:
    """Predictions of scikit-learn's RidgeCV for the weights of the bands that are best for each voxel."""
    scores, predictions = [], []
    for weights in list_mixtures(len(bands)):
        x = np.hstack(
            [np.sqrt(weight) * band / find_size(band[train]) for weight, band in zip(weights, bands, strict=True)]
        )
        model = RidgeCV(np.array(PENALTIES) * find_size(x[train]) ** 2, alpha_per_target=True).fit(x[train], y[train])
        scores.append(model.best_score_)
        predictions.append(model.predict(x[test]))
    return np.take_along_axis(np.stack(predictions), np.argmax(scores, axis=0)[None, None], 0)[0]


def find_size(x: NDArray) -> float:
    """Root mean squared length of patterns less their mean."""
    return np.sqrt(((x - x.mean(0)) ** 2).sum(1).mean())


def list_encoding(study: Study) -> Iterator[Row]:
    bands, y, test = list(study.layers[:2]), study.runs[0].mean(0), np.arange(N_STIMULI) % 4 == 0
    train, x = ~test, bands[0]
    masks, responses = (torch.tensor(train), torch.tensor(test)), torch.tensor(y)
    kernels = [sum_kernel([torch.tensor(band)]) for band in bands]
    each = PredefinedSplit(np.arange(train.sum()))  # leaves one out
    alphas = np.array(PENALTIES) * find_size(x[train]) ** 2
    predicted = fit_fold(kernels[0], responses, *masks, PENALTIES).predictions
    sklearn = RidgeCV(alphas, alpha_per_target=True).fit(x[train], y[train]).predict(x[test])
    himalaya = KernelRidgeCV(alphas, kernel="linear", fit_intercept=True, cv=each, warn=False).fit(x[train], y[train])
    yield from compare("ridge regression, predicted responses", predicted, {"scikit-learn, RidgeCV": sklearn}, 1e-8)
    others = {"himalaya, KernelRidgeCV": himalaya.predict(x[test])}
    yield from compare("ridge regression, predicted responses", predicted, others, 1e-6)
    settings = {"n_iter": list_mixtures(2), "alphas": np.array(PENALTIES), "progress_bar": False}
    model = MultipleKernelRidgeCV(
        "precomputed", solver="random_search", solver_params=settings, fit_intercept=True, cv=each
    )
    scaled = np.stack([kernel / find_size(band[train]) ** 2 for kernel, band in zip(kernels, bands, strict=True)])
    model.fit(scaled[:, train][:, :, train], y[train])
    banded = fit_bands(dict(zip("ab", kernels, strict=True)), responses, *masks, PENALTIES)["a", "b"].predictions
    others = {
        "scikit-learn, RidgeCV": mix_bands(bands, y, train, test),
        "himalaya, MultipleKernelRidgeCV": model.predict(scaled[:, test][:, :, train]),
    }
    yield from compare("banded ridge regression, predicted responses", banded, others, 1e-6)
    r, *errors = compare_fold(predicted, responses[test], responses[test].mean(0))
    others = {"scipy, pearsonr": scipy.stats.pearsonr(sklearn, y[test]).statistic,
              "numpy, corrcoef": np.diag(np.corrcoef(sklearn.T, y[test].T)[:N_VOXELS, N_VOXELS:])}  # fmt: skip
    yield from compare("r of predicted responses", r, others, 1e-8)
    r2 = r2_score(y[test], sklearn, multioutput="raw_values")
    yield from compare(
        "R2 of predicted responses", find_r2(np.stack([r, *errors])[None]), {"scikit-learn, r2_score": r2}, 1e-8
    )
    similarity = correlate(make_rsv(predicted), make_rsv(responses[test]))
    rdms = [rsatoolbox.rdm.calc_rdm(rsatoolbox.data.Dataset(each), method="correlation") for each in (sklearn, y[test])]
    others = {
        "rsatoolbox, corr": rsatoolbox.rdm.compare(*rdms, method="corr").item(),
        "scipy, pdist": np.corrcoef([scipy.spatial.distance.pdist(each, "correlation") for each in (sklearn, y[test])])[
            0, 1
        ],
    }
    yield from compare("veRSA, r of predicted with measured similarities", similarity, others, 1e-8)
    yield from list_voxels(study.runs[0])
    r2 = {subset: i / 7 for i, subset in enumerate(list_subsets("abc"), 1)}
    meets = np.array([[bool(set(part) & set(subset)) for part in r2] for subset in r2], float)
    parts = list(partition_variance(r2).values())
    others = {
        "numpy, solve": np.linalg.solve(meets, list(r2.values())),
        LOOP: [
            sum(  # inclusion and exclusion over what is lost without the models of a subset
                (-1) ** (len(part) - len(own))
                * (r2[*"abc"] - r2.get(tuple(name for name in "abc" if name not in own), 0))
                for size in range(len(part) + 1)
                for own in itertools.combinations(part, size)
            )
            for part in r2
        ],
    }
    yield from compare("variance partition of three models", parts, others)
    distances, target = 1 - study.rsvs, 1 - study.people[0]
    fitted = fit_weights(distances, target) @ (distances - distances.mean(1, keepdims=True))
    model = rsatoolbox.model.ModelWeighted("layers", make_rdms(study.rsvs))
    theta = rsatoolbox.model.fitter.fit_regress_nn(model, make_rdms(study.people[:1]), method="corr")
    rsatoolboxs = theta @ distances
    regression = LinearRegression(positive=True).fit(distances.T, target)
    others = {
        "rsatoolbox, fit_regress_nn": correlate(rsatoolboxs, target),
        "scikit-learn, LinearRegression": correlate(regression.predict(distances.T), target),
    }
    yield from compare("non-negative regression of RSMs, r of the fit", correlate(fitted, target), others, 1e-8)


def list_triplets(study: Study) -> Iterator[Row]:
    """Odd-one-out judgments of five observers by their own similarities."""
    people, rsm = fill_rsms(study.people), fill_rsms(study.rsvs[1:2])[0]

    def find_odd(similarities: NDArray, triplet: tuple[int, ...]) -> int:
        sides = {odd: similarities[tuple(i for i in triplet if i != odd)] for odd in triplet}
        return max(sides, key=sides.get)

    triplets = list(itertools.combinations(range(N_STIMULI), 3))
    given = np.array([[find_odd(person, triplet) for triplet in triplets] for person in people])  # (people, triplets)
    predicted = np.array([find_odd(rsm, triplet) for triplet in triplets])
    answers = np.array(
        [
            (*(i for i in triplet if i != odd), odd)
            for each in given
            for triplet, odd in zip(triplets, each, strict=True)
        ]
    )
    grouped = group_answers(answers)
    hits, n = count_hits(predict_odd(rsm, grouped.triplets), grouped.counts), grouped.counts.sum(1)
    accuracy, low, *_ = estimate_accuracy(hits, n)
    others = {
        "scikit-learn, accuracy_score": accuracy_score(given.ravel(), np.tile(predicted, len(given))),
        LOOP: sum(odd == right for each in given for odd, right in zip(each, predicted, strict=True)) / given.size,
    }
    yield from compare("odd-one-out judgments, accuracy", accuracy, others)
    shares = (given == predicted).mean(0)  # with as many answers to each triplet, a ratio of sums is a mean
    other = scipy.stats.t.interval(0.95, len(shares) - 1, shares.mean(), scipy.stats.sem(shares))[0]
    yield from compare("odd-one-out judgments, 95% interval over triplets", low, {"scipy, t.interval": other})
    lower = []
    for each in given.T:
        for i, odd in enumerate(each):
            modes = statistics.multimode(np.delete(each, i).tolist())
            lower.append((odd in modes) / len(modes))
    upper = (given == scipy.stats.mode(given).mode).mean()
    others = {"scipy, mode; statistics, multimode": (np.mean(lower), upper)}
    yield from compare("odd-one-out judgments, ceilings", measure_ceilings(grouped.counts), others)


def lengthen(r: float) -> float:
    """Return the reliability of three runs' mean where one run and the mean of the other two correlate by r: with noise
    of x times the signal in a run, 1 / r^2 is (1 + x) (1 + x / 2). NaN unless r > 0."""
    return 1 / (1 + max(np.roots([1 / 2, 3 / 2, 1 - 1 / r**2])) / 3) if r > 0 else np.nan


def list_voxels(runs: NDArray) -> Iterator[Row]:
    """Noise ceilings of voxels."""
    loop = []
    for y in runs.transpose(2, 0, 1):
        squares = [
            (y[i, j] - y[i].mean() - y[:, j].mean() + y.mean()) ** 2 for i, j in itertools.product(*map(range, y.shape))
        ]
        noise = np.sum(squares) / ((len(y) - 1) * (N_STIMULI - 1))
        signal = max(0, y.mean(0).var(ddof=1) - noise / len(y))
        loop.append(signal / (signal + noise / len(y)))
    m = len(runs)
    alpha = m / (m - 1) * (1 - runs.var(1, ddof=1).sum(0) / runs.sum(0).var(0, ddof=1))
    others = {LOOP: loop, "numpy, Cronbach's alpha": np.maximum(alpha, 0)}
    yield from compare("noise ceiling of voxels, NCSNR", measure_explainable(runs), others)
    halves = [((0,), (1, 2)), ((1,), (0, 2)), ((2,), (0, 1))]
    r = [
        [np.corrcoef(y[list(a)].mean(0), y[list(b)].mean(0))[0, 1] for a, b in halves] for y in runs.transpose(2, 0, 1)
    ]
    loop = [lengthen(np.mean(each)) for each in r]
    found = measure_split_half(runs, n_splits=100, seed=0)
    yield from compare(
        "noise ceiling of voxels, split halves of runs", np.nan_to_num(found), {LOOP: np.nan_to_num(loop)}
    )
