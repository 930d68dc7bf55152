"""Noise normalisation of voxel patterns."""

import numpy as np
import pytest
import rsatoolbox
from numpy.testing import assert_allclose
from own_brains import N_VOXELS, PARTICIPANTS, make_own

from ipcl_core.brains.patterns import divide_by_noise, refuse_fill_values, shrink_covariance, whiten_noise
from ipcl_core.brains.store import read_patterns
from ipcl_core.fits.statistics import read_regions
from ipcl_core.rsa.similarity import measure_crossnobis, measure_distances, vectorize_rsm

N_STIMULI, WHO = 8, "region IT, participant 01"


def draw(n_residuals: int, n_voxels: int = 15, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Patterns, and residuals whose noise is correlated over voxels and differs between them."""
    rng = np.random.default_rng(seed)
    mixing = rng.standard_normal((n_voxels, n_voxels)) + 2 * np.diag(rng.exponential(size=n_voxels) + 0.5)
    return rng.standard_normal((N_STIMULI, n_voxels)), 3 + rng.standard_normal((n_residuals, n_voxels)) @ mixing


@pytest.mark.parametrize("n_residuals", [5, 12, 40, 400])
def test_shrunk_covariance_equals_rsatoolbox(n_residuals):
    """With fewer rows than voxels too; the share of the shrinkage falls with the rows."""
    _, residuals = draw(n_residuals)
    expected = rsatoolbox.data.noise.cov_from_residuals(residuals, method="shrinkage_diag")
    found = shrink_covariance(residuals)
    assert_allclose(found, expected, rtol=1e-10, atol=1e-10)
    assert (abs(found) <= abs(np.cov(residuals.T)) + 1e-12).all() and (found != np.cov(residuals.T)).any()


@pytest.mark.parametrize("normalize,method", [(divide_by_noise, "diag"), (whiten_noise, "shrinkage_diag")])
def test_distances_of_normalized_patterns_are_rsatoolbox_mahalanobis_distances(normalize, method):
    patterns, residuals = draw(40)
    precision = rsatoolbox.data.noise.prec_from_residuals(residuals, method=method)
    expected = rsatoolbox.rdm.calc_rdm(rsatoolbox.data.Dataset(patterns), method="mahalanobis", noise=precision)
    found = measure_distances(normalize(patterns, residuals, WHO))
    assert_allclose(found, expected.get_matrices()[0], rtol=1e-10, atol=1e-10)


def test_white_noise_of_one_changes_little():
    patterns, _ = draw(1)
    white = np.random.default_rng(1).standard_normal((100_000, 15))
    assert_allclose(whiten_noise(patterns, white, WHO), patterns, rtol=0, atol=0.05)


def test_noise_that_cannot_be_whitened_is_refused():
    patterns, residuals = draw(40)
    with pytest.raises(ValueError, match="participant 01: the residuals of 1 of 15 voxels are constant or not finite"):
        whiten_noise(patterns, np.where(np.arange(15) == 3, 7.0, residuals), WHO)
    twins = np.tile([[1.0], [-1.0]], (20, 15))  # without any spread of their products, nothing is shrunk
    with pytest.raises(ValueError, match="participant 01: the residuals' covariance is singular"):
        whiten_noise(patterns, twins, WHO)


@pytest.mark.parametrize("axes", ["stimuli x voxels", "voxels x stimuli"])
def test_own_brain_is_normalized(tmp_path, photo, axes):
    """Residuals are read with the patterns' axes, and lose the same voxels."""
    own, rng = make_own(tmp_path, photo), np.random.default_rng(3)
    turn = np.transpose if axes == "voxels x stimuli" else np.asarray
    for (participant, region), patterns in own.patterns.items():
        residuals = rng.standard_normal((30, N_VOXELS[region])) * rng.uniform(1, 9, N_VOXELS[region])
        reliability = rng.uniform(0, 1, N_VOXELS[region])
        name = f"{participant}_{region}"
        np.save(tmp_path / f"{name}_residuals.npy", turn(residuals))
        np.save(tmp_path / f"{name}_reliability.npy", reliability)
        np.save(tmp_path / f"{name}.npy", turn(patterns))
        kept = reliability > 0.2
        own.patterns[participant, region] = whiten_noise(patterns[:, kept], residuals[:, kept], WHO)
    template = str(tmp_path / "{participant}_{region}_")
    noise = {"residuals": template + "residuals.npy", "noise_normalization": "multivariate"}
    reliability = {"reliability": template + "reliability.npy", "reliability_threshold": 0.2}
    regions = own.import_all(axes=axes, **noise, **reliability)
    for region in regions:
        assert_allclose(region.rsvs, own.expect()[region.name], rtol=0, atol=1e-12)
    found = read_patterns(own.brain, "IT")
    assert_allclose(found[PARTICIPANTS[1]][0], own.patterns[PARTICIPANTS[1], "IT"], rtol=1e-12)
    assert any(path.endswith("sub-02_IT_residuals.npy") for path in own.make_block(**noise).find_files())


def draw_runs(n_runs: int, rng: np.random.Generator, *, signal: float = 1) -> np.ndarray:
    shared = signal * rng.standard_normal((N_STIMULI, 15))
    return shared + rng.standard_normal((n_runs, N_STIMULI, 15))


@pytest.mark.parametrize("n_runs", [2, 3, 5])
def test_crossnobis_distances_equal_rsatoolbox(n_runs):
    """rsatoolbox leaves each run out in turn; the mean of these is that over all pairs of runs."""
    runs = draw_runs(n_runs, np.random.default_rng(n_runs))
    descriptors = {"stimulus": np.tile(np.arange(N_STIMULI), n_runs), "run": np.repeat(np.arange(n_runs), N_STIMULI)}
    data = rsatoolbox.data.Dataset(runs.reshape(-1, 15), obs_descriptors=descriptors)
    expected = rsatoolbox.rdm.calc_rdm(data, method="crossnobis", descriptor="stimulus", cv_descriptor="run")
    assert_allclose(measure_crossnobis(runs), expected.get_matrices()[0], rtol=1e-10, atol=1e-12)


def test_crossnobis_distances_by_hand():
    """Two stimuli, two voxels: (1, 2) and (3, 1) are their differences in the two runs."""
    runs = [[[1, 2], [0, 0]], [[4, 3], [1, 2]]]
    assert_allclose(measure_crossnobis(runs), [[0, (1 * 3 + 2 * 1) / 2], [(1 * 3 + 2 * 1) / 2, 0]], atol=1e-14)


def test_noise_alone_has_crossnobis_distances_around_0():
    runs = draw_runs(4, np.random.default_rng(0), signal=0)
    distances = vectorize_rsm(measure_crossnobis(runs))
    assert abs(distances.mean()) < 0.1 < vectorize_rsm(measure_distances(runs.mean(0))).mean()


def test_crossnobis_needs_runs():
    with pytest.raises(ValueError, match="two runs or more, found 1"):
        measure_crossnobis(np.zeros((1, 3, 5)))
    with pytest.raises(ValueError, match="finite"):
        measure_crossnobis(np.full((2, 3, 5), np.nan))


def test_own_brain_of_several_runs(tmp_path, photo):
    """Runs and their residuals are read one by one; similarities are of the mean, crossnobis distances between runs."""
    own, rng, runs = make_own(tmp_path, photo), np.random.default_rng(4), ["a", "b", "c"]
    expected = {}
    for (participant, region), patterns in own.patterns.items():
        repeated = patterns + rng.standard_normal((3, *patterns.shape))
        residuals = rng.standard_normal((3, 20, N_VOXELS[region]))
        for i, run in enumerate(runs):
            np.save(tmp_path / f"{participant}_{region}_{run}.npy", repeated[i])
            np.save(tmp_path / f"{participant}_{region}_{run}_residuals.npy", residuals[i])
        noise = residuals.reshape(60, -1)
        expected[participant, region] = np.stack([divide_by_noise(run, noise, WHO) for run in repeated])
        own.patterns[participant, region] = expected[participant, region].mean(0)
    template = str(tmp_path / "{participant}_{region}_{run}")
    block = {"files": f"{template}.npy", "residuals": f"{template}_residuals.npy", "runs": runs}
    for region in own.import_all(**block):
        assert_allclose(region.rsvs, own.expect()[region.name], rtol=0, atol=1e-12)
    region = read_regions(own.brain, distance="crossnobis")[1]
    distances = [vectorize_rsm(measure_crossnobis(expected[participant, "IT"])) for participant in PARTICIPANTS]
    assert_allclose(region.rsvs, 1 - np.stack(distances) / np.max(distances), rtol=0, atol=1e-12)
    region = read_regions(own.brain, distance="euclidean")[1]
    distances = [vectorize_rsm(measure_distances(own.patterns[participant, "IT"])) for participant in PARTICIPANTS]
    assert_allclose(region.rsvs, 1 - np.stack(distances) / np.max(distances), rtol=0, atol=1e-12)
    assert any(path.endswith("sub-02_IT_b_residuals.npy") for path in own.make_block(**block).find_files())
    np.save(tmp_path / "sub-02_IT_b.npy", np.ones((5, 25)))
    with pytest.raises(ValueError, match=r"participant sub-02, run b: found an array of shape \(5, 25\)"):
        own.import_all(**block)
    np.save(tmp_path / "sub-02_IT_b.npy", np.ones((6, 24)))
    with pytest.raises(ValueError, match="region IT, participant sub-02: runs of 24 and 25 voxels"):
        own.import_all(**block)
    (tmp_path / "sub-02_IT_b.npy").unlink()
    with pytest.raises(ValueError, match=r"sub-02_IT_b\.npy: there is no such file; where participants lack regions"):
        own.import_all(**block)


def test_one_run_has_no_crossnobis_distances(tmp_path, photo):
    own = make_own(tmp_path, photo)
    own.write(np.save)
    own.import_all()
    assert all(np.isnan(region.rsvs).all() for region in read_regions(own.brain, distance="crossnobis"))


@pytest.mark.parametrize("bound", [60, 100, 200])
def test_numbers_at_which_data_were_clipped_are_no_fill_values(bound):
    """They repeat far from the median too, but others come close to them."""
    patterns = np.random.default_rng(0).standard_t(1.2, size=(40, 300))
    clipped = patterns.clip(-bound, bound)
    assert (clipped == bound).sum() > 1 and bound / np.median(np.abs(patterns)) > 60
    refuse_fill_values(clipped, WHO)
    clipped[3, :2] = 1000 * bound
    with pytest.raises(ValueError, match="0 stands in 2 of 300 voxels, 2 times"):
        refuse_fill_values(clipped, WHO)
