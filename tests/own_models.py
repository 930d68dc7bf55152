"""Networks of the user's own as tests name and make them."""

from pathlib import Path

from configurations import change

from ipcl_core.config import load_config
from ipcl_core.networks.own_models import make_own_model

BLOCK = {"source": "own", "framework": "Mine", "dataset": "pictures", "preprocessing": {"image_size": 64}}


def describe(**block) -> dict:
    """The checked block of a model as the rule gets it."""
    return load_config(change("models.mine", BLOCK | block)).model_dump()["models"]["mine"]


def make(folder: Path, *, layers="all", accuracy_layers=("output",), **block):
    return make_own_model(
        describe(**block), folder / "weights.safetensors", layers=layers, accuracy_layers=list(accuracy_layers)
    )
