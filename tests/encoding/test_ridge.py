"""Ridge regressions against scikit-learn, himalaya and a loop that leaves each stimulus out."""

import h5py
import numpy as np
import pytest
import torch
from himalaya.kernel_ridge import KernelRidgeCV
from numpy.testing import assert_allclose
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import PredefinedSplit
from sklearn.preprocessing import StandardScaler
from sklearn.random_projection import SparseRandomProjection

from ipcl_core.encoding import features
from ipcl_core.encoding.features import make_kernel, project_units, read_units
from ipcl_core.encoding.ridge import center_kernel, fit_fold, sum_kernel

PENALTIES = [10.0**k for k in range(-4, 6)]
TEST = np.arange(40) % 5 == 0


def draw(n: int = 40, units: int = 90, voxels: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Features with means of their own, and responses from all noise to hardly any."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((n, units)) * rng.exponential(size=units) + 3 * rng.standard_normal(units)
    weights = rng.standard_normal((units, voxels)) / 10
    return x, x @ weights + rng.standard_normal((n, voxels)) * np.logspace(-2, 2, voxels) + 5


def fit(x: np.ndarray, y: np.ndarray):
    masks = torch.tensor(~TEST), torch.tensor(TEST)
    return fit_fold(sum_kernel([torch.tensor(x)]), torch.tensor(y), *masks, PENALTIES, leave_out=True)


def find_unit(x: np.ndarray) -> float:
    """Mean squared length of the training stimuli, less their mean."""
    return ((x[~TEST] - x[~TEST].mean(0)) ** 2).sum(1).mean()


@pytest.mark.parametrize("units", [12, 90])
def test_predictions_and_penalties_equal_scikit_learn(units):
    x, y = draw(units=units)
    fold, unit = fit(x, y), find_unit(x)
    model = RidgeCV(np.array(PENALTIES) * unit, alpha_per_target=True).fit(x[~TEST], y[~TEST])
    assert len(set(model.alpha_)) > 4
    assert_allclose(fold.penalties * unit, model.alpha_, rtol=1e-9)
    assert_allclose(fold.predictions, model.predict(x[TEST]), rtol=0, atol=1e-9)


def test_predictions_equal_himalaya():
    x, y = draw()
    each = PredefinedSplit(np.arange(32))  # leaves one out
    model = KernelRidgeCV(np.array(PENALTIES) * find_unit(x), kernel="linear", fit_intercept=True, cv=each, warn=False)
    assert_allclose(fit(x, y).predictions, model.fit(x[~TEST], y[~TEST]).predict(x[TEST]), rtol=0, atol=1e-6)


def test_scores_equal_loop():
    """R2 of each training stimulus predicted from the others, by as many regressions."""
    x, y = draw(voxels=5)
    x, y, unit = x[~TEST], y[~TEST], find_unit(x)
    predicted, baseline = np.zeros((len(PENALTIES), 32, 5)), np.zeros(5)
    for i in range(32):
        others = np.arange(32) != i
        mean_x, mean_y = x[others].mean(0), y[others].mean(0)
        kernel = (x[others] - mean_x) @ (x[others] - mean_x).T
        baseline += (y[i] - mean_y) ** 2
        for k, penalty in enumerate(PENALTIES):
            weights = np.linalg.solve(kernel + penalty * unit * np.eye(31), y[others] - mean_y)
            predicted[k, i] = mean_y + (x[i] - mean_x) @ (x[others] - mean_x).T @ weights
    errors = ((y - predicted) ** 2).sum(1)
    fold = fit(*draw(voxels=5))
    assert_allclose(fold.scores, 1 - errors.min(0) / baseline, rtol=0, atol=1e-9)
    assert_allclose(fold.penalties, np.array(PENALTIES)[errors.argmin(0)])
    chosen = np.take_along_axis(predicted, errors.argmin(0)[None, None], 0)[0]
    assert_allclose(fold.left_out, chosen, rtol=0, atol=1e-9)


def test_held_out_responses_are_never_seen():
    x, y = draw()
    other = np.where(TEST[:, None], 1e6, y)
    a, b = fit(x, y), fit(x, other)
    assert (a.predictions == b.predictions).all() and (a.penalties == b.penalties).all()


def test_layer_that_is_constant_on_training_stimuli_predicts_their_mean():
    """Held-out stimuli differ, so that the kernel around the mean of all is not 0: what is left in it is rounding."""
    x, y = draw()
    x[~TEST] = 0.37
    fold = fit(x, y)
    assert_allclose(fold.predictions, np.broadcast_to(y[~TEST].mean(0), (8, 60)), rtol=0, atol=1e-12)
    assert (fold.scores == -torch.inf).all()


def test_of_penalties_that_are_equal_but_for_rounding_the_first_is_taken():
    """Training stimuli that are all equally far tell nothing of each other, whatever the penalty."""
    x, (_, y) = np.zeros((40, 32)), draw()
    x[~TEST] = np.eye(32) * 0.3
    x[TEST, :3] = np.random.default_rng(1).standard_normal((8, 3))
    assert set(fit(x, y).penalties.tolist()) == {PENALTIES[0]}


def test_voxels_are_fitted_alone(monkeypatch):
    x, y = draw()
    whole = fit(x, y)
    monkeypatch.setattr("ipcl_core.encoding.ridge.VOXELS", 7)
    assert_allclose(fit(x, y).predictions, whole.predictions, rtol=0, atol=1e-12)


def test_kernel_is_centred_on_the_training_stimuli():
    x, _ = draw(units=7)
    kernels = center_kernel(sum_kernel([torch.tensor(x)]), torch.tensor(~TEST), torch.tensor(TEST))
    centered = x - x[~TEST].mean(0)
    for kernel, rows in zip(kernels, (~TEST, TEST), strict=True):
        assert_allclose(kernel, centered[rows] @ centered[~TEST].T, rtol=0, atol=1e-9)


# ---- activations in files --------------------------------------------------------------------------------------------


@pytest.fixture
def dataset(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        yield file.create_dataset(
            "layer", data=np.random.default_rng(0).standard_normal((20, 60, 3, 3)).astype(np.float32)
        )


def test_blocks_of_units_give_the_same_kernel(dataset, monkeypatch):
    x = dataset[:].reshape(20, -1).astype(np.float64)
    expected = (x - x.mean(0)) @ (x - x.mean(0)).T
    assert len(list(read_units(dataset))) == 1
    assert_allclose(make_kernel(dataset), expected, rtol=0, atol=1e-9)
    monkeypatch.setattr(features, "BLOCK_BYTES", 20 * 9 * 4 * 7)
    assert [block.shape for block in read_units(dataset)] == 8 * [(20, 63)] + [(20, 36)]
    assert_allclose(make_kernel(dataset), expected, rtol=0, atol=1e-9)


def test_standardised_units_equal_scikit_learn(dataset):
    dataset[:, 4] = 2.5  # constant units
    train = np.arange(20) % 4 != 0
    x = dataset[:].reshape(20, -1).astype(np.float64)
    x = np.delete(x, range(36, 45), axis=1)
    z = StandardScaler().fit(x[train]).transform(x)
    z -= z.mean(0)
    assert_allclose(make_kernel(dataset, standardize=train), z @ z.T, rtol=0, atol=1e-9)


def test_projection_is_scikit_learns(dataset, monkeypatch):
    x = dataset[:].reshape(20, -1)
    assert (project_units(dataset, eps=0.1, seed=0) == x).all(), "540 units are fewer than 2,567"
    expected = SparseRandomProjection(eps=0.5, random_state=3).fit_transform(x)
    monkeypatch.setattr(features, "BLOCK_BYTES", 540 * 4 * 7)
    found = project_units(dataset, eps=0.5, seed=3)
    assert found.shape == (20, 143) and found.dtype == np.float32
    assert_allclose(found, expected, rtol=0, atol=1e-5)
    centered = expected.astype(float) - expected.astype(float).mean(0)
    kernel = make_kernel(dataset, projection=0.5, seed=3)
    assert_allclose(kernel, centered @ centered.T, rtol=0, atol=1e-3)
