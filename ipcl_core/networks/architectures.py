"""
The networks, and what must be known to build one.
"""

import math
import pkgutil
import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from pydantic import BaseModel, JsonValue
from torch import Tensor, nn

from ..config import Preprocessing
from ..config.architectures import ARCHITECTURES
from .modules import AdaptiveAvgPool2d, GroupNorm, MaxPool2d, MaxPoolSame, Normalize
from .own_builders import build_own_network


class AlexNet(nn.Module):
    """AlexNet without channel groups, with normalisation after every layer but the last.

    Args:
        norm: gn (GroupNorm, 32 groups at full width) or bn (BatchNorm2d) after the convolutions; BatchNorm1d after fc6
            and fc7 in both.
        dim: output dimension.
        l2norm: end in an L2 norm (self-supervised) or not (supervised).
        width: multiplies every hidden layer's channels and the number of groups.

    Shapes: (B, 3, S, S) -> (B, dim); S = 224 in the paper, S >= 63.

    Source: Konkle and Alvarez 2020, appendices A and E.
    """

    def __init__(self, norm: str, dim: int, *, l2norm: bool = True, width: float = 1.0):
        super().__init__()
        channels = [round(c * width) for c in (96, 256, 384, 384, 256)]
        units, groups = round(4096 * width), round(32 * width)
        if norm == "gn" and (groups < 1 or any(c % groups for c in channels)):
            raise ValueError(f"width {width}: channels {channels} cannot be split into {groups} groups; use n/32")

        def block(c_in: int, c_out: int, pool: bool, **conv) -> nn.Sequential:
            layers = [
                nn.Conv2d(c_in, c_out, bias=False, **conv),
                GroupNorm(groups, c_out) if norm == "gn" else nn.BatchNorm2d(c_out),
                nn.ReLU(inplace=True),
            ]
            return nn.Sequential(*layers, *([MaxPool2d(3, 2)] if pool else []))

        self.conv_block_1 = block(3, channels[0], True, kernel_size=11, stride=4, padding=2)
        self.conv_block_2 = block(channels[0], channels[1], True, kernel_size=5, padding=2)
        self.conv_block_3 = block(channels[1], channels[2], False, kernel_size=3, padding=1)
        self.conv_block_4 = block(channels[2], channels[3], False, kernel_size=3, padding=1)
        self.conv_block_5 = block(channels[3], channels[4], True, kernel_size=3, padding=1)
        self.ave_pool = AdaptiveAvgPool2d((6, 6))
        self.fc6 = nn.Sequential(nn.Linear(channels[4] * 36, units), nn.BatchNorm1d(units), nn.ReLU(inplace=True))
        self.fc7 = nn.Sequential(nn.Linear(units, units), nn.BatchNorm1d(units), nn.ReLU(inplace=True))
        self.fc8 = nn.Sequential(nn.Linear(units, dim))
        if l2norm:
            self.l2norm = Normalize()

    def forward(self, x: Tensor) -> Tensor:
        for block in (self.conv_block_1, self.conv_block_2, self.conv_block_3, self.conv_block_4, self.conv_block_5):
            x = block(x)
        x = self.ave_pool(x).flatten(1)  # (B, c, 6, 6) -> (B, 36 c)
        x = self.fc8(self.fc7(self.fc6(x)))
        return self.l2norm(x) if hasattr(self, "l2norm") else x


class OriginalAlexNet(nn.Module):
    """AlexNet as first published: convolutions 2, 4 and 5 in two groups of channels, local response normalisation.

    The response normalisation divides by (2 + 1e-4 sum of squares over 5 channels) ** .75; torch divides alpha by the 5
    channels, hence 5e-4. Weights start from a normal distribution of standard deviation .01, biases at one in
    convolutions 2, 4, 5 and in fc6 and fc7, else at zero.

    Args:
        dim: output dimension.
        l2norm: end in an L2 norm.
        width: multiplies every hidden layer's channels.

    Shapes: (B, 3, S, S) -> (B, dim); S = 224, S >= 63.

    Source: Krizhevsky et al. 2012, section 3; Konkle and Alvarez 2020, section 5.
    """

    def __init__(self, dim: int, *, l2norm: bool = False, width: float = 1.0):
        super().__init__()
        channels = [2 * round(c * width / 2) for c in (96, 256, 384, 384, 256)]
        units = round(4096 * width)

        def block(c_in: int, c_out: int, *behind: nn.Module, **conv) -> nn.Sequential:
            return nn.Sequential(nn.Conv2d(c_in, c_out, **conv), nn.ReLU(inplace=True), *behind)

        def normalize_and_pool() -> tuple[nn.Module, nn.Module]:
            return nn.LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2.0), MaxPool2d(3, 2)

        pairs = list(zip([3, *channels], channels, strict=False))
        self.conv_block_1 = block(*pairs[0], *normalize_and_pool(), kernel_size=11, stride=4, padding=2)
        self.conv_block_2 = block(*pairs[1], *normalize_and_pool(), kernel_size=5, padding=2, groups=2)
        self.conv_block_3 = block(*pairs[2], kernel_size=3, padding=1)
        self.conv_block_4 = block(*pairs[3], kernel_size=3, padding=1, groups=2)
        self.conv_block_5 = block(*pairs[4], MaxPool2d(3, 2), kernel_size=3, padding=1, groups=2)
        self.ave_pool = AdaptiveAvgPool2d((6, 6))  # the identity at 224 pixels
        self.fc6 = nn.Sequential(nn.Linear(channels[4] * 36, units), nn.ReLU(inplace=True), nn.Dropout(0.5))
        self.fc7 = nn.Sequential(nn.Linear(units, units), nn.ReLU(inplace=True), nn.Dropout(0.5))
        self.fc8 = nn.Sequential(nn.Linear(units, dim))
        if l2norm:
            self.l2norm = Normalize()
        ones = [self.conv_block_2, self.conv_block_4, self.conv_block_5, self.fc6, self.fc7]
        for block in self.children():
            if isinstance(block, nn.Sequential):
                nn.init.normal_(block[0].weight, std=0.01)
                nn.init.constant_(block[0].bias, float(block in ones))

    forward = AlexNet.forward


class CORnetZ(nn.Module):
    """CORnet-Z: V1, V2, V4, IT, average pool, linear; or with BatchNorm between convolution and ReLU.

    Shapes: (B, 3, S, S) -> (B, dim). Source: Kubilius et al. 2018; the place of BatchNorm is unpublished.
    """

    def __init__(self, dim: int, *, norm: bool = True, l2norm: bool = True):
        super().__init__()

        def area(c_in: int, c_out: int, kernel: int, stride: int) -> nn.Sequential:
            conv = nn.Conv2d(c_in, c_out, kernel, stride, padding=kernel // 2)
            nn.init.xavier_uniform_(conv.weight)
            nn.init.zeros_(conv.bias)
            behind = [nn.BatchNorm2d(c_out)] if norm else []
            return nn.Sequential(conv, *behind, nn.ReLU(inplace=True), MaxPool2d(3, 2, padding=1))

        self.V1 = area(3, 64, 7, 2)
        self.V2 = area(64, 128, 3, 1)
        self.V4 = area(128, 256, 3, 1)
        self.IT = area(256, 512, 3, 1)
        self.ave_pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(512, dim)
        nn.init.xavier_uniform_(self.fc.weight)
        nn.init.zeros_(self.fc.bias)
        if l2norm:
            self.l2norm = Normalize()

    def forward(self, x: Tensor) -> Tensor:
        x = self.IT(self.V4(self.V2(self.V1(x))))
        x = self.fc(self.ave_pool(x).flatten(1))  # (B, 512, 1, 1) -> (B, 512) -> (B, dim)
        return self.l2norm(x) if hasattr(self, "l2norm") else x


class ResNet(nn.Module):
    """torchvision's ResNet-18 or -50 with `dim` outputs and, if asked for, an L2 norm.

    Its head is one linear layer, or (mlp) two of them with a ReLU between, the hidden one as wide as its input.

    Shapes: (B, 3, S, S) -> (B, dim). Source: section 4.1; He et al. 2016; for the mlp head Chen et al. 2020, MoCo v2.
    """

    def __init__(self, depth: int, dim: int, *, head: str = "linear", l2norm: bool = True):
        super().__init__()
        import torchvision  # here, because it takes seconds to import

        self.resnet = getattr(torchvision.models, f"resnet{depth}")(num_classes=dim)
        self.resnet.maxpool = MaxPool2d(3, 2, padding=1)
        if head == "mlp":
            width = self.resnet.fc.in_features
            self.resnet.fc = nn.Sequential(nn.Linear(width, width), nn.ReLU(inplace=True), self.resnet.fc)
        if l2norm:
            self.l2norm = Normalize()

    def forward(self, x: Tensor) -> Tensor:
        x = self.resnet(x)
        return self.l2norm(x) if hasattr(self, "l2norm") else x


class SimCLRResNet(nn.Module):
    """ResNet-50 with every layer `width` times as wide, as SimCLR trained it in TensorFlow; ends in the average pool.

    Its convolutions pad both sides alike, as torchvision's do; only the max pool pads in TensorFlow's way. The published
    checkpoints hold no projection head, so there is none here.

    Shapes: (B, 3, S, S) -> (B, 2048 width).

    Source: Chen et al. 2020, SimCLR; resnet.py of google-research/simclr.
    """

    def __init__(self, width: int):
        super().__init__()
        from torchvision.models.resnet import Bottleneck

        def stage(c_in: int, c: int, n_blocks: int, stride: int) -> nn.Sequential:
            shortcut = nn.Sequential(nn.Conv2d(c_in, 4 * c, 1, stride, bias=False), nn.BatchNorm2d(4 * c))
            blocks = [Bottleneck(c_in, c, stride, shortcut)]
            return nn.Sequential(*blocks, *[Bottleneck(4 * c, c) for _ in range(n_blocks - 1)])

        c = 64 * width
        self.conv1 = nn.Conv2d(3, c, 7, 2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(c)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = MaxPoolSame(3, 2)
        self.layer1 = stage(c, c, 3, 1)
        self.layer2 = stage(4 * c, 2 * c, 4, 2)
        self.layer3 = stage(8 * c, 4 * c, 6, 2)
        self.layer4 = stage(16 * c, 8 * c, 3, 2)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.avgpool(x).flatten(1)  # (B, c, 1, 1) -> (B, c)


class Pixels(nn.Module):
    """The baseline that computes nothing: the image itself, then the image averaged to `dim` / 3 pixels.

    Shapes: (B, 3, S, S) -> (B, dim), dim = 3 x side x side.
    """

    def __init__(self, dim: int):
        super().__init__()
        self.image = nn.Identity()
        self.pool = nn.AdaptiveAvgPool2d(math.isqrt(dim // 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.pool(self.image(x)).flatten(1)  # (B, 3, side, side) -> (B, dim)


def build_efficientnet_lite0(dim: int) -> nn.Module:
    """Return EfficientNet-lite0, in evaluation mode."""
    from efficientnet_lite_pytorch import EfficientNet

    return EfficientNet.from_name("efficientnet-lite0", num_classes=dim).eval()


class NetworkSpec(BaseModel):
    """What must be known to build a network and feed it; stored inside its weights file."""

    architecture: str
    """As in the configuration."""
    dim: int
    """Output dimension."""
    l2norm: bool
    """Whether the output is L2-normalised."""
    width: float
    """Multiplier of the channels."""
    head: str = "linear"
    """Last layers of a ResNet."""
    arguments: dict[str, JsonValue] = {}
    """Keyword arguments of a builder that is not this project's."""
    code: str = "."
    """Folder of its module."""
    preprocessing: Preprocessing
    """Without center_crop, which only says how accuracy is measured."""

    @classmethod
    def from_model(cls, model: dict, n_classes: int | None = None) -> "NetworkSpec":
        """Take it from a model's block of the configuration.

        Args:
            model: `config.models.<name>`, as a dictionary.
            n_classes: number of outputs where the block gives no dimension, as for supervised models.
        """
        entry = ARCHITECTURES.get(model["architecture"])
        return cls(
            architecture=model["architecture"],
            dim=model["dim"] or n_classes,
            l2norm=model["dim"] is not None and (entry is None or "l2norm" in entry.takes),
            width=model["width"],
            head=model["head"],
            arguments=model.get("arguments", {}),
            code=model.get("code", "."),
            preprocessing=model["preprocessing"] | {"center_crop": None},
        )


def build_network(spec: NetworkSpec, weights: str | None = None) -> nn.Module:
    """Build a network with fresh weights from torch's global generator, or with published ones (`build_own_network`).

    Raises:
        ValueError: the architecture is unknown or the width does not fit it; see `build_own_network`.
    """
    if ":" in spec.architecture:
        return build_own_network(spec.architecture, arguments=spec.arguments, code=spec.code, weights=weights)
    if spec.architecture not in ARCHITECTURES:
        raise ValueError(f"unknown architecture {spec.architecture!r}")
    entry = ARCHITECTURES[spec.architecture]
    build = pkgutil.resolve_name(entry.builder)
    return build(**entry.arguments, **{key: getattr(spec, key) for key in entry.takes})


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Seed torch, numpy and random, and put them back afterwards, with torch's default type, which a builder may set."""
    numbers, words, dtype = np.random.get_state(), random.getstate(), torch.get_default_dtype()  # noqa: NPY002
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            np.random.seed(seed)  # noqa: NPY002
            random.seed(seed)
            yield
    finally:
        np.random.set_state(numbers)  # noqa: NPY002
        random.setstate(words)
        torch.set_default_dtype(dtype)


def initialize_network(spec: NetworkSpec, seed: int, weights: str | None = None) -> nn.Module:
    """Build a network with the initial weights that `seed` gives, or with published ones (`build_own_network`).

    A builder of the user's may draw from torch, numpy and random, and put the network anywhere; it is given on the CPU.
    Lazy modules get their shapes, and draw their weights, in a pass of one picture of zeros; a network that has some is
    then in evaluation mode.

    Raises:
        ValueError: see `build_network`; a lazy module cannot be made, or takes no part in the pass.
    """
    with _seeded(seed):
        network = build_network(spec, weights)
        if empty := next((name for name, tensor in _list_tensors(network) if tensor.is_meta), None):
            raise ValueError(
                f"{spec.architecture}: {empty} is on the device meta and holds no numbers; build it on the CPU"
            )
        network.cpu()  # which a network of the user's may override
        if _list_lazy(network):
            network.eval()
            side = spec.preprocessing.image_size
            try:
                with torch.no_grad():
                    network(torch.zeros(1, 3, side, side))
            except Exception as error:
                raise ValueError(
                    f"{spec.architecture}: has lazy modules, whose shapes a picture of {side} x {side} pixels is to give, but "
                    f"that pass failed: {type(error).__name__}: {error}"
                ) from error
            if left := _list_lazy(network):
                raise ValueError(
                    f"{spec.architecture}: {left[0]} is lazy and takes no part in a pass; give it its shape"
                )
        return network


def _list_tensors(network: nn.Module) -> list[tuple[str, Tensor]]:
    return [*network.named_parameters(), *network.named_buffers()]


def _list_lazy(network: nn.Module) -> list[str]:
    """Names of the parameters and buffers that have no shape yet."""
    return [name for name, tensor in _list_tensors(network) if nn.parameter.is_lazy(tensor)]
