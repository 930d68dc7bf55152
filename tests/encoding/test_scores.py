"""r, R2 and veRSA of held-out stimuli: loops, and what is expected of predictions that know nothing."""

import numpy as np
import pytest
import scipy.stats
import torch
from numpy.testing import assert_allclose
from sklearn.metrics import r2_score

from ipcl_core.encoding.bands import fit_bands
from ipcl_core.encoding.ridge import fit_fold, sum_kernel
from ipcl_core.encoding.scores import compare_fold, correlate_added, find_r2, make_rsv


def judge(x: np.ndarray, y: np.ndarray, n_folds: int) -> tuple[np.ndarray, np.ndarray]:
    """Each fold's numbers, and all predictions, of ridge regressions."""
    kernel, folds, predictions = sum_kernel([torch.tensor(x)]), [], np.empty_like(y)
    for fold in range(n_folds):
        test = torch.arange(len(x)) % n_folds == fold
        found = fit_fold(kernel, torch.tensor(y), ~test, test, [1e-2, 1e0, 1e2, 1e4]).predictions
        folds.append(compare_fold(found, torch.tensor(y)[test], torch.tensor(y)[~test].mean(0)))
        predictions[test] = found
    return np.stack(folds), predictions


def test_r_and_r2_equal_loop():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((24, 10))
    y = x @ rng.standard_normal((10, 6)) + 2 * rng.standard_normal((24, 6))
    folds, predictions = judge(x, y, 4)
    for voxel in range(6):
        error, baseline = 0, 0
        for fold in range(4):
            test = np.arange(24) % 4 == fold
            r = np.corrcoef(predictions[test, voxel], y[test, voxel])[0, 1]
            assert folds[fold, 0, voxel] == pytest.approx(r, abs=1e-12)
            error += ((y[test, voxel] - predictions[test, voxel]) ** 2).sum()
            baseline += ((y[test, voxel] - y[~test, voxel].mean()) ** 2).sum()
        assert find_r2(folds)[voxel] == pytest.approx(1 - error / baseline, abs=1e-12)


def test_one_fold_equals_scikit_learn():
    """R2 is scikit-learn's where the training stimuli have the mean of the held-out ones."""
    p, y = np.random.default_rng(0).standard_normal((2, 9, 5))
    folds = compare_fold(torch.tensor(p), torch.tensor(y), torch.tensor(y.mean(0)))[None]
    assert_allclose(find_r2(folds), r2_score(y, p, multioutput="raw_values"), atol=1e-12)


def test_constant_predictions_and_responses():
    p, y = np.random.default_rng(0).standard_normal((2, 8, 3))
    p[:, 0], y[:, 1] = 0.3, 7
    folds = compare_fold(torch.tensor(p), torch.tensor(y), torch.tensor(y.mean(0)))[None]
    assert folds[0, 0, 0] == 0 and np.isnan(folds[0, 0, 1]) and np.isnan(find_r2(folds)[1])


def test_partial_correlation_equals_residuals():
    """The correlation of what is left of both when the others and a constant are fitted by least squares."""
    p, q, y = np.random.default_rng(0).standard_normal((3, 9, 5))
    p[:, 3], y[:, 4] = 2 * q[:, 3] + 1, 3  # adds nothing; a constant response
    found = correlate_added(*map(torch.tensor, (p, q, y))).numpy()
    for i in range(3):
        known = np.stack([np.ones(9), q[:, i]], 1)
        rest = [one[:, i] - known @ np.linalg.lstsq(known, one[:, i])[0] for one in (p, y)]
        assert found[i] == pytest.approx(np.corrcoef(*rest)[0, 1], abs=1e-12)
    assert found[3] == 0 and np.isnan(found[4])
    constant = correlate_added(torch.tensor(p), torch.ones(9, 5, dtype=torch.float64), torch.tensor(y))
    assert_allclose(constant[:4], compare_fold(*map(torch.tensor, (p, y, y.mean(0))))[0, :4], atol=1e-12)


def test_what_a_model_adds_in_noise_is_significant_in_one_of_twenty_studies():
    """1,000 studies of 6 participants with 4 voxels of noise, two models, 30 stimuli; by R2 none is."""
    rng, shape = np.random.default_rng(0), (1000, 6, 4)
    kernels = {name: sum_kernel([torch.tensor(rng.standard_normal((30, 40)))]) for name in "ab"}
    y, r, folds = torch.tensor(rng.standard_normal((30, np.prod(shape)))), [], {("b",): [], ("a", "b"): []}
    for fold in range(5):
        test = torch.arange(30) % 5 == fold
        found = {subset: one.predictions for subset, one in fit_bands(kernels, y, ~test, test, [1e-1, 1e1]).items()}
        r.append(correlate_added(found["a", "b"], found["b",], y[test]).numpy())
        for subset, each in folds.items():
            each.append(compare_fold(found[subset], y[test], y[~test].mean(0)))
    r2 = {subset: find_r2(np.stack(each)) for subset, each in folds.items()}
    for values, low, high in ((np.mean(r, axis=0), 0.036, 0.064), (r2["a", "b"] - r2["b",], 0, 0.01)):
        people = values.reshape(shape).mean(2)
        p = scipy.stats.ttest_1samp(people, 0, axis=1, alternative="greater").pvalue
        assert low <= np.mean(p < 0.05) <= high, np.mean(p < 0.05)


def test_noise_is_neither_predicted_nor_below_chance():
    """A correlation across folds of the same predictions is far below 0, because the training means are."""
    rng = np.random.default_rng(0)
    within, across, r2 = [], [], []
    for _ in range(40):
        x, y = rng.standard_normal((30, 50)), rng.standard_normal((30, 40))
        folds, predictions = judge(x, y, 5)
        within.append(folds[:, 0].mean())
        r2.append(np.median(find_r2(folds)))
        across.append(np.mean([np.corrcoef(a, b)[0, 1] for a, b in zip(predictions.T, y.T, strict=True)]))
    error = np.std(within) / np.sqrt(40)
    assert abs(np.mean(within)) < 3 * error and error < 0.02
    assert np.mean(across) < -0.1
    assert -0.1 < np.mean(r2) < 0.01


def test_similarities_of_a_fold_are_correlations():
    y = np.random.default_rng(0).standard_normal((9, 30))
    assert_allclose(make_rsv(torch.tensor(y)), np.corrcoef(y)[np.tril_indices(9, -1)], atol=1e-12)
