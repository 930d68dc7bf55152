"""
What a study costs before it runs: views, GPU-hours and disk of every model.

    ipcl costs config.yaml [more.yaml ...] [--throughput resnet50=4000 ...] [--images 1281167 50000]

A model that was trained is counted with the time in its log; another one of its architecture, width, input and number of views
with that model's speed. For all others the speed is stated (`config.architectures`), and scaled by the network's FLOPs. Where
decoding and cutting on the processor is slower than the GPU, it sets the pace.
"""

import argparse
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pandas as pd
import torch
from torch.utils.flop_counter import FlopCounterMode

from .accuracy.embedding import record_features
from .config import Config, read_config
from .config.architectures import ARCHITECTURES
from .files import read_json
from .images.decoding import SMART_BYTES
from .networks.architectures import NetworkSpec, build_network
from .networks.layers import record_layers

IMAGENET = (1_281_167, 50_000)
"""Images of ILSVRC2012's training and validation split."""
JPEG_BYTES = 32_800
"""A photograph as JPEG of quality 90 with shortest side 256 to 300, as measured: 42 GB for 1.28 million."""
DECODE_MS, CUT_MS = 0.58, 0.47
"""Processor time of one core to decode such an image, and to cut its central view (area interpolation), as measured on two
shared cores. The random views of a training are made on the GPU; their time is not counted."""
COUNTED = ("architecture", "arguments", "code", "dim", "width", "head", "preprocessing", "layers", "embedding_layer")
COUNTED += ("accuracy_layers",)
"""Keys of a model that its numbers depend on."""
FLOAT, N_STIMULI = 4, 72
SIDE = 224


@dataclass
class Network:
    """What a network is, counted without computing anything.

    Attributes:
        flops: of one view's forward pass.
        n_parameters: trained numbers.
        n_features: numbers an image in the file of embeddings.
        n_units: numbers an image in the file of activations.
    """

    flops: int
    n_parameters: int
    n_features: int
    n_units: int


def count_network(model: dict, *, n_classes: int, max_dim: int | None) -> Network:
    """Count a model's FLOPs, parameters, features and units.

    Args:
        model: `config.models.<name>`, as a dictionary.
        n_classes: outputs of a supervised model.
        max_dim: see `embedding.pool_maps`.
    """
    spec = NetworkSpec.from_model(model, n_classes=n_classes)
    with torch.device("meta"), torch.inference_mode():
        network = build_network(spec)
        network.eval()
        side = spec.preprocessing.image_size
        view = torch.empty(1, 3, side, side)
        kept = list(dict.fromkeys([model["embedding_layer"] or "output", *model.get("accuracy_layers", ()), "output"]))
        with record_features(network, kept, max_dim, side=side) as compute, FlopCounterMode(display=False) as counter:
            n_features = sum(features.shape[1] for features in compute(view).values())
        with record_layers(network, model["layers"], shape=view.shape[1:]) as compute:
            n_units = sum(activations.numel() for activations in compute(view).values())
    n_parameters = sum(parameter.numel() for parameter in network.parameters())
    return Network(counter.get_total_flops(), n_parameters, n_features, n_units)


def read_throughput(changes: dict[str, float]) -> dict[str, float]:
    """Return architecture -> views of 224 pixels a second, the stated ones with changes."""
    stated = {name: entry.speed for name, entry in ARCHITECTURES.items() if not isinstance(entry.speed, str)}
    return stated | changes


def estimate_speed(model: dict, network: Network, throughput: dict[str, float]) -> tuple[float, str]:
    """Return the views a second of a training, and whose throughput it was scaled from.

    The throughput of the architecture, of the one that its entry names, or of ResNet-50, the slowest; times the FLOPs of a
    224-pixel view of that network over those of the model's.
    """
    name = model["architecture"]
    while name not in throughput:
        name = ARCHITECTURES[name].speed if name in ARCHITECTURES else "resnet50"
    return throughput[name] * _count_reference(name) / max(1, network.flops), name


@cache
def _count_reference(architecture: str) -> int:
    """Return the FLOPs of a 224-pixel view of the architecture as it is stated."""
    model = {
        "architecture": architecture,
        "dim": 128,
        "width": 1.0,
        "head": "linear",
        "preprocessing": {"image_size": SIDE},
    }
    return count_network(model | {"layers": "all", "embedding_layer": None}, n_classes=1000, max_dim=None).flops


def read_speeds(study: Config, results: Path) -> dict[tuple, tuple[float, str]]:
    """Return (architecture, width, side of the input, views) -> views a second of a finished training, and its model."""
    speeds = {}
    for name, model in study.models.items():
        log = read_log(results / "models" / name)
        if model.source == "trained" and log is not None:
            n_views = study.recipes[model.recipe].objective.n_views
            speed = log["images_per_s"].median() * n_views
            speeds[model.architecture, model.width, model.preprocessing.image_size, n_views] = speed, name
    return speeds


def read_log(folder: Path) -> pd.DataFrame | None:
    """Return the log of a finished training, speed and seconds as one GPU would have them; None before the training ends."""
    if not (folder / "log.csv").exists():
        return None
    log, provenance = pd.read_csv(folder / "log.csv"), folder / "provenance.json"
    n_gpus = read_json(provenance).get("n_processes", 1) if provenance.exists() else 1
    return log.assign(images_per_s=log["images_per_s"] / n_gpus, seconds=log["seconds"] * n_gpus)


def count_images(study: Config, dataset: str, results: Path, images: tuple[int, int] | None) -> tuple[int, int]:
    """Return the numbers of training and validation images: of the converted files, as given, or ImageNet's.

    Raises:
        ValueError: the data set is not converted, not called imagenet, and no numbers are given.
    """
    summaries = [results / "data" / dataset / f"{split}.json" for split in ("train", "val")]
    if all(summary.exists() for summary in summaries):
        return tuple(read_json(summary)["n_images"] for summary in summaries)
    if images is None and dataset != "imagenet":
        raise ValueError(
            f"datasets.{dataset} is not converted yet: say how many images it has, as in --images 5000 1000"
        )
    return images or IMAGENET


def estimate_beton(study: Config, dataset: str, n_images: int, results: Path) -> tuple[float, str]:
    """Return the bytes of a data set's .beton files, and whether they are measured."""
    betons = [results / "data" / dataset / f"{split}.beton" for split in ("train", "val")]
    if all(beton.exists() for beton in betons):
        return sum(beton.stat().st_size for beton in betons), "measured"
    storage = study.datasets[dataset].storage
    scale = ((storage.shortest_side or 400) / 256) ** 2  # ImageNet's own mean is about 400
    pixels = scale * 3 * 256 * 256 * 4 / 3  # bytes of a 4:3 picture
    raw = storage.write_mode == "raw" or (storage.write_mode == "smart" and pixels <= SMART_BYTES)
    return n_images * (pixels if raw else scale * JPEG_BYTES), "stated"


def estimate_costs(
    study: Config,
    results: Path,
    *,
    throughput: dict[str, float] | None = None,
    images: tuple[int, int] | None = None,
    n_cores: int = 16,
) -> pd.DataFrame:
    """Estimate what every model that can be had costs; one whose accuracy is not measured embeds no images.

    Args:
        study: checked configuration.
        results: folder of its results, for what was measured already.
        throughput: architecture -> views a second, instead of the stated ones.
        images: numbers of training and validation images, where they cannot be read from the results.
        n_cores: processor cores that decode for one GPU.

    Returns:
        One row a model: model, origin, views of its training, train_hours and embed_hours (wall-clock on one GPU, hence
        GPU-hours), kept_gb (weights, embeddings), temporary_gb (activations of 72 stimuli, checkpoint), speed (measured, as
        another model, or stated).
    """
    known, speeds = read_throughput(throughput or {}), read_speeds(study, results)
    rows, networks = [], {}
    for name, model in study.models.items():
        if model.origin == "unavailable":
            continue
        n_train = n_all = 0
        if name in study.measured or model.origin == "trained here":
            n_train, n_val = count_images(study, model.dataset, results, images)
            n_all = n_train + n_val if name in study.measured else 0
        block = model.model_dump()
        alike = repr({key: block.get(key) for key in COUNTED})
        if alike not in networks:
            networks[alike] = count_network(block, n_classes=1000, max_dim=study.knn.max_dim)
        network = networks[alike]
        stated, source = estimate_speed(block, network, known)
        views, seconds, speed, checkpoint = 0, 0.0, "", 0
        if model.origin == "trained here":
            recipe = study.recipes[model.recipe]
            n_views = recipe.objective.n_views
            views = n_train * recipe.epochs * n_views
            key = (model.architecture, model.width, model.preprocessing.image_size, n_views)
            rate, other = speeds.get(key, (stated, source))
            speed = f"as {other}" if key in speeds else f"stated, {source}"
            seconds = views / rate
            if key not in speeds:
                seconds = max(seconds, n_train * recipe.epochs * DECODE_MS / 1000 / n_cores)
            log = read_log(results / "models" / name)
            if log is not None:
                seconds, speed = log["seconds"].iloc[-1], "measured"
            checkpoint = 2 * network.n_parameters + (
                n_train * model.dim if recipe.objective.name == "indexed_memory" else 0
            )
        embed = max(
            n_all / (3 * stated), n_all * (DECODE_MS + CUT_MS) / 1000 / n_cores
        )  # forward: a third of the FLOPs
        kept = FLOAT * (network.n_parameters + n_all * network.n_features)
        temporary = FLOAT * (N_STIMULI * network.n_units + checkpoint)
        numbers = (views, seconds / 3600, embed / 3600, kept / 1e9, temporary / 1e9)
        rows.append((name, model.origin, *numbers, speed))
    columns = ["model", "origin", "views", "train_hours", "embed_hours", "kept_gb", "temporary_gb", "speed"]
    return pd.DataFrame(rows, columns=columns)


def print_costs(costs: pd.DataFrame, betons: dict[str, tuple[float, str]], n_gpus: int) -> str:
    """Return the table as Markdown, with its sum and the data sets' files."""
    lines = [
        "| model | origin | views (million) | training (GPU h) | embedding (GPU h) | kept (GB) | temporary (GB) | speed |"
    ]
    lines += ["|---|---|---|---|---|---|---|---|"]
    total = costs.select_dtypes("number").sum().to_dict() | {"model": "all", "origin": "", "speed": ""}
    for row in [*costs.to_dict("records"), total]:
        hours = f"{row['train_hours']:.1f} | {row['embed_hours']:.2f}"
        disk = f"{row['kept_gb']:.1f} | {row['temporary_gb']:.1f}"
        lines.append(
            f"| {row['model']} | {row['origin']} | {row['views'] / 1e6:.1f} | {hours} | {disk} | {row['speed']} |"
        )
    lines += ["", *(f"- {name}: .beton files of {size / 1e9:.1f} GB ({how})" for name, (size, how) in betons.items())]
    days = (total["train_hours"] + total["embed_hours"]) / n_gpus / 24
    longest = (costs["train_hours"] + costs["embed_hours"]).max()
    lines.append(
        f"- wall-clock on {n_gpus} GPUs: at least {max(days, longest / 24):.1f} days; the longest model {longest:.1f} h"
    )
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Print the costs of a configuration; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="ipcl costs", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config", nargs="+", type=Path, help="configuration; later files are laid over earlier ones")
    parser.add_argument(
        "--throughput", nargs="+", default=[], type=_read_speed, metavar="ARCHITECTURE=VIEWS_PER_S", help="on your GPU"
    )
    parser.add_argument(
        "--images", nargs=2, type=_read_number, metavar=("TRAIN", "VAL"), help="where nothing is converted yet"
    )
    parser.add_argument("--cores", type=_read_number, default=16, help="processor cores for each GPU")
    parser.add_argument("--gpus", type=_read_number, default=1, help="GPUs that work at the same time")
    given = parser.parse_args(arguments)
    try:
        print(_estimate(given))
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def _read_number(word: str) -> int:
    if not (word.isdecimal() and int(word)):
        raise argparse.ArgumentTypeError(f"needs a whole number, 1 or more, not {word}")
    return int(word)


def _read_speed(word: str) -> tuple[str, float]:
    name, _, value = word.partition("=")
    try:
        speed = float(value)
    except ValueError:
        speed = 0.0
    if name not in ARCHITECTURES or not 0 < speed < float("inf"):
        names = ", ".join(ARCHITECTURES)
        raise argparse.ArgumentTypeError(f"{word}: needs one of {names}, = and a number above 0, as resnet50=3000")
    return name, speed


def _estimate(given: argparse.Namespace) -> str:
    study = read_config(*given.config)
    results = Path(study.pathvars.get("results", "results"))
    images = tuple(given.images) if given.images else None
    read = {m.dataset for name, m in study.available.items() if name in study.measured or m.origin == "trained here"}
    counts = {name: sum(count_images(study, name, results, images)) for name in study.datasets if name in read}
    betons = {name: estimate_beton(study, name, n, results) for name, n in counts.items()}
    costs = estimate_costs(study, results, throughput=dict(given.throughput), images=images, n_cores=given.cores)
    stated = (
        "- speeds that are stated: one H100, arithmetic from FLOPs and memory traffic, not measured (ipcl_core/config)"
    )
    return "\n".join([print_costs(costs, betons, given.gpus), stated])
