"""
Networks, and their activations.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..brains.stimuli import find_miscounted
from ..config import Model, Preprocessing, read_config
from ..config.architectures import ARCHITECTURES
from ..config.errors import check_block
from ..config.models import Fetched, Trained
from ..config.study import check_network
from ..downloads import fetch_weights
from ..files import open_hdf5
from ..images.decoding import list_stimuli
from .arrays import make_plain, to_plain
from .brains import BrainData

if TYPE_CHECKING:  # torch takes seconds to import, and is an extra
    from torch import nn


logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Network:
    """A network that can be shown pictures; see `load_network`."""

    name: str
    module: nn.Module = field(repr=False)
    """In evaluation mode."""
    preprocessing: Preprocessing
    """How a picture enters it."""
    described: str = field(default="{}", repr=False)
    """What it was built from, JSON."""


def load_network(
    source: nn.Module | str | Path,
    *,
    name: str | None = None,
    preprocessing: Preprocessing | Mapping[str, Any] | None = None,
    config: str | Path | None = None,
    **block: Any,
) -> Network:
    """Return a network in evaluation mode. Needs the extra `networks`.

    Args:
        source: a torch.nn.Module; a folder of the workflow's `results/models`, or its weights.safetensors; a name under
            `models` of `config`; an architecture of this project, as alexnet_gn, with initial weights; torchvision:NAME,
            timm:NAME or MODULE:FUNCTION.
        name: in tables and figures; left out: that of the folder, the model, the class or the architecture.
        preprocessing: how a picture enters it; keys of `config.Preprocessing`. Each that is left out: what is in the file or
            the configuration, what was published with the weights, or 224 pixels and ImageNet's mean and standard deviation.
        config: configuration in which `source`, or its folder's name, is a name. What the workflow has made of the model is
            taken from its results, weights of others are downloaded, and what is to be trained must have been. Needed for a
            network that is not this project's: its weights file alone must not choose which code runs.
        block: keys of the model's block, as in a configuration: dim, width, weights, arguments, code, state_dict, seed.

    Raises:
        ValueError: there is no such network, the weights do not fit it, a key of the block is wrong, or one stands beside a
            network that has its own (a module, a folder, a name of `config`).
        OSError: weights cannot be read or downloaded.
        ModuleNotFoundError: the extra is not installed.

    Example:
        >>> import ipcl_core as ipcl
        >>> ipcl.load_network("alexnet_gn", width=1 / 16, preprocessing={"image_size": 64}).module.fc8[0].out_features
        128
    """
    try:
        import torch  # noqa: F401, only whether it is there
    except ModuleNotFoundError:
        raise ModuleNotFoundError("load_network needs torch: pip install 'ipcl-core[networks]'", name="torch") from None
    given = make_plain(preprocessing)
    if given is None:
        return _find_network(source, name, config, {}, block)
    check_block(Preprocessing, given, "preprocessing")
    keys = dict(given) if isinstance(given, Mapping) else given.model_dump()
    network = _find_network(source, name, config, keys, block)
    whole = network.preprocessing.model_dump() | keys
    return replace(network, preprocessing=check_block(Preprocessing, whole, "preprocessing"))


def _find_network(
    source: Any, name: str | None, config: str | Path | None, preprocessing: Mapping, block: dict[str, Any]
) -> Network:
    """Return a network with the preprocessing that it has by itself."""
    from torch import nn

    from ..networks.network_files import load_network as read_network

    if isinstance(source, nn.Module):
        if block:
            raise ValueError(
                f"{', '.join(block)}: a module is taken as it is; load its weights before, by load_state_dict"
            )
        source.eval()
        name = name or type(source).__name__
        if empty := next((key for key, tensor in source.named_parameters() if tensor.is_meta), None):
            raise ValueError(f"{name}: {empty} is on the device meta and holds no numbers; build it on the CPU")
        return Network(name, source, Preprocessing(), json.dumps({"architecture": name}))
    if not isinstance(source, str | Path):
        raise ValueError(
            f"source: found an object of class {type(source).__name__}; give a torch.nn.Module (not its class, nor its state "
            "dict), a name or a path"
        )
    path, study = Path(source), read_config(config) if config else None
    if block and (study or path.exists()):
        raise ValueError(
            f"{', '.join(block)}: what is {f'in {config}' if study else 'there'} is taken as it is; leave it out, or name an "
            "architecture"
        )
    if study and not path.exists():
        if str(source) not in study.models:
            raise ValueError(f"{config}: there is no model {source}, but {', '.join(study.models)}")
        path = Path(study.pathvars.get("results", "results")) / f"models/{source}"
        if not (path / "weights.safetensors").is_file():
            return _make_network(study.models[str(source)], name or str(source))
    if path.is_file() and path.suffix in (".pth", ".pt", ".bin", ".ckpt", ".tar"):
        raise ValueError(
            f"{path}: does not say of which network it holds the weights; name that, with state_dict={str(path)!r}"
        )
    if path.exists():
        folder = path if path.is_dir() else path.parent
        known = study.models.get(folder.name) if study else None
        path = folder / "weights.safetensors" if path.is_dir() else path
        module, spec = read_network(path, known.model_dump() if known else None)
        return Network(name or folder.name, module, spec.preprocessing, spec.model_dump_json())
    checked = _check_block(str(source), name, preprocessing, block)
    return _build_network(checked, name or str(source), look_up=True)


def _make_network(model: Model, name: str) -> Network:
    """Make the network of a block as the workflow does, from what needs no training."""
    from ..networks.network_files import load_network as read_network
    from ..networks.published_weights import convert_weights

    if model.origin in ("trained here", "unavailable"):
        why = (
            model.unavailable
            or f"it is not trained yet: snakemake --cores all RESULTS/models/{name}/weights.safetensors"
        )
        raise ValueError(f"{name}: {why}")
    if not isinstance(model, Fetched | Trained):
        return _build_network(model, name, look_up=False)
    with TemporaryDirectory() as folder:
        block, file, path = model.model_dump(), Path(folder) / name, Path(folder) / "weights.safetensors"
        fetch_weights(block["weights"], file)
        convert_weights(file, block, path)
        module, spec = read_network(path)
    return Network(name, module, spec.preprocessing, spec.model_dump_json())


def _check_block(architecture: str, name: str | None, preprocessing: Mapping, block: dict[str, Any]) -> Model:
    if "/" in architecture and ":" not in architecture:
        raise FileNotFoundError(f"{architecture}: there is no such folder or file")
    known = architecture in ARCHITECTURES
    source = "own" if not known or "state_dict" in block else "untrained"
    words: dict[str, Any] = {"source": source, "framework": name or architecture, "architecture": architecture}
    words |= {"dataset": None, "preprocessing": dict(preprocessing)} | ({"dim": 128} if known else {})
    checked = check_block(Model, words | make_plain(block), architecture)
    check_network(architecture, checked)
    return checked


def _build_network(checked: Model, name: str, *, look_up: bool) -> Network:
    """Build the network of a block; `look_up`: shown pictures as was published with its weights, not as the block says."""
    from ..networks.architectures import NetworkSpec, initialize_network
    from ..networks.own_builders import read_published_preprocessing
    from ..networks.own_models import fill_own_network

    model = checked.model_dump()
    if model.get("state_dict"):
        module, spec, _ = fill_own_network(model)
    else:
        spec = NetworkSpec.from_model(model, n_classes=0)
        module = initialize_network(spec, model["seed"], model.get("weights"))
    module.eval()
    published = look_up and read_published_preprocessing(checked.architecture, model.get("weights"), module)
    if published:
        spec = spec.model_copy(
            update={"preprocessing": Preprocessing.model_validate(published | {"center_crop": None})}
        )
    return Network(name, module, spec.preprocessing, spec.model_dump_json())


def extract_activations(
    network: Network, stimuli: str | Path | BrainData, *, layers: str | Sequence[str] = "all"
) -> dict[str, NDArray[np.float32]]:
    """Return a network's activations. Needs the extra `networks`.

    Args:
        network: of `load_network`.
        stimuli: folder of pictures, in the order of their names, or brain data that has one.
        layers: all, blocks, released_code, or names with wildcards: see `networks.layers.choose_layers`.

    Returns:
        Layer -> (n_pictures, ...) float32, in the order of the forward pass; where brain data have several pictures of a
        stimulus, each is a row.

    Raises:
        ValueError: no network of `load_network`, no folder, fewer than three pictures or two of one name, no such layer, or
            activations that are not finite.
        OSError: a file is no picture.

    Example:
        >>> import ipcl_core as ipcl
        >>> from tempfile import mkdtemp
        >>> from PIL import Image
        >>> folder = mkdtemp()
        >>> for name in "abc":
        ...     Image.new("RGB", (64, 64), "gray").save(f"{folder}/{name}.png")
        >>> pixels = ipcl.load_network("pixels", dim=12, preprocessing={"image_size": 64})
        >>> {layer: values.shape for layer, values in ipcl.extract_activations(pixels, folder).items()}
        {'image': (3, 3, 64, 64), 'pool': (3, 3, 2, 2)}
    """
    with TemporaryDirectory() as folder:
        path = Path(folder) / "activations.h5"
        record(network, stimuli, path, layers)
        with open_hdf5(path) as file:
            return {layer: file[f"layers/{layer}"][:] for layer in file.attrs["layers"]}


def record(network: Network, stimuli: str | Path | BrainData, path: Path, layers: Any) -> None:
    """Write a network's activations; see `fits.activations`."""
    from ..fits.activations import record_activations

    if not isinstance(network, Network):
        raise ValueError(f"network: found {type(network).__name__}; give what load_network returns for it")
    images = stimuli.images if isinstance(stimuli, BrainData) else stimuli
    if images is None:
        raise ValueError(
            f"{network.name}: the pictures of the stimuli are not known; give activations instead, in the order of the "
            "stimuli, as extract_activations(network, FOLDER) returns them"
        )
    if not isinstance(stimuli, BrainData):
        _check_folder(images)
    network.module.eval()  # it may have been trained on since it was loaded
    attributes = {"network": network.described}
    record_activations(
        network.module,
        network.preprocessing,
        images,
        path,
        layers=to_plain(layers),
        name=network.name,
        attributes=attributes,
    )


def _check_folder(images: Any) -> None:
    """Stop at what is no folder; warn of numbers in names that count in another order than the names."""
    if not isinstance(images, str | Path) or not Path(images).is_dir():
        raise ValueError(
            f"stimuli: found {images if isinstance(images, str | Path) else type(images).__name__}; give a folder"
        )
    if pair := find_miscounted(list(list_stimuli(images))):
        logger.warning("%s: sorted by name, %s stands before %s; by number behind it", images, *pair)
