"""Published numbers beside a run's own: small brains and networks whose numbers a loop repeats."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from configurations import STUDY, explain
from encoding_brains import SETTINGS, STIMULI, N, draw_brain, write_activations

from ipcl_core.brains.store import read_brain, read_folds, read_patterns, write_brain
from ipcl_core.config import read_config
from ipcl_core.files import open_hdf5, read_csv
from ipcl_core.fits.fit_encoding import fit_encoding
from ipcl_core.fits.rsms import make_rsms
from ipcl_core.report.published import choose_layer, compare_published

CONFIG = Path(__file__).parents[2] / "config"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A brain with a division of its own, every second stimulus held out, and a network fitted to it."""
    folder = tmp_path_factory.mktemp("published")
    regions = read_brain(draw_brain(folder / "drawn.h5"))[1]
    for region in regions:
        region.patterns = list(read_patterns(folder / "drawn.h5", region.name).values())
    write_brain(folder / "brain.h5", STIMULI, regions, folds=["train", "held out"] * (N // 2))
    activations = write_activations(folder / "activations.h5", model="net")
    make_rsms(activations, folder / "rsms.h5", brain="objects", model="net")
    files = folder / "brain.h5", folder / "scores.csv", folder / "predictions.h5"
    fit_encoding(activations, *files, brain_name="objects", model="net", folds=None, **SETTINGS)
    return folder


def test_brain_holds_its_own_division(folder):
    assert (
        read_folds(folder / "brain.h5") == ["train", "held out"] * (N // 2) and read_folds(folder / "drawn.h5") is None
    )
    assert set(read_csv(folder / "scores.csv")["n_held_out"]) == {N // 2}


def test_numbers_equal_loop(folder):
    row = {"brain": "objects", "region": "IT", "model": "net", "source": "A. U. Thor 2020"}
    row |= {"rsa_r": 0.5, "mean_r": None, "versa_r": 0.25}
    published = [row, row | {"region": "V1", "rsa_r": None, "mean_r": 0.1, "versa_r": None}]
    outputs = folder / "published.csv", folder / "published.md"
    files = [folder / "rsms.h5"], [folder / "predictions.h5"]
    compare_published(published, {"objects": folder / "brain.h5"}, *files, *outputs)
    table = read_csv(outputs[0])
    assert list(zip(table["region"], table["measure"], strict=True)) == [
        ("IT", "rsa_r"), ("IT", "versa_r"), ("V1", "mean_r")
    ]  # fmt: skip
    assert list(table["published"]) == [0.5, 0.25, 0.1] and set(table["n_participants"]) == {3}
    np.testing.assert_allclose(table["difference"], table["r"] - table["published"], rtol=0, atol=1e-12)

    train, pairs = np.arange(0, N, 2), np.tril_indices(N // 2, -1)
    values = []
    with open_hdf5(folder / "rsms.h5") as file:
        rsms = {layer: file[f"layers/{layer}"][:] for layer in file.attrs["layers"]}
    for runs in read_patterns(folder / "brain.h5", "IT").values():
        brain = np.corrcoef(runs.mean(0))

        def fit(layer, part, brain=brain):
            return np.corrcoef(rsms[layer][part][:, part][pairs], brain[part][:, part][pairs])[0, 1]

        values.append(fit(max(rsms, key=lambda layer: fit(layer, train)), train + 1))
    assert table["r"][0] == pytest.approx(np.mean(values), abs=1e-9)

    scores = read_csv(folder / "scores.csv").query("participant != 'group'").set_index(["region", "layer"])
    assert list(table["layer"]) == ["second", "second", "first"]
    assert table["r"][1] == pytest.approx(scores.loc[("IT", "second"), "versa_r"].mean(), abs=1e-9)
    assert table["r"][2] == pytest.approx(scores.loc[("V1", "first"), "mean_r"].mean(), abs=1e-9)
    page = outputs[1].read_text()
    assert f"| IT | net | RSA | {table['r'][0]:.3f} | 0.500 | {table['difference'][0]:+.3f} | second | 3 |" in page
    assert "objects; A. U. Thor 2020" in page


def test_layer_with_constant_activations_to_a_stimulus_is_passed_over_in_each_fold():
    """Also in the one that holds the stimulus out, over whose pairs it has no r."""
    rng, test = np.random.default_rng(0), np.arange(12) < 6
    measured = np.corrcoef(rng.standard_normal((12, 20)))
    best, other = measured.copy(), np.corrcoef(rng.standard_normal((12, 20)))
    best[0], best[:, 0] = np.nan, np.nan
    for held_out in (test, ~test):
        r, number = choose_layer([best, other], measured, held_out)
        assert number == 1 and -1 < r < 1


def test_visual_diet_is_whole():
    """Refs 6 to 16 and ref 1; the networks whose numbers were published; nothing is trained or needs labelled images."""
    study = read_config(CONFIG / "visual_diet.yaml", CONFIG / "visual_diet_claims.yaml")
    refs = {int(name.rsplit("ref")[-1]): model for name, model in study.models.items()}
    assert sorted(refs) == [1, *range(6, 17)] and not study.measured
    weights = [model.weights for ref, model in refs.items() if ref < 16]
    assert (
        len({one.url for one in weights}) == len({one.hash for one in weights}) == 11
        and study.available == study.models
    )
    assert {ref for ref, model in refs.items() if model.preprocessing.std == [0.2] * 3} == {6, 7, 8, 9, 10, 11, 14, 15}
    assert {ref for ref, model in refs.items() if model.dim is None} == {12, 13, 14, 15}
    assert [int(row.model[-1]) for row in study.published] == [1, 7, 8, 9]
    table = pd.DataFrame([row.model_dump() for row in study.published])[["rsa_r", "mean_r", "versa_r"]]
    expected = [[0.272, 0.328, 0.562], [0.249, 0.309, 0.517], [0.242, 0.297, 0.495], [0.101, 0.217, 0.290]]
    np.testing.assert_allclose(table, expected, rtol=0, atol=5.1e-4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"brain": "objects92"}, "published.0.brain: 'objects92' is not defined under brains with encoding"),
        ({"model": "frist"}, r"published.0.model: 'frist' is not defined .* \(did you mean first\?\)"),
        ({"region": "IT"}, "published.0.region: objects72 has no IT, but EarlyV, pOTC"),
    ],
)
def test_names_are_checked(change, message):
    row = {"brain": "objects72", "region": "EarlyV", "model": "first", "rsa_r": 0.1, "source": "A. U. Thor 2020"}
    study = yaml.safe_load(yaml.safe_dump(STUDY)) | {"encoding": {}, "published": [row | change]}
    assert pd.Series([explain(study)]).str.contains(message).all()
