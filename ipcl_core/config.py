"""
What may stand in a configuration file: every key, its type, its range and its meaning.

`load_config` turns the dictionary that Snakemake read into a checked `Config`; an unknown key, a wrong type, a number
out of range or a reference to something undefined raises `ConfigError`, which names the key and what is allowed.
"""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=80)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
Range = Annotated[list[float], Field(min_length=2, max_length=2)]
PerChannel = Annotated[list[float], Field(min_length=3, max_length=3)]


class ConfigError(ValueError):
    """The configuration cannot be used; the message names each offending key and what is allowed there."""


class Strict(BaseModel):
    """A block of the configuration: unknown keys are errors, values are not converted between types."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )

    @model_validator(mode="before")
    @classmethod
    def _keys_are_known(cls, data):
        if not isinstance(data, dict):
            raise ValueError(f"needs keys and values: {', '.join(cls.model_fields)}")
        for key in data:
            if key not in cls.model_fields:
                near = difflib.get_close_matches(str(key), cls.model_fields, n=1)
                hint = f" (did you mean {near[0]}?)" if near else ""
                raise ValueError(f"unknown key {key!r}{hint}; allowed here: {', '.join(cls.model_fields)}")
        return data


# ---- data ------------------------------------------------------------------------------------------------------------


class Storage(Strict):
    """How images are written into a .beton file."""

    shortest_side: int | None = Field(256, ge=8, le=4096)
    """Images are resized to this shortest side in pixels before writing (never enlarged); null keeps their size."""
    write_mode: Literal["jpg", "raw", "smart"] = "jpg"
    """jpg: every image as JPEG; raw: uint8 pixels; smart: raw pixels for images up to 128 x 128 pixels, else JPEG."""
    jpeg_quality: int = Field(90, ge=1, le=100)
    """JPEG quality, 1 to 100."""


class ImageFolder(Strict):
    """A labelled data set in folders: <split folder>/<class>/<image>."""

    source: Literal["image_folder"] = "image_folder"
    train: str | None
    """Folder of the training images, one sub-folder a class. null: not on this machine."""
    val: str | None
    """Folder of the validation images, with the same classes."""
    storage: Storage = Storage()
    on_corrupt: Literal["error", "skip"] = "error"
    """error: an image that cannot be decoded stops the conversion; skip: it is left out and listed in the manifest."""


class Twemoji(Strict):
    """Twemoji object pictures (CC-BY 4.0) with the emoji categories as labels, from two packages."""

    source: Literal["twemoji"]
    val_fraction: float = Field(0.25, gt=0, lt=1)
    """Share of each category's concepts that are kept for validation."""
    seed: int = Field(0, ge=0)
    """Seed of the split by concept."""
    storage: Storage = Storage(shortest_side=64, write_mode="raw")
    on_corrupt: Literal["error", "skip"] = "error"


Dataset = Annotated[ImageFolder | Twemoji, Field(discriminator="source")]


class Kriegeskorte2008(Strict):
    """92 object images; human IT of four participants (fMRI); early visual cortex as one group matrix."""

    source: Literal["kriegeskorte_2008"]
    title: str
    """Name in figures and tables."""
    stimuli: Literal["all", "inanimate"] = "all"
    """all: 92 images; inanimate: the 44 inanimate ones."""


class MagriKonkle2019(Strict):
    """72 inanimate objects; voxel patterns of ten participants, from the public .mat file and a folder of stimuli."""

    source: Literal["magri_konkle_2019"]
    title: str
    """Name in figures and tables."""
    betas: str | None
    """Path of ExploringObjectsData_SECTORS.mat. null: not on this machine."""
    stimuli: str | None
    """Folder of the 72 stimuli, named as the conditions in the .mat file."""
    regions: dict[Name, str] = Field(min_length=1)
    """Name of the region here -> its name in the .mat file, in hierarchical order."""


Brain = Annotated[Kriegeskorte2008 | MagriKonkle2019, Field(discriminator="source")]


# ---- recipes ---------------------------------------------------------------------------------------------------------


class IPCL(Strict):
    """Instance-prototype contrastive learning (section 2, appendix B.1)."""

    name: Literal["ipcl"]
    n_views: int = Field(5, ge=2)
    """Augmented views of an image; their mean is the prototype."""
    queue_size: int = Field(4096, ge=1)
    """Samples in the memory queue, K."""
    tau: Positive = 0.07
    """Temperature."""
    loss: Literal["nce", "infonce"] = "nce"
    """nce: noise-contrastive estimation (appendix B.2, equations 1-3); infonce: equation 2."""


class IndexedMemory(Strict):
    """Instance discrimination with an indexed memory bank (section 3, appendix B.2; Wu et al. 2018)."""

    name: Literal["indexed_memory"]
    n_negatives: int = Field(4096, ge=1)
    """Negatives drawn from the bank for each image, K."""
    tau: Positive = 0.07
    """Temperature."""
    bank_momentum: Fraction = 0.5
    """Share of the old entry in the updated bank entry."""
    loss: Literal["nce", "infonce"] = "nce"
    """nce: noise-contrastive estimation; infonce: softmax cross entropy over the positive and the drawn negatives."""


class Supervised(Strict):
    """Cross entropy with the category labels (section 4.1)."""

    name: Literal["supervised"]
    n_views: int = Field(1, ge=1)
    """Augmented views of an image."""


Objective = Annotated[IPCL | IndexedMemory | Supervised, Field(discriminator="name")]


class SGD(Strict):
    name: Literal["sgd"]
    lr: Positive
    """Peak learning rate."""
    momentum: Fraction = 0.9
    weight_decay: float = Field(0.0, ge=0)


class AdamW(Strict):
    name: Literal["adamw"]
    lr: Positive
    """Peak learning rate."""
    weight_decay: float = Field(0.0, ge=0)


class OneCycle(Strict):
    """Cosine from lr / div_factor up to lr over pct_start of the steps, then down to lr / (div_factor * final_div_factor)."""

    name: Literal["one_cycle"]
    pct_start: float = Field(0.4, gt=0, lt=1)
    div_factor: Positive = 1000.0
    final_div_factor: Positive = 1e4
    momentum_range: Range | None = None
    """(lowest, highest) momentum, cycled inversely to the learning rate; null keeps it constant."""


class MultiStep(Strict):
    """The learning rate is multiplied by gamma at each milestone."""

    name: Literal["multi_step"]
    milestones: list[int]
    """Epochs at whose start the rate drops."""
    gamma: Positive = 0.1


class Augmentation(Strict):
    """Random views (section 4.1; order of operations as in Wu et al. 2018: crop, grayscale, jitter, flip)."""

    area: Range = [0.2, 1.0]
    """Range of the crop's area, as a share of the image's."""
    aspect_ratio: Range = [3 / 4, 4 / 3]
    """Range of the crop's width over height."""
    flip: Fraction = 0.5
    """Probability of a horizontal flip."""
    grayscale: Fraction = 0.2
    """Probability of a conversion to grey."""
    brightness: float = Field(0.4, ge=0)
    contrast: float = Field(0.4, ge=0)
    saturation: float = Field(0.4, ge=0)
    hue: float = Field(0.4, ge=0, le=0.5)
    """Jitter strengths in torchvision's sense: factors in 1 +- strength, hue shift in +- strength of the circle."""

    @model_validator(mode="after")
    def _ranges_ascend(self):
        for key, largest in (("area", 1), ("aspect_ratio", float("inf"))):
            low, high = getattr(self, key)
            if not 0 < low <= high <= largest:
                raise ValueError(f"{key}: give [low, high] with 0 < low <= high <= {largest}, not [{low}, {high}]")
        return self


class Recipe(Strict):
    """How a network is trained."""

    objective: Objective
    epochs: int = Field(ge=1)
    batch_size: int = Field(ge=2)
    """Images a minibatch (views are batch_size * n_views)."""
    accumulate: int = Field(1, ge=1)
    """Minibatches whose gradients, each divided by this number, add up to one optimizer step; the count runs on across
    epochs, and the last step of a training takes what is left."""
    optimizer: Annotated[SGD | AdamW, Field(discriminator="name")]
    schedule: Annotated[OneCycle | MultiStep, Field(discriminator="name")]
    augmentation: Augmentation = Augmentation()
    compile: bool = False
    """torch.compile the network (CUDA only)."""
    checkpoint_minutes: Positive = 10.0
    """Training can go on from a checkpoint that is at most this old."""


# ---- models ----------------------------------------------------------------------------------------------------------


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


# ---- evaluation ------------------------------------------------------------------------------------------------------


class KNN(Strict):
    """Weighted k-nearest-neighbour accuracy (appendix B.3)."""

    k: int = Field(200, ge=1)
    """Neighbours that vote."""
    tau: Positive = 0.07
    """Temperature of the votes."""
    center_crop: float = Field(0.875, gt=0, le=1)
    """Side of the central square as a share of the image's shortest side; .875 is resize 256, crop 224."""


class NoiseCeiling(Strict):
    """Split-half reliability over participants (appendix C.2)."""

    n_splits: int = Field(1000, ge=1)
    """Random splits; all distinct splits are used where there are no more than this."""
    seed: int = Field(0, ge=0)


class Config(Strict):
    """A whole study."""

    title: str
    """Heads the report."""
    pathvars: dict[Literal["results", "logs", "benchmarks"], str] = {}
    """Folders, relative to the working directory: results, logs, benchmarks."""
    datasets: dict[Name, Dataset] = Field(min_length=1)
    brains: dict[Name, Brain] = Field(min_length=1)
    recipes: dict[Name, Recipe] = {}
    models: dict[Name, Model] = Field(min_length=1)
    """The rows of Table 1, in order."""
    figure2_models: list[Name] = Field(min_length=1)
    """Models whose layers figure 2B shows, in order, each with its supervised twin where there is one."""
    knn: KNN = KNN()
    noise_ceiling: NoiseCeiling = NoiseCeiling()
    keep_activations: bool = False
    """Keep every layer's activations on disk once their RSMs are made."""

    @model_validator(mode="before")
    @classmethod
    def _default_sources(cls, data):
        """`source` may be left out where there is an obvious one."""
        if isinstance(data, dict):
            for key, default in (("models", "trained"), ("datasets", "image_folder")):
                if isinstance(data.get(key), dict):
                    data = data | {
                        key: {
                            name: {"source": default} | block if isinstance(block, dict) else block
                            for name, block in data[key].items()
                        }
                    }
        return data

    @model_validator(mode="after")
    def _references_exist(self):
        for name, model in self.models.items():
            _require(model.dataset, self.datasets, f"models.{name}.dataset", "datasets")
            if isinstance(model, Trained):
                _require(model.recipe, self.recipes, f"models.{name}.recipe", "recipes")
                supervised = self.recipes[model.recipe].objective.name == "supervised"
                if supervised and model.dim is not None:
                    raise ValueError(f"models.{name}.dim: a supervised model has one output a class; leave dim out")
                if not supervised and model.dim is None:
                    raise ValueError(f"models.{name}.dim: a self-supervised model needs its dimension, for example 128")
            if isinstance(model, Untrained) and model.dim is None:
                raise ValueError(f"models.{name}.dim: an untrained model needs its dimension, for example 128")
            if model.width != 1 and not model.architecture.startswith("alexnet"):
                raise ValueError(f"models.{name}.width: only the AlexNets have a width, {model.architecture} has not")
            if model.architecture == "alexnet_gn" and (model.width * 32) % 1:
                raise ValueError(
                    f"models.{name}.width: {model.width} splits no channels into whole groups; give a multiple of 1/32"
                )
            if isinstance(model, Pretrained) and model.dim is None:
                raise ValueError(f"models.{name}.dim: give the number of outputs of the pretrained network")
            if (model.architecture == "efficientnet_lite0") != isinstance(model, Pretrained):
                raise ValueError(
                    f"models.{name}: efficientnet_lite0 is the architecture that can be pretrained, and only so"
                )
        for name in self.figure2_models:
            _require(name, self.models, "figure2_models", "models")
        return self


def _require(name: str, defined: dict, key: str, where: str) -> None:
    if name not in defined:
        near = difflib.get_close_matches(name, defined, n=1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        raise ValueError(f"{key}: {name!r} is not defined under {where}{hint}; defined: {', '.join(defined) or 'none'}")


def load_config(raw: dict) -> Config:
    """Check a configuration.

    Args:
        raw: the configuration as read from YAML.

    Returns:
        The checked configuration, defaults filled in.

    Raises:
        ConfigError: with one line per offence: the key, what stands there, what is allowed.
    """
    try:
        return Config.model_validate(raw)
    except ValidationError as error:
        lines = [f"  {_explain(problem, raw)}" for problem in error.errors()]
        raise ConfigError("the configuration cannot be used:\n" + "\n".join(lines)) from None


def _explain(problem: dict, raw: dict) -> str:
    """One line for one offence. Pydantic's path also holds the names of the alternatives that it tried: leave those out."""
    path, value, last = [], raw, len(problem["loc"]) - 1
    for position, part in enumerate(problem["loc"]):
        try:
            value = value[part]
        except (KeyError, IndexError, TypeError):
            if position < last or problem["type"] != "missing":
                continue
        path.append(str(part))
    key = ".".join(path)
    if problem["type"] == "value_error":
        return ": ".join(filter(None, [key, str(problem["ctx"]["error"])]))
    found = "" if problem["type"] == "missing" else f"; found: {_shorten(problem['input'])}"
    return f"{key or 'the configuration'}: {problem['msg']}{found}"


def _shorten(value) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def missing_paths(config: Config, datasets: set[str], brains: set[str]) -> list[str]:
    """Say which folders and files of the user's own are needed and not there.

    Args:
        config: the checked configuration.
        datasets: names of the data sets that are about to be converted.
        brains: names of the brain data sets that are about to be imported.

    Returns:
        One line per missing path: the key, what stands there, what kind of file or folder it should name.
    """
    needed = []
    for name in sorted(datasets):
        block = config.datasets[name]
        if isinstance(block, ImageFolder):
            needed += [
                (f"datasets.{name}.{split}", getattr(block, split), "a folder with one sub-folder of images a class")
                for split in ("train", "val")
            ]
    for name in sorted(brains):
        block = config.brains[name]
        if isinstance(block, MagriKonkle2019):
            needed.append((f"brains.{name}.betas", block.betas, "the file ExploringObjectsData_SECTORS.mat"))
            needed.append((f"brains.{name}.stimuli", block.stimuli, "the folder of the 72 stimuli"))
    return [
        f"  {key}: set it to {kind} (found: {path or 'nothing'})"
        for key, path, kind in needed
        if not path or not Path(path).exists()
    ]
