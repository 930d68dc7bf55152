from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import rsatoolbox
import yaml
from numpy.testing import assert_allclose
from snakemake_runs import run_snakemake

from ipcl_core.brains.folds import split_stimuli
from ipcl_core.brains.store import Region, write_brain
from ipcl_core.config import Statistics
from ipcl_core.files import write_hdf5
from ipcl_core.fits.statistics import compare_models
from ipcl_core.fits.weighting import (
    WEIGHTED_COLUMNS,
    fit_weights,
    judge_weights,
    measure_components,
    weigh_layers,
)
from ipcl_core.new_study import write_study
from ipcl_core.rsa.similarity import compute_rsm, count_stimuli, fill_rsms, vectorize_rsm

REPOSITORY = Path(__file__).parents[2]
N = 24
SETTINGS = {"n_folds": 4, "n_repeats": 2, "n_components": 100, "seed": 0}


def draw_distances(k: int, seed: int = 0, units: int = 10, n: int = N) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.stack([1 - vectorize_rsm(compute_rsm(rng.standard_normal((n, units)))) for _ in range(k)])


def split(**changes) -> np.ndarray:
    settings = {key: value for key, value in SETTINGS.items() if key != "n_components"} | changes
    return split_stimuli(N, **settings)


def list_pairs(stimuli: np.ndarray) -> np.ndarray:
    """Which pairs have both stimuli among these."""
    return np.array([stimuli[i] and stimuli[j] for i in range(len(stimuli)) for j in range(i)])


# ---- folds, components, weights --------------------------------------------------------------------------------------


def test_every_stimulus_is_held_out_once_a_repetition():
    held_out = split_stimuli(26, n_folds=4, n_repeats=3, seed=0).reshape(3, 4, 26)
    assert (held_out.sum(1) == 1).all() and set(held_out.sum(2).ravel()) == {6, 7}
    assert (held_out[0] != held_out[1]).any()
    assert (split() == split()).all() and (split(seed=1) != split()).any()


def test_components_are_those_of_standardised_patterns():
    """By singular values of the patterns; all but the last of n - 1 are kept."""
    patterns = np.random.default_rng(0).standard_normal((8, 30))
    found = measure_components(1 - vectorize_rsm(compute_rsm(patterns)), 100)
    z = patterns - patterns.mean(1, keepdims=True)
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    u, s, _ = np.linalg.svd(z - z.mean(0))
    expected = [[(s[k] * (u[i, k] - u[j, k])) ** 2 for i in range(8) for j in range(i)] for k in range(6)]
    assert_allclose(found, expected, rtol=0, atol=1e-12)
    few = np.random.default_rng(0).standard_normal((8, 4))  # three components after standardisation
    distances = 1 - vectorize_rsm(compute_rsm(few))
    assert_allclose(measure_components(distances, 100).sum(0), 2 * distances, rtol=0, atol=1e-12)
    assert measure_components(distances, 2).shape == (2, 28)


@pytest.mark.parametrize("seed", range(5))
def test_weights_equal_rsatoolbox(seed):
    distances, target = draw_distances(6, seed), draw_distances(1, 100 + seed)[0]
    model = rsatoolbox.model.ModelWeighted("layers", rsatoolbox.rdm.RDMs(fill_rsms(1 - distances) * -1 + 1))
    data = rsatoolbox.rdm.RDMs(1 - fill_rsms(1 - target[None]))
    expected = rsatoolbox.model.fit_regress_nn(model, data, method="corr")
    found = fit_weights(distances, target)
    assert 0 < (found > 0).sum() < 6
    assert_allclose(found / np.linalg.norm(found), expected, rtol=0, atol=1e-6)


def test_weights_without_use_are_zero():
    distances = draw_distances(2)
    assert (fit_weights(distances, -distances.sum(0)) == 0).all()
    assert_allclose(fit_weights(np.stack([distances[0], np.ones(len(distances[0]))]), distances[0]), [1, 0], atol=1e-12)


# ---- judged on held-out stimuli --------------------------------------------------------------------------------------


def test_judgement_equals_loop_with_rsatoolbox():
    """Layers weighted by rsatoolbox on the training stimuli; the best layer; pairs with both stimuli held out."""
    distances, target, held_out = draw_distances(4), draw_distances(1, 1)[0], split(n_repeats=1)
    target += 0.3 * distances[1] + 0.2 * distances[3]
    layers, best = [], []
    for stimuli in held_out:
        train, test = list_pairs(~stimuli), list_pairs(stimuli)
        assert (train.sum(), test.sum()) == (153, 15)  # 18 and 6 stimuli of 276 pairs
        kept = np.flatnonzero(~stimuli)
        rdms = [rsatoolbox.rdm.RDMs(1 - fill_rsms(1 - d)) for d in (distances, target[None])]
        chosen = [rdm.subset_pattern("index", kept) for rdm in rdms]
        model = rsatoolbox.model.ModelWeighted("layers", chosen[0])
        weights = rsatoolbox.model.fit_regress_nn(model, chosen[1], method="corr")
        layers.append(np.corrcoef((weights @ distances)[test], target[test])[0, 1])
        r = [np.corrcoef(layer[train], target[train])[0, 1] for layer in distances]
        best.append(np.corrcoef(distances[np.argmax(r), test], target[test])[0, 1])
    found = dict(zip(WEIGHTED_COLUMNS, judge_weights(distances, target[None], held_out, 100)[0], strict=True))
    assert found["unweighted_r"] == pytest.approx(np.mean(best), abs=1e-12)
    assert found["weighted_layers_r"] == pytest.approx(np.mean(layers), abs=1e-6)


def test_true_weights_are_found():
    """A region that is a weighted sum is predicted without error on stimuli that did not take part in the fit."""
    distances = draw_distances(4)
    features = [measure_components(layer, 100) for layer in distances]
    rng = np.random.default_rng(0)
    layers = 0.2 * distances[0] + 0.8 * distances[2]
    one = rng.exponential(size=len(features[2])) ** 2 @ features[2]
    both = one / one.std() + 0.7 * (both_0 := rng.exponential(size=len(features[0])) ** 2 @ features[0]) / both_0.std()
    noise = 0.05 * rng.standard_normal(len(one)) * one.std()
    found = pd.DataFrame(
        judge_weights(distances, np.stack([layers, one, both, one + noise]), split(), 100), columns=WEIGHTED_COLUMNS
    )
    assert found.loc[0, "weighted_layers_r"] > 1 - 1e-6 and found.loc[0, "unweighted_r"] < 0.99
    assert found.loc[1, ["weighted_features_r", "weighted_both_r"]].min() > 1 - 1e-6
    assert found.loc[1, ["unweighted_r", "weighted_layers_r"]].max() < 0.95
    assert found.loc[2, "weighted_both_r"] > found.loc[2, WEIGHTED_COLUMNS[:3]].max() + 0.02
    assert 0.9 < found.loc[3, "weighted_features_r"] < 1 - 1e-4


def test_noise_is_not_predicted():
    """Weights that follow the noise of the training pairs gain nothing on held-out stimuli."""
    held_out, found, fitted = split(n_repeats=1), [], []
    for seed in range(80):
        distances, target = draw_distances(3, seed), draw_distances(1, 1000 + seed)
        found.append(judge_weights(distances, target, held_out, 100)[0])
        components = measure_components(distances[0], 100)
        fitted.append(np.corrcoef(fit_weights(components, target[0]) @ components, target[0])[0, 1])
    assert np.mean(fitted) > 0.1, "on the same pairs they do"
    assert (np.abs(np.mean(found, axis=0)) < 2 * np.std(found, axis=0) / np.sqrt(80)).all()
    assert (np.abs(np.mean(found, axis=0)) < 0.05).all()


def test_held_out_stimuli_do_not_reach_the_weights():
    """Other similarities of the held-out stimuli with all others change nothing but where they are judged."""
    distances, target, held_out = draw_distances(3), draw_distances(1, 1)[0], split()[:1]
    train, test = list_pairs(~held_out[0]), list_pairs(held_out[0])
    other = target.copy()
    other[~train & ~test] = np.random.default_rng(2).uniform(0, 2, (~train & ~test).sum())
    assert (
        judge_weights(distances, target[None], held_out, 100) == judge_weights(distances, other[None], held_out, 100)
    ).all()
    other[test] = 2 - target[test]
    expected = -judge_weights(distances, target[None], held_out, 100)
    assert_allclose(judge_weights(distances, other[None], held_out, 100), expected, rtol=0, atol=1e-12)


def test_no_weight_is_a_correlation_of_zero():
    distances = draw_distances(1)
    found = judge_weights(distances, 2 - distances, split(), 1)[0]
    assert found[0] == pytest.approx(-1) and found[2] == 0 == found[3]


# ---- tables ----------------------------------------------------------------------------------------------------------


def write_rsms(path, distances: np.ndarray):
    with write_hdf5(path) as file:
        file.attrs["brain"], file.attrs["model"] = "b", path.stem
        file["stimuli"] = [f"{i:02d}" for i in range(count_stimuli(distances.shape[1]))]
        for i, rsm in enumerate(fill_rsms(1 - distances)):
            file[f"layers/layer{i}"] = rsm
        file.attrs["layers"] = [f"layer{i}" for i in range(len(distances))]
    return path


@pytest.fixture
def brain(tmp_path):
    rsvs = 1 - draw_distances(2, 1)
    regions = [Region("1", rsvs, ["a", "b"], group=False), Region("2", rsvs[:1], ["mean"], group=True)]
    write_brain(tmp_path / "brain.h5", [f"{i:02d}" for i in range(N)], regions)
    return tmp_path / "brain.h5"


def test_weighted_layers_are_columns_of_the_best_layers(brain, tmp_path):
    distances = draw_distances(3)
    write_rsms(tmp_path / "m.h5", distances)
    broken = distances[:1].copy()
    broken[0, 0] = np.nan
    write_rsms(tmp_path / "n.h5", broken)
    weighted = [tmp_path / "m.csv", tmp_path / "n.csv"]
    for path in weighted:
        weigh_layers(path.with_suffix(".h5"), brain, path, **SETTINGS)
    files = [tmp_path / "m.h5", tmp_path / "n.h5"], brain, tmp_path / "best.csv", tmp_path / "pairs.csv"
    settings = {"name": "b", "models": ["m", "n"], "n_bootstrap": 100, "n_splits": 5, "seed": 0, "fdr": 0.05}
    compare_models(*files, **settings)
    plain = pd.read_csv(tmp_path / "best.csv", dtype={"region": str})
    assert not set(plain.columns) & set(WEIGHTED_COLUMNS)
    compare_models(*files, **settings, weighted=weighted[::-1])
    best = pd.read_csv(tmp_path / "best.csv", dtype={"region": str})
    pd.testing.assert_frame_equal(best[plain.columns], plain)
    with h5py.File(brain) as file:
        groups = np.stack([1 - file[f"regions/{name}"][:].mean(0) for name in ("1", "2")])
    held_out = split_stimuli(N, n_folds=4, n_repeats=2, seed=0)
    expected = judge_weights(distances, groups, held_out, 100)
    assert_allclose(best.query("model == 'm'")[WEIGHTED_COLUMNS], expected, rtol=0, atol=1e-12)
    none = best.query("model == 'n'")
    assert none[WEIGHTED_COLUMNS].isna().all(axis=None) and set(none["weighted_note"]) == {"no layer has an r"}
    assert "nan" not in (tmp_path / "best.csv").read_text().lower()


def test_layers_that_tell_no_stimuli_apart_have_no_part(brain, tmp_path):
    """As one that shows a bias alone: it has no components, and distances of 0, or of rounding."""
    distances, rounding = draw_distances(2), 1e-16 * np.random.default_rng(0).integers(0, 3, (1, N * (N - 1) // 2))
    weigh_layers(write_rsms(tmp_path / "m.h5", distances), brain, tmp_path / "m.csv", **SETTINGS)
    more = write_rsms(tmp_path / "n.h5", np.concatenate([0 * rounding, distances, rounding]))
    weigh_layers(more, brain, tmp_path / "n.csv", **SETTINGS)
    found, expected = (pd.read_csv(tmp_path / name)[WEIGHTED_COLUMNS] for name in ("n.csv", "m.csv"))
    pd.testing.assert_frame_equal(found, expected)


@pytest.mark.workflow
def test_workflow_weighs_layers_where_it_is_asked_for(brain, tmp_path):
    """On RSMs and brain data that are there, the one job."""
    study, results = write_study(tmp_path / "study", model=False), tmp_path / "study/results"
    raw = yaml.safe_load(study.read_text()) | {"statistics": {"weighting": {"n_folds": 4}}}
    study.write_text(yaml.safe_dump(raw | {"pathvars": {"results": "study/results"}}))
    (results / "brain/mine").mkdir(parents=True)
    (results / "rsm/mine").mkdir(parents=True)
    brain.rename(results / "brain/mine/brain.h5")
    write_rsms(results / "rsm/mine/pixels.h5", draw_distances(2))
    target = "study/results/weighting/mine/pixels.csv"
    options = ["--cores", "1", "--snakefile", REPOSITORY / "Snakefile", "--configfile", study]
    code, said = run_snakemake(tmp_path, *options, "--allowed-rules", "weigh_layers", "--", target)
    assert code == 0, said
    assert pd.read_csv(tmp_path / target)[WEIGHTED_COLUMNS].notna().all(axis=None)


def test_few_stimuli_are_noted(brain, tmp_path):
    write_rsms(tmp_path / "m.h5", draw_distances(2))
    weigh_layers(tmp_path / "m.h5", brain, tmp_path / "m.csv", **SETTINGS | {"n_folds": 7})
    table = pd.read_csv(tmp_path / "m.csv")
    assert table[WEIGHTED_COLUMNS].isna().all(axis=None)
    assert set(table["weighted_note"]) == {"24 stimuli in 7 folds: fewer than 4 held out, nothing weighted"}
    weigh_layers(tmp_path / "m.h5", brain, tmp_path / "m.csv", **SETTINGS | {"n_folds": 6})
    assert pd.read_csv(tmp_path / "m.csv")[WEIGHTED_COLUMNS].notna().all(axis=None), "4 of 24 are enough"


def test_weighting_is_off_by_default_and_has_its_defaults():
    assert Statistics().weighting is None
    assert Statistics(weighting={}).weighting.model_dump() == {
        "n_folds": 6,
        "n_repeats": 5,
        "n_components": 100,
        "seed": 0,
    }
