"""What models explain alone and share, of voxels and RSMs: a known truth, and a loop for RSMs."""

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from encoding_brains import PARTICIPANTS, SETTINGS, STIMULI, N, draw_features, draw_mixed, write_activations
from himalaya.kernel_ridge import MultipleKernelRidgeCV
from numpy.testing import assert_allclose
from sklearn.model_selection import PredefinedSplit

from ipcl_core.brains.folds import divide_stimuli
from ipcl_core.brains.store import Region, write_brain
from ipcl_core.encoding.bands import list_mixtures
from ipcl_core.files import open_hdf5, read_csv
from ipcl_core.fits.fit_encoding import fit_encoding
from ipcl_core.fits.partition_models import COLUMNS, partition_models
from ipcl_core.fits.rsms import make_rsms
from ipcl_core.fits.weighting import fit_weights
from ipcl_core.rsa.inference import control_false_discoveries
from ipcl_core.rsa.similarity import compute_rsm, vectorize_rsm

MODELS = ["one", "two"]


@pytest.fixture(scope="module")
def divided(tmp_path_factory):
    """Two models of one layer each, six and five units; voxels of IT are the sum of both, in three runs."""
    folder, rng = tmp_path_factory.mktemp("divided"), np.random.default_rng(2)
    features = {"one": draw_features()["second"], "two": rng.standard_normal((N, 5)).astype(np.float32)}
    patterns = []
    for _ in PARTICIPANTS:
        mixed = [x.astype(float) @ rng.standard_normal((x.shape[1], 60)) for x in features.values()]
        signal = 1.5 * mixed[0] / mixed[0].std(0) + 0.8 * mixed[1] / mixed[1].std(0)
        patterns.append(signal + 0.5 * rng.standard_normal((3, N, 60)))
    rsvs = np.stack([vectorize_rsm(compute_rsm(runs.mean(0))) for runs in patterns])
    brain = folder / "brain.h5"
    write_brain(brain, STIMULI, [Region("IT", rsvs, PARTICIPANTS, group=False, patterns=patterns)])
    files = {}
    for model in MODELS:
        made = [folder / f"{model}{kind}" for kind in ("_activations.h5", ".csv", ".h5", "_rsm.h5")]
        write_activations(made[0], {"only": features[model]}, model=model)
        fit_encoding(made[0], brain, *made[1:3], brain_name="objects", model=model, folds=None, **SETTINGS)
        make_rsms(made[0], made[3], brain="objects", model=model)
        files[model] = made
    settings = {key: SETTINGS[key] for key in ("penalties", "standardize", "projection", "seed")}
    partition_models(
        [files[m][0] for m in MODELS[::-1]], [files[m][2] for m in MODELS[::-1]], [files[m][3] for m in MODELS], brain,
        folder / "partitions.csv",
        name="objects", sets=[MODELS], fdr=0.05, n_bootstrap=200, **settings,
    )  # fmt: skip
    return folder, rsvs, read_csv(folder / "partitions.csv")


def choose_over(table, resampled: str):
    """Rows of participants, and of the group over something; of RSMs over participants, as there are no others."""
    return table[(table["participant"] != "group") | (table["resampled"] == resampled) | (table["measure"] == "rsm")]


def test_true_parts_are_found_and_add_up(divided):
    folder, _, table = divided
    assert list(table.columns) == COLUMNS and len(table) == 2 * 6 * 4 + 6
    written = pd.read_csv(folder / "partitions.csv", dtype=str)["n_participants"]
    assert set(written.dropna()) == {str(len(PARTICIPANTS))} and written.isna().any()
    both = choose_over(table, "both")
    rows = both.set_index(["measure", "explained", "participant", "by"])["r2"].sort_index()
    for measure in ("voxels", "rsm"):
        for who in ("group", *PARTICIPANTS):
            alone, together = rows[measure, "alone", who], rows[measure, "together", who]
            assert alone.sum() == pytest.approx(together["one + two"], abs=1e-12)
            assert alone["one"] == pytest.approx(together["one + two"] - together["two"], abs=1e-12)
    alone = rows["voxels", "alone", "group"]
    # the truth is .76, .21 and 0; with 48 stimuli each model alone is learnt worse, as the other's part is noise to it
    assert 0.7 < alone["one"] < 0.95 and 0.1 < alone["two"] < 0.35 and -0.3 < alone["one + two"] < 0.05
    assert alone.sum() > 0.85
    group = both.query("measure == 'voxels' and explained == 'alone' and participant == 'group'").set_index("by")
    assert (group.loc[["one", "two"], "low"] > 0).all() and set(group.loc[["one", "two"], "significant"]) == {True}
    assert table.query("resampled != 'both'")["significant"].isna().all()
    assert group.at["one", "r2_share"] == pytest.approx(group.at["one", "r2"] / 0.97, abs=0.02)
    for _, family in table[table["explained"] == "alone"].groupby(["measure", "resampled"]):  # which q is of
        assert_allclose(family["q"], control_false_discoveries(family["p"].to_numpy(float)))
    assert table.query("explained == 'together'")["q"].isna().all()
    table = table.assign(tested=table["r"].where(table["measure"] == "voxels", table["r2"]))
    people = table[table["participant"] != "group"].groupby(["measure", "explained", "by"])["tested"]
    for row in table[table["resampled"] == "participants"].itertuples():
        values = people.get_group((row.measure, row.explained, row.by)).to_numpy()
        t = values.mean() / (values.std(ddof=1) / np.sqrt(len(values)))
        if row.explained == "alone" and "+" in row.by:
            assert np.isnan(row.p)  # what is shared is not 0 where nothing is explained
        else:
            assert row.p == pytest.approx(1 - scipy.stats.t.cdf(t, len(values) - 1), abs=1e-12)  # above 0


def test_intervals_over_participants_and_stimuli_are_wider(divided):
    *_, table = divided
    group = table.query("measure == 'voxels' and participant == 'group'").set_index(["explained", "by", "resampled"])
    assert len(group) == 12 and group[["low", "high"]].notna().all(axis=None)
    for value, (low, high) in {"r2": ("low", "high"), "r": ("r_low", "r_high")}.items():
        known = group.dropna(subset=[value])
        assert ((known[low] < known[value]) & (known[value] < known[high])).all()
        width = (known[high] - known[low]).unstack()
        assert len(width) == (6 if value == "r2" else 5) and (width["both"] > width["participants"]).mean() > 0.7
    p = group["p"].unstack()
    assert p["both"].notna().sum() == 5 and (p.loc["alone", "both"].dropna() < 0.05).all()


def test_interval_of_r2_below_minus_one_holds_it(tmp_path):
    """As many units as stimuli and next to no penalty: noise is learnt, and predictions are worse than twice the mean's."""
    rng = np.random.default_rng(0)
    features = {model: rng.standard_normal((N, N)).astype(np.float32) for model in MODELS}
    patterns = [rng.standard_normal((1, N, 20)) for _ in PARTICIPANTS]
    rsvs = np.stack([vectorize_rsm(compute_rsm(runs[0])) for runs in patterns])
    write_brain(tmp_path / "brain.h5", STIMULI, [Region("IT", rsvs, PARTICIPANTS, group=False, patterns=patterns)])
    settings, files = SETTINGS | {"penalties": [1e-6]}, []
    for model in MODELS:
        files.append([tmp_path / f"{model}{kind}" for kind in ("_activations.h5", ".csv", ".h5", "_rsm.h5")])
        write_activations(files[-1][0], {"only": features[model]}, model=model)
        paths = files[-1][0], tmp_path / "brain.h5", *files[-1][1:3]
        fit_encoding(*paths, brain_name="objects", model=model, folds=None, **settings)
        make_rsms(files[-1][0], files[-1][3], brain="objects", model=model)
    settings = {key: settings[key] for key in ("penalties", "standardize", "projection", "seed")}
    activations, _, predictions, rsms = zip(*files, strict=True)
    paths = activations, predictions, rsms, tmp_path / "brain.h5", tmp_path / "partitions.csv"
    partition_models(*paths, name="objects", sets=[MODELS], fdr=0.05, n_bootstrap=100, **settings)
    rows = read_csv(tmp_path / "partitions.csv").query("participant == 'group' and measure == 'voxels'")
    assert rows["r2"].min() < -1 and ((rows["low"] < rows["r2"]) & (rows["r2"] < rows["high"])).all()


def test_single_models_are_those_of_encoding(divided):
    folder, _, table = divided
    together = choose_over(table, "both").query("measure == 'voxels' and explained == 'together'")
    together = together.set_index(["participant", "by"])["r2"]
    for model in MODELS:
        rows = read_csv(folder / f"{model}.csv").set_index("participant")["mean_r2"]
        for who in ("group", *PARTICIPANTS):
            assert together[who, model] == pytest.approx(rows[who], abs=1e-9)


def test_layers_of_voxels_are_those_of_mean_r_and_of_rsms_those_of_versa_r(tmp_path):
    """A model of two layers explains of voxels what a model of the one does, of RSMs what one of the other does."""
    brain = tmp_path / "brain.h5"
    features = draw_mixed(brain, 0.05)
    models, files = {"both": features} | {name: {name: values} for name, values in features.items()}, []
    for model, layers in models.items():
        files.append([tmp_path / f"{model}{kind}" for kind in ("_activations.h5", ".h5", "_rsm.h5")])
        write_activations(files[-1][0], layers, model=model)
        scores = tmp_path / "scores.csv", files[-1][1]
        fit_encoding(files[-1][0], brain, *scores, brain_name="objects", model=model, folds=None, **SETTINGS)
        make_rsms(files[-1][0], files[-1][2], brain="objects", model=model)
    settings = {key: SETTINGS[key] for key in ("penalties", "standardize", "projection", "seed")}
    partition_models(
        *map(list, zip(*files, strict=True)), brain, tmp_path / "partitions.csv", name="objects", fdr=0.05,
        sets=[["both", "few"], ["both", "all"]], n_bootstrap=20, **settings,
    )  # fmt: skip
    table = read_csv(tmp_path / "partitions.csv").query("explained == 'together'")
    rows = table.drop_duplicates(["measure", "by", "participant"]).set_index(["measure", "by"])["r2"]
    for measure, same, other in (("voxels", "all", "few"), ("rsm", "few", "all")):
        assert_allclose(rows[measure, "both"], rows[measure, same], rtol=0, atol=1e-12)
        assert (np.abs(rows[measure, "both"].to_numpy() - rows[measure, other].to_numpy()) > 0.01).all()


def test_rsms_equal_loop(divided):
    """Non-negative weights of both distances on pairs of training stimuli, judged on pairs of held-out ones."""
    folder, rsvs, table = divided
    distances = []
    for model in MODELS:
        with open_hdf5(folder / f"{model}_rsm.h5") as file:
            distances.append(1 - vectorize_rsm(file["layers/only"][:]))
    x, y = np.stack(distances), 1 - rsvs[1]
    error = baseline = 0
    for test in divide_stimuli(STIMULI, None, n_folds=4, seed=0):
        both = [[i, j] for i in range(N) for j in range(i)]
        inner, outer = (np.array([which[i] and which[j] for i, j in both]) for which in (~test, test))
        weights = fit_weights(x[:, inner], y[inner])
        constant = np.mean(y[inner] - weights @ x[:, inner])
        error += np.sum((y[outer] - constant - weights @ x[:, outer]) ** 2)
        baseline += np.sum((y[outer] - y[inner].mean()) ** 2)
    found = table.query("measure == 'rsm' and explained == 'together' and participant == 'sub-02'").set_index("by")[
        "r2"
    ]
    assert found["one + two"] == pytest.approx(1 - error / baseline, abs=1e-12)
    assert found["one + two"] > max(found["one"], found["two"]) > 0
    assert_allclose(table.query("measure == 'rsm'")["r2_share"].isna(), True)


def test_a_third_model_changes_nothing_of_two(divided, tmp_path):
    """Categories beside both models: what one and two of a set explain is what they do in a set of their own."""
    folder, _, table = divided
    path = tmp_path / "categories.csv"
    path.write_text("\n".join(["stimulus,category", *(f"{name},{i % 4}" for i, name in enumerate(STIMULI))]))
    settings = {key: SETTINGS[key] for key in ("penalties", "standardize", "projection", "seed")}
    files = [[folder / f"{model}{kind}" for model in MODELS] for kind in ("_activations.h5", ".h5", "_rsm.h5")]
    partition_models(
        *files, folder / "brain.h5", tmp_path / "partitions.csv", name="objects", sets=[[*MODELS, "categories"]], fdr=0.05,
        categories={"source": str(path), "images": "", "order": None}, n_bootstrap=20, **settings,
    )  # fmt: skip
    key = ["measure", "explained", "participant", "by"]
    found, expected = (
        choose_over(each, "both").query("explained == 'together'").set_index(key)["r2"]
        for each in (read_csv(tmp_path / "partitions.csv"), table)
    )
    assert len(found) == 2 * 7 * 4 and len(expected) == 2 * 3 * 4
    assert_allclose(found[expected.index], expected, rtol=0, atol=1e-12)


def test_categories_stand_beside_a_model(divided, tmp_path):
    """Voxels of a model's units and of four categories, about half of the signal each: both parts are found, and what the two
    explain together is himalaya's, with the same weights and penalties."""
    folder, *_ = divided
    rng, labels, x = np.random.default_rng(3), np.arange(N) % 4, draw_features()["second"].astype(float)
    known, patterns = np.eye(4)[labels], []
    for _ in PARTICIPANTS:
        parts = [band @ rng.standard_normal((band.shape[1], 60)) for band in (x, known)]
        signal = sum(part / part.std(0) for part in parts)
        patterns.append(signal + 0.5 * rng.standard_normal((3, N, 60)))
    rsvs = np.stack([vectorize_rsm(compute_rsm(runs.mean(0))) for runs in patterns])
    brain, path = tmp_path / "brain.h5", tmp_path / "categories.csv"
    write_brain(brain, STIMULI, [Region("IT", rsvs, PARTICIPANTS, group=False, patterns=patterns)])
    rows = [f"{name},kind {label}" for name, label in zip(STIMULI, labels, strict=True)]
    path.write_text("\n".join(["stimulus,category", *rows[::-1]]))
    files = [folder / "one_activations.h5", tmp_path / "one.h5", folder / "one_rsm.h5"]
    fit_encoding(
        files[0], brain, tmp_path / "one.csv", files[1], brain_name="objects", model="one", folds=None, **SETTINGS
    )
    settings = {key: SETTINGS[key] for key in ("penalties", "standardize", "projection", "seed")}
    partition_models(
        *([file] for file in files), brain, tmp_path / "partitions.csv", name="objects", sets=[["one", "categories"]],
        categories={"source": str(path), "images": "", "order": None}, fdr=0.05, n_bootstrap=20, **settings,
    )  # fmt: skip
    table = choose_over(read_csv(tmp_path / "partitions.csv"), "both")
    table = table.set_index(["measure", "explained", "participant", "by"])["r2"].sort_index()
    alone = table["voxels", "alone", "group"]
    assert 0.4 < alone["one"] < 0.65 and 0.4 < alone["categories"] < 0.65 and abs(alone["one + categories"]) < 0.15
    assert table["rsm", "alone", "group", "categories"] > 0.1
    held_out = divide_stimuli(STIMULI, None, n_folds=4, seed=0)
    errors, baseline = 0, 0
    for test in held_out:
        kernels = []
        for band in (x, known):
            centered = band - band[~test].mean(0)
            kernels.append(centered @ centered.T / (centered[~test] ** 2).sum(1).mean())
        settings = {"n_iter": list_mixtures(2), "alphas": np.array(SETTINGS["penalties"]), "progress_bar": False}
        model = MultipleKernelRidgeCV(
            "precomputed", solver="random_search", solver_params=settings, fit_intercept=True,
            cv=PredefinedSplit(np.arange((~test).sum())),
        )  # fmt: skip
        y, kernel = patterns[0].mean(0), np.stack(kernels)
        model.fit(kernel[:, ~test][:, :, ~test], y[~test])
        errors += ((y[test] - model.predict(kernel[:, test][:, :, ~test])) ** 2).sum(0)
        baseline += ((y[test] - y[~test].mean(0)) ** 2).sum(0)
    expected = (1 - errors / baseline).mean()
    assert table["voxels", "together", PARTICIPANTS[0], "one + categories"] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("silent, measures", [(slice(1), ["rsm"]), (slice(N), ["voxels", "rsm"])])
def test_layers_that_say_nothing_leave_rows_without_numbers(divided, tmp_path, silent, measures):
    """Of a layer with constant activations to a stimulus there is no RSM; one that is the same for all predicts no voxel."""
    folder, made = divided[0], [tmp_path / name for name in ("activations.h5", "scores.csv", "silent.h5", "rsm.h5")]
    features = draw_features()["second"]
    features[silent] = 0
    write_activations(made[0], {"only": features}, model="silent")
    fit_encoding(made[0], folder / "brain.h5", *made[1:3], brain_name="objects", model="silent", folds=None, **SETTINGS)
    make_rsms(made[0], made[3], brain="objects", model="silent")
    kinds = zip(("_activations.h5", ".h5", "_rsm.h5"), (made[0], made[2], made[3]), strict=True)
    files = [[folder / f"two{kind}", other] for kind, other in kinds]
    settings = {key: SETTINGS[key] for key in ("penalties", "standardize", "projection", "seed")}
    partition_models(
        *files, folder / "brain.h5", tmp_path / "partitions.csv", name="objects", sets=[["two", "silent"]], fdr=0.05,
        n_bootstrap=20, **settings,
    )  # fmt: skip
    group = read_csv(tmp_path / "partitions.csv").query("participant == 'group'")
    empty = group["r2"].isna()
    assert set(group.loc[empty, "measure"]) == set(measures) and not (empty & group["note"].isna()).any()
    assert group.loc[empty, "note"].str.startswith("silent: ").all()
    assert group.loc[empty, ["low", "p", "q"]].isna().to_numpy().all()
    assert not group.duplicated(["measure", "explained", "by", "resampled"]).any() and (group["by"] == "two").sum() == 6
