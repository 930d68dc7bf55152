"""
Labelled images, and brain data.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from .base import Line, Name, Seed, Strict


class Storage(Strict):
    """How images are written into a .beton file."""

    shortest_side: int | None = Field(256, ge=8, le=4096)
    """Images are resized to this shortest side in pixels before writing (never enlarged); null keeps their size."""
    write_mode: Literal["jpg", "raw", "smart"] = "jpg"
    """jpg: every image as JPEG; raw: uint8 pixels; smart: raw pixels for images up to 128 x 128 pixels, else JPEG."""
    jpeg_quality: int = Field(90, ge=1, le=100)
    """JPEG quality, 1 to 100."""


class Labelled(Strict):
    """What every labelled data set has."""

    storage: Storage = Storage()
    on_corrupt: Literal["error", "skip"] = "error"
    """error: an image that cannot be decoded stops the conversion; skip: it is left out and listed in the manifest."""
    n_shards: int = Field(1, ge=1, le=1000)
    """Jobs that encode the training images; one encodes the validation images. It changes no byte of the result."""


class ImageFolder(Labelled):
    """A labelled data set in folders: <split folder>/<class>/<image>."""

    source: Literal["image_folder"] = "image_folder"
    train: str | None
    """Folder of the training images, one sub-folder a class. null: not on this machine."""
    val: str | None
    """Folder of the validation images, with the same classes."""
    val_labels: str | None = None
    """File of the classes, where the validation images lie in one folder without sub-folders, as ImageNet's are
    distributed: Kaggle's LOC_val_solution.csv, or the development kit's ILSVRC2012_validation_ground_truth.txt, which is
    read with the meta.mat beside it."""


class Twemoji(Labelled):
    """Twemoji object pictures (CC-BY 4.0) with the emoji categories as labels, from two packages."""

    source: Literal["twemoji"]
    val_fraction: float = Field(0.25, gt=0, lt=1)
    """Share of each category's concepts that are kept for validation."""
    seed: Seed = 0
    """Seed of the split by concept."""
    storage: Storage = Storage(shortest_side=64, write_mode="raw")


class Torchvision(Labelled):
    """One of torchvision's labelled data sets; its test split is the validation split here."""

    source: Literal["torchvision"]
    name: Literal["CIFAR10", "CIFAR100", "FashionMNIST", "Food101", "Imagenette", "MNIST", "STL10", "SVHN"]
    """Name of the class in torchvision.datasets."""
    root: str
    """Folder that holds torchvision's files, or receives them."""
    download: bool = False
    """Fetch the files where they are not in root; torchvision checks them by MD5."""


Dataset = Annotated[ImageFolder | Torchvision | Twemoji, Field(discriminator="source")]


class Kriegeskorte2008(Strict):
    """92 object images; human IT of four participants (fMRI); early visual cortex as one group matrix."""

    source: Literal["kriegeskorte_2008"]
    title: Line
    """Name in figures and tables."""
    stimuli: Literal["all", "inanimate"] = "all"
    """all: 92 images; inanimate: the 44 inanimate ones."""


class MagriKonkle2019(Strict):
    """72 inanimate objects; voxel patterns of ten participants, from the public .mat file and a folder of stimuli."""

    source: Literal["magri_konkle_2019"]
    title: Line
    """Name in figures and tables."""
    betas: str | None
    """Path of ExploringObjectsData_SECTORS.mat or ..._GRADIENT.mat. null: not on this machine."""
    stimuli: str | None
    """Folder of the 72 stimuli, named as the conditions in the .mat file."""
    regions: dict[Name, str] = Field(min_length=1)
    """Name of the region here -> its name in the .mat file, in hierarchical order."""
    reliability_threshold: float | None = Field(None, ge=-1, lt=1)
    """Only voxels whose split-half reliability in the .mat file is larger are used; null: all."""
    min_voxels: int = Field(2, ge=2)
    """A participant with fewer voxels in a region is an error; leave the participant or the region out then."""
    left_out: list[Annotated[int, Field(ge=1)]] = []
    """Numbers of participants in the .mat file, from 1, that are left out in every region."""


Brain = Annotated[Kriegeskorte2008 | MagriKonkle2019, Field(discriminator="source")]
