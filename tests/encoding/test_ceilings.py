"""Noise ceilings of voxels: loops, known answers."""

import itertools

import numpy as np
import pytest
import scipy.stats
from numpy.testing import assert_allclose

from ipcl_core.encoding.ceilings import find_least_ceiling, measure_explainable, measure_split_half


def draw_runs(share: float, n_runs: int, n: int = 60, n_voxels: int = 400, seed: int = 0) -> np.ndarray:
    """Runs whose mean has a share of its variance from the stimuli; each run has an offset of its own."""
    rng = np.random.default_rng(seed)
    noise = np.sqrt(n_runs * (1 - share) / share) if share else 1
    signal = rng.standard_normal((n, n_voxels)) * (share > 0)
    return signal + noise * rng.standard_normal((n_runs, n, n_voxels)) + 10 * rng.standard_normal((n_runs, 1, 1))


def test_explainable_variance_equals_loop():
    """By the formula of NCSNR: the residual variance of a two-way table, stimulus by stimulus and run by run."""
    runs = draw_runs(0.5, 3, n=12, n_voxels=4)
    for voxel, found in enumerate(measure_explainable(runs)):
        y = runs[:, :, voxel]
        squares = 0
        for run, stimulus in itertools.product(range(3), range(12)):
            squares += (y[run, stimulus] - y[run].mean() - y[:, stimulus].mean() + y.mean()) ** 2
        noise = squares / (2 * 11)
        signal = max(0, y.mean(0).var(ddof=1) - noise / 3)
        ncsnr = np.sqrt(signal / noise)
        assert found == pytest.approx(ncsnr**2 / (ncsnr**2 + 1 / 3), abs=1e-12)


def test_split_half_equals_loop():
    runs = draw_runs(0.5, 4, n=12, n_voxels=3)
    pairs = [((0, 1), (2, 3)), ((0, 2), (1, 3)), ((0, 3), (1, 2))]
    for voxel, found in enumerate(measure_split_half(runs, n_splits=100, seed=0)):
        y = runs[:, :, voxel]
        r = np.mean([np.corrcoef(y[list(a)].mean(0), y[list(b)].mean(0))[0, 1] for a, b in pairs])
        assert found == pytest.approx(2 * r / (1 + r), abs=1e-12)


@pytest.mark.parametrize("share", [0.2, 0.7])
@pytest.mark.parametrize("n_runs", [2, 3, 5])
def test_ceilings_are_the_true_share(share, n_runs):
    runs = draw_runs(share, n_runs)
    assert np.mean(measure_explainable(runs)) == pytest.approx(share, abs=0.02)
    assert np.median(measure_split_half(runs, n_splits=20, seed=0)) == pytest.approx(share, abs=0.03)


def test_split_half_of_an_odd_number_of_runs_is_the_true_share():
    """Of means over so many stimuli that r is nearly exact: by 2 r / (1 + r) it would be .236 and .543."""
    for share in (0.25, 0.5625):
        runs = draw_runs(share, 3, n=20_000, n_voxels=8)
        assert np.mean(measure_split_half(runs, n_splits=3, seed=0)) == pytest.approx(share, abs=0.004)


def test_noise_has_no_ceiling():
    runs = draw_runs(0, 3)
    assert np.median(measure_explainable(runs)) < 0.1 and (measure_explainable(runs) >= 0).all()
    assert abs(np.median(measure_split_half(runs, n_splits=20, seed=0))) < 0.05


@pytest.mark.parametrize("n_runs", [2, 4])
def test_noise_has_the_least_ceiling_in_one_of_twenty_voxels(n_runs):
    """Of voxels of noise; and where a voxel's ceiling is just that, the two-way analysis of variance has p = .05."""
    runs = draw_runs(0, n_runs, n=30, n_voxels=8000)
    ceilings, least = measure_explainable(runs), find_least_ceiling(n_runs, 30)
    assert np.mean(ceilings >= least) == pytest.approx(0.05, abs=0.008)
    y = runs[:, :, np.abs(ceilings - least).argmin()]
    effect = y.mean(0) - y.mean()
    rest = y - y.mean(1, keepdims=True) - effect
    f = n_runs * (effect**2).sum() / 29 / ((rest**2).sum() / (29 * (n_runs - 1)))
    assert scipy.stats.f.sf(f, 29, 29 * (n_runs - 1)) == pytest.approx(0.05, abs=1e-3)


def test_one_run_has_none():
    runs = draw_runs(0.5, 1)
    assert np.isnan(measure_explainable(runs)).all() and np.isnan(measure_split_half(runs, n_splits=2, seed=0)).all()
    assert_allclose(measure_explainable(np.repeat(draw_runs(0.5, 1), 3, axis=0)), 1)
