"""A small configuration that uses every kind of block, and how tests change it."""

import copy

import pytest

from ipcl_core.config import ConfigError, load_config

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
            "stimuli": "/data/stimuli",
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
            "source": "fetched",
            "framework": "Supervised",
            "architecture": "efficientnet_lite0",
            "dim": 1000,
            "dataset": "pictures",
            "weights": {
                "package": "net==1.0",
                "member": "net.pth",
                "hash": f"sha256:{'0' * 64}",
                "format": "efficientnet_lite",
                "origin": "proxy",
            },
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
