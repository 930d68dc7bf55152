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
WILDCARDS = SimpleNamespace(dataset="twemoji", brain="objects92", model="ipcl_alexnet_gn")


def read_parameters(change) -> dict:
    """Return what each function of rules/inputs.smk gives with the demo's configuration, changed: name -> value."""
    study = yaml.safe_load(yaml.safe_dump(DEMO))
    change(study)
    names = {"study": load_config(study)}
    exec(compile((REPOSITORY / "rules/inputs.smk").read_text(), "inputs.smk", "exec"), names)  # plain Python
    functions = ("get_network", "get_recipe", "get_layers", "get_export", "get_conversion", "get_brain", "get_title")
    return {name: names[name](WILDCARDS) for name in functions}


def test_scripts_get_values_as_json_has_them():
    """And no block of the configuration, which no function takes for its arguments; weighting is off in the demo."""
    study = load_config(DEMO | {"statistics": {"weighting": {}}})
    rules = "".join(path.read_text() for path in sorted((REPOSITORY / "rules").rglob("*.smk")))
    found = re.findall(r"^ {8}(\w+)=(study\..+),$", rules, re.MULTILINE)
    values = {name: eval(expression, {"study": study}) for name, expression in found}
    assert values["weighting"]["n_folds"] == 6 and values["k"] == study.knn.k and len(values) > 10
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


@pytest.mark.parametrize(("change", "moved"), CHANGES.values(), ids=CHANGES)
def test_a_change_moves_what_depends_on_it_alone(change, moved):
    before, after = read_parameters(lambda study: None), read_parameters(change)
    assert {name for name in before if before[name] != after[name]} == moved
