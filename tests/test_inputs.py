"""What jobs depend on: the values that Snakemake compares to decide which to run again."""

import json
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from ipcl_core.config import load_config

REPOSITORY = Path(__file__).parents[1]
DEMO = yaml.safe_load((REPOSITORY / "config/demo.yaml").read_text())
WILDCARDS = SimpleNamespace(dataset="twemoji", brain="objects92", model="ipcl_alexnet_gn", split="train")


def read_inputs(study: dict) -> dict:
    """Return the names that rules/inputs.smk, which is plain Python, defines with a configuration."""
    checked = load_config(study)
    names = {"study": checked, "available": checked.available}
    exec(compile((REPOSITORY / "rules/inputs.smk").read_text(), "inputs.smk", "exec"), names)
    return names


def read_parameters(change) -> dict:
    """Return what each of these functions gives with the demo's configuration, changed: name -> value."""
    study = yaml.safe_load(yaml.safe_dump(DEMO))
    change(study)
    names = read_inputs(study)
    functions = ("get_network", "get_recipe", "get_layers", "get_export", "get_conversion", "get_brain", "get_title")
    return {name: names[name](WILDCARDS) for name in functions}


MINE = {
    "source": "own",
    "title": "Mine",
    "stimuli": "stimuli",
    "participants": ["one"],
    "regions": ["IT"],
    "kind": "patterns",
    "files": "{participant}.npy",
    "folds": "folds.csv",
    "categories": "categories.csv",
    "triplets": "triplets.csv",
}
FILE = {"url": "weights.pth", "format": "open_ipcl", "origin": "proxy"}


def test_scripts_get_values_as_json_has_them():
    """And no block of the configuration, which no function takes for its arguments; the demo has not all that may be there."""
    study = yaml.safe_load(yaml.safe_dump(DEMO)) | {"statistics": {"weighting": {}}, "encoding": {}}
    study["brains"]["mine"], study["models"]["ipcl_alexnet_gn"]["weights"] = MINE, FILE
    study["published"] = [{"brain": "mine", "region": "IT", "model": "ipcl_alexnet_gn", "source": "Others"}]
    study["encoding"]["partitions"] = [["ipcl_alexnet_gn", "categories"]]
    names = read_inputs(study)
    names |= {"code_of": str, "list_from": lambda blocks, source: ["ipcl_alexnet_gn"]}  # of common.smk, which is none
    names |= {"list_published_brains": lambda: ["mine"], "PACKAGES": {"file": "package"}, "find_place": str}
    wildcards, values = SimpleNamespace(**vars(WILDCARDS) | {"brain": "mine", "file": "file"}), {}
    for path in sorted((REPOSITORY / "rules").rglob("*.smk")):
        for rule, text in re.findall(r"^rule (\w+):\n((?:    .*\n|\n)*)", path.read_text(), re.MULTILINE):
            for block in re.findall(r"^ {4}params:\n((?: {8}.*\n)+)", text, re.MULTILINE):
                given = eval(f"dict({block})", names)
                values[rule] = {key: value(wildcards) if callable(value) else value for key, value in given.items()}
    assert values["weigh_layers"]["weighting"]["n_folds"] == 6 and len(values) > 40
    assert values["partition_models"]["categories"]["source"] == "categories.csv"
    assert json.loads(json.dumps(values)) == values


CHANGES = {
    "the brain's title": (lambda s: s["brains"]["objects92"].update(title="Others"), {"get_title"}),
    "a framework, and its colour": (lambda s: s["models"]["ipcl_alexnet_gn"].update(framework="Another"), set()),
    "the number of shards": (lambda s: s["datasets"]["twemoji"].update(n_shards=3), set()),
    "how images are stored": (
        lambda s: s["datasets"]["twemoji"].update(storage={"shortest_side": 32}),
        {"get_conversion"},
    ),
    "which images": (lambda s: s["datasets"]["twemoji"].update(seed=5), {"get_export", "get_conversion"}),
    "the seed": (lambda s: s["models"]["ipcl_alexnet_gn"].update(seed=5), {"get_network"}),
}


CHANGED_BLOCKS = [
    ("title", "Others", False),
    ("averaged", "rsms", False),
    ("folds", None, False),
    ("categories", "folders", False),
    ("triplets", None, False),
    ("background", "black", True),
    ("order", None, True),
]


@pytest.mark.parametrize(("key", "value", "moves"), CHANGED_BLOCKS)
def test_own_brain_is_imported_again_where_its_import_depends_on_it(tmp_path, key, value, moves):
    """Else every model's activations and all that is made of them would be made anew for a table of judgments."""
    files = {name: str(tmp_path / f"{name}.csv") for name in ("order", "folds", "categories", "triplets")}
    for path in files.values():
        Path(path).touch()

    def describe(**changes) -> list:
        names = read_inputs(DEMO | {"brains": {"mine": MINE | files | changes}})
        names["local"] = list
        return [names[name](SimpleNamespace(brain="mine")) for name in ("get_brain", "get_own_brain_files")]

    assert (describe(**{key: value}) != describe()) == moves


def test_way_of_a_download_is_no_property_of_its_images():
    block = {"source": "torchvision", "name": "MNIST", "root": "files"}
    studies = [{**DEMO, "datasets": {"twemoji": block | {"download": download}}} for download in (False, True)]
    for name in ("get_export", "get_conversion"):
        before, after = [read_inputs(study)[name](WILDCARDS) for study in studies]
        assert before == after and before["root"] == "files"


def test_probes_are_a_parameter_of_those_who_have_them():
    study = DEMO | {"models": {name: dict(block) for name, block in DEMO["models"].items()}}
    study["models"]["wusnet_alexnet_gn"]["protocols"] = ["weighted kNN"]
    get = read_inputs(study | {"probes": {"l_bfgs": {"max_iter": 7}}})["get_l_bfgs"]
    assert get(WILDCARDS)["max_iter"] == 7 and get(SimpleNamespace(model="wusnet_alexnet_gn")) is None


def test_hash_that_is_given_later_is_no_other_network(tmp_path):
    """Of the file that the network was made from; one of another file makes it again, which says that it is wrong."""
    file, record = tmp_path / "mine.safetensors", tmp_path / "results/provenance/models/mine/weights.safetensors.json"
    found = "ab" * 32
    made = {"outputs": {"models/mine/weights.safetensors": {"sha256": "cd" * 32}}, "inputs": {str(file): found}}
    record.parent.mkdir(parents=True)
    record.write_text(json.dumps(made | {"params": {"model": {"sha256": None}}}))
    block = {"source": "own", "framework": "Mine", "architecture": "alexnet_gn", "dim": 8, "dataset": None}

    def describe(sha256: str | None) -> dict:
        model = block | {"state_dict": str(file), "sha256": sha256}
        names = read_inputs(DEMO | {"models": {"mine": model}, "figure2_models": ["mine"]})
        names["find_place"] = lambda name: str(tmp_path / name)
        return names["get_network"](SimpleNamespace(model="mine"))

    assert describe(found) == describe(None) != describe("ef" * 32)
    record.unlink()
    assert describe(found) != describe(None)


@pytest.mark.parametrize(("change", "moved"), CHANGES.values(), ids=CHANGES)
def test_a_change_moves_what_depends_on_it_alone(change, moved):
    before, after = read_parameters(lambda study: None), read_parameters(change)
    assert {name for name in before if before[name] != after[name]} == moved
