import copy
from pathlib import Path

import pytest
import yaml
from snakemake.utils import update_config

from ipcl_core.config import ConfigError, load_config, missing_paths

ROOT = Path(__file__).parents[1]

STUDY = {
    "title": "A study",
    "datasets": {
        "pictures": {"train": "/data/train", "val": None, "storage": {"shortest_side": 64}},
        "emoji": {"source": "twemoji"},
    },
    "brains": {
        "objects92": {"source": "kriegeskorte_2008", "title": "92 objects"},
        "objects72": {
            "source": "magri_konkle_2019",
            "title": "72 objects",
            "betas": "/data/betas.mat",
            "stimuli": None,
            "regions": {"EarlyV": "EarlyV", "pOTC": "pOTC"},
        },
    },
    "recipes": {
        "ipcl": {
            "objective": {"name": "ipcl", "n_views": 5},
            "epochs": 100,
            "batch_size": 128,
            "accumulate": 20,
            "optimizer": {"name": "sgd", "lr": 0.03},
            "schedule": {"name": "one_cycle", "momentum_range": [0.85, 0.95]},
            "augmentation": {"area": [0.2, 1.0]},
        },
        "supervised": {
            "objective": {"name": "supervised"},
            "epochs": 90,
            "batch_size": 256,
            "optimizer": {"name": "adamw", "lr": 0.001},
            "schedule": {"name": "multi_step", "milestones": [30, 60]},
        },
    },
    "models": {
        "first": {
            "framework": "IPCL",
            "architecture": "alexnet_gn",
            "dim": 128,
            "dataset": "pictures",
            "recipe": "ipcl",
            "preprocessing": {"image_size": 64},
        },
        "labelled": {
            "framework": "Supervised",
            "architecture": "resnet18",
            "dataset": "emoji",
            "recipe": "supervised",
        },
        "untrained": {
            "source": "untrained",
            "framework": "Untrained",
            "architecture": "alexnet_bn",
            "dim": 128,
            "dataset": "pictures",
        },
        "theirs": {
            "source": "pretrained",
            "framework": "Supervised",
            "architecture": "efficientnet_lite0",
            "dim": 1000,
            "dataset": "pictures",
            "package": "net==1.0",
            "sha256": "0" * 64,
            "member": "net.pth",
        },
        "fetched": {
            "source": "fetched",
            "framework": "MoCo2",
            "architecture": "resnet50",
            "head": "mlp",
            "dim": 128,
            "dataset": "pictures",
            "weights": {
                "url": "https://example.org/moco.pth.tar",
                "hash": "md5:59fd9945",
                "format": "moco_v2",
                "origin": "authors' weights",
            },
        },
        "pixels": {
            "source": "untrained",
            "framework": "Pixels",
            "architecture": "pixels",
            "dim": 3072,
            "dataset": "pictures",
        },
    },
    "figure2_models": ["first"],
    "knn": {"k": 20},
    "noise_ceiling": {"n_splits": 100},
}


def change(path: str, value) -> dict:
    """Return the study with the key at a dotted path set to a value."""
    study = copy.deepcopy(STUDY)
    *parents, last = path.split(".")
    block = study
    for name in parents:
        block = block[name]
    block[last] = value
    return study


def remove(path: str) -> dict:
    study = copy.deepcopy(STUDY)
    *parents, last = path.split(".")
    block = study
    for name in parents:
        block = block[name]
    del block[last]
    return study


def explain(study: dict) -> str:
    """Return the message with which a study is refused."""
    with pytest.raises(ConfigError) as error:
        load_config(study)
    message = str(error.value)
    assert message.startswith("the configuration cannot be used:\n  ")
    return message


# ---- what is accepted ------------------------------------------------------------------------------------------------


def test_study_is_accepted_and_defaults_are_filled_in():
    study = load_config(STUDY)
    assert study.models["first"].source == "trained"
    assert study.datasets["pictures"].source == "image_folder"
    assert study.recipes["ipcl"].objective.queue_size == 4096
    assert study.recipes["ipcl"].objective.tau == 0.07
    assert study.recipes["ipcl"].optimizer.momentum == 0.9
    assert study.recipes["supervised"].schedule.gamma == 0.1
    assert (study.knn.k, study.knn.tau, study.knn.center_crop) == (20, 0.07, 0.875)
    assert study.datasets["emoji"].storage.write_mode == "raw"
    assert list(study.models) == list(STUDY["models"])


@pytest.mark.parametrize(
    "name,given,chosen",
    [
        ("first", None, ["weighted kNN"]),
        ("labelled", None, ["softmax", "weighted kNN"]),
        ("labelled", ["weighted kNN", "softmax"], ["weighted kNN", "softmax"]),
        ("theirs", None, ["weighted kNN"]),
        ("theirs", ["softmax"], ["softmax", "weighted kNN"]),
    ],
)
def test_protocols_begin_with_the_one_of_table1(name, given, chosen):
    assert load_config(change(f"models.{name}.protocols", given)).choose_protocols(name) == chosen


def test_accuracy_layers_begin_with_the_one_of_table1():
    assert load_config(STUDY).choose_accuracy_layers("first") == ["output"]
    study = load_config(change("models.first.accuracy_layers", ["conv_block_*", "fc7.2"]))
    assert study.choose_accuracy_layers("first") == ["output", "conv_block_*", "fc7.2"]
    study = load_config(change("models.first", STUDY["models"]["first"] | {"embedding_layer": "fc7.2"}))
    assert study.choose_accuracy_layers("first") == ["fc7.2"]


def test_the_given_dictionary_is_left_alone():
    study = copy.deepcopy(STUDY)
    load_config(study)
    assert study == STUDY


def test_defaults_are_the_papers():
    recipe = load_config(change("recipes.ipcl.objective", {"name": "ipcl"})).recipes["ipcl"]
    assert (recipe.objective.n_views, recipe.objective.queue_size, recipe.objective.tau) == (5, 4096, 0.07)
    assert (recipe.schedule.pct_start, recipe.schedule.div_factor, recipe.schedule.final_div_factor) == (0.4, 1000, 1e4)
    augmentation = recipe.augmentation
    assert (augmentation.area, augmentation.grayscale, augmentation.flip) == ([0.2, 1.0], 0.2, 0.5)
    jitter = (augmentation.brightness, augmentation.contrast, augmentation.saturation, augmentation.hue)
    assert jitter == (0.4, 0.4, 0.4, 0.4)
    assert load_config(remove("knn")).knn.k == 200
    assert load_config(remove("noise_ceiling")).noise_ceiling.n_splits == 1000


def test_configuration_cannot_be_changed_afterwards():
    study = load_config(STUDY)
    with pytest.raises(ValueError, match="frozen"):
        study.knn.k = 5


@pytest.mark.parametrize("path", [ROOT / "config.yaml", ROOT / "config" / "demo.yaml"], ids=lambda path: path.name)
def test_configuration_file_of_the_project_is_accepted(path):
    load_config(yaml.safe_load(path.read_text()))


def test_seeds_are_laid_over_the_demo():
    study = yaml.safe_load((ROOT / "config" / "demo.yaml").read_text())
    n_models = len(study["models"])
    update_config(study, yaml.safe_load((ROOT / "config" / "seeds.yaml").read_text()))
    assert len(load_config(study).models) > n_models


def test_every_model_has_an_origin():
    study = copy.deepcopy(STUDY)
    weights = study["models"]["fetched"]["weights"]
    study["models"]["proxy"] = study["models"]["labelled"] | {
        "weights": weights | {"format": "torchvision", "hash": None, "origin": "proxy"}
    }
    study["models"]["lost"] = study["models"]["fetched"] | {"unavailable": "our nodes have no internet"}
    dumped = load_config(study).model_dump()["models"]
    assert {name: (model["origin"], model["reason"]) for name, model in dumped.items()} == {
        "first": ("trained here", None),
        "labelled": ("trained here", None),
        "untrained": ("untrained", None),
        "theirs": ("proxy", None),
        "fetched": ("authors' weights", None),
        "pixels": ("untrained", None),
        "proxy": ("proxy", None),
        "lost": ("unavailable", "our nodes have no internet"),
    }


@pytest.mark.parametrize("url", ["https://example.org/a.zip", "/data/a.zip", "weights/a.zip"])
@pytest.mark.parametrize("digest", ["sha256:51bcc71556", "sha256:" + 64 * "0", "md5:59fd9945", None])
def test_addresses_and_hashes_of_weights(url, digest):
    study = change("models.fetched.weights", STUDY["models"]["fetched"]["weights"] | {"url": url, "hash": digest})
    assert load_config(study).models["fetched"].weights.url == url


# ---- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path,near,allowed",
    [
        ("titel", "title", "title, pathvars, datasets"),
        ("datasets.pictures.trian", "train", "storage, on_corrupt, n_shards, source, train, val, val_labels"),
        ("datasets.pictures.storage.shortest_sid", "shortest_side", "shortest_side, write_mode, jpeg_quality"),
        ("datasets.emoji.sed", "seed", "source, val_fraction, seed"),
        ("brains.objects92.stimulus", "stimuli", "source, title, stimuli"),
        ("brains.objects72.beta", "betas", "source, title, betas, stimuli, regions"),
        ("recipes.ipcl.epoch", "epochs", "objective, epochs, batch_size"),
        ("recipes.ipcl.objective.taus", "tau", "tau, loss, z, negative_term, name, n_views"),
        ("recipes.ipcl.optimizer.momentun", "momentum", "name, lr, momentum, weight_decay"),
        ("recipes.supervised.optimizer.weight_decays", "weight_decay", "name, lr, weight_decay"),
        ("recipes.ipcl.schedule.pct_star", "pct_start", "name, pct_start, div_factor, final_div_factor"),
        ("recipes.supervised.schedule.gama", "gamma", "name, milestones, gamma"),
        ("recipes.ipcl.augmentation.greyscale", "grayscale", "area, aspect_ratio, flip, grayscale"),
        ("models.first.seeds", "seed", "recipe, seed"),
        ("models.first.preprocessing.imagesize", "image_size", "image_size, mean, std"),
        ("models.theirs.members", "member", "package, sha256, member"),
        ("models.fetched.wights", "weights", "unavailable, source, weights"),
        ("models.fetched.weights.hashes", "hash", "url, hash, max_mb, format, origin"),
        ("knn.taus", "tau", "k, tau, center_crop, max_dim"),
        ("noise_ceiling.n_split", "n_splits", "n_splits, seed"),
    ],
)
def test_unknown_key_is_refused_at_every_level(path, near, allowed):
    message, (*parents, last) = explain(change(path, 1)), path.split(".")
    assert ".".join(parents) in message
    assert f"unknown key {last!r} (did you mean {near}?); allowed here: " in message
    assert allowed in message


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
        ("brains.objects72.regions", {}, "at least 1 item"),
        ("recipes.ipcl.epochs", "100", "valid integer"),
        ("recipes.ipcl.epochs", 0, "greater than or equal to 1"),
        ("recipes.ipcl.epochs", True, "valid integer"),
        ("recipes.ipcl.batch_size", 1, "greater than or equal to 2"),
        ("recipes.ipcl.objective.n_views", 1, "greater than or equal to 2"),
        ("recipes.ipcl.objective.tau", 0, "greater than 0"),
        ("recipes.ipcl.objective.tau", float("nan"), "finite number"),
        ("recipes.ipcl.objective.loss", "triplet", "'nce' or 'infonce'"),
        ("recipes.ipcl.optimizer.lr", "5e-4", "valid number"),
        ("recipes.ipcl.optimizer.momentum", 1.5, "less than or equal to 1"),
        ("recipes.ipcl.schedule.pct_start", 0, "greater than 0"),
        ("recipes.ipcl.schedule.momentum_range", [0.9], "at least 2 items"),
        ("recipes.supervised.schedule.milestones", [30, "sixty"], "valid integer"),
        ("recipes.ipcl.augmentation.hue", 0.6, "less than or equal to 0.5"),
        ("recipes.ipcl.augmentation.area", [0.2, 0.5, 1.0], "at most 2 items"),
        ("models.first.architecture", "vgg16", "'alexnet_gn'"),
        ("models.first.dim", 1, "greater than or equal to 2"),
        ("models.first.width", -1, "greater than 0"),
        ("models.first.seed", -1, "greater than or equal to 0"),
        ("models.first.preprocessing.image_size", 8, "greater than or equal to 16"),
        ("models.first.preprocessing.mean", [0.5], "at least 3 items"),
        ("models.theirs.sha256", "abc", "match pattern"),
        ("models.first.unavailable", "", "at least 1 character"),
        ("models.fetched.head", "two", "'linear' or 'mlp'"),
        ("models.fetched.weights.url", "http://example.org/moco.pth", "match pattern"),
        ("models.fetched.weights.hash", "sha256:51bcc71", "match pattern"),
        ("models.fetched.weights.hash", "59fd9945", "match pattern"),
        ("models.fetched.weights.max_mb", 0, "greater than or equal to 1"),
        ("models.fetched.weights.format", "pickle", "'open_ipcl', 'lemniscate'"),
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


@pytest.mark.parametrize(
    "path,value,allowed",
    [
        ("recipes.ipcl.augmentation.area", [0.5, 0.2], "give [low, high] with 0 < low <= high <= 1, not [0.5, 0.2]"),
        ("recipes.ipcl.augmentation.area", [0.5, 1.2], "high <= 1, not [0.5, 1.2]"),
        ("recipes.ipcl.augmentation.aspect_ratio", [0.0, 1.0], "0 < low <= high"),
        ("recipes.supervised.leftover_gradients", "drop", "drop has no meaning with accumulate: 1"),
        ("recipes.ipcl.schedule.momentum_range", [0.95, 0.85], "0 <= low <= high < 1, not [0.95, 0.85]"),
        ("models.first.preprocessing.std", [0.2, 0.0, 0.2], "must be above 0, not [0.2, 0.0, 0.2]"),
    ],
)
def test_wrong_range_is_refused(path, value, allowed):
    message = explain(change(path, value))
    assert path.rsplit(".", 1)[0] in message
    assert f"{path.rsplit('.', 1)[1]}: " in message
    assert allowed in message


@pytest.mark.parametrize(
    "path,where",
    [("recipes.ipcl.objective", "name"), ("brains.objects92", "source"), ("recipes.ipcl.optimizer", "name")],
)
def test_alternative_that_does_not_exist_is_refused(path, where):
    message = explain(change(f"{path}.{where}", "nothing"))
    assert path in message
    assert "'nothing'" in message
    assert "expected tags" in message


@pytest.mark.parametrize(
    "path", ["title", "datasets", "recipes.ipcl.epochs", "models.first.dataset", "brains.objects72.betas"]
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
        ("models.theirs.dim", None, "models.theirs.dim: give the number of outputs of the pretrained network"),
        (
            "models.first.width",
            0.3,
            "models.first.width: 0.3 splits no channels into whole groups; give a multiple of 1/32",
        ),
        ("models.labelled.width", 0.5, "models.labelled.width: only the AlexNets have a width, resnet18 has not"),
        (
            "models.first.architecture",
            "efficientnet_lite0",
            "models.first: efficientnet_lite0 is the architecture that can be pretrained, and only so",
        ),
        ("models.theirs.architecture", "resnet50", "models.theirs: efficientnet_lite0 is the architecture"),
        ("models.fetched.dim", None, "models.fetched.dim: give the number of outputs of the fetched network"),
        (
            "models.first.head",
            "mlp",
            "models.first.head: only resnet18 and resnet50 have an mlp head, alexnet_gn has not",
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
        ("models.first.architecture", "pixels", "models.first.source: pixels learn nothing; give untrained"),
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


# ---- paths of the user's own -----------------------------------------------------------------------------------------


def test_missing_paths_name_their_key():
    found = missing_paths(load_config(STUDY), {"pictures", "emoji"}, {"objects92", "objects72"}, {"fetched"})
    assert found == [
        "  datasets.pictures.train: set it to a folder with one sub-folder of images a class (found: /data/train)",
        "  datasets.pictures.val: set it to a folder with one sub-folder of images a class (found: nothing)",
        "  brains.objects72.betas: set it to the file ExploringObjectsData_SECTORS.mat (found: /data/betas.mat)",
        "  brains.objects72.stimuli: set it to the folder of the 72 stimuli (found: nothing)",
    ]


def test_weights_that_are_not_on_this_machine_are_missing(tmp_path):
    study = change("models.fetched.weights", STUDY["models"]["fetched"]["weights"] | {"url": str(tmp_path / "a.pth")})
    (found,) = missing_paths(load_config(study), set(), set(), {"fetched"})
    assert found.startswith("  models.fetched.weights.url: set it to a file of weights")
    (tmp_path / "a.pth").touch()
    assert missing_paths(load_config(study), set(), set(), {"fetched"}) == []


def test_paths_that_exist_or_are_not_asked_for_are_not_missing(tmp_path):
    study = change("datasets.pictures", {"train": str(tmp_path), "val": str(tmp_path)})
    assert missing_paths(load_config(study), {"pictures"}, {"objects92"}, set()) == []
