"""r, R2 and veRSA of held-out stimuli: loops, and what is expected of predictions that know nothing."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from sklearn.metrics import r2_score

from ipcl_core.encoding.ridge import fit_fold, sum_kernel
from ipcl_core.encoding.scores import compare_fold, find_r2, make_rsv


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
