"""
RSMs, noise, comparators, ceilings, intervals and dimensionality beside independent computations of them, for `agreement`.
"""

import itertools
from collections.abc import Iterator

import numpy as np
import rsatoolbox
import scipy.spatial.distance
import scipy.stats
from numpy.typing import NDArray
from rsatoolbox.inference.noise_ceiling import boot_noise_ceiling
from rsatoolbox.util.inference_util import extract_variances
from sklearn.decomposition import PCA
from sklearn.preprocessing import KernelCenterer

from benchmarks.agreement_study import (
    LOOP,
    N_LAYERS,
    N_PARTICIPANTS,
    N_RUNS,
    N_STIMULI,
    N_VOXELS,
    Row,
    Study,
    compare,
    make_rdms,
)
from ipcl_core.brains.patterns import divide_by_noise, shrink_covariance, whiten_noise
from ipcl_core.rsa import inference
from ipcl_core.rsa.dimensionality import measure_dimensionality
from ipcl_core.rsa.noise_ceiling import measure_leave_one_out, measure_noise_ceiling
from ipcl_core.rsa.similarity import (
    compare_rsvs,
    compute_rsm,
    fill_rsms,
    measure_crossnobis,
    measure_distances,
    vectorize_rsm,
)


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
