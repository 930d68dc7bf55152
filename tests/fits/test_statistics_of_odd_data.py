"""Statistics of other distances, and of layers, stimuli and participants that leave cells empty, which say why."""

import h5py
import numpy as np
import pandas as pd
import pytest
from simulated_rsms import SETTINGS, mix, write_rsms

from ipcl_core.brains.store import Region, write_brain
from ipcl_core.files import write_hdf5
from ipcl_core.fits.rsms import make_rsms
from ipcl_core.fits.statistics import (
    NO_DISTANCES,
    compare_models,
    measure_layers,
    measure_noise_ceilings,
)
from ipcl_core.report.figures.pairs import draw_figure_pairs
from ipcl_core.rsa.inference import draw_resamples
from ipcl_core.rsa.noise_ceiling import measure_noise_ceiling
from ipcl_core.rsa.similarity import compute_rsm, vectorize_rsm


def test_euclidean_distances_of_voxels_and_layers(tmp_path):
    """Against a loop over the patterns; whatever the scale of the activations; regions without voxels say so."""
    rng, names = np.random.default_rng(0), [f"{i:02d}" for i in range(12)]
    voxels = [rng.standard_normal((12, n)) * 100 for n in (20, 30, 25)]
    rsvs = np.stack([vectorize_rsm(compute_rsm(v)) for v in voxels])
    regions = [
        Region("IT", rsvs, ["b", "a", "c"], group=False, patterns=[v[None] for v in voxels]),
        Region("EarlyV", rsvs, ["b", "a", "c"], group=False),
    ]
    write_brain(tmp_path / "brain.h5", names, regions)
    activations = [rng.standard_normal((12, 40)) * 1e-6, rng.exponential(size=(12, 10)), np.zeros((12, 5))]
    with write_hdf5(tmp_path / "activations.h5") as file:
        file["stimuli"] = names
        for i, values in enumerate(activations):
            file[f"layers/layer{i}"] = values
        file.attrs["layers"], file.attrs["network"] = ["layer0", "layer1", "layer2"], ""
    both = ["correlation", "euclidean"]
    make_rsms(tmp_path / "activations.h5", tmp_path / "m.h5", brain="sim", model="m", distances=both)
    settings = SETTINGS | {"distances": both, "comparators": ["pearson", "cosine"]}
    measure_layers(tmp_path / "m.h5", tmp_path / "brain.h5", tmp_path / "m.csv", **settings)
    table = pd.read_csv(tmp_path / "m.csv").set_index(["distance", "comparator", "region", "layer"]).sort_index()
    assert len(table) == 2 * 2 * 2 * 3

    def measure(patterns):
        return np.array([((patterns[i] - patterns[j]) ** 2).mean() for i in range(12) for j in range(i)])

    single = [measure(v) for v in voxels]
    rows = table.loc["euclidean", "pearson", "IT"]
    assert rows["r"].isna().tolist() == [False, False, True] and "none that differ" in rows["note"].iloc[2]
    for i in range(2):
        row = rows.loc[f"layer{i}"]
        layer = measure(activations[i])
        assert row["r"] == pytest.approx(np.corrcoef(layer, np.mean(single, axis=0))[0, 1], abs=1e-12)
        assert row["r_participants_mean"] == pytest.approx(np.mean([np.corrcoef(layer, s)[0, 1] for s in single]))
        assert row[["participants_low", "both_high", "p", "p_max"]].notna().all()
        cosine = table.loc["euclidean", "cosine", "IT", f"layer{i}"]["r"]
        group = np.mean(single, axis=0)
        assert cosine == pytest.approx(layer @ group / np.linalg.norm(layer) / np.linalg.norm(group), abs=1e-12)
    unknown = table.loc["euclidean", :, "EarlyV"]
    assert unknown["r"].isna().all() and unknown["note"].str.startswith(NO_DISTANCES).all()
    one_run = SETTINGS | {"distances": ["crossnobis"]}
    measure_layers(tmp_path / "m.h5", tmp_path / "brain.h5", tmp_path / "x.csv", **one_run)
    crossnobis = pd.read_csv(tmp_path / "x.csv").query("distance == 'crossnobis'")
    assert len(crossnobis) == 6 and crossnobis["r"].isna().all()
    assert crossnobis["note"].str.startswith(NO_DISTANCES).all()
    alone = SETTINGS | {"comparators": ["pearson", "cosine"]}
    measure_layers(tmp_path / "m.h5", tmp_path / "brain.h5", tmp_path / "n.csv", **alone)
    lines = (tmp_path / "n.csv").read_text().splitlines()
    assert lines == (tmp_path / "m.csv").read_text().splitlines()[: len(lines)], "correlations stay as they are"
    measure_noise_ceilings(
        tmp_path / "brain.h5", tmp_path / "ceilings.csv", name="b", distances=both, n_splits=1000, seed=0
    )
    ceilings = pd.read_csv(tmp_path / "ceilings.csv").set_index(["distance", "region", "kind"])["r"]
    half = measure_noise_ceiling(single, n_splits=1000, seed=0).r
    assert ceilings["euclidean", "IT", "split-half over participants"] == pytest.approx(half)
    assert ceilings.xs("EarlyV", level="region")["euclidean"].isna().all()
    assert ceilings.xs("leave-one-out, upper", level="kind")["correlation"].notna().all()
    write_rsms(tmp_path / "old.h5", [np.eye(12)], n_stimuli=12)
    with pytest.raises(ValueError, match=r"old\.h5 holds no euclidean distances; make it again"):
        measure_layers(tmp_path / "old.h5", tmp_path / "brain.h5", tmp_path / "n.csv", **settings)


def test_constant_layer_few_stimuli_and_few_participants_are_noted(tmp_path):
    rng = np.random.default_rng(0)
    names, patterns = [f"{i:02d}" for i in range(6)], rng.standard_normal((6, 20))
    rsvs = np.stack([vectorize_rsm(mix(patterns, 1, rng)) for _ in range(2)])
    write_brain(tmp_path / "brain.h5", names, [Region("IT", rsvs, ["a", "b"], group=False)])
    broken = mix(patterns, 1, rng)
    broken[2], broken[:, 2] = np.nan, np.nan
    write_rsms(tmp_path / "m.h5", [mix(patterns, 1, rng), broken], n_stimuli=6)
    write_rsms(tmp_path / "n.h5", [broken], n_stimuli=6)
    with h5py.File(tmp_path / "m.h5", "a") as file:
        file["layers/layer0"].attrs["power_law_exponent"] = np.nan
    measure_layers(tmp_path / "m.h5", tmp_path / "brain.h5", tmp_path / "m.csv", **SETTINGS)
    table = pd.read_csv(tmp_path / "m.csv")
    few = "2 participant(s), fewer than 3: nothing over participants; 6 stimuli, fewer than 10: nothing over stimuli"
    assert list(table["note"]) == [
        f"{few}; activations of fewer than 6 dimensions: no power-law exponent",
        f"{few}; constant activations to some stimulus, or none that differ: no r",
    ]
    assert table["participation_ratio"].tolist() == [2.5, 2.5] and table["power_law_exponent"].isna().tolist() == [
        True,
        False,
    ]
    assert table["r"].isna().tolist() == table["p"].isna().tolist() == [False, True]
    assert table[["participants_low", "stimuli_low", "both_low"]].isna().all(axis=None)
    compare_models(
        [tmp_path / "m.h5", tmp_path / "n.h5"], tmp_path / "brain.h5", tmp_path / "best.csv", tmp_path / "pairs.csv",
        name="sim", models=["m", "n"], n_bootstrap=100, n_splits=5, seed=0, fdr=0.05,
    )  # fmt: skip
    best = pd.read_csv(tmp_path / "best.csv").set_index("model")
    assert best.loc["m", "layer"] == "layer0" and best.loc["n", "note"] == "no layer has an r"
    assert pd.read_csv(tmp_path / "pairs.csv").loc[0, "note"] == f"{few}; a model has no r"
    draw = {kind: tmp_path / f"pairs.{kind}" for kind in ("svg", "png", "pdf")}
    draw_figure_pairs(tmp_path / "pairs.csv", title="one pair without r", fdr=0.05, **draw)


def test_ties_are_left_out_of_resamples_and_noted(tmp_path):
    """A layer that tells one pair from all others is constant in the resamples without one of the two stimuli."""
    rng, names = np.random.default_rng(0), [f"{i:02d}" for i in range(12)]
    patterns = rng.standard_normal((12, 20))
    rsvs = np.stack([vectorize_rsm(mix(patterns, 1, rng)) for _ in range(4)])
    write_brain(tmp_path / "brain.h5", names, [Region("IT", rsvs, list("abcd"), group=False)])
    tied, less = np.full((12, 12), 0.5), np.full((12, 12), 0.5)
    tied[3, 1] = tied[1, 3] = 0.9
    less[:6, :6] = 0.9
    for rsm in (tied, less):
        np.fill_diagonal(rsm, 1)
    write_rsms(tmp_path / "m.h5", [mix(patterns, 1, rng), tied, less], n_stimuli=12)
    measure_layers(tmp_path / "m.h5", tmp_path / "brain.h5", tmp_path / "m.csv", **SETTINGS)
    table = pd.read_csv(tmp_path / "m.csv", keep_default_na=False)
    drawn = draw_resamples(4, 12, n_resamples=SETTINGS["n_bootstrap"], seed=0).stimuli > 0
    share = 1 - (drawn[:, 3] & drawn[:, 1]).mean()
    assert share > 0.5 and table["note"].tolist()[:2] == [
        "",
        f"{share:.1%} of resamples constant: left out, no interval",
    ]
    assert table.loc[1, ["stimuli_low", "both_high"]].tolist() == ["", ""]
    assert "" not in table.loc[1, ["r", "participants_low", "p"]].tolist()
    assert "" not in table.loc[2, ["stimuli_low", "both_high", "p"]].tolist()


def test_one_participant_has_what_needs_none_other(tmp_path):
    """Not a group average: r and its mean are the same; every other cell is empty or of stimuli, and says why."""
    rng, names = np.random.default_rng(0), [f"{i:02d}" for i in range(12)]
    patterns = rng.standard_normal((12, 20))
    rsvs = vectorize_rsm(mix(patterns, 1, rng))[None]
    write_brain(tmp_path / "brain.h5", names, [Region("IT", rsvs, ["a"], group=False)])
    for model in "mn":
        write_rsms(tmp_path / f"{model}.h5", [mix(patterns, 1, rng) for _ in range(2)], n_stimuli=12)
    note = "1 participant(s), fewer than 3: nothing over participants"
    measure_layers(tmp_path / "m.h5", tmp_path / "brain.h5", tmp_path / "m.csv", **SETTINGS)
    table = pd.read_csv(tmp_path / "m.csv")
    assert (table["note"] == note).all() and (table["n_participants"] == 1).all()
    assert table["r"].to_numpy() == pytest.approx(table["r_participants_mean"].to_numpy(), abs=1e-12)
    assert table[["stimuli_low", "stimuli_high", "p", "p_max"]].notna().all(axis=None)
    assert table[["r_participants_sd", "participants_low", "both_low", "both_high"]].isna().all(axis=None)
    files = [tmp_path / "m.h5", tmp_path / "n.h5"], tmp_path / "brain.h5", tmp_path / "best.csv", tmp_path / "pairs.csv"
    compare_models(*files, name="sim", models=["m", "n"], n_bootstrap=100, n_splits=5, seed=0, fdr=0.05)
    best, pairs = pd.read_csv(tmp_path / "best.csv"), pd.read_csv(tmp_path / "pairs.csv")
    assert (best["note"] == note).all() and best["participants_r_held_out"].isna().all()
    assert best["stimuli_r_held_out"].notna().all()
    assert pairs.loc[0, "resampled"] == "stimuli" and pairs.loc[0, ["low", "high", "p", "q"]].notna().all()
    measure_noise_ceilings(tmp_path / "brain.h5", tmp_path / "c.csv", name="sim", n_splits=9, seed=0)
    ceilings = pd.read_csv(tmp_path / "c.csv")
    assert ceilings["r"].isna().all() and (ceilings["note"] == "one participant").all()


def test_participants_that_do_not_agree_have_no_corrected_ceiling(tmp_path):
    rsv = vectorize_rsm(compute_rsm(np.random.default_rng(0).standard_normal((12, 20))))
    names = [f"{i:02d}" for i in range(12)]
    write_brain(tmp_path / "brain.h5", names, [Region("IT", np.stack([rsv, -rsv]), ["a", "b"], group=False)])
    measure_noise_ceilings(tmp_path / "brain.h5", tmp_path / "c.csv", name="sim", n_splits=9, seed=0)
    table = pd.read_csv(tmp_path / "c.csv", keep_default_na=False).set_index("kind")
    corrected = table.loc["split-half over participants, Spearman-Brown corrected"]
    assert corrected["r"] == "" and corrected["note"] == "the halves do not agree, or participants cancel out"
    assert float(table.loc["split-half over participants", "r"]) == pytest.approx(-1)
