"""Configurations that cannot be used: each offence is named with its key and what is allowed."""

import copy
from collections.abc import Iterator
from typing import get_args, get_origin

import pytest
import yaml
from configurations import STUDY, change, explain, remove

from ipcl_core.config import Config, Strict, load_config


def find_models(annotation, keys: tuple) -> Iterator[tuple[type[Strict], tuple]]:
    """The blocks that a field may hold, each with the keys (of a list's block 0) that lead to it."""
    if isinstance(annotation, type) and issubclass(annotation, Strict):
        yield annotation, keys
    for part in get_args(annotation):
        more = {dict: ("any",), list: (0,)}.get(get_origin(annotation), ())
        yield from find_models(part, (*keys, *more))


def list_blocks(model: type[Strict] = Config, above: tuple = ()) -> Iterator[tuple[type[Strict], tuple]]:
    """Every block of a configuration, with the blocks that it is in and the keys that lead from one to the next."""
    yield model, above
    for name, field in model.model_fields.items():
        for inner, keys in find_models(field.annotation, (name,)):
            yield from list_blocks(inner, (*above, (model, keys)))


def name_kind(model: type[Strict]) -> dict:
    """What says which of several blocks is meant: source or name."""
    kinds = {key: get_args(field.annotation) for key, field in model.model_fields.items() if key in ("source", "name")}
    return {key: values[0] for key, values in kinds.items() if values}


BLOCKS = list(list_blocks())


@pytest.mark.parametrize(("model", "above"), BLOCKS, ids=[model.__name__ for model, _ in BLOCKS])
def test_unknown_key_is_refused_at_every_level(model, above):
    key = list(model.model_fields)[-1]
    study = {f"{key}x": 1} | name_kind(model)
    for outer, keys in reversed(above):
        for name in reversed(keys):
            study = [study] if name == 0 else {name: study}
        study |= name_kind(outer)
    path = "".join(f"{name}." for _, keys in above for name in keys).removesuffix(".")
    expected = f"unknown key '{key}x' (did you mean {key}?); allowed here: {', '.join(model.model_fields)}\n"
    assert f"\n  {path}{': ' if path else ''}{expected}" in f"{explain(study)}\n"


@pytest.mark.parametrize(
    "path,value,allowed",
    [
        ("title", 5, "valid string"),
        ("keep_activations", "yes", "valid boolean"),
        ("datasets.pictures.train", 5, "valid string"),
        ("datasets.pictures.on_corrupt", "ignore", "'error' or 'skip'"),
        ("datasets.pictures.storage.write_mode", "png", "'jpg', 'raw' or 'smart'"),
        ("datasets.pictures.storage.shortest_side", 64.5, "valid integer"),
        ("datasets.pictures.storage.shortest_side", 4, "greater than or equal to 8"),
        ("datasets.pictures.storage.jpeg_quality", 101, "less than or equal to 100"),
        ("datasets.emoji.val_fraction", 1, "less than 1"),
        ("brains.objects92.stimuli", "animate", "'all' or 'inanimate'"),
        (
            "title",
            yaml.safe_load("007"),
            "found: 7; text that YAML takes for a number, a date or for yes or no needs quotes",
        ),
        (
            "title",
            yaml.safe_load("NO"),
            "found: False; text that YAML takes for a number, a date or for yes or no needs quotes",
        ),
        ("brains.objects72.regions", {}, "at least 1 item"),
        ("recipes.ipcl.epochs", "100", "valid integer"),
        (
            "knn.k",
            "7",
            "valid integer; found: '7'; for a number write no quotes, and an exponent as in 1.0e-4 (what stands inside",
        ),
        ("keep_activations", "true", "text to Snakemake: write these keys into a file and give it by --configfile"),
        ("recipes.ipcl.epochs", 0, "greater than or equal to 1"),
        ("recipes.ipcl.epochs", True, "valid integer"),
        ("recipes.ipcl.batch_size", 1, "greater than or equal to 2"),
        ("recipes.ipcl.objective.n_views", 1, "greater than or equal to 2"),
        ("recipes.ipcl.objective.tau", 0, "greater than 0"),
        ("recipes.ipcl.objective.tau", float("nan"), "finite number"),
        ("recipes.ipcl.objective.loss", "triplet", "'nce' or 'infonce'"),
        ("recipes.ipcl.optimizer.lr", yaml.safe_load("5e-4"), "write no quotes, and an exponent as in 1.0e-4"),
        ("recipes.ipcl.optimizer.momentum", 1.5, "less than or equal to 1"),
        ("recipes.ipcl.schedule.pct_start", 0, "greater than 0"),
        ("recipes.ipcl.schedule.momentum_range", [0.9], "at least 2 items"),
        ("recipes.supervised.schedule.milestones", [30, "sixty"], "valid integer"),
        ("recipes.ipcl.augmentation.hue", 0.6, "less than or equal to 0.5"),
        ("recipes.ipcl.augmentation.area", [0.2, 0.5, 1.0], "at most 2 items"),
        ("models.first.dim", 1, "greater than or equal to 2"),
        ("models.first.width", -1, "greater than 0"),
        ("models.first.seed", -1, "greater than or equal to 0"),
        ("models.first.preprocessing.image_size", 8, "greater than or equal to 16"),
        ("models.first.preprocessing.mean", [0.5], "at least 3 items"),
        ("models.theirs.weights.package", "net", "match pattern"),
        ("models.first.unavailable", "", "at least 1 character"),
        ("models.fetched.head", "two", "'linear' or 'mlp'"),
        ("models.fetched.weights.url", "http://example.org/moco.pth", "match pattern"),
        ("models.fetched.weights.hash", "sha256:51bcc71", "match pattern"),
        ("models.fetched.weights.hash", "59fd9945", "match pattern"),
        ("models.fetched.weights.max_mb", 0, "greater than or equal to 1"),
        ("models.fetched.weights.format", "pickle", "'lemniscate', 'torchvision'"),
        ("models.fetched.weights.origin", "untrained", "Input should be \"authors' weights\" or 'proxy'"),
        ("knn.center_crop", 1.1, "less than or equal to 1"),
        ("figure2_models", [], "at least 1 item"),
    ],
)
def test_wrong_value_is_refused(path, value, allowed):
    message = explain(change(path, value))
    line = next(line for line in message.splitlines() if path in line)
    assert allowed in line
    assert "found: " in line


@pytest.mark.parametrize("name", ["2024", "1.5", "2024-01-02", "yes", "off"])
def test_name_that_yaml_reads_otherwise_is_found_with_quotes_alone(name):
    """The same name is there, as text: without quotes it is another one, and the hint says why."""
    study = copy.deepcopy(STUDY)
    study["datasets"][name] = study["datasets"]["pictures"]
    study["models"]["first"]["dataset"] = name
    load_config(study)
    study["models"]["first"]["dataset"] = yaml.safe_load(name)
    (line,) = [line for line in explain(study).splitlines() if "models.first.dataset" in line]
    assert line.endswith("; text that YAML takes for a number, a date or for yes or no needs quotes")
    study["models"]["first"]["dataset"] = "pictures"
    study["datasets"][yaml.safe_load(name)] = study["datasets"].pop(name)
    (line,) = [line for line in explain(study).splitlines() if line.startswith("  datasets")]
    assert f"found: {yaml.safe_load(name)!r}; text that YAML takes for" in line


@pytest.mark.parametrize(
    "path,value,allowed",
    [
        ("recipes.ipcl.augmentation.area", [0.5, 0.2], "give [low, high] with 0 < low <= high <= 1, not [0.5, 0.2]"),
        ("recipes.ipcl.augmentation.area", [0.5, 1.2], "high <= 1, not [0.5, 1.2]"),
        ("recipes.ipcl.augmentation.aspect_ratio", [0.0, 1.0], "0 < low <= high"),
        ("recipes.supervised.leftover_gradients", "drop", "drop has no meaning with accumulate: 1"),
        ("recipes.ipcl.schedule.momentum_range", [0.95, 0.85], "0 <= low <= high < 1, not [0.95, 0.85]"),
        ("models.first.preprocessing.std", [0.2, 0.0, 0.2], "must be above 0 and at most 1, not [0.2, 0.0, 0.2]"),
        ("models.first.preprocessing.std", [58.4, 57.1, 57.4], "[58.4, 57.1, 57.4]; images have channels in [0, 1]"),
        ("models.first.preprocessing.mean", [0.5, -0.1, 0.5], "must be from 0 to 1, not [0.5, -0.1, 0.5]"),
        ("models.first.preprocessing.mean", [123.7, 116.3, 103.5], "divide numbers for 0 to 255 by 255"),
        ("datasets.pictures.val", "/data/train/", "val: /data/train/ is /data/train, or one lies in the other"),
        ("datasets.pictures.val", "/data/train/../train/val", "or one lies in the other"),
        (
            "datasets.pictures.val",
            "/data/train/validation-*.parquet",
            "patterns, such as /data/train/train-*.parquet and",
        ),
        ("datasets.pictures.val", "/data", "training and validation images need folders of their own"),
        ("models.first.preprocessing.image_size", 62, "alexnet_gn needs 63 pixels or more, not 62"),
        ("recipes.supervised.schedule.milestones", [60, 30], "give epochs in ascending order, each once, not [60, 30]"),
        ("recipes.supervised.schedule.milestones", [30, 30], "ascending order, each once, not [30, 30]"),
    ],
)
def test_wrong_range_is_refused(path, value, allowed):
    message = explain(change(path, value))
    assert path.rsplit(".", 1)[0] in message
    assert f"{path.rsplit('.', 1)[1]}: " in message
    assert allowed in message


@pytest.mark.parametrize(
    "path,value,found",
    [
        ("figure2_models", ["first", "other", "first"], "figure2_models: first stands there 2 times"),
        (
            "statistics",
            {"distances": ["euclidean", "euclidean"]},
            "statistics.distances: euclidean stands there 2 times",
        ),
        ("statistics", {"comparators": ["cka", "pearson", "cka"]}, "statistics.comparators: cka stands there 2 times"),
        ("models.first.protocols", ["softmax", "softmax"], "models.first.protocols: softmax stands there 2 times"),
    ],
)
def test_repetition_is_refused(path, value, found):
    assert found in explain(change(path, value))


@pytest.mark.parametrize("path", ["datasets.pictures", "brains.objects92", "models.first"])
def test_names_that_differ_in_case_alone_are_refused(path):
    """Their results would lie in one folder on macOS and many file servers."""
    block, name = path.split(".")
    study = copy.deepcopy(STUDY)
    study[block][name.upper()] = study[block][name]
    assert f"{block}: {name} and {name.upper()} differ in upper and lower case alone" in explain(study)


@pytest.mark.parametrize(
    "path,where",
    [("recipes.ipcl.objective", "name"), ("brains.objects92", "source"), ("recipes.ipcl.optimizer", "name")],
)
def test_alternative_that_does_not_exist_is_refused(path, where):
    message = explain(change(f"{path}.{where}", "nothing"))
    assert f"{path}.{where}: Input should be '" in message and "found: 'nothing'" in message


@pytest.mark.parametrize(
    "path",
    [
        *("title", "brains", "recipes.ipcl.epochs", "models.first.dataset", "brains.objects72.regions"),
        *("brains.objects92.source", "recipes.ipcl.optimizer.name"),
    ],
)
def test_missing_key_is_refused(path):
    assert f"{path}: Field required" in explain(remove(path))


@pytest.mark.parametrize("study", [None, [], "text", 5])
def test_file_that_holds_no_blocks_is_refused(study):
    assert "needs keys and values: title, pathvars, datasets" in explain(study)


@pytest.mark.parametrize("path", ["models.first", "recipes.ipcl.augmentation", "knn"])
@pytest.mark.parametrize("value", [5, None, ["a"], "text"])
def test_block_that_is_no_block_is_refused(path, value):
    message = explain(change(path, value))
    assert path in message
    assert "needs keys and values" in message or "valid dictionary" in message


@pytest.mark.parametrize(
    "path,value,message",
    [
        (
            "models.first.architecture",
            "alexnet_ng",
            "models.first.architecture: 'alexnet_ng' is none of this project's (did you mean alexnet_gn or alexnet_bn?); give "
            "one of alexnet_gn, alexnet_bn, alexnet, cornet_z_bn",
        ),
        (
            "models.first.dataset",
            "picturs",
            "models.first.dataset: 'picturs' is not defined under datasets (did you mean "
            "pictures?); defined: pictures, emoji",
        ),
        (
            "models.first.recipe",
            "none",
            "models.first.recipe: 'none' is not defined under recipes; defined: ipcl, supervised",
        ),
        (
            "figure2_models",
            ["first", "second"],
            "figure2_models: 'second' is not defined under models; defined: first, labelled, untrained, theirs, fetched",
        ),
        ("models.labelled.dim", 128, "models.labelled.dim: a supervised model has one output a class; leave dim out"),
        ("models.first.dim", None, "models.first.dim: a self-supervised model needs its dimension"),
        ("models.untrained.dim", None, "models.untrained.dim: an untrained model needs its dimension"),
        ("models.theirs.dim", None, "models.theirs.dim: give the number of outputs of the fetched network"),
        (
            "models.first.width",
            0.3,
            "models.first.width: 0.3 splits no channels into whole groups; give a multiple of 1/32",
        ),
        (
            "models.labelled.width",
            0.5,
            "models.labelled.width: leave it out; of the architectures alexnet_gn, alexnet_bn, alexnet have one, "
            "resnet18 has not",
        ),
        (
            "models.first.architecture",
            "efficientnet_lite0",
            "models.first.source: efficientnet_lite0 can be fetched or own, not trained",
        ),
        (
            "models.theirs.architecture",
            "resnet50",
            "models.theirs.weights.format: efficientnet_lite holds efficientnet_lite0, not resnet50",
        ),
        ("models.theirs.weights.url", "net.pth", "models.theirs.weights: url and package: give one of them"),
        ("models.fetched.weights.url", None, "models.fetched.weights: url and package: give one of them"),
        ("models.theirs.weights.member", None, "models.theirs.weights: member: give it with package"),
        ("models.fetched.weights.member", "net.pth", "models.fetched.weights: member: give it with package"),
        ("models.theirs.weights.hash", "sha256:00000000", "models.theirs.weights: hash: of a package give sha256:"),
        ("models.theirs.weights.hash", None, "models.theirs.weights: hash: of a package give sha256:"),
        ("models.fetched.dim", None, "models.fetched.dim: give the number of outputs of the fetched network"),
        (
            "models.first.head",
            "mlp",
            "models.first.head: leave it out; of the architectures resnet18, resnet50 have one, alexnet_gn has not",
        ),
        (
            "models.fetched.weights.format",
            "simclr_tf",
            "models.fetched.weights.format: simclr_tf holds resnet50x1 or resnet50x2 or resnet50x4, not resnet50",
        ),
        (
            "models.untrained.architecture",
            "resnet50x2",
            "models.untrained.dim: resnet50x2 ends in its average pool of 4096 units; give 4096, not 128",
        ),
        (
            "models.pixels.dim",
            3000,
            "models.pixels.dim: give 3 x side x side, such as 3072 for 32 x 32 pixels, not 3000",
        ),
        ("models.first.architecture", "pixels", "models.first.source: pixels can be untrained, not trained"),
    ],
)
def test_contradiction_is_refused(path, value, message):
    assert message in explain(change(path, value))


@pytest.mark.parametrize("block", ["datasets", "brains", "recipes", "models"])
@pytest.mark.parametrize("name", ["../x", "a/b", "", ".hidden", "-x", "a b", "x\n", "x" * 81, "*"])
def test_name_that_is_no_file_name_is_refused(block, name):
    study = copy.deepcopy(STUDY)
    study[block][name] = next(iter(study[block].values()))
    message = explain(study)
    assert f"{block}.{name}" in message
    assert "pattern" in message or "at most 80 characters" in message


@pytest.mark.parametrize("name", ["pairs", "Best_layers", "partitions"])
def test_model_that_is_called_as_a_table_is_refused(name):
    study = copy.deepcopy(STUDY)
    study["models"][name] = study["models"]["first"]
    assert f"models: {name}: {name}.csv is the name of a table of all models; rename the model" in explain(study)


def test_region_that_is_no_file_name_is_refused():
    message = explain(change("brains.objects72.regions", {"../x": "EarlyV"}))
    assert "brains.objects72.regions.../x" in message


def test_every_offence_has_its_line():
    study = change("recipes.ipcl.epochs", 0)
    study["knn"]["k"], study["models"]["first"]["dim"] = 0, "many"
    message = explain(study)
    for path in ("recipes.ipcl.epochs: ", "knn.k: ", "models.first.dim: "):
        assert sum(path in line for line in message.splitlines()) == 1


def test_names_of_alternatives_are_left_out_of_the_key():
    assert "  recipes.ipcl.objective.tau: " in explain(change("recipes.ipcl.objective.tau", -1))


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (
            "recipes.ipcl.objective.queue_size",
            639,
            "639 is less than one minibatch, 128 images x 5 views; give at least 640",
        ),
        (
            "recipes.ipcl.objective",
            {"name": "ipcl", "queue": "prototypes", "queue_size": 127},
            "127 is less than one minibatch, 128 prototypes; give at least 128",
        ),
        ("recipes.supervised.schedule.milestones", [0, 30], "greater than or equal to 1"),
        ("models.first.seed", 2**32, "less than 4294967296"),
        ("models.first.dim", 10**12, "less than or equal to 100000"),
        ("datasets.pictures", [], "datasets.pictures"),
        ("datasets", {}, "'pictures' is not defined under datasets; defined: none"),
        ("models", {}, "at least 1 item"),
        ("models.first.layers", [], "at least 1 item"),
        ("knn.k", 0, "greater than or equal to 1"),
        ("knn.k", 20.0, "valid integer"),
        ("knn.tau", -0.07, "greater than 0"),
        ("recipes.ipcl.objective.tau", 0.01, "tau: 0.01 is too small for loss: nce, whose Z is a mean of exp(s / tau)"),
        ("knn.tau", float("inf"), "finite number"),
        ("recipes.ipcl.objective.n_views", 0, "greater than or equal to 2"),
        ("recipes.ipcl.schedule.momentum_range", [0.95, 0.85], "give [low, high]"),
        ("recipes.supervised.schedule.milestones", [30, 90], "schedule.milestones: 90 is not before the end, after 90"),
        ("title", b"bytes", "valid string"),
        ("title", "\ud800", "valid string"),
    ],
)
def test_bad_value_is_named(path, value, message):
    assert message in explain(change(path, value))


def test_figure_of_models_that_are_all_unavailable_is_refused():
    study = change("models.first.unavailable", "nobody has it")
    assert "figure2_models: all are unavailable (first); give another one" in explain(study)
    load_config(study | {"figure2_models": ["first", "untrained"]})


@pytest.mark.parametrize("path", ["datasets", "models", "recipes.ipcl", "figure2_models"])
def test_block_that_holds_itself_is_refused(path):
    """As YAML's anchors allow: `a: &a {a: *a}`."""
    block = [] if path == "figure2_models" else {}
    block.append(block) if isinstance(block, list) else block.update(a=block)
    assert path in explain(change(path, block))
