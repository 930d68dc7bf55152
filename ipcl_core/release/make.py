"""
Finished networks of a study in a folder that can be put on Zenodo or a model hub as it is.

    ipcl release results/demo release --models ipcl_alexnet_gn wusnet_alexnet_gn
    python release/repeat.py                   numbers of Table 1, computed again from the folder alone

The folder holds weights (safetensors) with a model card each, hubconf.py for torch.hub, RSMs, fits, intervals and accuracies,
the brain data where their licence is known to allow it, Croissant metadata of the data sets, the jobs as a Provenance Run
Crate, the code, licence, citation and checksums. Refused are networks that are not finished, that other code made than
today's, whose records do not hold, or whose weights are others'. Names of machines, and folders of files outside of the study,
are left out.
"""

import argparse
import shlex
import shutil
import sys
from collections.abc import Iterable
from dataclasses import replace
from importlib.resources import as_file, files
from pathlib import Path
from tempfile import TemporaryDirectory

from ..code import PACKAGE
from ..crate import describe_crate
from ..files import compute_sha256, write_json
from ..records import Results
from . import croissant
from .chosen import TABLE, Chosen, choose_models
from .model_cards import make_card, make_readme
from .sources import find_source

REPOSITORY = PACKAGE.parent
CODE = (
    "Snakefile", "CITATION.cff", "LICENSE", "README.md", "config.yaml", "pyproject.toml", "requirements.lock", "config",
    "docs", "envs", "ipcl_core", "profiles", "rules", "slurm", "workflow_scripts",
)  # fmt: skip
"""What a release holds of this project, in `code/`."""


def make_release(
    results: Results, models: Iterable[str], folder: str | Path, *, licence: str = "mit", shared: Iterable[str] = ()
) -> list[str]:
    """Write a release.

    Args:
        results: of a finished study, see `records`.
        models: names of its networks.
        folder: to be made; it appears whole or not at all.
        licence: of the weights, as model hubs name it, such as mit or cc-by-4.0.
        shared: brain data sets that may be given, besides those whose licence is known to allow it.

    Returns:
        Names of the brain data sets that are not in it.

    Raises:
        ValueError: a network must not be released, see `choose_models`; there is such a folder already, no such brain data
            set, or no checkout around this package.
    """
    folder = Path(folder)
    if folder.exists():
        raise ValueError(f"{folder}: is there already; name another folder, or remove it")
    if lacking := [name for name in CODE if not (REPOSITORY / name).exists()]:
        raise ValueError(
            f"{REPOSITORY}: a release holds the code, and there is no {lacking[0]}: run this in a clone of it"
        )
    chosen = choose_models(results, models)
    brains = {row["brain"]: f"brain/{row['brain']}/brain.h5" for one in chosen for row in one.rows}
    if unknown := [name for name in shared if name not in brains]:
        raise ValueError(f"no brain data set {unknown[0]} in the study, but {', '.join(brains)}")
    held = {name: name in shared or find_source(results, file).given for name, file in brains.items()}
    folder.absolute().parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder.absolute().parent, prefix=f".{folder.name}.") as temporary:
        place = Path(temporary) / "release"
        artifacts = dict.fromkeys(file for one in chosen for file in one.files)
        for file in [*artifacts, *(brains[name] for name in brains if held[name])]:
            (place / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(results.root / file, place / file)
        _copy_code(place)
        _describe_data(results, chosen, [name for name in brains if held[name]], place)
        for one in chosen:
            (place / f"models/{one.name}/README.md").write_text(make_card(results, one, licence), encoding="utf-8")
        (place / "README.md").write_text(make_readme(results, chosen, licence, held), encoding="utf-8")
        _write_crate(results, chosen, licence, place)
        _write_checksums(place)
        place.rename(folder)
    return [name for name in brains if not held[name]]


def _copy_code(place: Path) -> None:
    for name in CODE:
        source, target = REPOSITORY / name, place / "code" / name
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
    for name in ("LICENSE", "CITATION.cff"):
        shutil.copyfile(REPOSITORY / name, place / name)
    with as_file(files(__package__) / "folder") as given:
        for file in given.glob("*.py"):
            shutil.copyfile(file, place / file.name)


def _describe_data(results: Results, chosen: list[Chosen], brains: list[str], place: Path) -> None:
    for dataset in {one.dataset: None for one in chosen if one.dataset}:
        manifests = {split: place / f"data/{dataset}/{split}.csv" for split in ("train", "val")}
        manifests = {split: path for split, path in manifests.items() if path.exists()}
        if manifests:
            artifact = f"data/{dataset}/{next(iter(manifests))}.csv"
            source, time = find_source(results, artifact), results.records[artifact]["time"]
            described = croissant.describe_images(dataset, source, manifests, time)
            write_json(described, place / f"data/{dataset}/croissant.json")
    for brain in brains:
        artifact = f"brain/{brain}/brain.h5"
        source, time = find_source(results, artifact), results.records[artifact]["time"]
        described = croissant.describe_brain(brain, source, place / artifact, time)
        write_json(described, place / f"brain/{brain}/croissant.json")


def _write_crate(results: Results, chosen: list[Chosen], licence: str, place: Path) -> None:
    names = {name: None for one in chosen for name in one.chain}
    records = {name: _hide(results.records[name]) for name in names if name in results.records}
    about = {
        "name": f"Networks {', '.join(one.name for one in chosen)}",
        "license": f"Weights: {licence}. Code: MIT. Data: see the model cards",
    }
    write_json(describe_crate(replace(results, root=place, records=records), "code/Snakefile", **about),
               place / "ro-crate-metadata.json")  # fmt: skip


def _hide(record: dict) -> dict:
    """Return a record without the name of the machine; of paths outside of the results the last part."""

    def shorten(name: str) -> str:
        return f"source/{Path(name).name}" if Path(name).is_absolute() else name

    hardware = {key: value for key, value in record["hardware"].items() if key != "host"}
    inputs = {shorten(name): sha256 for name, sha256 in record["inputs"].items()}
    folders = {key: shorten(name) for key, name in record.get("folders", {}).items()}
    return record | {"hardware": hardware, "inputs": inputs, "folders": folders}


def _write_checksums(place: Path) -> None:
    paths = sorted(path for path in place.rglob("*") if path.is_file())
    lines = [f"{compute_sha256(path)}  {path.relative_to(place)}\n" for path in paths]
    (place / "SHA256SUMS").write_text("".join(lines), encoding="utf-8")


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return its exit code."""
    parser = argparse.ArgumentParser(
        prog="ipcl release", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("results", help="folder of the results, as results/demo")
    parser.add_argument("folder", help="to be made")
    parser.add_argument(
        "--models", nargs="*", default=[], metavar="NAME", help="rows of Table 1; none: says which there are"
    )
    parser.add_argument("--license", default="mit", help="of the weights, as model hubs name it (default: mit)")
    parser.add_argument(
        "--share", nargs="*", default=[], metavar="BRAIN",
        help="brain data that you may give to others, besides those whose licence is known to allow it",
    )  # fmt: skip
    options = parser.parse_args(arguments)
    try:
        results = Results.read(options.results)
        absent = make_release(results, options.models, options.folder, licence=options.license, shared=options.share)
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    folder = Path(options.folder)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    print(f"{folder}: {size / 1e6:.1f} MB")
    if (folder / "brain").exists():
        print(f"python {shlex.quote(str(folder / 'repeat.py'))} computes numbers of {TABLE} again")
    if absent:
        print(
            f"not in it, as no licence is known that allows it: brain data {', '.join(absent)} (--share, where you may)"
        )
    return 0
