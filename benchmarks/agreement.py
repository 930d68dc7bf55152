"""
How far each measure is from independent computations of it: rsatoolbox, scikit-learn, himalaya, scipy, or loops over the
definition.

    PYTHONPATH=. python -m benchmarks.agreement > docs/agreement.md

Simulated data: 20 stimuli; the layers of a model; the voxels of five participants in three runs. `tests/test_agreement.py`
makes the same table, and fails where a difference is larger than the table allows.
"""

import datetime
import importlib.metadata
import itertools
import platform
import statistics
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import rsatoolbox
import scipy.spatial.distance
import scipy.stats
import torch
from himalaya.kernel_ridge import KernelRidgeCV, MultipleKernelRidgeCV
from numpy.typing import ArrayLike, NDArray
from rsatoolbox.inference.noise_ceiling import boot_noise_ceiling
from rsatoolbox.util.inference_util import extract_variances
from sklearn.decomposition import PCA
from sklearn.linear_model import LinearRegression, RidgeCV
from sklearn.metrics import accuracy_score, r2_score
from sklearn.model_selection import PredefinedSplit
from sklearn.preprocessing import KernelCenterer

from ipcl_core.brains.patterns import divide_by_noise, shrink_covariance, whiten_noise
from ipcl_core.encoding.bands import fit_bands, list_mixtures, list_subsets, partition_variance
from ipcl_core.encoding.ceilings import measure_explainable, measure_split_half
from ipcl_core.encoding.ridge import fit_fold, sum_kernel
from ipcl_core.encoding.scores import compare_fold, find_r2, make_rsv
from ipcl_core.fits.weighting import fit_weights
from ipcl_core.rsa import inference
from ipcl_core.rsa.dimensionality import measure_dimensionality
from ipcl_core.rsa.noise_ceiling import correct_length, measure_leave_one_out, measure_noise_ceiling
from ipcl_core.rsa.similarity import (
    compare_rsvs,
    compute_rsm,
    correlate,
    fill_rsms,
    measure_crossnobis,
    measure_distances,
    vectorize_rsm,
)
from ipcl_core.rsa.triplets import count_hits, estimate_accuracy, group_answers, measure_ceilings, predict_odd

N_STIMULI, N_LAYERS, N_PARTICIPANTS, N_RUNS, N_VOXELS = 20, 4, 5, 3, 30
PENALTIES = [10.0**k for k in range(-3, 4)]
LOOP = "loop"
PACKAGES = ("numpy", "scipy", "scikit-learn", "himalaya", "rsatoolbox")


class Row(NamedTuple):
    """One measure against one other computation of it."""

    measure: str
    against: str
    difference: float
    """Largest absolute difference of all numbers that were compared."""
    allowed: float


class Study(NamedTuple):
    """What is measured."""

    layers: NDArray
    """(N_LAYERS, N_STIMULI, 60)."""
    runs: NDArray
    """(N_PARTICIPANTS, N_RUNS, N_STIMULI, N_VOXELS)."""
    residuals: NDArray
    """(50, N_VOXELS), noise that is correlated over voxels."""
    rsvs: NDArray
    """(N_LAYERS, n_pairs) of the layers."""
    people: NDArray
    """(N_PARTICIPANTS, n_pairs) of the runs' means."""


def simulate_study() -> Study:
    rng = np.random.default_rng(0)
    layers = rng.standard_normal((N_LAYERS, N_STIMULI, 60)) * rng.exponential(size=60)
    signal = layers[1] @ rng.standard_normal((N_PARTICIPANTS, 1, 60, N_VOXELS))
    runs = signal / signal.std() + rng.standard_normal((N_PARTICIPANTS, N_RUNS, N_STIMULI, N_VOXELS))
    residuals = rng.standard_normal((50, N_VOXELS)) @ (
        np.eye(N_VOXELS) + 0.2 * rng.standard_normal((N_VOXELS, N_VOXELS))
    )
    rsvs, people = ([vectorize_rsm(np.corrcoef(one)) for one in each] for each in (layers, runs.mean(1)))
    return Study(layers, runs, residuals, np.stack(rsvs), np.stack(people))


def compare(measure: str, found: ArrayLike, others: dict[str, ArrayLike], allowed: float = 1e-10) -> Iterator[Row]:
    for against, expected in others.items():
        found, expected = np.asarray(found, float), np.asarray(expected, float)
        if found.shape != expected.shape:
            raise ValueError(f"{measure}: {found.shape} here, {expected.shape} by {against}")
        yield Row(measure, against, float(np.abs(found - expected).max()), allowed)


def make_rdms(rsvs: NDArray) -> rsatoolbox.rdm.RDMs:
    return rsatoolbox.rdm.RDMs(1 - fill_rsms(rsvs))


def calc_rdm(patterns: NDArray, method: str, **options) -> NDArray:
    return rsatoolbox.rdm.calc_rdm(rsatoolbox.data.Dataset(patterns), method=method, **options).get_matrices()[0]


def loop_pairs(measure, patterns: NDArray) -> NDArray:
    """Return the (n, n) matrix of a function of two patterns."""
    return np.array([[measure(a, b) for b in patterns] for a in patterns])


# ---- matrices --------------------------------------------------------------------------------------------------------


def list_matrices(study: Study) -> Iterator[Row]:
    patterns = study.layers[0]
    others = {
        "rsatoolbox, correlation": 1 - calc_rdm(patterns, "correlation"),
        "scipy, pearsonr": loop_pairs(lambda a, b: scipy.stats.pearsonr(a, b).statistic, patterns),
    }
    yield from compare("RSM", compute_rsm(patterns), others)
    wide = (3 + np.random.default_rng(1).standard_normal((N_STIMULI, 20_000))).astype(np.float32)
    others = {
        "rsatoolbox, correlation": 1 - calc_rdm(wide.astype(float), "correlation"),
        "numpy, corrcoef": np.corrcoef(wide.astype(float)),
    }
    yield from compare("RSM of a wide layer, in single precision", compute_rsm(wide), others, 2e-6)
    others = {
        "rsatoolbox, euclidean": calc_rdm(patterns, "euclidean"),
        "scipy, sqeuclidean": scipy.spatial.distance.cdist(patterns, patterns, "sqeuclidean") / patterns.shape[1],
    }
    yield from compare("squared Euclidean distances", measure_distances(patterns), others)
    runs = study.runs[0]
    descriptors = {"stimulus": np.tile(np.arange(N_STIMULI), N_RUNS), "run": np.repeat(np.arange(N_RUNS), N_STIMULI)}
    data = rsatoolbox.data.Dataset(runs.reshape(-1, N_VOXELS), obs_descriptors=descriptors)
    rdm = rsatoolbox.rdm.calc_rdm(data, method="crossnobis", descriptor="stimulus", cv_descriptor="run")
    products = [
        [[(a[i] - a[j]) @ (b[i] - b[j]) / N_VOXELS for j in range(N_STIMULI)] for i in range(N_STIMULI)]
        for a, b in itertools.permutations(runs, 2)
    ]
    others = {"rsatoolbox, crossnobis": rdm.get_matrices()[0], LOOP: np.mean(products, axis=0)}
    yield from compare("crossnobis distances", measure_crossnobis(runs), others)


def list_noise(study: Study) -> Iterator[Row]:
    """Noise of voxels: its covariance, and patterns divided by it."""
    residuals, patterns, name = study.residuals, study.runs[0, 0], "simulated"
    covariance = rsatoolbox.data.noise.cov_from_residuals(residuals, method="shrinkage_diag")
    centered = residuals - residuals.mean(0)
    n = len(residuals)
    products = [np.outer(row, row) for row in centered / centered.std(0, ddof=1)]
    r = sum(products) / (n - 1)
    # Schäfer and Strimmer's estimate as rsatoolbox has it: theirs takes off the mean over n, not n - 1
    variances = n / (n - 1) ** 2 * (sum(product**2 for product in products) / (n - 1) - r**2)
    off = ~np.eye(N_VOXELS, dtype=bool)
    share = min(1, variances[off].sum() / (r[off] ** 2).sum())
    others = {"rsatoolbox, shrinkage_diag": covariance, LOOP: np.cov(residuals.T) * np.where(off, 1 - share, 1)}
    yield from compare("covariance of the noise, shrunk", shrink_covariance(residuals), others)
    for measure, normalize, method, noise in (
        ("distances over noise, each voxel by its own", divide_by_noise, "diag", np.diag(residuals.var(0, ddof=1))),
        ("squared Mahalanobis distances", whiten_noise, "shrinkage_diag", covariance),
    ):
        precision = rsatoolbox.data.noise.prec_from_residuals(residuals, method=method)
        inverse = np.linalg.inv(noise)
        mahalanobis = loop_pairs(lambda a, b, w=inverse: scipy.spatial.distance.mahalanobis(a, b, w) ** 2, patterns)
        others = {
            "rsatoolbox, mahalanobis": calc_rdm(patterns, "mahalanobis", noise=precision),
            "scipy, mahalanobis": mahalanobis / N_VOXELS,
        }
        yield from compare(measure, measure_distances(normalize(patterns, residuals, name)), others)


# ---- comparators -----------------------------------------------------------------------------------------------------


def whiten_distances(a: NDArray, b: NDArray) -> float:
    """Cosine of two vectors of distances after multiplication by the inverse root of their covariance, V = 2 I + S S'."""
    rows, columns = np.tril_indices(N_STIMULI, -1)
    shared = np.zeros((len(rows), N_STIMULI))
    shared[np.arange(len(rows)), rows] = shared[np.arange(len(rows)), columns] = 1
    inverse = np.linalg.inv(2 * np.eye(len(rows)) + shared @ shared.T)
    return a @ inverse @ b / np.sqrt((a @ inverse @ a) * (b @ inverse @ b))


def center(distances: NDArray) -> NDArray:
    return distances - distances.mean()


def count_pairs(a: NDArray, b: NDArray) -> float:
    """tau-a: concordant less discordant of all pairs of values."""
    pairs = list(itertools.combinations(range(len(a)), 2))
    return sum(np.sign(a[i] - a[j]) * np.sign(b[i] - b[j]) for i, j in pairs) / len(pairs)


def align_kernels(a: NDArray, b: NDArray) -> float:
    """Centred kernel alignment of two RSMs."""
    a, b = (KernelCenterer().fit_transform(fill_rsms(1 - each[None])[0]) for each in (a, b))
    return (a * b).sum() / np.sqrt((a**2).sum() * (b**2).sum())


def list_comparators(study: Study) -> Iterator[Row]:
    a, b = study.rsvs.round(2), study.people[:1].round(2)  # with ties
    definitions = {
        "pearson": ("corr", "scipy, pearsonr", lambda x, y: scipy.stats.pearsonr(x, y).statistic),
        "spearman": ("spearman", "scipy, spearmanr", lambda x, y: scipy.stats.spearmanr(x, y).statistic),
        "kendall": ("tau-a", LOOP, count_pairs),
        "cosine": ("cosine", "scipy, cosine", lambda x, y: 1 - scipy.spatial.distance.cosine(x, y)),
        "whitened_pearson": ("corr_cov", "numpy, V inverted", lambda x, y: whiten_distances(center(x), center(y))),
        "whitened_cosine": ("cosine_cov", "numpy, V inverted", whiten_distances),
        "cka": ("cosine_cov", "scikit-learn, KernelCenterer", align_kernels),
    }
    for comparator, (method, name, define) in definitions.items():
        others = {
            f"rsatoolbox, {method}": rsatoolbox.rdm.compare(make_rdms(a), make_rdms(b), method=method),
            name: [[define(1 - one, 1 - b[0])] for one in a],
        }
        yield from compare(f"comparator {comparator}", compare_rsvs(a, b, comparator), others)


# ---- noise ceilings, intervals, tests --------------------------------------------------------------------------------


def list_ceilings(study: Study) -> Iterator[Row]:
    people = study.people
    halves = [
        np.corrcoef(people[list(half)].mean(0), np.delete(people, half, axis=0).mean(0))[0, 1]
        for half in itertools.combinations(range(N_PARTICIPANTS), N_PARTICIPANTS // 2)
    ]
    ceiling = measure_noise_ceiling(people, n_splits=1000, seed=0).r
    yield from compare("noise ceiling, split-half over participants", ceiling, {LOOP: np.mean(halves)})
    units = scipy.stats.zscore(people, axis=1)
    others = {i: np.delete(units, i, axis=0).mean(0) for i in range(N_PARTICIPANTS)}
    lower = np.mean([scipy.stats.pearsonr(units[i], other).statistic for i, other in others.items()])
    upper = np.mean([scipy.stats.pearsonr(unit, units.mean(0)).statistic for unit in units])
    expected = {
        "rsatoolbox, boot_noise_ceiling": boot_noise_ceiling(make_rdms(people), method="corr"),
        LOOP: (lower, upper),
    }
    yield from compare("noise ceilings, leave-one-out, lower and upper", measure_leave_one_out(people), expected)


def list_intervals(study: Study) -> Iterator[Row]:
    rsvs, people = study.rsvs, study.people
    resamples = inference.draw_resamples(N_PARTICIPANTS, N_STIMULI, n_resamples=30, seed=0)
    group, models = make_rdms(people.mean(0)[None]), make_rdms(rsvs)
    drawn = [np.repeat(np.arange(N_STIMULI), counts.astype(int)) for counts in resamples.stimuli]
    subsampled = [[rdms.subsample_pattern("index", each) for rdms in (models, group)] for each in drawn]
    distances = [[rdms.dissimilarities for rdms in pair] for pair in subsampled]
    r = [[scipy.stats.pearsonr(*np.stack([x, y[0]])[:, ~np.isnan(x)]).statistic for x in xs] for xs, y in distances]
    others = {"rsatoolbox, subsample_pattern": [rsatoolbox.rdm.compare(*each, method="corr")[:, 0] for each in subsampled],
              "scipy, pearsonr": r}  # fmt: skip
    samples = inference.bootstrap_similarity(rsvs, people, resamples)
    yield from compare("r of resampled stimuli", samples["stimuli"], others)
    variances = inference.estimate_variances(samples, N_PARTICIPANTS, N_STIMULI)
    stacked = np.stack([np.cov(samples[kind].T) for kind in ("both", "participants", "stimuli")])
    theirs = extract_variances(stacked, nc_included=False, n_rdm=N_PARTICIPANTS, n_pattern=N_STIMULI)[0]
    yield from compare("variance of r over both factors", variances["both"], {"rsatoolbox, extract_variances": theirs})
    center, freedom = rsvs[:, 0] / 2, inference.count_freedom(N_PARTICIPANTS, N_STIMULI)["both"]
    interval = inference.find_interval(center, np.full(N_LAYERS, 1e-3), freedom)
    expected = scipy.stats.t.interval(inference.CONFIDENCE, freedom, loc=center, scale=np.sqrt(1e-3))
    yield from compare("95% interval", interval, {"scipy, t.interval": expected})
    permutations = inference.draw_permutations(N_STIMULI, n_permutations=99, seed=0)
    permuted = inference.permute_similarity(rsvs, people[0], permutations)
    matrices = [vectorize_rsm(fill_rsms(people[:1])[0][np.ix_(order, order)]) for order in permutations]
    loop = [[scipy.stats.pearsonr(x, y).statistic for x in rsvs] for y in matrices]
    yield from compare("r of permuted stimuli", permuted, {LOOP: loop})
    p = np.random.default_rng(0).uniform(size=50) ** 3
    expected = scipy.stats.false_discovery_control(p)
    yield from compare("q", inference.control_false_discoveries(p), {"scipy, false_discovery_control": expected})


def list_dimensions(study: Study) -> Iterator[Row]:
    patterns = study.layers[0]
    spectra = {
        "scikit-learn, PCA": PCA(svd_solver="full").fit(patterns).explained_variance_[: N_STIMULI - 1],
        "numpy, eigvalsh of the covariance": np.linalg.eigvalsh(np.cov(patterns.T))[::-1][: N_STIMULI - 1],
    }
    half = (N_STIMULI - 1) // 2
    others = {
        name: (
            s.sum() ** 2 / (s**2).sum(),
            -scipy.stats.linregress(np.log(1 + np.arange(half)), np.log(s[:half])).slope,
        )
        for name, s in spectra.items()
    }
    yield from compare("participation ratio, power-law exponent", measure_dimensionality(patterns), others)


# ---- encoding --------------------------------------------------------------------------------------------------------


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
    loop = [correct_length(np.mean(each)) for each in r]
    found = measure_split_half(runs, n_splits=100, seed=0)
    yield from compare(
        "noise ceiling of voxels, split halves of runs", np.nan_to_num(found), {LOOP: np.nan_to_num(loop)}
    )


def list_rows() -> list[Row]:
    """Return the rows of the table."""
    study = simulate_study()
    lists = (
        list_matrices, list_noise, list_comparators, list_ceilings, list_intervals, list_dimensions, list_encoding,
        list_triplets,
    )  # fmt: skip
    return [row for rows in lists for row in rows(study)]


def main() -> None:
    rows = [f"| {row.measure} | {row.against} | {row.difference:.0e} | {row.allowed:.0e} |" for row in list_rows()]
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in PACKAGES)
    print(
        "# How far each measure is from other computations of it\n\n"
        f"Made by `PYTHONPATH=. python -m benchmarks.agreement > docs/agreement.md` on {datetime.date.today()}:\n"
        f"Python {platform.python_version()}, {versions}.\n\n"
        f"Simulated data: {N_STIMULI} stimuli, {N_LAYERS} layers, {N_PARTICIPANTS} participants of {N_VOXELS} voxels in "
        f"{N_RUNS} runs.\n"
        "Each row is one measure against one independent computation: rsatoolbox, scikit-learn, himalaya, scipy, numpy, or a\n"
        "loop over the definition. The difference is the largest of all numbers that were compared;\n"
        "`tests/test_agreement.py` makes the table anew and fails where one is larger than allowed.\n\n"
        "| measure | against | largest difference | allowed |\n|---|---|---|---|"
    )
    print("\n".join(rows))


if __name__ == "__main__":
    main()
