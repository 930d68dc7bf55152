import copy
from pathlib import Path

import pytest
import yaml
from configurations import STUDY, change, explain, remove
from conftest import another_user
from snakemake.utils import update_config

from ipcl_core.config import load_config, missing_paths
from ipcl_core.config.missing_paths import IMAGES
from ipcl_core.new_study import write_study

ROOT = Path(__file__).parents[2]

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


@pytest.mark.parametrize("name", ["config.yaml", "config/demo.yaml", "config/visual_diet.yaml"])
def test_configuration_file_of_the_project_is_accepted(name):
    load_config(yaml.safe_load((ROOT / name).read_text()))


def test_networks_that_exist_need_no_data_set():
    study = change("models.untrained.dataset", None)
    assert list(load_config(study).measured) == [name for name in study["models"] if name != "untrained"]
    study["models"] = {"untrained": study["models"]["untrained"]}
    del study["datasets"], study["recipes"]
    assert not load_config(study | {"figure2_models": ["untrained"]}).measured
    assert "models.first.dataset" in explain(change("models.first.dataset", None))
    assert "models.untrained.dataset: Field required" in explain(remove("models.untrained.dataset"))


def test_encoding_is_off_by_default_and_needs_voxels(tmp_path):
    study = yaml.safe_load(write_study(tmp_path / "study", model=False).read_text())
    assert load_config(study).encoding is None and load_config(study).encoded == load_config(study).partitioned == []
    study["encoding"] = {"partitions": [["pixels", "untrained_alexnet_gn"], ["efficientnet_lite0", "pixels"]]}
    assert load_config(study).encoded == ["mine"]
    assert load_config(study).partitioned == ["pixels", "untrained_alexnet_gn", "efficientnet_lite0"]
    said = explain(study | {"encoding": {"partitions": [["pixels", "untrained_alexnet"]]}})
    assert (
        "encoding.partitions: 'untrained_alexnet' is not defined" in said
        and "did you mean untrained_alexnet_gn" in said
    )
    assert "encoding.partitions.0: Value should have at least 2" in explain(
        study | {"encoding": {"partitions": [["pixels"]]}}
    )
    beside = study | {"encoding": {"partitions": [["pixels", "categories"]]}}
    assert "encoding.partitions: brains.mine names no categories" in explain(beside)
    sorted_study = beside | {"brains": {"mine": study["brains"]["mine"] | {"categories": "folders"}}}
    assert load_config(sorted_study).partitioned == ["pixels"]
    assert "encoding.n_folds" in explain(study | {"encoding": {"n_folds": 1}})
    study["brains"]["mine"] |= {"kind": "rsm", "runs": None, "files": "{participant}_{region}.npy"}
    assert "encoding: no brain has voxel patterns, which it needs; leave it out" in explain(study)


def test_seeds_are_laid_over_the_demo():
    study = yaml.safe_load((ROOT / "config" / "demo.yaml").read_text())
    n_models = len(study["models"])
    update_config(study, yaml.safe_load((ROOT / "config" / "seeds.yaml").read_text()))
    assert len(load_config(study).models) > n_models


def test_models_of_the_miniature_differ_in_their_seeds_alone():
    study = load_config(yaml.safe_load((ROOT / "config" / "cifar10.yaml").read_text()))
    found = {}
    for name, model in study.models.items():
        kind, _, seed = name.rpartition("_seed")
        assert model.seed == int(seed)
        found.setdefault(kind, []).append(model.model_dump(exclude={"seed"}))
    assert list(found) == ["ipcl", "wusnet", "supervised", "untrained"]
    assert all(len(models) == 3 and models.count(models[0]) == 3 for models in found.values())
    objective = study.recipes["ipcl"].objective
    assert objective.queue_size == objective.n_views * study.recipes["ipcl"].batch_size


def test_every_model_has_an_origin():
    study = copy.deepcopy(STUDY)
    weights = study["models"]["fetched"]["weights"]
    study["models"]["proxy"] = study["models"]["labelled"] | {
        "weights": weights | {"format": "torchvision", "hash": None, "origin": "proxy"}
    }
    study["models"]["lost"] = study["models"]["fetched"] | {"unavailable": "our nodes have no internet"}
    dumped = load_config(study).model_dump()["models"]
    assert {name: (model["origin"], model["unavailable"]) for name, model in dumped.items()} == {
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


# ---- paths of the user's own -----------------------------------------------------------------------------------------


def test_missing_paths_name_their_key():
    found = missing_paths(load_config(STUDY), {"pictures", "emoji"}, {"objects92", "objects72"}, {"fetched"})
    assert found == [
        f"  datasets.pictures.train: set it to {IMAGES} (found: /data/train, which is not there)",
        f"  datasets.pictures.val: set it to {IMAGES} (found: nothing)",
        "  brains.objects72.betas: set it to the file ExploringObjectsData_SECTORS.mat (found: /data/betas.mat, which is not "
        "there)",
        "  brains.objects72.stimuli: set it to the folder of the 72 stimuli (found: /data/stimuli, which is not there)",
    ]


def test_pattern_of_archives_is_there_when_one_has_it(tmp_path):
    (tmp_path / "val").mkdir()
    study = load_config(change("datasets.pictures", {"train": f"{tmp_path}/train-*.tar", "val": f"{tmp_path}/val"}))
    assert missing_paths(study, {"pictures"}, set(), set()) == [
        f"  datasets.pictures.train: set it to {IMAGES} (found: {tmp_path}/train-*.tar, which is not there)"
    ]
    (tmp_path / "train-0.tar").touch()
    assert missing_paths(study, {"pictures"}, set(), set()) == []


def test_brain_without_paths_is_fetched_from_the_public_addresses():
    for key in ("betas", "stimuli"):
        study = load_config(change(f"brains.objects72.{key}", None))
        assert getattr(study.brains["objects72"], key).startswith("https://s3.amazonaws.com/visionlab-")
        (left,) = missing_paths(study, set(), {"objects72"}, set())
        assert f"objects72.{key}" not in left
    assert "objects72.betas" in explain(change("brains.objects72.betas", "http://example.org/betas.mat"))


def test_weights_that_are_not_on_this_machine_are_missing(tmp_path):
    study = change("models.fetched.weights", STUDY["models"]["fetched"]["weights"] | {"url": str(tmp_path / "a.pth")})
    (found,) = missing_paths(load_config(study), set(), set(), {"fetched"})
    assert found.startswith("  models.fetched.weights.url: set it to a file of weights")
    (tmp_path / "a.pth").touch()
    assert missing_paths(load_config(study), set(), set(), {"fetched"}) == []


def test_paths_that_exist_or_are_not_asked_for_are_not_missing(tmp_path):
    for split in ("train", "val"):
        (tmp_path / split).mkdir()
    study = change("datasets.pictures", {"train": str(tmp_path / "train"), "val": str(tmp_path / "val")})
    assert missing_paths(load_config(study), {"pictures"}, {"objects92"}, set()) == []


def test_paths_that_may_not_be_read_are_said_to_be(open_path):
    """Neither missing nor found later, by a job."""
    folder, file = open_path / "images", open_path / "a.pth"
    for split in ("train", "val"):
        (folder / split).mkdir(parents=True)
    file.touch()
    study = load_config(change("datasets.pictures", {split: str(folder / split) for split in ("train", "val")}))
    fetched = change("models.fetched.weights", STUDY["models"]["fetched"]["weights"] | {"url": str(file)})
    for path in (folder, file):
        path.chmod(0)
    with another_user():
        found = missing_paths(study, {"pictures"}, set(), set())
        found += missing_paths(load_config(fetched), set(), set(), {"fetched"})
    assert len(found) == 3 and all("which this user may not read" in line for line in found), found


def test_probe_of_the_paper_is_the_released_scripts():
    """main_lincls_onecycle.py of open_ipcl: SGD, a cycle with its peak at 3 of 10 epochs, crops and flips alone."""
    study = load_config(yaml.safe_load((ROOT / "config.yaml").read_text()))
    probe = study.probes.one_cycle
    assert (probe.epochs, probe.batch_size, probe.seed) == (10, 256, 0)
    assert (probe.optimizer.lr, probe.optimizer.momentum, probe.optimizer.weight_decay) == (30, 0.9, 0)
    assert (probe.schedule.pct_start, probe.schedule.div_factor, probe.schedule.final_div_factor) == (0.3, 1e6, 1e4)
    assert probe.schedule.momentum_range == study.recipes["ipcl"].schedule.momentum_range == [0.85, 0.95]
    colors = probe.augmentation.model_dump(include={"grayscale", "brightness", "contrast", "saturation", "hue"})
    assert probe.augmentation.area == [0.08, 1.0] and set(colors.values()) == {0.0}


def test_queue_of_prototypes_holds_one_of_each_image_of_a_minibatch():
    objective = {"name": "ipcl", "n_views": 5, "queue": "prototypes", "queue_size": 128}
    assert load_config(change("recipes.ipcl.objective", objective)).recipes["ipcl"].batch_size == 128
