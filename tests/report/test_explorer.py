"""The page to explore a study with: its data."""

import itertools
import shutil
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from explorer_study import (
    EVIL,
    LAYERS,
    PICTURE,
    make_study,
    read_fits,
    read_group,
    read_rsm,
    read_study,
    write_encoded,
    write_page,
)
from numpy.testing import assert_allclose

from ipcl_core.files import compute_sha256
from ipcl_core.report.explorer import page as explorer
from ipcl_core.report.explorer.page import write_explorer
from ipcl_core.report.figures.style import COLORS
from ipcl_core.rsa.similarity import vectorize_rsm


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> dict:
    return make_study(tmp_path_factory.mktemp("study"))


@pytest.fixture(scope="module")
def path(study) -> Path:
    return write_page(study)


@pytest.fixture(scope="module")
def encoded(study) -> tuple[dict, Path]:
    return write_encoded(study)


def test_page_holds_the_files_numbers(path, study):
    data = read_study(path)
    brain = data["brains"]["b"]
    for comparator in ("pearson", "spearman"):
        fits = read_fits(study, comparator)
        for model, layers in LAYERS.items():
            assert brain["models"][model]["layers"] == layers
            for region in ("EarlyV", "IT"):
                shown = brain["models"][model]["fits"][comparator][region]
                for column in ("r", "both_low", "stimuli_high", "p", "q"):
                    values = fits.loc[(model, region), column].to_numpy()
                    assert_allclose(np.array(shown[column], float), values, atol=1e-5, equal_nan=True)
    for model, layers in LAYERS.items():
        with h5py.File(study["table"].parent / f"rsm/b/{model}.h5") as file:
            for layer, stored in zip(layers, brain["models"][model]["rsms"], strict=True):
                rsv, error = vectorize_rsm(file[f"layers/{layer}"][:]), (stored["high"] - stored["low"]) / 508
                assert_allclose(read_rsm(stored), rsv, atol=1.0001 * error, rtol=0, equal_nan=True)
    assert data["colors"]["IPCL"] == COLORS["IPCL"] and data["models"]["first"]["accuracies"][1]["top1"] == 60.5
    weights = "models/first/weights.safetensors"
    assert data["records"][weights]["sha256"] == compute_sha256(path.parent / weights)


def test_other_distances_are_comparators_of_their_own():
    table = pd.DataFrame({"comparator": ["pearson", "cka"], "distance": ["correlation", "euclidean"]})
    names = explorer.name_comparators(table["comparator"], table["distance"])
    assert [*names] == ["pearson", "cka of euclidean distances"]
    assert explorer.name_comparators("pearson", table["distance"])[1] == "pearson of euclidean distances"


def test_names_are_data_and_never_markup(path):
    text, data = path.read_text(), read_study(path)
    assert len(text) < 2.5e6  # of which 2 are plotly.js; each layer adds four bytes for three pairs of stimuli
    assert EVIL not in text and PICTURE not in text
    assert data["title"] == EVIL and data["brains"]["b"]["stimuli"][1]["name"] == f"01 {PICTURE}"


def test_quantised_similarities_are_near():
    rng = np.random.default_rng(0)
    rsv = rng.uniform(-0.3, 0.9, 2556)
    rsv[7] = np.nan
    stored = explorer.quantise_rsv(rsv)
    assert_allclose(read_rsm(stored), rsv, atol=(np.nanmax(rsv) - np.nanmin(rsv)) / 507.9, rtol=0)
    assert len(stored["levels"]) == 4 * 852  # base64 of 2556 bytes
    assert_allclose(read_rsm(explorer.quantise_rsv(np.full(3, 0.25))), 0.25)
    assert np.isnan(read_rsm(explorer.quantise_rsv(np.full(3, np.nan)))).all()


def test_disagreeing_files_are_refused(study, tmp_path):
    def write(**changes):
        write_explorer(tmp_path / "x.html", **study | changes)

    shutil.copytree(study["stimuli"][0], tmp_path / "b/stimuli")
    next((tmp_path / "b/stimuli").iterdir()).unlink()
    with pytest.raises(ValueError, match=r"its 11 stimuli are not the 12 of .*brain\.h5"):
        write(stimuli=[tmp_path / "b/stimuli"])
    first, second, pixels = study["rsms"]
    with pytest.raises(ValueError, match=r"first\.h5: says that it is of b first, and so does .*first\.h5"):
        write(rsms=[first, first, pixels])
    with pytest.raises(ValueError, match="no file says that it is of b first"):
        write(rsms=[second, pixels])
    shutil.copy(second, tmp_path / "m.h5")
    with h5py.File(tmp_path / "m.h5", "a") as file:
        file.attrs["model"] = "first"
    with pytest.raises(ValueError, match="its layers are not those of the statistics"):
        write(rsms=[tmp_path / "m.h5", second, pixels])
    with h5py.File(tmp_path / "m.h5", "a") as file:
        file.attrs["brain"] = "another"
    with pytest.raises(ValueError, match=r"m\.h5: says that it is of another first; wanted are b first, b second"):
        write(rsms=[tmp_path / "m.h5", second, pixels])
    assert not (tmp_path / "x.html").exists()


def test_records_of_what_a_storage_plugin_keeps_are_the_studys(path, study, tmp_path, monkeypatch):
    """The plugin copies what rules declare, and no records: they lie in the results folder where Snakemake runs."""
    monkeypatch.chdir(tmp_path)
    copy = tmp_path / ".snakemake/storage/fs/bucket/results"
    shutil.copytree(path.parent, copy)
    shutil.move(copy / "provenance", tmp_path / "results/provenance")

    def locate(value):
        return copy / Path(value).relative_to(path.parent) if isinstance(value, Path) else value

    moved = {name: [*map(locate, value)] if isinstance(value, list) else locate(value) for name, value in study.items()}
    write_explorer(tmp_path / "x.html", **moved)
    assert read_study(tmp_path / "x.html") == read_study(path)


def test_files_are_paired_by_what_they_say(path, study, tmp_path):
    backwards = {name: files[::-1] for name, files in study.items() if isinstance(files, list)}
    write_explorer(path.parent / "again.html", **study | backwards)
    again = (path.parent / "again.html").read_bytes()
    assert len(study["rsms"]) == 3 and len(again) == path.stat().st_size
    assert read_study(path.parent / "again.html")["brains"] == read_study(path)["brains"]


def test_page_holds_encodings_numbers(encoded, path):
    files, page = encoded
    data, plain = read_study(page), read_study(path)
    assert (
        data["brains"]["b"]["encoding"]["partitions"]
        and "encoding" not in plain["brains"]["b"]
        and "measures" not in plain
    )
    models = data["brains"]["b"]["models"]
    for model, file in zip(LAYERS, files["scores"], strict=True):
        assert data["records"][f"encoding/b/{model}.csv"]["rule"] == "fit_encoding"
        for measure, region in itertools.product(data["measures"], ("EarlyV", "IT")):
            group, shown = read_group(file, region, measure), models[model]["fits"][measure][region]
            assert_allclose(np.array(shown["r"], float), group[measure], atol=1e-5, equal_nan=True)
            if measure != "versa_r":
                high = (group["mean"] + 3.18245 * group["error"]).clip(
                    upper=1 if measure in ("median_r", "mean_r") else None
                )
                assert_allclose(np.array(shown["participants_high"], float), high, atol=2e-5, equal_nan=True)
    best = pd.read_csv(files["best"][0]).query("model == 'first' and region == 'IT' and resampled == 'both'")
    best = best.set_index("measure").loc["mean_r"]
    held = models["first"]["held_out"]
    assert held["mean_r"]["IT"] == {"layer": 1, **{k: pytest.approx(best[v], abs=1e-5) for k, v in
                                    {"r": "r_held_out", "low": "low", "high": "high"}.items()}}  # fmt: skip
    assert held["mean_r2"]["IT"] == {"layer": 1, "r": None, "low": None, "high": None}
    assert held["pearson"]["IT"] == {"layer": 3, "r": 0.1, "low": None, "high": None}


def test_ceilings_of_encoding(encoded):
    """Of voxels from their file, of RSMs from the split-half ceiling h: sqrt(2 h / (1 + h)); of veRSA none is known."""
    files, page = encoded
    regions = read_study(page)["brains"]["b"]["regions"]
    assert not [row for row in regions["EarlyV"]["ceilings"] if row["comparator"] != "pearson"]
    rows = {row["comparator"]: row for row in regions["IT"]["ceilings"] if row["kind"] == "voxels, over runs"}
    with h5py.File(files["predictions"][0]) as file:
        voxels = [values[:] for values in file["ceilings/IT"].values()]
    medians = [np.median(values) for values in voxels]
    half = 3.18245 * np.std(medians, ddof=1) / 2
    expected = [np.mean(medians), np.mean(medians) - half, np.mean(medians) + half]
    assert [rows["median_r2"][name] for name in ("r", "low", "high")] == pytest.approx(expected, abs=2e-5)
    assert rows["mean_r"]["r"] == pytest.approx(np.mean([np.sqrt(values).mean() for values in voxels]), abs=1e-5)
    assert rows["median_r_share"]["r"] == 1 and rows["median_r_share"]["low"] is None
    half = (
        pd.read_csv(files["ceilings"][0]).query("region == 'IT' and kind == 'split-half over participants'")["r"].item()
    )
    ceilings = regions["IT"]["ceilings"]
    (band,) = [row for row in ceilings if row["kind"] == "expected of the true RSM" and row["comparator"] == "pearson"]
    assert not [row for row in ceilings if row["comparator"] == "versa_r"]
    assert [band["low"], band["r"]] == pytest.approx([half, np.sqrt(2 * half / (1 + half))], abs=1e-5)


def test_encoding_of_other_layers_is_refused(encoded, tmp_path):
    files, _ = encoded
    table = pd.read_csv(files["scores"][0])
    table.assign(layer=table["layer"].replace("fc", "fd")).to_csv(tmp_path / "first.csv", index=False)
    with pytest.raises(ValueError, match="encoding of b first: its layers are not those of the RSMs"):
        write_explorer(tmp_path / "x.html", **files | {"scores": [tmp_path / "first.csv", *files["scores"][1:]]})
