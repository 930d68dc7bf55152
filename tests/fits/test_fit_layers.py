import itertools
import math

import h5py
import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from ipcl_core.brains.store import Region, write_brain
from ipcl_core.files import write_hdf5
from ipcl_core.fits.fit_layers import find_best_layers, fit_layers
from ipcl_core.fits.rsms import make_rsms
from ipcl_core.rsa.dimensionality import measure_dimensionality

STIMULI = [f"{i:02d}" for i in range(8)]
N_PAIRS = 28


@pytest.fixture
def patterns() -> dict[str, np.ndarray]:
    """Activations of three layers, not in alphabetical order, the last constant for one stimulus."""
    rng = np.random.default_rng(0)
    patterns = {"conv": rng.standard_normal((8, 3, 4, 5)), "act": rng.standard_normal((8, 30)), "relu": None}
    patterns["relu"] = patterns["act"].clip(min=0)
    patterns["relu"][5] = 0
    return {layer: values.astype(np.float32) for layer, values in patterns.items()}


@pytest.fixture
def rsms(patterns, tmp_path):
    """The layers' RSMs, made by way of a file of activations."""
    with write_hdf5(tmp_path / "activations.h5") as file:
        file["stimuli"] = STIMULI
        for layer, values in patterns.items():
            file[f"layers/{layer}"] = values
        file.attrs["layers"], file.attrs["network"] = list(patterns), "a network"
    make_rsms(tmp_path / "activations.h5", tmp_path / "rsms.h5", brain="b", model="m")
    return tmp_path / "rsms.h5"


@pytest.fixture
def regions() -> list[Region]:
    rng = np.random.default_rng(1)
    return [
        Region("V1", rng.uniform(-1, 1, (3, N_PAIRS)), ["SN", "BE", "KO"], group=False),
        Region("EVA", rng.uniform(-1, 1, (1, N_PAIRS)), ["group average"], group=True),
    ]


@pytest.fixture
def brain(regions, tmp_path):
    write_brain(tmp_path / "brain.h5", STIMULI, regions)
    return tmp_path / "brain.h5"


def correlate_pairs(values: np.ndarray, target: np.ndarray) -> float:
    """Correlation of a layer's similarities with a target, pair by pair in the order of the lower triangle."""
    flat = values.reshape(8, -1).astype(float)
    pairs = [np.corrcoef(flat[i], flat[j])[0, 1] for i in range(8) for j in range(i)]
    return np.corrcoef(pairs, target)[0, 1]


def test_rsms_of_all_layers(rsms, patterns):
    with h5py.File(rsms) as file:
        assert list(file["stimuli"].asstr()) == STIMULI
        assert list(file.attrs["layers"]) == ["conv", "act", "relu"]
        assert file.attrs["network"] == "a network"
        assert [file[f"layers/{layer}"].attrs["n_units"] for layer in patterns] == [60, 30, 30]
        for layer, values in patterns.items():
            expected = measure_dimensionality(values)
            assert [file[f"layers/{layer}"].attrs[name] for name in expected._fields] == list(expected)
        for layer in ("conv", "act"):
            expected = np.corrcoef(patterns[layer].reshape(8, -1).astype(float))
            assert_allclose(file[f"layers/{layer}"], expected, rtol=0, atol=1e-12)
        assert np.isnan(file["layers/relu"][5]).all()


def test_rsms_with_distances(rsms, patterns, tmp_path):
    """What else is in the file stays; a constant pattern has distances."""
    make_rsms(
        tmp_path / "activations.h5", tmp_path / "more.h5", brain="b", model="m", distances=["correlation", "euclidean"]
    )
    with h5py.File(rsms) as file, h5py.File(tmp_path / "more.h5") as more:
        assert "euclidean" not in file
        for layer, values in patterns.items():
            assert_allclose(more[f"layers/{layer}"], file[f"layers/{layer}"], rtol=0, atol=0)
            flat = values.reshape(8, -1).astype(float)
            expected = ((flat[:, None] - flat) ** 2).mean(2)
            assert_allclose(more[f"euclidean/{layer}"], expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("averaged", ["activations", "rsms"])
def test_rsms_of_stimuli_with_several_pictures(tmp_path, averaged):
    """Means over pictures, or over all pairs of pictures, by a loop; one picture is constant."""
    pictures = ["1_a/1", "1_a/2", "2_b", "3_c/1", "3_c/2", "3_c/3"]
    values = np.random.default_rng(0).standard_normal((6, 40)).astype(np.float32)
    flat = np.where(np.arange(6)[:, None] == 4, np.float32(1), values)
    with write_hdf5(tmp_path / "activations.h5") as file:
        file["stimuli"], file["layers/all"], file["layers/flat"] = pictures, values, flat
        file.attrs["layers"], file.attrs["network"] = ["all", "flat"], "a network"
    options = {"brain": "b", "model": "m", "distances": ["euclidean"], "averaged": averaged}
    make_rsms(tmp_path / "activations.h5", tmp_path / "rsms.h5", **options)
    groups, wide = [[0, 1], [2], [3, 4, 5]], values.astype(float)
    rsm, distances = np.eye(3), np.zeros((3, 3))
    for i, j in itertools.permutations(range(3), 2):
        if averaged == "activations":
            a, b = wide[groups[i]].mean(0), wide[groups[j]].mean(0)
            rsm[i, j], distances[i, j] = np.corrcoef(a, b)[0, 1], ((a - b) ** 2).mean()
        else:
            pairs = [(wide[a], wide[b]) for a in groups[i] for b in groups[j]]
            rsm[i, j] = np.mean([np.corrcoef(a, b)[0, 1] for a, b in pairs])
            distances[i, j] = np.mean([((a - b) ** 2).mean() for a, b in pairs])
    with h5py.File(tmp_path / "rsms.h5") as file:
        assert list(file["stimuli"].asstr()) == ["1_a", "2_b", "3_c"]
        assert_allclose(file["layers/all"], rsm, rtol=0, atol=1e-7)  # means of activations are float32
        assert_allclose(file["euclidean/all"], distances, rtol=0, atol=1e-6)
        means = np.stack([wide[group].mean(0) for group in groups])
        ratio = measure_dimensionality(means).participation_ratio
        assert file["layers/all"].attrs["participation_ratio"] == pytest.approx(ratio, rel=1e-6)
        assert np.isnan(file["layers/flat"][2]).all() == (averaged == "rsms")
        assert np.isfinite(file["layers/flat"][:2, :2]).all()


def test_fits_equal_loop(rsms, brain, regions, patterns, tmp_path, warnings_of):
    fit_layers(rsms, brain, tmp_path / "fits.csv")
    fits = pd.read_csv(tmp_path / "fits.csv")
    assert list(fits.columns) == [
        "brain",
        "model",
        "region",
        "layer",
        "layer_index",
        "participant",
        "r",
        "n_pairs",
        "note",
    ]
    note = f"no r: constant activations to 1 of 8 stimuli, first {STIMULI[5]}"
    expected = []
    for region in regions:
        targets = [("group", region.rsvs.mean(0))]
        targets += [] if region.group else list(zip(region.participants, region.rsvs, strict=True))
        for index, layer in enumerate(patterns):
            for participant, target in targets:
                r = math.nan if layer == "relu" else correlate_pairs(patterns[layer], target)
                expected.append(
                    ("b", "m", region.name, layer, index, participant, r, N_PAIRS, note if layer == "relu" else None)
                )
    expected = pd.DataFrame(expected, columns=fits.columns)
    pd.testing.assert_frame_equal(fits, expected, rtol=0, atol=1e-12)
    assert warnings_of() == [f"{rsms}: layer relu: {note}"]


def test_layer_that_finds_all_pairs_equally_similar_has_no_r(brain, tmp_path):
    with h5py.File(tmp_path / "rsms.h5", "w") as file:
        file.attrs["brain"], file.attrs["model"] = "b", "m"
        file["stimuli"], file["layers/flat"] = STIMULI, np.full((8, 8), 0.5) + 0.5 * np.eye(8)
        file.attrs["layers"] = ["flat"]
    fit_layers(tmp_path / "rsms.h5", brain, tmp_path / "fits.csv")
    fits = pd.read_csv(tmp_path / "fits.csv")
    assert fits["r"].isna().all() and set(fits["note"]) == {"no r: all pairs of stimuli are equally similar"}


def test_fit_with_other_stimuli_is_refused(rsms, regions, tmp_path):
    write_brain(tmp_path / "other.h5", STIMULI[::-1], regions)
    with pytest.raises(ValueError, match=r"rsms\.h5 was made with 8 stimuli that are not the 8 of .*other\.h5"):
        fit_layers(rsms, tmp_path / "other.h5", tmp_path / "fits.csv")


def make_fits(r: dict[str, list[float]]) -> pd.DataFrame:
    """A table of fits: region -> group r of the layers a, b, c; a participant's r is always higher."""
    rows = []
    for region, values in r.items():
        for index, (layer, value) in enumerate(zip("abc", values, strict=True)):
            rows.append((region, layer, index, "group", value, N_PAIRS))
            rows.append((region, layer, index, "01", 0.99, N_PAIRS))
    return pd.DataFrame(rows, columns=["region", "layer", "layer_index", "participant", "r", "n_pairs"])


def test_best_layers_by_hand():
    best = find_best_layers(
        make_fits({"V1": [0.1, 0.3, 0.2], "IT": [-0.3, math.nan, -0.4], "none": [math.nan] * 3, "tie": [0.2, 0.2, 0.1]})
    )
    assert list(best.index) == ["V1", "IT", "none", "tie"]
    assert best["layer"].tolist()[:2] + best["layer"].tolist()[3:] == ["b", "a", "a"]
    assert_allclose(best["r"], [0.3, -0.3, math.nan, 0.2], rtol=0, atol=0)
    assert best["n_layers"].tolist() == [3, 2, 0, 3]  # those that have an r
