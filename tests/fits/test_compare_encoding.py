"""Best layers and pairs of models of encoding: a known truth, loops, and how often noise passes the tests."""

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from encoding_brains import PARTICIPANTS, SETTINGS, STIMULI, N, draw_brain, draw_features, draw_mixed, write_activations
from numpy.testing import assert_allclose

from ipcl_core.files import open_hdf5, read_csv
from ipcl_core.fits.compare_encoding import BEST_COLUMNS, compare_encoding, draw_held_out
from ipcl_core.fits.fit_encoding import fit_encoding
from ipcl_core.fits.statistics import PAIR_COLUMNS
from ipcl_core.rsa.inference import control_false_discoveries

MODELS = ["true", "other", "blind"]
STATISTICS = {"n_bootstrap": 400, "seed": 0, "fdr": 0.05}


def fit(folder, model: str, brain: str, features=None, **changes) -> tuple:
    activations = write_activations(folder / f"{model}_activations.h5", features)
    files = folder / f"{model}.csv", folder / f"{model}.h5"
    fit_encoding(activations, brain, *files, brain_name="objects", model=model, **{"folds": None} | SETTINGS | changes)
    return files


def compare(folder, files, brain, models=MODELS) -> tuple[pd.DataFrame, pd.DataFrame]:
    scores, predictions = zip(*files, strict=True)
    made = folder / "best_layers.csv", folder / "pairs.csv"
    compare_encoding(scores, predictions[::-1], brain, *made, name="objects", models=models, **STATISTICS)
    return read_csv(made[0]), read_csv(made[1])


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """The layers of the truth; the same in noise as large as they; none of them."""
    folder = tmp_path_factory.mktemp("compared")
    brain, rng, features = draw_brain(folder / "brain.h5"), np.random.default_rng(5), draw_features()
    noise = {name: rng.standard_normal(values.shape).astype(np.float32) for name, values in features.items()}
    other = {name: values + noise[name] for name, values in features.items()}
    chosen = (features, other, noise)
    files = [fit(folder, name, brain, one) for name, one in zip(MODELS, chosen, strict=True)]
    return folder, files, brain, *compare(folder, files, brain)


def test_held_out_layers_are_the_true_ones_and_blind_models_know_nothing(compared):
    *_, best, _ = compared
    assert list(best.columns) == BEST_COLUMNS and len(best) == 3 * 2 * 3 * 2
    both = best[best["resampled"] == "both"].reset_index(drop=True)
    true = both[both["model"] == "true"]
    assert list(true["held_out_layer"]) == 3 * ["first"] + 3 * ["second"] == list(true["layer"])
    assert_allclose(true["r_held_out"], true["r"], atol=1e-6)
    assert_allclose(true["shrinkage"], 0, atol=1e-6)
    tested = both[both["measure"] == "mean_r"].set_index(["model", "region"])
    assert (tested.loc["true", "p"] < 0.01).all() and (tested.loc["blind", "p"] > 0.02).all()
    assert (tested.loc["true", "low"] > 0.1).all() and (tested.loc["blind", "low"] < 0).all()
    assert set(tested.loc["true", "significant"]) == {True} and set(tested.loc["blind", "significant"]) == {False}
    assert best.loc[best["resampled"] == "participants", "significant"].isna().all()
    for _, family in best.groupby(["measure", "resampled"]):
        assert_allclose(family["q"], control_false_discoveries(family["p"].to_numpy(float)))
    blind = both[both["model"] == "blind"]
    assert (blind["shrinkage"] >= 0).sum() >= 4, "the maximum is higher than what is chosen without it"


def test_held_out_numbers_equal_loop(compared):
    """Of the predictions in the file, voxel by voxel and fold by fold; p by scipy."""
    _, files, brain, best, _ = compared
    medians, means = [], []
    with open_hdf5(files[1][1]) as file, open_hdf5(brain) as measured:
        folds = file["folds"][:]
        for who in PARTICIPANTS:
            y = measured[f"patterns/IT/{who}"][:].mean(0)[:, file[f"kept/IT/{who}"][:]]
            for name, average, found in (("median_r", np.median, medians), ("mean_r", np.mean, means)):
                p = file[f"predictions/{name}/IT/{who}"][:]
                r = [
                    np.mean([np.corrcoef(p[folds == k, v], y[folds == k, v])[0, 1] for k in range(4)])
                    for v in range(y.shape[1])
                ]
                found.append(average(r))
    rows = best.query("model == 'other' and region == 'IT' and resampled == 'participants'").set_index("measure")
    assert rows.at["median_r", "r_held_out"] == pytest.approx(np.mean(medians), abs=1e-6)
    assert rows.at["mean_r", "r_held_out"] == pytest.approx(np.mean(means), abs=1e-6)
    assert rows.at["mean_r", "p"] == pytest.approx(
        scipy.stats.ttest_1samp(means, 0, alternative="greater").pvalue, rel=1e-4
    )
    interval = scipy.stats.t.interval(0.95, 2, np.mean(means), np.std(means, ddof=1) / np.sqrt(3))
    assert list(rows.loc["mean_r", ["low", "high"]]) == pytest.approx(np.clip(interval, -1, 1), abs=1e-5)


def test_of_layers_that_differ_by_rounding_the_first_is_the_best(tmp_path):
    """As in RSA and in the explorer: units in another order, or each several times, say the same."""
    brain, units = draw_brain(tmp_path / "brain.h5"), draw_features()["first"].reshape(N, -1)
    orders = [np.random.default_rng(i).permutation(units.shape[1]) for i in range(4)]
    again = {f"again{i}": np.repeat(units[:, order], 1 + i, axis=1) for i, order in enumerate(orders)}
    best, _ = compare(tmp_path, [fit(tmp_path, "net", brain, {"first": units} | again)], brain, ["net"])
    assert set(best["layer"]) == {"first"} == set(best["held_out_layer"])


@pytest.mark.parametrize("amplitude, versa", [(1, "all"), (0.05, "few")])
def test_each_measure_has_the_layer_that_it_chose_itself(tmp_path, amplitude, versa):
    """The layer that a measure is highest for, and nothing is lost where it was chosen on training stimuli."""
    brain = tmp_path / "brain.h5"
    features = draw_mixed(brain, amplitude)
    files = [fit(tmp_path, name, brain, one) for name, one in (("both", features), ("few", {"few": features["few"]}))]
    best, pairs = compare(tmp_path, files, brain, ["both", "few"])
    rows = best.query("model == 'both' and resampled == 'both'").set_index("measure")
    assert dict(rows["held_out_layer"]) == {"median_r": "few", "mean_r": "all", "versa_r": versa} == dict(rows["layer"])
    assert_allclose(rows["shrinkage"], 0, atol=1e-6)
    assert set(pairs["layer_a"]) == {"all"} and (pairs["r_a"] > pairs["r_b"] + 0.1).all()


def test_pairs_tell_models_apart(compared):
    *_, pairs = compared
    assert list(pairs.columns) == PAIR_COLUMNS and len(pairs) == 3 * 2 * 2
    rows = pairs.set_index(["model_a", "model_b", "region", "resampled"])
    assert rows.index.is_unique
    assert rows.loc[("true", "blind", "IT", "both"), "significant"] is True
    assert rows.xs("participants", level="resampled")["significant"].isna().all() and rows["p"].notna().all()
    assert_allclose(rows["difference"], rows["r_a"] - rows["r_b"], atol=1e-12)
    assert ((rows["low"] <= rows["difference"]) & (rows["difference"] <= rows["high"])).all()
    width = (rows["high"] - rows["low"]).unstack()
    assert (width["both"] >= width["participants"] * 0.99).all()
    for kind in ("participants", "both"):
        tested = pairs[pairs["resampled"] == kind]
        assert_allclose(tested["q"], scipy.stats.false_discovery_control(tested["p"]))


def test_resamples_hold_only_stimuli_that_a_fold_holds_out():
    folds = np.array([-1] * 30 + [0, 1] * 6)
    drawn = draw_held_out(3, folds, 50, 0)
    assert drawn.stimuli.shape == (50, 42) and not drawn.stimuli[:, :30].any()
    assert (drawn.stimuli.sum(1) == 12).all() and drawn.stimuli[:, 30:].any(0).all()


def test_few_held_out_stimuli_have_no_interval_over_them(tmp_path):
    """Two folds of four stimuli, the others always learnt from."""
    folds = tmp_path / "folds.csv"
    parts = ["train"] * (N - 8) + ["a", "b"] * 4
    pd.DataFrame({"stimulus": STIMULI, "fold": parts}).to_csv(folds, index=False)
    brain = draw_brain(tmp_path / "brain.h5")
    files = [fit(tmp_path, name, brain, folds=folds) for name in ("true", "other")]
    for table in compare(tmp_path, files, brain, ["true", "other"]):
        both = table[(table["resampled"] == "both") & (table.get("measure") != "versa_r")]
        assert set(both["note"]) == {"8 stimuli, fewer than 10: nothing over them"} and both["low"].isna().all()


def test_files_of_others_and_other_divisions_are_refused(tmp_path, compared):
    _, files, brain, *_ = compared
    with pytest.raises(ValueError, match=r"blind\.(csv|h5): says that it is of objects blind"):
        compare(tmp_path, files, brain, ["true", "other", "third"])
    divided = fit(tmp_path, "blind", brain, seed=1)
    with pytest.raises(ValueError, match=r"blind\.h5: its stimuli are divided otherwise than those of .*true\.h5"):
        compare(tmp_path, [*files[:2], divided], brain)


def test_model_without_numbers_has_a_row_without_them(tmp_path):
    brain = draw_brain(tmp_path / "brain.h5")
    features = {name: np.zeros_like(values) for name, values in draw_features().items()}
    files = [fit(tmp_path, "true", brain), fit(tmp_path, "blind", brain, features)]
    best, pairs = compare(tmp_path, files, brain, ["true", "blind"])
    blind = best[best["model"] == "blind"]
    assert blind[["layer", "r", "r_held_out", "p"]].isna().all(axis=None)
    assert set(blind["note"]) == {"no layer predicts anything"}
    assert pairs[["difference", "low", "p", "q"]].isna().all(axis=None) and set(pairs["note"]) == {"a model has no r"}
