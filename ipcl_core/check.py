"""
What can be found wrong with a study before a job runs: its configuration, and the data and networks that it names.

    ipcl check config.yaml [more.yaml ...]      later files are laid over earlier ones

Brain data and labelled images are read as the workflow will read them, and networks of your own are built and tried, in a
temporary folder; nothing is kept. What needs a download is not tried. A line a block: ok, not tried, or what is wrong. Exit
code: 0 where nothing is wrong, 1 where something is, 2 where the configuration itself cannot be used.
"""

import argparse
import importlib.util
import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from .accuracy.check_accuracy import check_accuracy
from .brains.categories import read_categories
from .brains.folds import divide_stimuli
from .brains.own import import_own_brain
from .brains.published import import_magri_konkle_2019
from .brains.store import read_brain
from .brains.triplets import read_triplets
from .config import (
    Brain,
    Config,
    ConfigError,
    ImageFolder,
    Kriegeskorte2008,
    MagriKonkle2019,
    OwnBrain,
    missing_paths,
    read_config,
)
from .config.brain_sets import NSD, Haxby2001, Repeated
from .downloads import fetch_weights
from .files import compute_sha256, read_json
from .images.shards import list_splits, read_images
from .networks.own_builders import find_files

log = logging.getLogger(__name__)
NEEDS_DOWNLOAD = "not tried: it is downloaded"


def check_study(study: Config) -> Iterator[tuple[str, str, bool]]:
    """Yield (key of a block, what was found, whether that is well) for the brain data, data sets and networks of a study."""
    for name in study.brains:
        yield _try(f"brains.{name}", missing_paths(study, set(), {name}, set()), _check_brain, study, name)
    used = {name for name, model in study.available.items() if model.origin == "trained here"} | set(study.measured)
    counts: dict[str, dict[str, int]] = {}
    for name in dict.fromkeys(model.dataset for key, model in study.models.items() if key in used):
        yield _try(f"datasets.{name}", missing_paths(study, {name}, set(), set()), _check_dataset, study, name, counts)
    for name, model in study.available.items():
        missing = []
        if model.source == "own":
            missing = [f"  models.{name}.{fault}" for fault in find_files(model)[1]]
        elif model.source != "untrained" and model.weights:
            missing = missing_paths(study, set(), set(), {name})
        yield _try(f"models.{name}", missing, _check_model, study, name, counts)


def _try(key: str, missing: list[str], check: Callable[..., str], *arguments) -> tuple[str, str, bool]:
    if missing:
        return key, "\n".join(line.strip() for line in missing), False
    try:
        return key, check(*arguments), True
    except (ValueError, OSError) as error:
        return key, str(error), False


def _check_brain(study: Config, name: str) -> str:
    brain = study.brains[name]
    if isinstance(brain, NSD | Haxby2001 | Repeated):
        return "not tried: reading it takes long"
    if isinstance(brain, Kriegeskorte2008) or any(str(path).startswith("https:") for path in _list_places(brain)):
        return NEEDS_DOWNLOAD
    with TemporaryDirectory() as temporary:
        stimuli, file = Path(temporary) / "stimuli", Path(temporary) / "brain.h5"
        if isinstance(brain, OwnBrain):
            import_own_brain(brain, stimuli, file)
        else:
            import_magri_konkle_2019(brain, stimuli, file)
        names, _ = read_brain(file)
        if isinstance(brain, OwnBrain) and brain.categories:
            read_categories(brain.categories, names, brain.stimuli, brain.order)
        if isinstance(brain, OwnBrain) and brain.triplets:
            read_triplets(brain.triplets, names)
        _check_encoding(study, name, file)
        return f"ok: {len(list(stimuli.iterdir()))} stimuli, {', '.join(brain.regions)}"


def _check_encoding(study: Config, name: str, file: Path) -> None:
    """Stop at what stops encoding, which waits for every network: folds, and too few voxels that can be used."""
    folds, encoding = getattr(study.brains[name], "folds", None), study.encoding
    if encoding and name in study.encoded and importlib.util.find_spec("torch"):
        from .fits.fit_encoding import prepare_brain

        options = encoding.model_dump(include={"n_folds", "min_ceiling", "seed"})
        prepare_brain(file, folds, n_splits=1, **options)
    elif folds:
        divide_stimuli(read_brain(file)[0], folds, n_folds=2, seed=0)  # of the file, whatever their number


def _list_places(brain: Brain) -> list[str | None]:
    return [brain.betas, brain.stimuli] if isinstance(brain, MagriKonkle2019) else []


def _check_dataset(study: Config, name: str, counts: dict[str, dict[str, int]]) -> str:
    """Look at a data set; put into `counts`, where they are known, n_images and n_classes of its training split."""
    dataset = study.datasets[name]
    summary = Path(study.pathvars.get("results", "results")) / f"data/{name}/train.json"
    if summary.exists():
        found = read_json(summary)
        counts[name] = {"n_images": found["n_images"], "n_classes": len(found["classes"])}
    if not isinstance(dataset, ImageFolder):
        return "not tried: its pictures are exported first"
    folders = {"train": dataset.train, "val": dataset.val}
    with TemporaryDirectory() as temporary:
        lists = {split: Path(temporary) / f"{split}.csv" for split in folders}
        list_splits(folders, lists, val_labels=dataset.val_labels, storage=dataset.storage.model_dump())
        images = read_images(lists["train"])
    side = dataset.storage.shortest_side
    sides = {key: model.preprocessing.image_size for key, model in study.available.items() if model.dataset == name}
    if side and (larger := [key for key in sides if sides[key] > side]):
        log.warning(
            "datasets.%s.storage.shortest_side: larger images are stored with %d pixels, and enlarged to %d for %s; store "
            "them with as many",
            *(name, side, max(sides.values()), ", ".join(larger)),
        )
    counts.setdefault(name, {"n_images": len(images), "n_classes": images["class"].nunique()})
    return f"ok: {len(images):,} training images of {images['class'].nunique():,} classes"


def _check_model(study: Config, name: str, counts: dict[str, dict[str, int]]) -> str:
    model = study.models[name]
    found = counts.get(model.dataset)
    if found:
        check_accuracy(study, name, **found)
    fetched = model.source in ("trained", "fetched") and model.weights
    if (model.source == "own" and model.weights) or (fetched and (fetched.package or fetched.url.startswith("https:"))):
        return NEEDS_DOWNLOAD
    if not all(map(importlib.util.find_spec, ("torch", "numba", "safetensors"))):
        return "not tried: pip install 'ipcl-core[networks]'"
    from .networks.architectures import NetworkSpec
    from .networks.published_weights import convert_weights
    from .training.check_training import check_named_layers, check_training

    if model.origin == "trained here" and found:
        check_training(study, name, **found)
        return "ok"
    if model.source == "own":
        from .networks.own_models import make_own_model

        layers = study.choose_accuracy_layers(name)
        with TemporaryDirectory() as temporary:
            weights = Path(temporary) / "weights.safetensors"
            make_own_model(model.model_dump(), weights, layers=model.layers, accuracy_layers=layers)
        return "ok"
    spec = NetworkSpec.from_model(model.model_dump(), n_classes=2)
    if fetched:
        if fetched.hash is None:
            sha256 = compute_sha256(fetched.url)
            raise ValueError(
                f"models.{name}.weights.hash: a file without a hash is not used; this one's is sha256:{sha256}"
            )
        with TemporaryDirectory() as temporary:
            fetch_weights(fetched.model_dump(), Path(temporary) / "weights")
            spec = convert_weights(fetched.url, model.model_dump(), Path(temporary) / "weights.safetensors")
    check_named_layers(study, name, spec)
    return "layers are ok, the recipe is not tried: its images are not here" if model.origin == "trained here" else "ok"


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return its exit code."""
    parser = argparse.ArgumentParser(
        prog="ipcl check", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config", nargs="+", type=Path, help="configuration; later files are laid over earlier ones")
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="warning: %(message)s")
    try:
        study = read_config(*given.config)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    wrong = 0
    for key, found, is_well in check_study(study):
        wrong += not is_well
        print(f"{key}: {found}" if is_well or not found.startswith(f"{key}.") else found)
    print(f"{wrong} block{'s' * (wrong > 1)} to be put right" if wrong else "nothing is wrong")
    return int(wrong > 0)
