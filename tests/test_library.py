"""The library: what is public, its examples, and that it needs no torch where no network is run."""

import doctest
import importlib
import inspect
import itertools
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from rsatoolbox.rdm import RDMs
from test_environments import FORBID

import ipcl_core as ipcl
from ipcl_core.brains.store import read_brain
from ipcl_core.rsa import similarity

N = 12


@pytest.fixture(scope="module")
def patterns():
    """Four participants' (12, 30) patterns, which share a signal."""
    rng = np.random.default_rng(0)
    return rng.standard_normal((N, 30)) + rng.standard_normal((4, N, 30))


@pytest.fixture(scope="module")
def brain(patterns):
    return ipcl.load_brain({"IT": np.stack([1 - np.corrcoef(one) for one in patterns])}, name="mine")


def test_public_names_are_there_and_each_function_has_an_example():
    assert 12 <= len(ipcl.__all__) <= 15 and ipcl.__all__ == sorted(ipcl.__all__)
    assert sorted(itertools.chain(*ipcl._PLACES.values())) == ipcl.__all__
    assert set(ipcl.__all__) <= set(dir(ipcl))
    functions = {name: getattr(ipcl, name) for name in ipcl.__all__ if inspect.isfunction(getattr(ipcl, name))}
    assert len(functions) >= 9
    assert [name for name, function in functions.items() if ">>> " not in function.__doc__] == []
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = ipcl.nothing


@pytest.mark.parametrize("module", list(ipcl._PLACES))
def test_examples(module):
    found = doctest.testmod(importlib.import_module("ipcl_core." + module.replace("config", "config.study")))
    assert found.attempted and not found.failed


LIGHT = """
import ipcl_core as ipcl
assert not {"pandas", "pydantic", "matplotlib"} & sys.modules.keys()
import numpy as np
rng = np.random.default_rng(0)
patterns = rng.standard_normal((12, 30)) + rng.standard_normal((4, 12, 30))
brain = ipcl.load_brain({"IT": np.stack([1 - np.corrcoef(one) for one in patterns])})
fits = ipcl.compare({"a": patterns[0], "b": rng.standard_normal((12, 5))}, brain)
assert fits["r"].iloc[0] > fits["r"].iloc[1] and fits["ceiling"].notna().all()
ipcl.plot_layers(fits).savefig("layers.png")
try:
    ipcl.load_network("pixels", dim=12)
except ModuleNotFoundError as error:
    assert "pip install 'ipcl-core[networks]'" in str(error)
else:
    raise AssertionError
"""


def test_activations_that_are_given_need_no_extra(tmp_path):
    """Nothing but what pyproject.toml names under dependencies can be imported."""
    absent = ["torch", "torchvision", "numba", "ffcv", "snakemake", "safetensors", "plotly", "jinja2", "cv2"]
    subprocess.run([sys.executable, "-c", FORBID.format(absent=absent) + LIGHT], cwd=tmp_path, check=True)
    assert Image.open(tmp_path / "layers.png").size[0] > 200


# ---- brain data ------------------------------------------------------------------------------------------------------


def test_rdms_of_rsatoolbox_are_paired_by_their_descriptors(patterns):
    distances = np.stack([(1 - np.corrcoef(one))[np.triu_indices(N, 1)] for one in patterns])
    rdms = RDMs(
        distances,
        dissimilarity_measure="correlation",
        rdm_descriptors={"ROI": ["V1", "IT", "V1", "IT"], "subject": ["b", "a", "a", "b"]},
        pattern_descriptors={"stimulus": [f"picture {i}" for i in range(N)]},
    )
    brain = ipcl.load_brain(rdms)
    assert brain.stimuli[0] == "picture 0" and [region.name for region in brain.regions] == ["V1", "IT"]
    assert brain.regions[0].participants == ["b", "a"] and brain.regions[1].participants == ["a", "b"]
    expected = [similarity.vectorize_rsm(np.corrcoef(patterns[i])) for i in (0, 2)]
    np.testing.assert_allclose(brain.regions[0].rsvs, expected, rtol=0, atol=1e-12)
    with pytest.raises(ValueError, match="another order: by stimulus number 1 is picture 0, and p1 by"):
        ipcl.load_brain(rdms, stimuli=["p1", "p0", *(f"p{i}" for i in range(2, N))])


def test_descriptor_that_names_each_stimulus_is_taken(patterns):
    """Not their categories, which stand before them in rsatoolbox's RDMs."""
    descriptors = {"category": ["animal"] * 6 + ["thing"] * 6, "picture": [f"p{i}" for i in range(N)]}
    distances = (1 - np.corrcoef(patterns[0]))[np.triu_indices(N, 1)]
    assert ipcl.load_brain(RDMs(distances, "correlation", pattern_descriptors=descriptors)).stimuli[:2] == ["p0", "p1"]
    del descriptors["picture"]
    with pytest.raises(ValueError, match="stimulus animal is named 6 times"):
        ipcl.load_brain(RDMs(distances, "correlation", pattern_descriptors=descriptors))


def test_brain_of_a_block_a_name_and_a_file(own, tmp_path, monkeypatch):
    """All three hold the same; the pictures come along, and go with the object."""
    block = own.make_block().model_dump()
    study = {"title": "t", "brains": {"objects": block}, "figure2_models": ["p"]}
    model = {"source": "untrained", "framework": "P", "architecture": "pixels", "dim": 12, "dataset": None}
    monkeypatch.chdir(tmp_path)
    Path("config.yaml").write_text(repr(study | {"models": {"p": model}}).replace("None", "null"))
    found = ipcl.load_brain("objects"), ipcl.load_brain(block)
    own.import_all()
    opened = ipcl.load_brain(own.brain)
    for one in found:
        assert one.stimuli == opened.stimuli and len(list(one.images.iterdir())) == 6
        for region, same in zip(one.regions, opened.regions, strict=True):
            assert region.name == same.name and np.array_equal(region.rsvs, same.rsvs)
    assert found[0].name == "objects"
    place = found[0].file
    del found, one
    assert not place.exists()
    with pytest.raises(ValueError, match="there is no brain other, but objects"):
        ipcl.load_brain("other")


@pytest.mark.parametrize("key", ["participant", "subject", "subj", "sub"])
def test_rows_of_rsatoolbox_without_a_participant_are_told(patterns, key, caplog):
    """`name` may be that of regions, which would be taken for people."""
    distances = np.stack([(1 - np.corrcoef(one))[np.triu_indices(N, 1)] for one in patterns[:3]])
    rdms = RDMs(distances - 1, "poisson_cv", rdm_descriptors={key: ["c", "a", "b"]})
    assert ipcl.load_brain(rdms).regions[0].participants == ["c", "a", "b"]
    assert "count as participants" not in caplog.text
    ipcl.load_brain(RDMs(distances - 1, "poisson_cv", rdm_descriptors={"name": ["V1", "V4", "IT"]}))
    assert (
        "no descriptor is called participant or subject or subj or sub; name (V1, V4, IT) is not looked at"
        in caplog.text
    )


def test_names_of_tables_are_compared(patterns):
    """Of rows and columns, with those of other regions, participants and the stimuli that are given; of layers too."""
    names, order = [f"p{i}" for i in range(N)], [2, 0, 1, *range(3, N)]
    tables = [pd.DataFrame(1 - np.corrcoef(one), names, names) for one in patterns]
    shuffled = tables[1].iloc[order, order]
    brain = ipcl.load_brain({"V1": tables[0], "IT": tables[1:3], "V4": np.asarray(tables[3])})
    assert brain.stimuli == names
    assert ipcl.load_brain({"V1": tables[0].reset_index(drop=True).T.reset_index(drop=True)}).stimuli[0] == "1"
    message = "another order: by the {} number 1 is p2, and p0 by"
    for regions, where, stimuli in (
        ({"V1": tables[0], "IT": shuffled}, "index", None),
        ({"IT": [tables[0], shuffled]}, "index", None),
        ({"IT": tables[0].iloc[:, order]}, "columns", None),
        ({"IT": shuffled}, "index", np.array(names)),
    ):
        with pytest.raises(ValueError, match=message.format(where)):
            ipcl.load_brain(regions, stimuli=stimuli)
    expected = ipcl.compare({"a": patterns[0]}, brain)["r"]
    assert list(ipcl.compare({"a": pd.DataFrame(patterns[0], names)}, brain)["r"]) == list(expected)
    with pytest.raises(ValueError, match=f"layer a: the stimuli stand in {message.format('index')}"):
        ipcl.compare({"a": pd.DataFrame(patterns[0], names).iloc[order]}, brain)


def test_tables_of_stimuli_that_have_their_number(own, patterns):
    """As brain.h5 of the workflow names them."""
    own.import_all()
    brain = ipcl.load_brain(own.brain)
    table = pd.DataFrame(patterns[0][:6], brain.stimuli)
    for index in (brain.stimuli, [name.split("_")[1] for name in brain.stimuli]):
        assert len(ipcl.compare({"a": table.set_axis(index)}, brain)) == 2
        with pytest.raises(ValueError, match="another order"):
            ipcl.compare({"a": table.set_axis(index).iloc[::-1]}, brain)


def test_tensors_masked_arrays_and_names_of_any_type(patterns):
    torch = pytest.importorskip("torch")
    rdm = 1 - np.corrcoef(patterns[0])
    brain = ipcl.load_brain({"IT": torch.tensor(rdm, requires_grad=True)}, stimuli=np.arange(N))
    assert brain.stimuli == [str(i) for i in range(N)]
    assert np.array_equal(brain.regions[0].rsvs[0], similarity.vectorize_rsm(1 - rdm))
    given = torch.tensor(patterns[1], dtype=torch.bfloat16, requires_grad=True)
    fits = ipcl.compare({1: given, "two": patterns[1].tolist()}, brain)
    assert list(fits["layer"]) == ["1", "two"] and np.ptp(fits["r"]) < 0.01
    assert ipcl.load_brain({"IT": np.ma.array(rdm, mask=np.eye(N))}).regions[0].rsvs.shape == (1, N * (N - 1) // 2)
    with pytest.raises(ValueError, match="IT, participant 01: 1 of 66 pairs hold no finite number"):
        ipcl.load_brain({"IT": np.ma.array(rdm, mask=(rdm == rdm[2, 3]) | (rdm == rdm[3, 2]))})
    with pytest.raises(ValueError, match="layer a: found non-finite activations to 2"):
        ipcl.compare({"a": np.ma.array(patterns[0], mask=np.arange(N)[:, None] == 2 + np.zeros(30))}, brain)


def test_distances_of_arrays_are_named(patterns):
    """As in a block: the error of Euclidean ones says so."""
    distances = np.stack([np.linalg.norm(one[:, None] - one, axis=-1) for one in patterns])
    with pytest.raises(ValueError, match=r"distances 1 - r lie between 0 and 2, .*; give distance: other"):
        ipcl.load_brain({"IT": distances})
    found = ipcl.load_brain({"IT": distances}, distance="other").regions[0].rsvs
    rdms = RDMs(distances[:, *np.triu_indices(N, 1)], "euclidean", rdm_descriptors={"subject": list("abcd")})
    np.testing.assert_allclose(found, ipcl.load_brain(rdms).regions[0].rsvs, rtol=0, atol=1e-12)
    with pytest.raises(ValueError, match="distance: found 'euclidean'; give correlation, crossvalidated, other"):
        ipcl.load_brain({"IT": distances}, distance="euclidean")


def test_block_says_its_own_stimuli_and_may_hold_paths(own):
    block = own.make_block().model_dump()
    paths = {key: Path(block[key]) for key in ("stimuli", "order", "files") if block[key]}
    given = block | paths | {"participants": tuple(block["participants"]), "regions": np.array(block["regions"])}
    brain, same = ipcl.load_brain(given), ipcl.load_brain(block)
    assert all(np.array_equal(a.rsvs, b.rsvs) for a, b in zip(brain.regions, same.regions, strict=True))
    for source in (block, brain.file):
        with pytest.raises(ValueError, match="stimuli and distance: are of RDMs in memory"):
            ipcl.load_brain(source, stimuli=brain.stimuli[::-1])
    with pytest.raises(ValueError, match="brain cannot be used:\n  source: Field required"):
        ipcl.load_brain({key: value for key, value in given.items() if key != "source"})


def test_tensors_are_taken_by_every_function(patterns):
    torch = pytest.importorskip("torch")
    tensor = torch.tensor(patterns[0], requires_grad=True)
    rsm = ipcl.compute_rsm(tensor)
    assert np.array_equal(rsm, ipcl.compute_rsm(patterns[0]))
    half = ipcl.compute_rsm(tensor.bfloat16())
    np.testing.assert_allclose(half, rsm, rtol=0, atol=0.02)
    rsv = ipcl.vectorize_rsm(torch.tensor(rsm, requires_grad=True))[None]
    assert ipcl.compare_rsvs(torch.tensor(rsv, requires_grad=True), rsv)[0, 0] == pytest.approx(1)


def test_keys_that_cannot_be_names(patterns):
    rdms = [1 - np.corrcoef(one) for one in patterns]
    for keys, message in (
        (("LOC/left", "LOC"), "region LOC/left: cannot stand beside region LOC"),
        (("", "IT"), "region '': cannot be the name"),
        (("..", "IT"), r"region '\.\.': cannot be the name"),
        ((1, "1"), "region 1: stands 2 times"),
    ):
        with pytest.raises(ValueError, match=message):
            ipcl.load_brain(dict(zip(keys, rdms, strict=False)))
        with pytest.raises(ValueError, match=message.replace("region", "layer")):
            ipcl.compare(dict(zip(keys, patterns, strict=False)), ipcl.load_brain({"IT": rdms[0]}))
    with pytest.raises(ValueError, match="network: found no layer"):
        ipcl.compare({}, ipcl.load_brain({"IT": rdms[0]}))
    with pytest.raises(ValueError, match="IT: is no array of numbers"):
        ipcl.load_brain({"IT": [rdms[0], rdms[1][:5, :5]]})
    with pytest.raises(ValueError, match="layers: are those of a network; leave it out"):
        ipcl.compare({"a": patterns[0], "b": patterns[1]}, ipcl.load_brain({"IT": rdms[0]}), layers=["a"])
    with pytest.raises(ValueError, match="statistics cannot be used:\n  unknown key 'splits'"):
        ipcl.compare({"a": patterns[0]}, ipcl.load_brain({"IT": rdms[0]}), statistics={"splits": 9})
    with pytest.raises(ValueError, match="stimuli: found 'abcdefghijkl'; give a list"):
        ipcl.load_brain({"IT": rdms[0]}, stimuli="abcdefghijkl")
    for path in ("nothing.h5", Path("nothing")):
        with pytest.raises(
            ValueError, match=r"nothing.*: is no file; give the path of a brain\.h5, or a name under brains of"
        ):
            ipcl.load_brain(path)


def test_one_measurement_given_as_two_people_is_refused():
    rdm = 1 - np.corrcoef(np.random.default_rng(0).standard_normal((6, 9)))
    with pytest.raises(ValueError, match="participant 02: has the same similarities as region IT"):
        ipcl.load_brain({"IT": np.stack([rdm, rdm])})


# ---- comparison ------------------------------------------------------------------------------------------------------


def test_comparison_by_hand(brain, patterns):
    rng = np.random.default_rng(1)
    activations = {"first": rng.standard_normal((N, 3, 4)), "second": patterns[0]}
    fits = ipcl.compare(activations, brain, participants=True, name="given")
    rsvs = read_brain(brain.file)[1][0].rsvs
    for row in fits.itertuples():
        mine = np.corrcoef(activations[row.layer].reshape(N, -1))[np.tril_indices(N, -1)]
        target = rsvs.mean(0) if row.participant == "group" else rsvs[int(row.participant) - 1]
        assert row.r == pytest.approx(np.corrcoef(mine, target)[0, 1], abs=1e-12)
        assert np.isnan(row.low) == (row.participant != "group")
    group = fits[fits["participant"] == "group"]
    assert len(fits) == 2 * 5 and (group["low"] < group["r"]).all() and (group["r"] < group["high"]).all()
    assert set(group["resampled"]) == {"both"} and set(fits["model"]) == {"given"} and set(fits["brain"]) == {"mine"}
    assert ipcl.compare(activations, brain, name="given").equals(group.reset_index(drop=True))


def test_what_cannot_be_compared(brain):
    with pytest.raises(ValueError, match=r"layer a: found an array of shape \(5, 2\) .*, needs numbers of 12 stimuli"):
        ipcl.compare({"a": np.ones((5, 2))}, brain)
    broken = np.ones((12, 2)) * np.where(np.arange(12) == 4, np.nan, 1)[:, None]
    with pytest.raises(ValueError, match="layer a: found non-finite activations to 5; an RSM needs"):
        ipcl.compare({"a": broken}, brain)
    with pytest.raises(ValueError, match="layer a: found one unit; an RSM needs"):
        ipcl.compare({"a": np.ones((12, 1))}, brain)
    pixels = ipcl.load_network("pixels", dim=12)
    with pytest.raises(ValueError, match=r"the pictures of the stimuli are not known.*extract_activations"):
        ipcl.compare(pixels, brain)
    for use in (ipcl.compare, ipcl.extract_activations):
        with pytest.raises(ValueError, match="network: found Pixels; give what load_network returns"):
            use(pixels.module, brain)
    for statistics in ({"comparators": ["spearman"]}, {"distances": ["euclidean"]}):
        (key,) = statistics
        with pytest.raises(
            ValueError, match=rf"statistics.{key}: \w+ alone here; others are in a study's statistics.csv"
        ):
            ipcl.compare({"a": np.eye(N)}, brain, statistics=statistics)
    with pytest.raises(ValueError, match="brain: found dict; give what load_brain returns"):
        ipcl.compare(pixels, {"IT": np.eye(N)})
    with pytest.raises(ValueError, match="brain data: found ndarray; of RDMs give a dictionary, region -> RDMs"):
        ipcl.load_brain(np.eye(N))
    with pytest.raises(
        ValueError, match=r"IT: found an array of shape \(4, 66\), needs \(participants, stimuli, stimuli\)"
    ):
        ipcl.load_brain({"IT": np.ones((4, N * (N - 1) // 2))})
    with pytest.raises(ValueError, match=r"mine cannot be used:\n  kind: Input should be 'patterns', .*; found: 'RDM'"):
        block = {"source": "own", "stimuli": "x", "participants": ["a"], "regions": ["IT"], "files": "{region}.npy"}
        ipcl.load_brain(block | {"kind": "RDM"}, name="mine")
    with pytest.raises(ValueError, match="preprocessing cannot be used:\n  unknown key 'size'"):
        ipcl.load_network("pixels", preprocessing={"size": 64})
    for wrong in ("pixels", brain.file, brain.file.parent):  # a network's name, another file, a folder
        with pytest.raises(
            ValueError, match=r"is no file of RSMs, as .*; of a network's name or folder give what load_net"
        ):
            ipcl.compare(wrong, brain)
    for wrong in (None, pd.DataFrame({"r": [0.1]})):
        with pytest.raises(ValueError, match=r"fits: found no column region, .*; give what compare returns"):
            ipcl.plot_layers(wrong)
    with pytest.raises(ValueError, match="nothing to draw"):
        ipcl.plot_layers(ipcl.compare({"a": np.eye(N)}, brain).iloc[:0])


def test_figure_shows_every_layer_region_and_ceiling(brain, patterns):
    fits = ipcl.compare({"first": patterns[1], "second": patterns[0]}, brain, name="given")
    figure = ipcl.plot_layers(fits, title="Mine")
    (ax,) = figure.axes
    assert ax.get_ylabel().startswith("IT") and [label.get_text() for label in ax.get_xticklabels()] == [
        "first",
        "second",
    ]
    drawn = {line.get_label(): list(line.get_ydata()) for line in ax.lines}
    assert drawn["given"] == list(fits["r"]) and fits["ceiling"].iloc[0] in [line[0] for line in drawn.values()]


def test_figure_has_a_panel_for_each_brain_and_region(brain, patterns):
    """Of regions of one name in two brains, and of more regions than fit side by side."""
    activations = {"first": patterns[1], "second": patterns[0]}
    shuffled = 1 - np.corrcoef(patterns[3][::-1])
    other = ipcl.load_brain({"IT": shuffled} | {f"R{i}": shuffled**i / 2**i for i in range(2, 15)}, name="other")
    fits = [ipcl.compare(activations, one) for one in (brain, other)]
    figure = ipcl.plot_layers(pd.concat(fits))
    figure.draw_without_rendering()
    shown = [ax for ax in figure.axes if ax.axison]
    assert [ax.get_ylabel().split("\n")[:-1] for ax in shown] == [
        ["mine", "IT"],
        *([*one] for one in fits[1][::2][["brain", "region"]].to_numpy()),
    ]
    r = [next(list(line.get_ydata()) for line in ax.lines if line.get_label() == "activations") for ax in shown[:2]]
    assert r == [list(fits[0]["r"]), list(fits[1]["r"][:2])]
    assert all(ax.get_window_extent().width > 30 for ax in shown)
    with pytest.raises(ValueError, match="model activations: stands there more than once; give each a name of its own"):
        ipcl.plot_layers(pd.concat([fits[0], fits[0]]))


@pytest.mark.filterwarnings("error::UserWarning")  # matplotlib warns where an axis has no room left
@pytest.mark.parametrize(
    ("name", "height"), [("conv_block_5", 2.6), ("vision_model.encoder.layers.11.self_attn.out_proj", 4.6)]
)
def test_figure_has_room_for_the_names_of_layers(brain, patterns, name, height):
    figure = ipcl.plot_layers(ipcl.compare({name: patterns[0], "b": patterns[1]}, brain))
    figure.draw_without_rendering()
    assert figure.get_figheight() == pytest.approx(height, abs=0.1)
    assert figure.axes[0].get_window_extent().height > 0.3 * 2.6 * figure.dpi


def test_arrays_that_are_no_brain_data():
    distances = 1 - np.corrcoef(np.random.default_rng(0).standard_normal((5, 9)))
    gap = np.where((np.arange(5) == 2) | (np.arange(5)[:, None] == 2), np.nan, distances)
    for regions, names, message in (
        ({}, None, "brain: found no region"),
        ({"IT": distances[None][:0]}, None, r"IT: found an array of shape \(0, 5, 5\), needs \(participants"),
        ({"IT": gap}, None, "IT, participant 01: 4 of 10 pairs hold no finite number"),
        ({"IT": distances}, ["a", "a", "b", "c", "d"], "brain: stimulus a is named 2 times"),
        (
            {"IT": distances},
            ["a/1", "a/2", "b/1", "b/2", "b/3"],
            "brain: stimulus a/1: / divides a stimulus from its pict",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            ipcl.load_brain(regions, stimuli=names)
