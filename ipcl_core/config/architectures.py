"""
The architectures that a configuration may name: one entry each, and all that the project knows of it.

A new architecture is an entry here and the class that it names. Nothing is imported before a network is built, so that reading
a configuration and printing Table 1 need no torch.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from .base import suggest


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """What is known of an architecture."""

    printed: str
    """Its name in Table 1 and the figures."""
    builder: str
    """MODULE:NAME of the class or function that returns the network with fresh weights."""
    arguments: dict[str, Any] = field(default_factory=dict)
    """Keyword arguments of the builder that are always the same."""
    takes: tuple[str, ...] = ("dim", "l2norm")
    """Further ones, from the model: dim (number of outputs), l2norm (whether they end in an L2 norm; else they never do),
    width (multiplies the channels), head (linear or mlp). Models may have a width or a head only where it is here."""
    smallest: int = 16
    """Side in pixels of the smallest input."""
    sources: tuple[str, ...] = ("trained", "untrained", "fetched", "own")
    """Where its weights may come from."""
    formats: tuple[str, ...] = ()
    """Formats of published weights that hold it, see `networks.published_weights`."""
    family: str | None = None
    """Architecture with whose models its own are compared, where that is another one: without its width. In the claims,
    families whose names begin with alexnet are the AlexNets, with resnet the ResNets."""
    speed: float | str = "resnet50"
    """Views of 224 pixels a second that one H100 trains on (forward and backward, bfloat16, without torch.compile): not
    measured, arithmetic from FLOPs and memory traffic. Or the architecture whose speed is scaled by the FLOPs."""
    find_fault: Callable[[Any], str | None] = lambda model: None
    """What else a model's block must fulfil: the key and what would be right; None where it does."""


def _find_fault_of_groups(model) -> str | None:
    if (model.width * 32) % 1:
        return f"width: {model.width} splits no channels into whole groups; give a multiple of 1/32"


def _find_fault_of_pool(n: int) -> Callable:
    def find_fault(model) -> str | None:
        if model.dim != n:
            return f"dim: {model.architecture} ends in its average pool of {n} units; give {n}, not {model.dim}"

    return find_fault


def _find_fault_of_grid(model) -> str | None:
    if model.dim is None or model.dim % 3 or math.isqrt(model.dim // 3) ** 2 != model.dim // 3:
        return f"dim: give 3 x side x side, such as 3072 for 32 x 32 pixels, not {model.dim}"


ARCHITECTURES = {
    "alexnet_gn": Architecture(
        printed="AlexNet-gn",
        builder="ipcl_core.networks.architectures:AlexNet",
        arguments={"norm": "gn"},
        takes=("dim", "l2norm", "width"),
        smallest=63,
        formats=("open_ipcl",),
        speed=28_000,
        find_fault=_find_fault_of_groups,
    ),
    "alexnet_bn": Architecture(
        printed="AlexNet-bn",
        builder="ipcl_core.networks.architectures:AlexNet",
        arguments={"norm": "bn"},
        takes=("dim", "l2norm", "width"),
        smallest=63,
        speed="alexnet_gn",
    ),
    "alexnet": Architecture(
        printed="AlexNet",
        builder="ipcl_core.networks.architectures:OriginalAlexNet",
        takes=("dim", "l2norm", "width"),
        smallest=63,
        speed="alexnet_gn",
    ),
    "cornet_z_bn": Architecture(
        printed="CORnet-Z-bn",
        builder="ipcl_core.networks.architectures:CORnetZ",
        arguments={"norm": True},
        speed=27_000,
    ),
    "cornet_z": Architecture(
        printed="CORnet-Z",
        builder="ipcl_core.networks.architectures:CORnetZ",
        arguments={"norm": False},
        formats=("cornet_z",),
        speed="cornet_z_bn",
    ),
    "resnet18": Architecture(
        printed="ResNet-18",
        builder="ipcl_core.networks.architectures:ResNet",
        arguments={"depth": 18},
        takes=("dim", "l2norm", "head"),
        formats=("lemniscate", "torchvision"),
        speed=11_400,
    ),
    "resnet50": Architecture(
        printed="ResNet-50",
        builder="ipcl_core.networks.architectures:ResNet",
        arguments={"depth": 50},
        takes=("dim", "l2norm", "head"),
        formats=("lemniscate", "torchvision", "moco_v2"),
        speed=3_200,
    ),
    **{
        f"resnet50x{width}": Architecture(
            printed=f"ResNet-50 x{width}",
            builder="ipcl_core.networks.architectures:SimCLRResNet",
            arguments={"width": width},
            takes=(),
            formats=("simclr_tf",),
            family="resnet50",
            find_fault=_find_fault_of_pool(2048 * width),
        )
        for width in (1, 2, 4)
    },
    "efficientnet_lite0": Architecture(
        printed="EfficientNet-lite0",
        builder="ipcl_core.networks.architectures:build_efficientnet_lite0",
        takes=("dim",),
        smallest=32,
        sources=("fetched", "own"),
        formats=("efficientnet_lite",),
    ),
    "pixels": Architecture(
        printed="pixels",
        builder="ipcl_core.networks.architectures:Pixels",
        takes=("dim",),
        sources=("untrained",),
        find_fault=_find_fault_of_grid,
    ),
}
FORMATS = tuple(dict.fromkeys(name for entry in ARCHITECTURES.values() for name in entry.formats))
"""Formats of published weights."""


def require_architecture(name: str) -> str:
    """Return the name of an architecture that has an entry.

    Raises:
        ValueError: it has none; the message has the names that are like it, and all that there are.
    """
    if name not in ARCHITECTURES:
        hint = suggest(name, ARCHITECTURES, n=2)
        raise ValueError(f"{name!r} is none of this project's{hint}; give one of {', '.join(ARCHITECTURES)}")
    return name


def print_architecture(name: str) -> str:
    """Return an architecture as Table 1 prints it; one that is not this project's as it is named."""
    return ARCHITECTURES[name].printed if name in ARCHITECTURES else name


def find_family(name: str) -> str:
    """Return the architecture without its width, as in resnet50 of resnet50x4."""
    return (ARCHITECTURES[name].family if name in ARCHITECTURES else None) or name
