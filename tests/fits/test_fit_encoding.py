"""Voxels predicted from layers: a small brain whose truth is known, a loop with scikit-learn, and what is refused."""

import itertools

import h5py
import numpy as np
import pandas as pd
import pytest
from encoding_brains import (
    PARTICIPANTS,
    SETTINGS,
    SHARE,
    STIMULI,
    TRUE,
    N,
    draw_brain,
    draw_features,
    write_activations,
)
from numpy.testing import assert_allclose
from sklearn.linear_model import RidgeCV

from ipcl_core.brains.folds import divide_stimuli
from ipcl_core.files import open_hdf5, read_csv
from ipcl_core.fits.fit_encoding import ENCODING_COLUMNS, fit_encoding, read_kernel, refuse_repeats
from ipcl_core.fits.held_out_layers import MEASURES


def run(folder, activations=None, brain=None, folds=None, **changes) -> pd.DataFrame:
    activations = activations or write_activations(folder / "activations.h5")
    brain = brain or draw_brain(folder / "brain.h5")
    files = folder / "scores.csv", folder / "predictions.h5"
    fit_encoding(activations, brain, *files, brain_name="objects", model="net", folds=folds, **SETTINGS | changes)
    return read_csv(files[0])


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("encoding")
    return folder, run(folder)


def test_truth_is_found(fitted):
    """The true layers, on training stimuli alone; the noise ceilings; and of six units nearly all that could be predicted."""
    folder, table = fitted
    assert list(table.columns) == ENCODING_COLUMNS
    assert set(table["brain"]) == {"objects"} and set(table["model"]) == {"net"}
    group = table[table["participant"] == "group"].set_index(["region", "layer"])
    for region, layer in TRUE.items():
        assert group["median_r"][region].idxmax() == layer == group["versa_r"][region].idxmax()
    with open_hdf5(folder / "predictions.h5") as file:
        for measure, (region, layer) in itertools.product(MEASURES, TRUE.items()):
            assert set(file[f"layers/{measure}/{region}"].asstr()) == {layer}
            assert file[f"predictions/{measure}/{region}/sub-01"] == file[f"predictions/median_r/{region}/sub-01"], (
                "once"
            )
    best = group.loc["IT", "second"]
    assert best["ceiling"] == pytest.approx(SHARE, abs=0.05) and best["ceiling_split_half"] == pytest.approx(
        SHARE, abs=0.05
    )
    assert 0.85 < best["median_r_share"] < 1.02 and 0.7 < best["median_r2_share"] < 1.02
    assert abs(group.at[("IT", "third"), "median_r"]) < 0.1
    assert best["n_left_out"] >= 20 and best["n_voxels"] + best["n_left_out"] == 150


def test_numbers_equal_loop_with_scikit_learn(fitted):
    folder, table = fitted
    held_out = divide_stimuli(STIMULI, None, n_folds=4, seed=0)
    assert (held_out.sum(0) == 1).all()
    with open_hdf5(folder / "brain.h5") as file:
        runs = file["patterns/IT/sub-02"][:]
    with open_hdf5(folder / "predictions.h5") as file:
        y = runs.mean(0)[:, file["kept/IT/sub-02"][:]]
        predicted, ceilings = file["predictions/mean_r/IT/sub-02"][:], file["ceilings/IT/sub-02"][:]
    x = draw_features()["second"].astype(float)
    r, error, baseline, versa = [], 0, 0, []
    for test in held_out:
        unit = ((x[~test] - x[~test].mean(0)) ** 2).sum(1).mean()
        model = RidgeCV(np.array(SETTINGS["penalties"]) * unit, alpha_per_target=True).fit(x[~test], y[~test])
        p = model.predict(x[test])
        assert_allclose(predicted[test], p, rtol=0, atol=1e-9)
        r.append([np.corrcoef(a, b)[0, 1] for a, b in zip(p.T, y[test].T, strict=True)])
        error, baseline = error + ((y[test] - p) ** 2).sum(0), baseline + ((y[test] - y[~test].mean(0)) ** 2).sum(0)
        pairs = np.tril_indices(test.sum(), -1)
        versa.append(np.corrcoef(np.corrcoef(p)[pairs], np.corrcoef(y[test])[pairs])[0, 1])
    r, r2 = np.mean(r, axis=0), 1 - error / baseline
    (row,) = table.query("region == 'IT' and layer == 'second' and participant == 'sub-02'").to_dict("records")
    expected = {
        "median_r": np.median(r), "mean_r": np.mean(r), "median_r2": np.median(r2), "mean_r2": np.mean(r2),
        "median_r_share": np.median(r / np.sqrt(ceilings)), "median_r2_share": np.median(r2 / ceilings),
        "ceiling": np.median(ceilings), "versa_r": np.mean(versa), "n_voxels": y.shape[1], "n_held_out": N,
    }  # fmt: skip
    assert {name: row[name] for name in expected} == pytest.approx(expected, abs=1e-8)


def test_group_is_the_mean_of_participants_and_its_rsm_that_of_their_rsms(fitted):
    folder, table = fitted
    rows = table.query("region == 'V1' and layer == 'first'").set_index("participant")
    for name in ("median_r", "mean_r2", "ceiling", "train_r2"):
        assert rows.at["group", name] == pytest.approx(rows.loc[PARTICIPANTS, name].mean(), abs=1e-12)
    assert rows.at["group", "n_voxels"] == rows.loc[PARTICIPANTS, "n_voxels"].sum()
    versa = []
    with open_hdf5(folder / "brain.h5") as brain, open_hdf5(folder / "predictions.h5") as file:
        for fold in range(4):
            test, rsms = file["folds"][:] == fold, []
            for who in PARTICIPANTS:
                y = brain[f"patterns/V1/{who}"][:].mean(0)[:, file[f"kept/V1/{who}"][:]]
                rsms.append([np.corrcoef(part[test]) for part in (file[f"predictions/versa_r/V1/{who}"][:], y)])
            pairs = [rsm[np.tril_indices(test.sum(), -1)] for rsm in np.mean(rsms, axis=0)]
            versa.append(np.corrcoef(*pairs)[0, 1])
    assert rows.at["group", "versa_r"] == pytest.approx(np.mean(versa), abs=1e-6)
    assert rows.at["group", "versa_r"] > rows.loc[PARTICIPANTS, "versa_r"].max()


def test_one_run_has_no_ceilings_and_leaves_no_voxel_out(tmp_path):
    table = run(tmp_path, brain=draw_brain(tmp_path / "one.h5", n_runs=1))
    assert table[["ceiling", "ceiling_split_half", "median_r_share", "median_r2_share"]].isna().all(axis=None)
    assert (table["n_left_out"] == 0).all() and set(table["note"]) == {"one run: no noise ceilings of voxels"}


@pytest.mark.parametrize("least, most", [(0.01, 9), (0, 60)])
def test_voxels_of_noise_are_left_out(tmp_path, least, most):
    """60 of 300, of which 28 have a ceiling above .01; of the others most are kept, and with 0 all are."""
    table = run(tmp_path, min_ceiling=least).query("participant == 'group' and layer == 'first'")
    with open_hdf5(tmp_path / "predictions.h5") as file:
        kept = np.array([file[f"kept/{region}/{who}"][:] for region in TRUE for who in PARTICIPANTS])
    assert kept[:, 10:].mean() > 0.85 and (kept[:, :10].sum() <= most) and (least or kept.all())
    assert table["n_voxels"].sum() == kept.sum() and table["n_left_out"].sum() == 300 - kept.sum()


def test_several_pictures_of_a_stimulus_are_averaged(tmp_path, fitted):
    """Two pictures whose mean is the one picture of before; units keep their scale."""
    noise = np.random.default_rng(3).standard_normal
    features = {}
    for name, values in draw_features().items():
        around = noise(values.shape).astype(np.float32)
        features[name] = np.stack([values + around, values - around], 1).reshape(2 * N, *values.shape[1:])
    names = [f"{stimulus}/{picture}" for stimulus in STIMULI for picture in ("01_a", "02_b")]
    table = run(tmp_path, write_activations(tmp_path / "a.h5", features, names))
    columns = ["median_r", "mean_r2", "versa_r", "train_r2"]
    assert_allclose(table[columns], fitted[1][columns], rtol=0, atol=1e-4)


def test_units_are_standardised_over_stimuli_not_over_their_pictures(tmp_path):
    rng, train = np.random.default_rng(3), np.arange(N) % 4 > 0
    pictures = rng.standard_normal((N, 3, 7)).astype(np.float32)
    means = pictures.astype(float).mean(1)
    names = [f"{stimulus}/{picture}" for stimulus in STIMULI for picture in ("01_a", "02_b", "03_c")]
    path = write_activations(tmp_path / "a.h5", {"only": pictures.reshape(3 * N, 7)}, names)
    with open_hdf5(path) as file:
        kernel = read_kernel(file, "only", train, standardize=True)
    units = means / means[train].std(0)
    units -= units.mean(0)
    assert_allclose(kernel, units @ units.T, rtol=0, atol=1e-6)


def test_layer_without_variance_gets_no_numbers(tmp_path):
    features = draw_features() | {"dead": np.zeros((N, 5), np.float32)}
    table = run(tmp_path, write_activations(tmp_path / "a.h5", features))
    dead = table[table["layer"] == "dead"]
    assert len(dead) == 8 and dead[["median_r", "versa_r", "train_r2"]].isna().all(axis=None)
    assert set(dead["note"]) == {"the same activations to all training stimuli of a fold: no prediction"}


def test_layer_that_is_constant_on_the_training_stimuli_of_a_fold_predicts_nothing(tmp_path):
    """The true layer, but one number for what the last fold does not hold out: it would be chosen in the others."""
    test = divide_stimuli(STIMULI, None, n_folds=4, seed=0)[-1]
    features = draw_features()
    flat = features["second"].copy()
    flat[~test] = 0.37
    features = {"first": features["first"], "flat": flat, "second": features["second"]}
    table = run(tmp_path, write_activations(tmp_path / "a.h5", features)).query("layer == 'flat'")
    assert len(table) == 8 and table[["median_r", "mean_r2", "versa_r", "train_r2"]].isna().all(axis=None)
    assert set(table["note"]) == {"the same activations to all training stimuli of a fold: no prediction"}
    with open_hdf5(tmp_path / "predictions.h5") as file:
        assert {layer for measure in MEASURES for layer in file[f"layers/{measure}/IT"].asstr()} == {"second"}


def test_voxels_with_one_response_to_the_stimuli_of_a_fold_are_left_out(tmp_path):
    brain, test = draw_brain(tmp_path / "b.h5"), divide_stimuli(STIMULI, None, n_folds=4, seed=0)[1]
    with h5py.File(brain, "a") as file:
        runs = file["patterns/IT/sub-02"][:]
        runs[:, test, 12:20] = 0.1
        file["patterns/IT/sub-02"][:] = runs
    table = run(tmp_path, brain=brain, min_ceiling=0).query("layer == 'second' and region == 'IT'")
    rows = table.set_index("participant")[["n_voxels", "n_left_out"]]
    assert rows.loc["sub-02"].tolist() == [42, 8] and rows.loc["group"].tolist() == [142, 8]
    with open_hdf5(tmp_path / "predictions.h5") as file:
        assert list(np.flatnonzero(~file["kept/IT/sub-02"][:])) == [*range(12, 20)]


# ---- the division of the stimuli -------------------------------------------------------------------------------------


def write_folds(path, folds, names=None) -> str:
    names = names or [f"{name[3:]}{i + 1}.png" for i, name in enumerate(STIMULI)]
    pd.DataFrame({"stimulus": names, "fold": folds}).to_csv(path, index=False)
    return path


def test_division_by_a_file(tmp_path):
    """Two folds; the stimuli of a third part are learnt from in both, and predicted in none."""
    names = [f"{name}.png" for name in STIMULI[::-1]]
    folds = [{0: "train", 1: "b", 2: "a"}[i % 3] for i in range(N)]
    held_out = divide_stimuli(STIMULI, write_folds(tmp_path / "folds.csv", folds, names), n_folds=5, seed=0)
    assert held_out.shape == (2, N) and (held_out[0] == (np.arange(N)[::-1] % 3 == 1)).all()
    table = run(tmp_path, folds=tmp_path / "folds.csv")
    assert set(table["n_held_out"]) == {32}
    with open_hdf5(tmp_path / "predictions.h5") as file:
        assert list(file["folds"][-3:]) == [1, 0, -1]
        assert (np.isnan(file["predictions/mean_r/IT/sub-01"][:]).all(1) == (file["folds"][:] == -1)).all()


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda t: t.rename(columns={"fold": "part"}), r"folds\.csv: lacks the column fold; needs stimulus and fold"),
        (lambda t: t[1:], r"folds\.csv: lacks 1 of 48 stimuli, first 01_object"),
        (lambda t: t.replace("01_object", "x"), r"folds\.csv: 'x' is none of the 48 stimuli, such as 01_object"),
        (lambda t: pd.concat([t, t[:1]]), r"folds\.csv: '01_object' stands there twice"),
        (lambda t: t.replace("a", ""), r"folds\.csv: '01_object' has no fold"),
        (lambda t: t.assign(fold="train"), r"folds\.csv: all stimuli are in the fold train"),
        (lambda t: t.assign(fold=["c"] * 3 + ["train"] * 45), "1 fold.* has 3 to learn from or to be judged on, and"),
        (lambda t: t.assign(fold="all"), "1 fold.* has 0 to learn from or to be judged on, and needs at least 4"),
    ],
)
def test_bad_divisions_are_refused(tmp_path, change, message):
    table = pd.DataFrame({"stimulus": STIMULI, "fold": ["a", "b"] * 24})
    change(table).to_csv(tmp_path / "folds.csv", index=False)
    with pytest.raises(ValueError, match=message):
        divide_stimuli(STIMULI, tmp_path / "folds.csv", n_folds=5, seed=0)


def test_too_many_folds_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"encoding\.n_folds: 13 fold\(s\) of 48 stimuli: one has 3 to learn"):
        run(tmp_path, n_folds=13)


def test_the_same_picture_twice_is_held_out_together(tmp_path):
    features = {name: values.copy() for name, values in draw_features().items()}
    for values in features.values():
        values[19] = values[3]
    activations = write_activations(tmp_path / "a.h5", features)
    with pytest.raises(ValueError, match="04_object and 20_object are the same picture to the network"):
        run(tmp_path, activations)
    folds = write_folds(tmp_path / "folds.csv", ["a" if i % 4 else "b" for i in range(1, N + 1)], STIMULI)
    assert (divide_stimuli(STIMULI, folds, n_folds=5, seed=0)[:, 3] == [False, True]).all()
    assert len(run(tmp_path, activations, folds=folds)) == 24


def write_pictures(path, change) -> str:
    """Three pictures a stimulus in two layers; `change` gets them, (N, 3, units)."""
    rng = np.random.default_rng(3)
    layers = [rng.standard_normal((N, 3, units)).astype(np.float32) for units in (6, 30)]
    change(*layers)
    names = [f"{stimulus}/{picture}" for stimulus in STIMULI for picture in ("01_a", "02_b", "03_c")]
    features = {name: layer.reshape(3 * N, -1) for name, layer in zip(("first", "second"), layers, strict=True)}
    return write_activations(path, features, names)


def share_pictures(*layers) -> None:
    """Two of three are the same, but for rounding, in another place."""
    for layer in layers:
        layer[19, 1:] = layer[3, :2] * np.float32(1 + 1e-6)


def share_pictures_behind_a_constant_layer(first, second) -> None:
    first[:] = 0.37
    share_pictures(second)


def give_a_first_layer_that_hardly_fires(first, second) -> None:
    first[1:] = 0


@pytest.mark.parametrize("change", [share_pictures, share_pictures_behind_a_constant_layer])
def test_a_picture_of_two_stimuli_is_held_out_with_both(tmp_path, change):
    together = np.arange(N) % 4 == np.arange(4)[:, None]  # numbers 3 and 19
    apart = np.arange(N) % 5 == np.arange(5)[:, None]
    with open_hdf5(write_pictures(tmp_path / "a.h5", change)) as file:
        refuse_repeats(file, together)
        with pytest.raises(ValueError, match="04_object/01_a and 20_object/02_b are the same picture to the network"):
            refuse_repeats(file, apart)


def test_pictures_that_one_layer_cannot_tell_apart_are_no_repeats(tmp_path):
    with open_hdf5(write_pictures(tmp_path / "a.h5", give_a_first_layer_that_hardly_fires)) as file:
        refuse_repeats(file, np.arange(N) % 4 == np.arange(4)[:, None])


# ---- what is refused -------------------------------------------------------------------------------------------------


def test_other_stimuli_are_refused(tmp_path):
    activations = write_activations(tmp_path / "a.h5", stimuli=STIMULI[::-1])
    with pytest.raises(ValueError, match=r"a\.h5: made with 48 stimuli that are not the 48 of"):
        run(tmp_path, activations)
    assert not (tmp_path / "scores.csv").exists()


def test_brain_without_patterns_or_reliable_voxels_is_refused(tmp_path):
    with pytest.raises(
        ValueError,
        match=r"V1, participant sub-01: of 50 voxels 0 can be used, and 3 are needed; 50 have a noise ceiling below 0\.99",
    ):
        run(tmp_path, min_ceiling=0.99)
    brain = draw_brain(tmp_path / "b.h5")
    with h5py.File(brain, "a") as file:
        runs = file["patterns/V1/sub-02"][:, :, :12].copy()
        del file["patterns/V1/sub-02"]
        file["patterns/V1/sub-02"] = runs  # ten of noise, and two
    with pytest.raises(
        ValueError, match="region V1, participant sub-02: of 12 voxels 2 can be used, and 3 are needed; "
    ):
        run(tmp_path, brain=brain, min_ceiling=0.3)
    with h5py.File(brain, "a") as file:
        del file["patterns"]
    with pytest.raises(ValueError, match="region V1 has no voxel patterns, which encoding needs"):
        run(tmp_path, brain=brain)


def test_standardised_and_projected_layers_are_others(tmp_path, fitted):
    _, table = fitted
    others = [run(tmp_path, **change) for change in ({"standardize": True}, {"projection": 0.9})]
    first = [t.query("layer == 'first' and participant == 'group'")["median_r"].to_numpy() for t in (table, *others)]
    assert (first[0] != first[1]).all() and (first[0] != first[2]).all()
