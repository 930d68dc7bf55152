"""
Models of the user's own: built, given their weights, tried on a few pictures, and written as weights files.
"""

import logging
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from ..files import BEGIN, compute_sha256, say_kind
from .architectures import NetworkSpec, build_network, initialize_network
from .layers import Layers
from .network_files import fill_network, list_tensors, load_network, save_network
from .own_builders import find_published_file, read_published_preprocessing
from .published_weights import load_state
from .trials import find_difference, try_network

logger = logging.getLogger(__name__)


def make_own_model(
    model: dict, path: str | Path, *, layers: Layers, accuracy_layers: list[str]
) -> tuple[NetworkSpec, dict]:
    """Build a model of the user's own and write it as a weights file, once a forward pass has shown that it can be used.

    Args:
        model: `config.models.<name>` with source own, as a dictionary.
        path: safetensors file to write.
        layers: whose RSMs will be made.
        accuracy_layers: at which category accuracy will be measured.

    Where torchvision or timm publish another preprocessing with the weights than the block has, a warning says so.

    Returns:
        The network's specification, and what it was made from: architecture, arguments, weights, state_dict, the sha256 of
        its file or of torchvision's, and the version of the library or installed package.

    Raises:
        ValueError: the network cannot be built or takes no such pictures, a layer is not there or its output is not finite,
            the state dict does not fit, or the network does not come back from its state dict.
        OSError: weights cannot be downloaded.
    """
    sha256 = None
    if model["state_dict"]:
        network, spec, sha256 = fill_own_network(model)
    else:
        spec = NetworkSpec.from_model(model, n_classes=0)
        network = initialize_network(spec, model["seed"], model["weights"])
        _refuse_other_draws(network, spec, model)
    network.eval()
    published = read_published_preprocessing(spec.architecture, model["weights"], network)
    for key, value in published.items():
        if (here := model["preprocessing"][key]) not in (value, None):
            logger.warning("%s: preprocessing.%s is %s; the weights were published with %s", path, key, here, value)
    names = list_tensors(network, spec).keys()
    responses = try_network(network, spec, layers, accuracy_layers)
    if new := [name for name in network.state_dict() if name not in names]:
        raise ValueError(
            f"{spec.architecture}: {new[0]} is made in the forward pass; make it when the network is built, so that the seed "
            "decides on it and later jobs find it"
        )
    spec = spec.model_copy(update={"dim": responses["output"][0].numel()})
    save_network(network, spec, path)
    again = load_network(path, model, seed=model["seed"] ^ 1)[0]  # another one: nothing must depend on it any more
    if layer := find_difference(responses, try_network(again, spec, layers, accuracy_layers)):
        Path(path).unlink()
        raise ValueError(
            f"{spec.architecture}: built again and given its own state dict, the network returns something else, first in "
            f"layer {layer}. Whatever it draws at random or reads when it is built must be a parameter or a buffer"
        )
    if published_file := find_published_file(spec.architecture, model["weights"]):
        sha256 = compute_sha256(published_file)
    origin = {key: model[key] for key in ("architecture", "arguments", "weights", "state_dict")} | {"sha256": sha256}
    return spec, origin | _find_version(spec.architecture)


def fill_own_network(model: dict) -> tuple[nn.Module, NetworkSpec, str]:
    """Return the network of a block with a `state_dict`, filled with it, its specification and the file's SHA-256.

    Raises:
        ValueError: the file has another SHA-256 than the block says, is no state dict, or does not fit.
        OSError: it cannot be read.
    """
    file = model["state_dict"]
    sha256 = compute_sha256(file)
    if model["sha256"] not in (None, sha256):
        raise ValueError(f"{file}: its SHA-256 is {sha256}, not {model['sha256']}")
    state = read_own_state(file)
    spec = NetworkSpec.from_model(model, n_classes=_count_outputs(model, state))
    return fill_network(spec, state, file, seed=model["seed"]), spec, sha256


def _refuse_other_draws(network: nn.Module, spec: NetworkSpec, model: dict) -> None:
    """The same seed must give the same bits."""
    again = initialize_network(spec, model["seed"], model["weights"]).state_dict()
    for name, tensor in network.state_dict().items():
        if isinstance(tensor, Tensor) and tensor.layout is torch.strided and not torch.equal(tensor, again[name]):
            if tensor.isnan().any():  # equal to nothing
                raise ValueError(f"{spec.architecture}: {name} holds NaN; give the network weights that are numbers")
            raise ValueError(
                f"{spec.architecture}: {name} is drawn anew in each build, whatever the seed; draw from torch, numpy or "
                "random without a seed or generator of your own"
            )


def read_own_state(file: str | Path) -> dict[str, Tensor]:
    """Read a state dict from a safetensors file, or from one of torch.save with plain tensors, whatever its suffix.

    Raises:
        ValueError: it is neither; see `published_weights.load_state`.
    """
    with open(file, "rb") as opened:
        begin = opened.read(BEGIN)
    is_safetensors = begin[8:9] == b"{"  # behind the length of its header
    if not is_safetensors and Path(file).suffix != ".safetensors":
        return load_state(file)
    try:
        return load_file(file)
    except SafetensorError as error:
        kind = "is one of torch.save, so call it .pth" if begin.startswith(b"PK") else say_kind(begin)
        raise ValueError(f"{file}: is no whole safetensors file{kind and '; it '}{kind} ({error})") from None


def _count_outputs(model: dict, state: dict[str, Tensor]) -> int:
    """Return the outputs of one of our networks that a state dict is of, by the length of its last bias; else 0."""
    if ":" in model["architecture"]:
        return 0
    last = list(build_network(NetworkSpec.from_model(model, n_classes=2)).state_dict())[-1]
    return next((tensor.numel() for name, tensor in state.items() if name.endswith(last)), 2)


def _find_version(architecture: str) -> dict[str, str]:
    """Return {package: version} of what builds the network, {} where it is no installed package."""
    package = architecture.split(":")[0].split(".")[0]
    try:
        return {package: version(package)} if ":" in architecture else {}
    except PackageNotFoundError:
        return {}
