"""
What may stand in a configuration file: every key, its type, its range and its meaning.

`load_config` turns the dictionary that Snakemake read into a checked `Config`; an unknown key, a wrong type, a number
out of range or a reference to something undefined raises `ConfigError`, which names the key and what is allowed.
"""

from .base import Strict
from .data import (
    Averaged,
    Brain,
    ImageFolder,
    Kriegeskorte2008,
    MagriKonkle2019,
    OwnBrain,
    OwnData,
    Torchvision,
)
from .errors import ConfigError
from .evaluation import (
    Comparator,
    Encoding,
    LBFGSProbe,
    NoiseCeiling,
    OneCycleProbe,
    Protocol,
    Statistics,
    count_held_out,
    require_images,
)
from .missing_paths import missing_paths
from .models import Model, OwnModel, Preprocessing, Untrained
from .recipes import IPCL, SGD, AdamW, Augmentation, IndexedMemory, MultiStep, OneCycle, Ranger, Recipe, Supervised
from .study import Config, load_config, read_config

__all__ = [
    "IPCL",
    "SGD",
    "AdamW",
    "Augmentation",
    "Averaged",
    "Brain",
    "Comparator",
    "Config",
    "ConfigError",
    "Encoding",
    "ImageFolder",
    "IndexedMemory",
    "Kriegeskorte2008",
    "LBFGSProbe",
    "MagriKonkle2019",
    "Model",
    "MultiStep",
    "NoiseCeiling",
    "OneCycle",
    "OneCycleProbe",
    "OwnBrain",
    "OwnData",
    "OwnModel",
    "Preprocessing",
    "Protocol",
    "Ranger",
    "Recipe",
    "Statistics",
    "Strict",
    "Supervised",
    "Torchvision",
    "Untrained",
    "count_held_out",
    "load_config",
    "missing_paths",
    "read_config",
    "require_images",
]
