"""What ends a training for good is found before it starts."""

import re

import pytest
from configurations import STUDY

from ipcl_core.accuracy.check_accuracy import check_accuracy
from ipcl_core.config import load_config
from ipcl_core.training.check_training import check_training

ONE_CYCLE, L_BFGS = "linear probe (one-cycle)", "linear probe (L-BFGS)"


@pytest.fixture
def check():
    """Return a function that checks the study's first model on 130 images of three classes."""
    study = load_config(STUDY)

    def check(*, k=130, probes=None, recipes=None, name="first", **model):
        changed = {
            protocol: getattr(study.probes, protocol).model_copy(update=settings)
            for protocol, settings in (probes or {}).items()
        }
        parts = {
            "recipes": {key: study.recipes[key].model_copy(update=(recipes or {}).get(key)) for key in study.recipes},
            "models": {name: study.models[name].model_copy(update=model)},
            "probes": study.probes.model_copy(update=changed),
            "knn": study.knn.model_copy(update={"k": k}),
        }
        for each in (check_training, check_accuracy):
            each(study.model_copy(update=parts), name, n_images=130, n_classes=3)

    return check


def test_what_can_be_trained_and_measured_passes(check):
    check(probes={"one_cycle": {"batch_size": 130}}, protocols=[ONE_CYCLE, L_BFGS, "weighted kNN"], layers=["fc8"])
    check(name="labelled", recipe="ipcl", protocols=["softmax", "weighted kNN"])
    for recipe in (
        {"epochs": 2},
        {"epochs": 1, "leftover_gradients": "carry"},
        {"epochs": 20, "leftover_gradients": "drop"},
    ):
        check(recipes={"ipcl": recipe})
    check(probes={"one_cycle": {"batch_size": 131}, "l_bfgs": {"held_out": 0.001}})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"recipe": "supervised"},
            "recipes.supervised.batch_size: 256 is more than the 130 training images of pictures",
        ),
        ({"k": 131}, "knn.k: 131 is more than the 130 training images of pictures"),
        (
            {"protocols": [ONE_CYCLE]},
            "probes.one_cycle.batch_size: 256 is more than the 130 training images of pictures",
        ),
        (
            {"protocols": [L_BFGS], "probes": {"l_bfgs": {"held_out": 0.001}}},
            "probes.l_bfgs.held_out: 0.001 of 130 training images leaves one part empty",
        ),
        ({"protocols": ["softmax"]}, "models.first.protocols: softmax needs one output a class: 128 for 3 classes"),
        (
            {"layers": ["conv_blok_1"]},
            "models.first.layers: no layer 'conv_blok_1' in AlexNet; there are, for example, conv_block_1",
        ),
        (
            {"recipes": {"ipcl": {"epochs": 1}}},
            "recipes.ipcl.accumulate: 20 minibatches are never complete, with 1 x 1 of 128 images (130 training images of "
            "pictures) and leftover_gradients: step; no weight would change",
        ),
        (
            {"recipes": {"ipcl": {"epochs": 19, "leftover_gradients": "drop"}}},
            "recipes.ipcl.accumulate: 20 minibatches are never complete, with 19 x 1 of 128 images",
        ),
        ({"embedding_layer": "fc9"}, "models.first.embedding_layer: no layer 'fc9' in AlexNet"),
        ({"accuracy_layers": ["fc9"]}, "models.first.accuracy_layers: no layer 'fc9' in AlexNet"),
    ],
)
def test_what_cannot_is_named(check, changes, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        check(**changes)
