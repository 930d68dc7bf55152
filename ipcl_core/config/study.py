"""
A whole study: its blocks, the references between them, and how it is read.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, StringConstraints, field_validator, model_validator

from .architectures import ARCHITECTURES
from .base import Blocks, Distinct, Line, Name, Strict, suggest
from .data import CATEGORIES, Brain, Dataset
from .errors import ConfigError, check_block, shorten
from .evaluation import KNN, Encoding, NoiseCeiling, Probes, Published, Statistics
from .models import Fetched, Model, Trained, Untrained, Weights
from .recipes import Recipe
from .yaml_files import find_faults, is_json_text

Folder = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_./][A-Za-z0-9_./ -]*$")]


class Config(Strict):
    """A whole study."""

    title: Line
    """Heads the report."""
    pathvars: dict[Literal["results", "logs", "benchmarks"], Folder] = {}
    """Folders, each another one, relative to the working directory or absolute: results, logs, benchmarks."""
    datasets: Blocks[Dataset] = {}
    """Labelled images: to train on, and to measure category accuracy on."""
    brains: Blocks[Brain] = Field(min_length=1)
    """Brain data with which every model's layers are compared."""
    recipes: dict[Name, Recipe] = {}
    """How networks are trained."""
    models: Blocks[Model] = Field(min_length=1)
    """The rows of Table 1, in order."""
    figure2_models: Distinct[Name] = Field(min_length=1)
    """Models whose layers figure 2B shows, in order, each with its supervised twin where there is one."""
    train: bool = True
    """false: nothing is trained; a network that would be keeps its row in Table 1, unavailable, and says so."""
    accuracy: bool = True
    """false: no category accuracy is measured, so that no labelled images are needed but to train on."""
    knn: KNN = KNN()
    probes: Probes = Probes()
    noise_ceiling: NoiseCeiling = NoiseCeiling()
    statistics: Statistics = Statistics()
    encoding: Encoding | None = None
    """Predict voxels from layers; null: do not."""
    published: list[Published] = []
    """Numbers of others beside which `published.csv` prints this run's own."""
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

    @model_validator(mode="before")
    @classmethod
    def _untrained_is_unavailable(cls, data):
        """Where nothing is trained, say so of each network that would be; runs before the sources are filled in, or behind."""
        if isinstance(data, dict) and data.get("train") is False and isinstance(data.get("models"), dict):
            reason = {"unavailable": "it would be trained here, and the configuration says train: false"}
            lacking = {
                name: reason | {key: value for key, value in block.items() if value is not None}
                for name, block in data["models"].items()
                if isinstance(block, dict) and block.get("source", "trained") == "trained" and not block.get("weights")
            }
            data = data | {"models": data["models"] | lacking}
        return data

    @field_validator("models")
    @classmethod
    def _names_are_no_tables(cls, models):
        if tables := [name for name in models if name.casefold() in ("best_layers", "pairs", "partitions")]:
            raise ValueError(f"{tables[0]}: {tables[0]}.csv is the name of a table of all models; rename the model")
        return models

    @field_validator("pathvars")
    @classmethod
    def _folders_differ(cls, pathvars):
        folders = {"results": "results", "logs": "logs", "benchmarks": "benchmarks"} | pathvars
        places = [Path(folder).resolve() for folder in folders.values()]
        for name, place in zip(folders, places, strict=True):
            if ".." in Path(folders[name]).parts:
                raise ValueError(f"{name}: {folders[name]} leaves its folder by ..; give an absolute path")
            if places.count(place) > 1:
                raise ValueError(f"{name}: {folders[name]} is the folder of another one too; give each its own")
        return pathvars

    @model_validator(mode="after")
    def _references_exist(self):
        for name, model in self.models.items():
            if model.dataset is not None:
                _require(model.dataset, self.datasets, f"models.{name}.dataset", "datasets")
            if isinstance(model, Trained):
                _require(model.recipe, self.recipes, f"models.{name}.recipe", "recipes")
                supervised = self._is_supervised(model)
                if supervised and model.dim is not None:
                    raise ValueError(f"models.{name}.dim: a supervised model has one output a class; leave dim out")
                if not supervised and model.dim is None:
                    raise ValueError(f"models.{name}.dim: a self-supervised model needs its dimension, for example 128")
            if isinstance(model, Untrained) and model.dim is None:
                raise ValueError(f"models.{name}.dim: an untrained model needs its dimension, for example 128")
            if isinstance(model, Fetched) and model.dim is None:
                raise ValueError(f"models.{name}.dim: give the number of outputs of the fetched network")
            check_network(f"models.{name}", model)
        if self.encoding and not self.encoded:
            raise ValueError("encoding: no brain has voxel patterns, which it needs; leave it out")
        if self.encoding and any(CATEGORIES in each for each in self.encoding.partitions):
            lacking = [name for name in self.encoded if not getattr(self.brains[name], "categories", None)]
            if lacking:
                raise ValueError(
                    f"encoding.partitions: brains.{lacking[0]} names no categories; give a CSV, or folders"
                )
            if CATEGORIES in self.models:
                raise ValueError(
                    f"models.{CATEGORIES}: is the name of the stimuli's categories; give the model another one"
                )
        for name in self.partitioned:
            _require(name, self.available, "encoding.partitions", "models (those that are available)")
        for i, row in enumerate(self.published):
            _require(row.brain, dict.fromkeys(self.encoded), f"published.{i}.brain", "brains with encoding")
            _require(row.model, self.available, f"published.{i}.model", "models (those that are available)")
            if row.region not in (regions := list(self.brains[row.brain].regions)):
                raise ValueError(f"published.{i}.region: {row.brain} has no {row.region}, but {', '.join(regions)}")
        for name in self.figure2_models:
            _require(name, self.models, "figure2_models", "models")
        if all(self.models[name].unavailable for name in self.figure2_models):
            raise ValueError(
                f"figure2_models: all are unavailable ({', '.join(self.figure2_models)}); give another one"
            )
        return self

    @property
    def available(self) -> dict[str, Model]:
        """The models that have weights here or from elsewhere."""
        return {name: model for name, model in self.models.items() if model.origin != "unavailable"}

    @property
    def measured(self) -> dict[str, Model]:
        """The available models whose category accuracy is measured."""
        return {name: model for name, model in self.available.items() if self.accuracy and model.dataset is not None}

    @property
    def shown(self) -> list[str]:
        """Names of the models of `figure2_models` that are available, in its order."""
        return [name for name in self.figure2_models if name in self.available]

    @property
    def titles(self) -> dict[str, str]:
        """Name -> title of the brain data sets."""
        return {name: brain.title for name, brain in self.brains.items()}

    @property
    def encoded(self) -> list[str]:
        """Names of the brain data sets whose voxels are predicted: with `encoding`, all that have voxel patterns."""
        return [name for name, brain in self.brains.items() if self.encoding and brain.has_patterns]

    @property
    def judged(self) -> list[str]:
        """Names of the brain data sets with odd-one-out judgments."""
        return [name for name, brain in self.brains.items() if getattr(brain, "triplets", None)]

    @property
    def partitioned(self) -> list[str]:
        """Names of the models in `encoding.partitions`, of which categories are none."""
        sets = self.encoding.partitions if self.encoding else []
        return list(dict.fromkeys(name for each in sets for name in each if name != CATEGORIES))

    def _is_supervised(self, model: Model) -> bool:
        return isinstance(model, Trained) and self.recipes[model.recipe].objective.name == "supervised"

    def choose_protocols(self, name: str) -> list[str]:
        """Return the accuracy protocols of a model: the one that Table 1 prints, then the others."""
        model = self.models[name]
        chosen = model.protocols or (["softmax"] if self._is_supervised(model) else ["weighted kNN"])
        return list(dict.fromkeys([*chosen, "weighted kNN"]))

    def choose_accuracy_layers(self, name: str) -> list[str]:
        """Return the layers (or patterns) at which a model's accuracies are measured, that of Table 1 first."""
        model = self.models[name]
        return list(dict.fromkeys([model.embedding_layer or "output", *model.accuracy_layers]))


def check_network(key: str, model: Model) -> None:
    """Refuse what the architecture cannot have: a width, a head, a source, an input, a file of weights, a dimension."""
    architecture = model.architecture
    takes = ARCHITECTURES[architecture].takes if architecture in ARCHITECTURES else ()
    for word, chosen in (("width", model.width != 1), ("head", model.head != "linear")):
        if chosen and word not in takes:
            able = ", ".join(name for name, entry in ARCHITECTURES.items() if word in entry.takes)
            raise ValueError(
                f"{key}.{word}: leave it out; of the architectures {able} have one, {architecture} has not"
            )
    if architecture not in ARCHITECTURES:
        return
    entry, side, weights = ARCHITECTURES[architecture], model.preprocessing.image_size, getattr(model, "weights", None)
    if model.source not in entry.sources:
        raise ValueError(f"{key}.source: {architecture} can be {' or '.join(entry.sources)}, not {model.source}")
    if side < entry.smallest:
        raise ValueError(
            f"{key}.preprocessing.image_size: {architecture} needs {entry.smallest} pixels or more, not {side}"
        )
    if isinstance(weights, Weights) and weights.format not in entry.formats:
        fitting = " or ".join(name for name, other in ARCHITECTURES.items() if weights.format in other.formats)
        raise ValueError(f"{key}.weights.format: {weights.format} holds {fitting}, not {architecture}")
    if fault := entry.find_fault(model):
        raise ValueError(f"{key}.{fault}")


def _require(name: str, defined: dict, key: str, where: str) -> None:
    if name not in defined:
        hint = suggest(name, defined)
        raise ValueError(f"{key}: {name!r} is not defined under {where}{hint}; defined: {', '.join(defined) or 'none'}")


def load_config(raw: dict, files: Iterable[str | Path] = ()) -> Config:
    """Check a configuration.

    Args:
        raw: the configuration as read from YAML.
        files: the YAML files that it was read from; see `find_faults`.

    Returns:
        The checked configuration, defaults filled in.

    Raises:
        ConfigError: with one line per offence: the key, what stands there, what is allowed.
    """
    faults = [f"  {fault}" for path in files for fault in find_faults(path)]
    if faults:
        raise ConfigError("the configuration cannot be used:\n" + "\n".join(faults))
    return check_block(Config, raw, "the configuration")


def read_config(*files: str | Path) -> Config:
    """Read a configuration from YAML or JSON files, later ones laid over earlier ones as Snakemake does it: dictionaries are
    merged, all else is replaced.

    Raises:
        ConfigError: see `load_config`; a file cannot be read, or is no YAML.

    Example:
        >>> from tempfile import mkdtemp
        >>> from ipcl_core.new_study import write_study
        >>> list(read_config(write_study(mkdtemp())).brains)
        ['mine']
    """
    raw: dict = {}
    for file in files:
        try:
            text = Path(file).read_text(encoding="utf-8")
            found = (json.loads(text) if is_json_text(text) else yaml.safe_load(text)) or {}
            if not isinstance(found, dict):
                raise TypeError(f"it holds {shorten(found)}")
            raw = _merge(raw, found)
        except (OSError, UnicodeError, yaml.YAMLError, AttributeError, TypeError) as error:
            raise ConfigError(f"{file}: cannot be read as YAML with keys and values: {error}") from None
    return load_config(raw, files)


def _merge(first: Any, second: dict) -> Any:
    if not second:
        return first
    first = first if isinstance(first, dict) else {}
    return first | {
        key: _merge(first.get(key, {}), value) if isinstance(value, dict) else value for key, value in second.items()
    }
