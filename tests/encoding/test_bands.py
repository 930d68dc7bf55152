"""Banded ridge regression and variance partition: himalaya, scikit-learn, hand-computed parts, a known truth."""

import numpy as np
import pytest
import torch
from himalaya.kernel_ridge import MultipleKernelRidgeCV
from numpy.testing import assert_allclose
from sklearn.model_selection import PredefinedSplit

from ipcl_core.encoding.bands import fit_bands, list_mixtures, list_subsets, partition_variance
from ipcl_core.encoding.ridge import center_kernel, fit_fold, sum_kernel
from ipcl_core.encoding.scores import compare_fold, find_r2

PENALTIES = [10.0**k for k in range(-3, 4)]


def draw(n: int = 40, voxels: int = 30) -> tuple[list[np.ndarray], np.ndarray]:
    """Two bands of features, and voxels from the first alone to the second alone, in noise."""
    rng = np.random.default_rng(0)
    bands = [rng.standard_normal((n, units)) * scale for units, scale in ((15, 1), (25, 30))]
    signals = [band @ rng.standard_normal((band.shape[1], voxels)) for band in bands]
    a, b = (signal / signal.std(0) for signal in signals)
    share = np.linspace(0, 1, voxels)
    return bands, np.sqrt(1 - share) * a + np.sqrt(share) * b + 0.5 * rng.standard_normal((n, voxels)) + 3


def split(n: int = 40) -> tuple[torch.Tensor, torch.Tensor]:
    test = torch.arange(n) % 4 == 0
    return ~test, test


def test_band_that_is_constant_on_training_stimuli_adds_nothing():
    """Two categories, each a fold: in training there is one."""
    bands, y = draw()
    train, test = split()
    kernels = {"a": sum_kernel([torch.tensor(bands[0])])}
    alone = fit_bands(kernels, torch.tensor(y), train, test, PENALTIES)["a",].predictions
    kernels["b"] = sum_kernel([torch.stack([train, test], 1)])
    found = fit_bands(kernels, torch.tensor(y), train, test, PENALTIES)
    for names in (("a",), ("a", "b")):
        assert_allclose(found[names].predictions, alone, rtol=0, atol=1e-9)
    mean = np.broadcast_to(y[train.numpy()].mean(0), (10, 30))
    assert_allclose(found["b",].predictions, mean, rtol=0, atol=1e-12)


def test_mixtures_are_a_whole_grid():
    assert (list_mixtures(1) == [[1]]).all()
    assert sorted(list_mixtures(2)[:, 0]) == pytest.approx(np.linspace(0, 1, 11))
    three = list_mixtures(3)
    assert_allclose(three.sum(1), 1)
    assert (three >= 0).all() and len(np.unique(three, axis=0)) == len(three) == 40
    for used in (slice(2), slice(1, None), slice(None, None, 2)):  # every two bands have the mixtures of two
        pair = three[np.isclose(three[:, used].sum(1), 1)][:, used]
        assert {tuple(one) for one in pair} == {tuple(one) for one in list_mixtures(2)}


def test_predictions_equal_himalaya():
    """Its random search with the same weights, penalties and leave-one-out, on kernels of the same size."""
    bands, y = draw()
    train, test = split()
    kernels = [sum_kernel([torch.tensor(band)]) for band in bands]
    found = fit_bands(dict(zip("ab", kernels, strict=True)), torch.tensor(y), train, test, PENALTIES)["a", "b"]
    scaled = np.stack([kernel / center_kernel(kernel, train, test)[0].diagonal().mean() for kernel in kernels])
    settings = {"n_iter": list_mixtures(2), "alphas": np.array(PENALTIES), "progress_bar": False}
    each = PredefinedSplit(np.arange(30))
    model = MultipleKernelRidgeCV(
        "precomputed", solver="random_search", solver_params=settings, fit_intercept=True, cv=each
    )
    model.fit(scaled[:, train][:, :, train], y[train])
    expected = model.predict(scaled[:, test][:, :, train])
    assert_allclose(found.predictions, expected, rtol=0, atol=1e-6)
    single = [fit_fold(kernel, torch.tensor(y), train, test, PENALTIES).predictions for kernel in kernels]
    assert all((found.predictions - one).abs().max() > 0.1 for one in single)


def test_three_bands_equal_loop():
    """Every subset of the bands: every mixture, penalty and training stimulus that is left out, one by one."""
    rng, n, voxels = np.random.default_rng(1), 16, 7
    bands = [rng.standard_normal((n, units)) * size for units, size in ((3, 1), (9, 20), (5, 0.1))]
    signals = [band @ rng.standard_normal((band.shape[1], voxels)) for band in bands]
    y = sum(rng.uniform(0, 2, voxels) * s / s.std(0) for s in signals) + rng.standard_normal((n, voxels))
    (train, test), penalties = split(n), [1e-2, 1.0, 1e2]
    kernels = {name: sum_kernel([torch.tensor(band)]) for name, band in zip("abc", bands, strict=True)}
    found = fit_bands(kernels, torch.tensor(y), train, test, penalties)
    assert set(found) == set(list_subsets("abc"))
    inner, outer = np.flatnonzero(train), np.flatnonzero(test)
    scaled = [x / np.sqrt(((x[inner] - x[inner].mean(0)) ** 2).sum(1).mean()) for x in bands]

    def predict(x, known, asked, penalty):
        z, means = x[known] - x[known].mean(0), y[known].mean(0)
        weights = np.linalg.solve(z @ z.T + penalty * np.eye(len(known)), y[known] - means)
        return means + (x[asked] - x[known].mean(0)) @ z.T @ weights

    for subset, fold in found.items():
        best, expected = np.full(voxels, np.inf), np.empty((len(outer), voxels))
        for weights in list_mixtures(3):
            if any(weight and name not in subset for weight, name in zip(weights, "abc", strict=True)):
                continue
            x = np.hstack([np.sqrt(weight) * band for weight, band in zip(weights, scaled, strict=True)])
            for penalty in penalties:  # the mixed features' mean squared length is the sum of the weights, 1
                error = sum((y[i] - predict(x, inner[inner != i], [i], penalty)[0]) ** 2 for i in inner)
                better = error < best
                best[better], expected[:, better] = error[better], predict(x, inner, outer, penalty)[:, better]
        assert_allclose(fold.predictions, expected, rtol=0, atol=1e-9)
        baseline = sum((y[i] - y[inner[inner != i]].mean(0)) ** 2 for i in inner)
        assert_allclose(fold.scores, 1 - best / baseline, rtol=0, atol=1e-9)


def test_one_band_is_ridge_regression():
    bands, y = draw()
    kernel, masks = sum_kernel([torch.tensor(bands[0])]), split()
    found = fit_bands({"a": kernel}, torch.tensor(y), *masks, PENALTIES)["a",]
    expected = fit_fold(kernel, torch.tensor(y), *masks, PENALTIES)
    assert_allclose(found.predictions, expected.predictions, rtol=0, atol=1e-9)


def test_size_of_a_band_does_not_matter():
    """A band in other units, as of a layer with larger activations, has the same part."""
    bands, y = draw()
    masks = split()
    found = [
        fit_bands(
            {name: sum_kernel([torch.tensor(s * x)]) for name, s, x in zip("ab", scales, bands, strict=True)},
            torch.tensor(y),
            *masks,
            [1.0],
        )["a", "b"]
        for scales in ((1, 1), (1e-3, 50))
    ]
    assert_allclose(found[0].predictions, found[1].predictions, rtol=0, atol=1e-9)


def test_parts_by_hand():
    """Three models with parts that are known: each part is found, and all add up to what the three explain."""
    parts = {(): 0, ("a",): 1, ("b",): 2, ("c",): 4, ("a", "b"): 8, ("a", "c"): 16, ("b", "c"): 32, ("a", "b", "c"): 64}
    subsets = list_subsets(["a", "b", "c"])
    assert len(subsets) == 7 and subsets[0] == ("a",) and subsets[-1] == ("a", "b", "c")
    r2 = {subset: np.float64(sum(v for part, v in parts.items() if set(part) & set(subset))) for subset in subsets}
    assert partition_variance(r2) == {subset: parts[subset] for subset in subsets}
    two = partition_variance({("a",): 0.3, ("b",): 0.2, ("a", "b"): 0.4})
    assert two == pytest.approx({("a",): 0.2, ("b",): 0.1, ("a", "b"): 0.1})


def test_true_parts_are_found():
    """Voxels of two independent bands and noise, 60% and 20% of the variance; many stimuli, so that nearly all is learnt."""
    rng, n = np.random.default_rng(0), 400
    bands = [rng.standard_normal((n, 8)) for _ in range(2)]
    signals = [band @ rng.standard_normal((8, 40)) for band in bands]
    y = np.sqrt(0.6) * signals[0] / signals[0].std(0) + np.sqrt(0.2) * signals[1] / signals[1].std(0)
    y = torch.tensor(y + np.sqrt(0.2) * rng.standard_normal(y.shape))
    kernels, (train, test) = (
        {name: sum_kernel([torch.tensor(band)]) for name, band in zip("ab", bands, strict=True)},
        split(n),
    )
    r2 = {}
    for subset, fold in fit_bands(kernels, y, train, test, PENALTIES).items():
        r2[subset] = find_r2(compare_fold(fold.predictions, y[test], y[train].mean(0))[None])
    found = {subset: values.mean() for subset, values in partition_variance(r2).items()}
    assert found == pytest.approx({("a",): 0.6, ("b",): 0.2, ("a", "b"): 0}, abs=0.05)
