"""
The rows of Table 1: networks, and where their weights come from.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from .base import Name, PerChannel, Strict
from .evaluation import Protocol


class Preprocessing(Strict):
    """How an image enters the network."""

    image_size: int = Field(224, ge=16, le=1024)
    """Side of the square input in pixels."""
    mean: PerChannel = [0.485, 0.456, 0.406]
    """Subtracted from each channel of an image in [0, 1]."""
    std: PerChannel = [0.229, 0.224, 0.225]
    """Each channel is divided by it; above 0."""

    @model_validator(mode="after")
    def _std_is_positive(self):
        if min(self.std) <= 0:
            raise ValueError(f"std: each of the three numbers must be above 0, not {self.std}")
        return self


class ModelBase(Strict):
    framework: str
    """Row label and colour: IPCL, Wusnet, Supervised, Untrained, ..."""
    architecture: Literal["alexnet_gn", "alexnet_bn", "cornet_z_bn", "resnet18", "resnet50", "efficientnet_lite0"]
    dim: int | None = Field(None, ge=2)
    """Output dimension d of the embedding; null for supervised models (the number of classes)."""
    width: float = Field(1.0, gt=0, le=4)
    """Multiplies the channels of every hidden layer (AlexNets only)."""
    preprocessing: Preprocessing = Preprocessing()
    embedding_layer: str | None = None
    """Layer whose activations the kNN uses; null: the network's output."""
    protocols: list[Protocol] | None = Field(None, min_length=1)
    """How category accuracy is measured; Table 1 prints the first. The weighted kNN is measured in any case. null: softmax
    where the network was supervised on this data set, else weighted kNN."""
    layers: list[str] | None = Field(None, min_length=1)
    """Layers whose RSMs are compared with the brain: module names, `*` for any one part between dots; null: every module
    that has parameters of its own or no children."""
    dataset: Name
    """Data set to train on and to measure category accuracy on."""


class Trained(ModelBase):
    """A network trained here."""

    source: Literal["trained"] = "trained"
    recipe: Name
    seed: int = Field(0, ge=0)
    """Seed of the initial weights, the image order, the views and the negatives."""


class Untrained(ModelBase):
    """A network with its initial weights: the control that learned nothing."""

    source: Literal["untrained"]
    seed: int = Field(0, ge=0)


class Pretrained(ModelBase):
    """Weights that somebody else trained, from a package."""

    source: Literal["pretrained"]
    package: str
    """Package and version, as in name==1.0."""
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    """SHA-256 of the package's file."""
    member: str
    """Path of the state dict inside the package."""


Model = Annotated[Trained | Untrained | Pretrained, Field(discriminator="source")]
