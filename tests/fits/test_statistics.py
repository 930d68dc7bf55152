from typing import get_args

import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.stats
from numpy.testing import assert_allclose
from simulated_rsms import N_STIMULI, SETTINGS, mix, write_rsms

from ipcl_core.brains.store import BEHAVIOUR, Region, read_brain, write_brain
from ipcl_core.config import Comparator, Statistics
from ipcl_core.fits.fit_layers import fit_layers
from ipcl_core.fits.rsms import read_rsvs
from ipcl_core.fits.statistics import (
    compare_models,
    join_layers,
    measure_layers,
    measure_noise_ceilings,
)
from ipcl_core.report.figures.pairs import plot_pairs
from ipcl_core.rsa.inference import bootstrap_similarity, draw_resamples, estimate_variances
from ipcl_core.rsa.noise_ceiling import measure_leave_one_out, measure_noise_ceiling
from ipcl_core.rsa.similarity import correlate, vectorize_rsm
from ipcl_core.rsa.tiles import Tiled

N_PARTICIPANTS, BEST = 8, 3


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Simulated data of known noise and known best layer.

    Two regions with patterns of their own, IT of eight participants and EarlyV as one group average. Three models of six
    layers: `good` has IT's patterns, least noisy in its fourth layer; `poor` the same with more noise; `chance` has none.
    """
    folder, rng = tmp_path_factory.mktemp("simulated"), np.random.default_rng(0)
    it, early = rng.standard_normal((2, N_STIMULI, 40))
    rsvs = np.stack([vectorize_rsm(mix(it, 1.5, rng)) for _ in range(N_PARTICIPANTS)])
    regions = [
        Region("EarlyV", vectorize_rsm(mix(early, 1, rng))[None], ["group average"], group=True),
        Region("IT", rsvs, [f"{i:02d}" for i in range(N_PARTICIPANTS)], group=False),
    ]
    write_brain(folder / "brain.h5", [f"{i:02d}" for i in range(N_STIMULI)], regions)
    noises = {"good": 0.5, "poor": 4}
    for model, noise in noises.items():
        layers = [mix(it, noise + 1.5 * abs(i - BEST), rng) for i in range(6)]
        write_rsms(folder / f"{model}.h5", layers)
    write_rsms(folder / "chance.h5", [mix(0 * it, 1, rng) for _ in range(6)])
    for model in ("good", "poor", "chance"):
        measure_layers(folder / f"{model}.h5", folder / "brain.h5", folder / f"{model}.csv", **SETTINGS)
    models = ["good", "poor", "chance"]
    compare_models(  # the files in any order
        [folder / f"{model}.h5" for model in models[::-1]], folder / "brain.h5",
        folder / "best_layers.csv", folder / "pairs.csv",
        name="sim", models=models, n_bootstrap=200, n_splits=50, seed=0, fdr=0.05,
    )  # fmt: skip
    join_layers(
        [folder / f"{m}.csv" for m in models[::-1]], folder / "all.csv", brains=["sim"], models=models, fdr=0.05
    )
    measure_noise_ceilings(folder / "brain.h5", folder / "ceilings.csv", name="sim", n_splits=1000, seed=0)
    np.save(folder / "rsvs.npy", rsvs)
    return folder


def test_truth_is_recovered(study):
    table = pd.read_csv(study / "all.csv").set_index(["model", "region", "layer"]).sort_index()
    good, chance = table.loc["good", "IT"], table.loc["chance"]
    assert good["r"].idxmax() == f"layer{BEST}"
    assert good.loc[f"layer{BEST}", ["p", "p_max"]].max() <= 0.01 and good.loc[f"layer{BEST}", "both_low"] > 0
    assert not chance["significant"].any() and (chance["p_max"] > 0.05).all()
    # the layers of `good` have nothing to do with the other region
    assert (table.loc["good", "EarlyV"]["p_max"] > 0.05).all()
    best = pd.read_csv(study / "best_layers.csv").set_index(["model", "region"])
    row = best.loc["good", "IT"]
    assert row["layer"] == row["participants_layer"] == row["stimuli_layer"] == f"layer{BEST}"
    assert row["stimuli_shrinkage"] == 0 and row["participants_shrinkage"] == 0
    # a maximum over layers that mean nothing shrinks to about nothing on stimuli that did not choose it
    row = best.loc["chance", "IT"]
    assert row["r"] > 0 and row["stimuli_shrinkage"] > 0.02 and abs(row["stimuli_r_held_out"]) < 0.05
    pairs = pd.read_csv(study / "pairs.csv").set_index(["region", "model_a", "model_b"])
    assert pairs.loc["IT", "good", "poor"]["significant"] and pairs.loc["IT", "good", "poor"]["low"] > 0
    assert not pairs.loc["EarlyV"]["significant"].any()


def test_r_is_that_of_the_paper(study):
    """Pearson correlation with the mean of the participants' RSVs, and with each of them."""
    table = pd.read_csv(study / "good.csv").query("region == 'IT'")
    rsvs = np.load(study / "rsvs.npy")
    with h5py.File(study / "good.h5") as file:
        layers = [vectorize_rsm(file[f"layers/layer{i}"][:]) for i in range(6)]
    assert table["r"].to_numpy() == pytest.approx([correlate(x, rsvs.mean(0)) for x in layers], abs=1e-12)
    single = np.array([[correlate(x, rsv) for rsv in rsvs] for x in layers])
    assert table["r_participants_mean"].to_numpy() == pytest.approx(single.mean(1), abs=1e-12)
    assert table["r_participants_sd"].to_numpy() == pytest.approx(single.std(1, ddof=1), abs=1e-12)
    for kind in ("participants", "stimuli", "both"):
        assert (table[f"{kind}_low"] < table["r"]).all() and (table["r"] < table[f"{kind}_high"]).all()
    assert (table["both_high"] - table["both_low"] >= table["participants_high"] - table["participants_low"]).all()


def test_group_average_has_nothing_over_participants_and_says_so(study):
    table = pd.read_csv(study / "good.csv").query("region == 'EarlyV'")
    assert (table["note"] == "one group average: nothing over participants").all() and (
        table["n_participants"] == 0
    ).all()
    empty = ["r_participants_mean", "r_participants_sd", "participants_low", "both_high"]
    assert table[empty].isna().all(axis=None) and table[["r", "stimuli_low", "p", "p_max"]].notna().all(axis=None)
    pairs = pd.read_csv(study / "pairs.csv").set_index("region")
    assert (pairs.loc["EarlyV", "resampled"] == "stimuli").all()
    assert (pairs.loc["IT", "resampled"] == "participants and stimuli").all()


def test_tables_hold_no_nan(study):
    for path in study.glob("*.csv"):
        cells = [cell for line in path.read_text().splitlines() for cell in line.split(",")]
        assert not {"nan", "NaN", "inf", "-inf"} & set(cells), path.name


def test_intervals_and_p_of_the_tables_are_students(study):
    """r and differences plus and minus t times the bootstrap's standard error, each kind with its own; p is two-sided."""
    rsvs = {model: read_rsvs(study / f"{model}.h5")[1] for model in ("good", "poor")}
    participants, pairs = np.load(study / "rsvs.npy"), pd.read_csv(study / "pairs.csv")
    resamples = draw_resamples(N_PARTICIPANTS, N_STIMULI, n_resamples=200, seed=0)
    table = pd.read_csv(study / "good.csv").query("region == 'IT'")
    samples = bootstrap_similarity(rsvs["good"], participants, resamples)
    variances = estimate_variances(samples, N_PARTICIPANTS, N_STIMULI)
    for kind, freedom in (("participants", 7), ("stimuli", 29), ("both", 7)):
        half = scipy.stats.t.ppf(0.975, freedom) * np.sqrt(variances[kind])
        assert_allclose(table[f"{kind}_low"], table["r"] - half, rtol=0, atol=1e-12)
        assert_allclose(table[f"{kind}_high"], np.minimum(table["r"] + half, 1), rtol=0, atol=1e-12)
    pair = pairs.query("region == 'IT' and model_a == 'good' and model_b == 'poor'").iloc[0]
    best = np.stack([rsvs[model][int(pair[key][-1])] for model, key in (("good", "layer_a"), ("poor", "layer_b"))])
    samples = bootstrap_similarity(best, participants, resamples)
    differences = {kind: sample[:, :1] - sample[:, 1:] for kind, sample in samples.items()}
    error = np.sqrt(estimate_variances(differences, N_PARTICIPANTS, N_STIMULI)["both"][0])
    assert pair["difference"] == pytest.approx(pair["r_a"] - pair["r_b"], abs=1e-12)
    expected = pair["difference"] + scipy.stats.t.ppf([0.025, 0.975], 7) * error
    assert_allclose(pair[["low", "high"]].astype(float), expected, rtol=0, atol=1e-12)
    assert pair["p"] == pytest.approx(2 * scipy.stats.t.cdf(-abs(pair["difference"]) / error, 7), rel=1e-6)


def test_same_seed_same_bytes_other_seed_other_bytes(study, tmp_path):
    def measure(seed):
        settings = SETTINGS | {"seed": seed}
        measure_layers(study / "good.h5", study / "brain.h5", tmp_path / "t.csv", **settings)
        return (tmp_path / "t.csv").read_bytes()

    assert measure(0) == (study / "good.csv").read_bytes() != measure(1)


def test_every_comparator_has_its_rows(study, tmp_path):
    comparators = list(get_args(Comparator))
    assert comparators == Statistics(comparators=comparators).comparators and len(comparators) == 7
    measure_layers(study / "good.h5", study / "brain.h5", tmp_path / "t.csv", **SETTINGS | {"comparators": comparators})
    table = pd.read_csv(tmp_path / "t.csv")
    assert list(table["comparator"].unique()) == comparators
    it = table[table["region"] == "IT"].set_index("comparator")
    for comparator in comparators:
        rows = it.loc[comparator].set_index("layer")
        assert rows["r"].idxmax() == f"layer{BEST}"
        assert rows[["both_low", "p"]].notna().all(axis=None) == (comparator != "kendall")
    assert (it.loc["kendall", "note"] == "kendall is neither resampled nor permuted").all()


def test_the_papers_measure_is_there_whatever_is_chosen(study, tmp_path):
    """Figures, cards of networks and the explorer show it."""
    paths = study / "good.h5", study / "brain.h5"
    measure_layers(*paths, tmp_path / "plain.csv", **SETTINGS)
    measure_layers(*paths, tmp_path / "other.csv", **SETTINGS | {"comparators": ["spearman"]})
    plain, other = (pd.read_csv(tmp_path / f"{name}.csv") for name in ("plain", "other"))
    assert list(other["comparator"].unique()) == ["spearman", "pearson"]
    paper = other[other["comparator"] == "pearson"].reset_index(drop=True)
    pd.testing.assert_frame_equal(paper, plain)


def test_other_stimuli_are_refused(study, tmp_path):
    write_rsms(tmp_path / "m.h5", [np.eye(6)], n_stimuli=6)
    with pytest.raises(ValueError, match=r"m\.h5 was not made with the 30 stimuli of .*brain\.h5"):
        measure_layers(tmp_path / "m.h5", study / "brain.h5", tmp_path / "m.csv", **SETTINGS)


def test_false_discoveries_are_controlled_over_models_and_regions_of_a_brain(study, tmp_path):
    table = pd.read_csv(study / "all.csv")
    assert table["q"].to_numpy() == pytest.approx(scipy.stats.false_discovery_control(table["p"]))
    assert (table["significant"] == (table["q"] <= 0.05)).all()
    files = [tmp_path / "a.csv", tmp_path / "b.csv"]
    for file, model in zip(files, ("good", "chance"), strict=True):
        pd.read_csv(study / f"{model}.csv").assign(brain=file.stem, model="m").to_csv(file, index=False)
    join_layers(files[::-1], tmp_path / "t.csv", brains=["a", "b"], models=["m"], fdr=0.05)
    table = pd.read_csv(tmp_path / "t.csv").query("brain == 'b'")
    assert table["q"].to_numpy() == pytest.approx(scipy.stats.false_discovery_control(pd.read_csv(files[1])["p"]))


def test_behaviour_moves_nothing_of_the_brain(study, tmp_path):
    """Judgments beside the regions are a family of their own: every other row stays as it was."""
    stimuli, regions = read_brain(study / "brain.h5")
    judged = Region(BEHAVIOUR, regions[1].rsvs[:4] ** 3, list("abcd"), group=False)
    write_brain(tmp_path / "brain.h5", stimuli, [*regions, judged])
    models = ["good", "poor", "chance"]
    rsms = [study / f"{model}.h5" for model in models]
    for model, path in zip(models, rsms, strict=True):
        measure_layers(path, tmp_path / "brain.h5", tmp_path / f"{model}.csv", **SETTINGS)
    compare_models(
        rsms, tmp_path / "brain.h5", tmp_path / "best_layers.csv", tmp_path / "pairs.csv",
        name="sim", models=models, n_bootstrap=200, n_splits=50, seed=0, fdr=0.05,
    )  # fmt: skip
    join_layers([tmp_path / f"{m}.csv" for m in models], tmp_path / "all.csv", brains=["sim"], models=models, fdr=0.05)
    for name in ("all", "best_layers", "pairs"):
        found = pd.read_csv(tmp_path / f"{name}.csv", dtype=str)
        others = found[found["region"] != BEHAVIOUR].reset_index(drop=True)
        assert len(others) < len(found)
        pd.testing.assert_frame_equal(others, pd.read_csv(study / f"{name}.csv", dtype=str))


def test_layers_of_nested_sequences_keep_their_names(study, tmp_path):
    layers = pd.read_csv(study / "good.csv").replace({"layer": {"layer0": "1.10", "layer1": "1.1"}})
    layers.assign(brain="2019", model="007").to_csv(tmp_path / "m.csv", index=False)
    join_layers([tmp_path / "m.csv"], tmp_path / "t.csv", brains=["2019"], models=["007"], fdr=0.05)
    assert pd.read_csv(tmp_path / "t.csv", dtype=str)["layer"].tolist() == layers["layer"].tolist()


def test_noise_ceilings_are_named(study):
    table = pd.read_csv(study / "ceilings.csv").set_index(["region", "kind"])
    rsvs = np.load(study / "rsvs.npy")
    half = measure_noise_ceiling(rsvs, n_splits=1000, seed=0).r
    lower, upper = measure_leave_one_out(rsvs)
    expected = {
        "split-half over participants": half,
        "split-half over participants, Spearman-Brown corrected": 2 * half / (1 + half),
        "leave-one-out, lower": lower,
        "leave-one-out, upper": upper,
    }
    assert table.loc["IT", "r"].to_dict() == pytest.approx(expected)
    assert table.loc["EarlyV", "r"].isna().all() and (table.loc["EarlyV", "note"] == "one group average").all()


def test_figure_of_pairs_shows_the_row_less_the_column(study):
    figure = plot_pairs(study / "pairs.csv", title="simulated", fdr=0.05)
    pairs = pd.read_csv(study / "pairs.csv").set_index(["region", "model_a", "model_b"])
    axes = {ax.get_title(): ax for ax in figure.axes if ax.get_title()}
    assert list(axes) == ["EarlyV", "IT"]
    shown = axes["IT"].images[0].get_array().filled(np.nan)
    difference = pairs.loc["IT", "good", "poor"]["difference"]
    assert shown[0, 1] == difference == -shown[1, 0] and np.isnan(shown[2, 2]) and difference > 0.1
    dots = set(zip(*map(list, axes["IT"].lines[0].get_data()), strict=True))
    significant = pairs.loc["IT"].query("significant").index
    names = ["good", "poor", "chance"]
    expected = {(names.index(a), names.index(b)) for a, b in significant}
    assert {(int(x), int(y)) for x, y in dots} == expected | {(y, x) for x, y in expected} != set()
    assert not len(axes["EarlyV"].lines[0].get_xdata())
    labels = [label.get_text() for label in axes["EarlyV"].get_yticklabels()]
    assert labels == ["good  1", "poor  2", "chance  3"]


def test_figure_of_one_model_says_so(study, tmp_path):
    files = [tmp_path / "best.csv", tmp_path / "pairs.csv"]
    settings = {"n_bootstrap": 100, "n_splits": 5, "seed": 0, "fdr": 0.05}
    compare_models([study / "good.h5"], study / "brain.h5", *files, name="sim", models=["good"], **settings)
    figure = plot_pairs(tmp_path / "pairs.csv", title="simulated", fdr=0.05)
    assert figure.get_suptitle() == "simulated: one model, nothing to compare"


def test_files_that_are_read_in_tiles_give_the_same_tables(study, tmp_path, monkeypatch):
    """As with many stimuli, whose RSVs do not fit into memory."""
    monkeypatch.setattr("ipcl_core.fits.rsms.LARGE", 0)
    monkeypatch.setattr("ipcl_core.brains.store.LARGE", 0)
    monkeypatch.setattr("ipcl_core.rsa.tiles.TILE", 50)
    assert isinstance(read_rsvs(study / "good.h5", tiled=True)[1], Tiled)
    assert isinstance(read_brain(study / "brain.h5", tiled=True)[1][1].rsvs, Tiled)
    brain, models = study / "brain.h5", ["good", "poor", "chance"]
    measure_layers(study / "good.h5", brain, tmp_path / "good.csv", **SETTINGS)
    compare_models(
        [study / f"{model}.h5" for model in models], brain, tmp_path / "best_layers.csv", tmp_path / "pairs.csv",
        name="sim", models=models, n_bootstrap=200, n_splits=50, seed=0, fdr=0.05,
    )  # fmt: skip
    for name in ("good", "best_layers", "pairs"):
        found, expected = (pd.read_csv(folder / f"{name}.csv") for folder in (tmp_path, study))
        pd.testing.assert_frame_equal(found, expected, rtol=0, atol=1e-12)
    fit_layers(study / "good.h5", brain, tmp_path / "tiled.csv")
    monkeypatch.undo()
    fit_layers(study / "good.h5", brain, tmp_path / "whole.csv")
    found, expected = (pd.read_csv(tmp_path / f"{name}.csv") for name in ("tiled", "whole"))
    pd.testing.assert_frame_equal(found, expected, rtol=0, atol=1e-12)
