"""
Where an artifact comes from, and whether it is still what was made.

    python -m ipcl_core.provenance results/table1.csv                              every row in short, every artifact checked
    python -m ipcl_core.provenance results/table1.csv --model ipcl --region IT     the chain behind these cells
    python -m ipcl_core.provenance results/table1.csv --images                     and the images that were converted
    python -m ipcl_core.provenance results/rsm/objects72/ipcl.h5                   the chain behind any artifact

Each workflow script ends in `record_job`, which writes <results>/provenance/<first output>.json: rule, wildcards,
parameters, commit, versions, hardware, time, the SHA-256 of everything the job read and made. A folder's SHA-256 is that
of its listing. The command hashes the artifacts again and names each that is

    altered      its bytes are not those that its job made
    stale        it was made from something that has been made anew, or changed, since
    missing      it was made, and is not there
    unrecorded   it is there or was read, and no record says how it was made

and ends with exit code 1 if there is one. Files outside of the results folder (sources, code) that are not on this machine
are said to be elsewhere; they are no fault of the results. A data set's own folders are named in the chain and not read;
with --images each image in them is compared with the SHA-256 in the manifest of its split.

A record is no declared output of its rule. The workflow repeats a job whose declared output is lost, and a lost note must
not repeat a week of training; nor shall records added to the workflow make a finished study run again. It needs no
declaration: the job that makes an artifact writes its record before it ends, so an artifact without one is a job that
did not end well, which the workflow repeats. Records guard against accidents, not against somebody who edits them too.
"""

import argparse
import json
import logging
import os
import platform
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache, cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pandas as pd

from .files import compute_sha256, read_csv, read_json, write_json

logger = logging.getLogger(__name__)
PACKAGES = ("ffcv", "h5py", "numpy", "pandas", "pillow", "scipy", "snakemake", "torch", "torchvision")
LARGE_BYTES = 100_000_000
"""An input of at least this size is not hashed again while its size and time are those that its record gives."""
_START = time.monotonic()


def describe_run() -> dict:
    """Return the software and hardware of this process: time, commit, package versions, processor, GPU."""
    torch = sys.modules.get("torch")  # not imported for this: many jobs do without
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": find_commit(),
        "versions": {"python": platform.python_version()} | dict(_list_versions()),
        "hardware": {
            "host": platform.node(),
            "processor": platform.machine(),
            "n_threads": torch.get_num_threads() if torch else 1,
            "gpu": torch.cuda.get_device_name() if torch and torch.cuda.is_available() else None,
        },
    }


def _list_versions() -> Iterator[tuple[str, str]]:
    for name in PACKAGES:
        try:
            yield name, version(name)
        except PackageNotFoundError:  # not in the environment of this job
            continue


@cache
def find_commit() -> str | None:
    """Return the git commit of this package's checkout, "+changes" behind it where files differ.

    None, with a warning, where there is none: outside git, in an export that lies within another repository, or where git
    does not answer. A checkout of another user's is asked too: its code runs here anyway.
    """
    checkout = Path(__file__).resolve().parents[1]
    command = ["git", "-c", f"safe.directory={checkout}", "-c", "core.fsmonitor=false", "--no-optional-locks", "-C"]

    def git(*words: str) -> str:
        done = subprocess.run(  # nosec B603
            [*command, str(checkout), *words], capture_output=True, encoding="utf-8", errors="replace", check=True
        )
        return done.stdout.strip()

    try:
        top = git("rev-parse", "--show-toplevel")
        if Path(top).resolve() == checkout:
            changes = git("status", "--porcelain", "--untracked-files=no")
            return git("rev-parse", "HEAD") + ("+changes" if changes else "")
        reason = f"it lies within another repository, {top}"
    except subprocess.CalledProcessError as error:
        reason = next(iter(error.stderr.strip().splitlines()), f"git ended with {error.returncode}")
    except OSError as error:
        reason = f"git cannot be started: {error}"
    logger.warning("%s: the commit of the code is not recorded: %s", checkout, reason)
    return None


def record_job(job, *sources: str | Path, folders: dict[str, str | Path] | None = None, kept: bool = True) -> None:
    """Write the record of a job that has just made its outputs.

    Args:
        job: what the workflow gives to its script: rule, wildcards, params, input, output, threads, config.
        sources: files and folders that were read though they are no declared input.
        folders: split -> folder that images were read from, or root -> that of torchvision; named, and too large to be hashed.
        kept: whether the workflow keeps the outputs once the jobs that need them are done.
    """
    root = Path((job.config.get("pathvars") or {}).get("results", "results")).absolute()
    outputs = {}
    for path in job.output:
        stat = Path(path).stat()
        stamp = {"size": stat.st_size, "mtime_ns": stat.st_mtime_ns}
        outputs[_name(path, root)] = {"sha256": compute_sha256(path)} | stamp
    record = {
        "rule": job.rule,
        "wildcards": dict(job.wildcards.items()),
        **describe_run(),
        "seconds": round(time.monotonic() - _START, 1),
        "threads": job.threads,
        "params": dict(job.params.items()),
        "inputs": {_name(path, root): _hash_input(Path(path), root) for path in [*job.input, *sources]},
        "folders": {key: _name(path, root) for key, path in (folders or {}).items()},
        "outputs": outputs,
        "kept": kept,
    }
    write_json(record, root / "provenance" / f"{next(iter(outputs))}.json")


def _name(path: str | Path, root: Path) -> str:
    """A path as records give it: relative to the results folder, or absolute where it is outside."""
    path = Path(os.path.normpath(Path(path).absolute()))
    return str(path.relative_to(root)) if path.is_relative_to(root) else str(path)


def _hash_input(path: Path, root: Path) -> str:
    """The SHA-256 of a file or folder; that of a large file is taken from its record while size and time agree."""
    stat, name = path.stat(), _name(path, root)
    record = root / "provenance" / f"{name}.json"
    if stat.st_size >= LARGE_BYTES and path.is_file() and record.is_file():
        made = read_json(record)["outputs"][name]
        if (made["size"], made["mtime_ns"]) == (stat.st_size, stat.st_mtime_ns):
            return made["sha256"]
    return compute_sha256(path)


def list_read(record: dict) -> list[str]:
    """Return what a job read: its inputs, and folders of images."""
    return [*record.get("inputs", {}), *record.get("folders", {}).values()]


@dataclass
class Results:
    """The records of a results folder, and the state of its artifacts; each file is hashed once."""

    root: Path
    records: dict[str, dict] = field(default_factory=dict)
    """Artifact, relative to the folder -> the record of the job that made it."""
    hashes: dict[str, str | None] = field(default_factory=dict)
    """File or folder -> its SHA-256 now, None where it is not there."""
    folders: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Folder of images -> its state and what is wrong with it."""
    read_images: bool = False
    """Whether images are compared with the manifests of their data sets."""

    @classmethod
    def read(cls, path: str | Path) -> "Results":
        """Read the records of the results folder that a path is in.

        Raises:
            ValueError: no folder above the path holds records, or a record cannot be read.
        """
        path = Path(os.path.normpath(Path(path).absolute()))
        root = next((folder for folder in [path, *path.parents] if (folder / "provenance").is_dir()), None)
        if root is None:
            raise ValueError(f"{path}: neither it nor a folder above it holds records (a folder `provenance`)")
        made = []
        for file in sorted((root / "provenance").rglob("[!.]*.json")):
            try:
                record = read_json(file)
                made.append((record["time"], dict.fromkeys(record["outputs"], record)))
            except (ValueError, KeyError, TypeError) as error:
                raise ValueError(f"{file}: no record of a job ({type(error).__name__}: {error})") from None
        # the newest last, where a rule that has been renamed or split left a record too
        return cls(
            root,
            {name: record for _, records in sorted(made, key=lambda job: job[0]) for name, record in records.items()},
        )

    @cached_property
    def manifests(self) -> dict[str, list[Path]]:
        """Folder of images -> the manifests of the splits that were read from it; [] where there can be none."""
        found = {}
        for record in self.records.values():
            for split, folder in record.get("folders", {}).items():
                manifest = self.root / "data" / record["wildcards"]["dataset"] / f"{split}.csv"
                kept = found.setdefault(folder, [])
                if split != "root" and manifest not in kept:
                    kept.append(manifest)
        return found

    def examine_folder(self, name: str) -> tuple[str, str]:
        """Return the state of a folder that images were read from, and what is wrong with it."""
        if name not in self.folders:
            from .images.datasets import compare_images  # here, because every job imports this module

            manifests = [path for path in self.manifests[name] if path.exists()]
            if not Path(self.root, name).exists():
                found = "elsewhere", ""
            elif not (self.read_images and manifests):
                found = "not read", ""
            else:
                problem = "; ".join(filter(None, (compare_images(self.root / name, path) for path in manifests)))
                found = ("altered" if problem else "source"), problem
            self.folders[name] = found
        return self.folders[name]

    def hash_now(self, name: str) -> str | None:
        if name not in self.hashes:
            path = self.root / name
            self.hashes[name] = compute_sha256(path) if path.exists() else None
        return self.hashes[name]

    def examine(self, name: str) -> tuple[str, str]:
        """Return the state of an artifact or source, and what is wrong with it ("" where nothing is)."""
        if name in self.manifests:
            return self.examine_folder(name)
        now, record = self.hash_now(name), self.records.get(name)
        if record is None:
            if Path(name).is_absolute():
                return ("source", "") if now else ("elsewhere", "")
            return ("unrecorded", "no record says how it was made") if now else ("missing", "it is not there")
        made = record["outputs"][name]["sha256"]
        if now is None and record["kept"]:
            return "missing", f"{record['rule']} made it at {record['time']}, and it is not there"
        if now not in (None, made):
            return "altered", f"its SHA-256 is {now}; {record['rule']} made it with {made} at {record['time']}"
        for source, read in record["inputs"].items():
            maker = self.records.get(source)
            current = maker["outputs"][source]["sha256"] if maker else self.hash_now(source)
            if current not in (None, read):
                return "stale", f"made from {source} with SHA-256 {read}, which is {current} now"
        return ("whole", "") if now else ("not kept", "")

    def list_chain(self, name: str, skip=lambda name: False) -> list[tuple[int, str]]:
        """Return (depth, name) of an artifact and of all that it was made from, each once, sources last."""
        chain, seen = [], set()

        def visit(name: str, depth: int) -> None:
            if name not in seen and not skip(name):
                seen.add(name)
                chain.append((depth, name))
                for source in list_read(self.records.get(name, {})):
                    visit(source, depth + 1)

        visit(name, 0)
        return chain

    def describe(self, name: str, depth: int) -> Iterator[str]:
        """Yield the lines of one link of a chain."""
        state, problem = self.examine(name)
        yield f"{'   ' * depth}{'<- ' if depth else ''}{name}   [{state}]"
        margin = "   " * (depth + 1)
        if problem:
            yield f"{margin}{problem}"
        if (record := self.records.get(name)) is None:
            if name not in self.manifests and (now := self.hash_now(name)):
                yield f"{margin}sha256 {now}"
            return
        hardware = record["hardware"]
        yield f"{margin}sha256 {record['outputs'][name]['sha256']}"
        yield f"{margin}{record['rule']}, {record['time']}, {record['seconds']} s, commit {record['commit']}"
        yield (
            f"{margin}{hardware['host']} ({hardware['processor']}), {record['threads']} threads, "
            f"GPU {hardware['gpu'] or 'none'}, {', '.join(map(' '.join, record['versions'].items()))}"
        )
        for key, value in record["params"].items():
            text = json.dumps(value)
            yield f"{margin}{key}: {text if len(text) <= 1000 else f'{len(text)} characters, in the record'}"


def list_rows(table: Path, model: str | None, brain: str | None) -> list[dict]:
    """Return the rows of Table 1 that belong to a model and a brain data set, all where they are None.

    Raises:
        ValueError: there is none; the message says which there are.
    """
    rows = read_csv(table)
    kept = rows[rows["model"].isin([model or name for name in rows["model"]])]
    kept = kept[kept["brain"].isin([brain or name for name in kept["brain"]])]
    if kept.empty:
        there = f"models: {', '.join(rows['model'].unique())}; brains: {', '.join(rows['brain'].unique())}"
        raise ValueError(f"{table}: no row for model {model}, brain {brain}. There are {there}")
    return kept.to_dict("records")


def list_row_chain(results: Results, table: str, row: dict, region: str | None = None) -> list[tuple[int, str]]:
    """Return the chain behind one row of Table 1; that of a region leaves the accuracies out."""
    cell = {key: row[key] for key in ("model", "brain")}
    of_table = results.records.get(table, {"inputs": {}})["inputs"]

    def is_of_others(name: str) -> bool:
        wildcards = results.records.get(name, {"wildcards": {}})["wildcards"]
        others = any(wildcards.get(key, value) != value for key, value in cell.items())
        return name in of_table and (others or (region is not None and name.startswith("accuracy/")))

    return results.list_chain(table, skip=is_of_others)


def print_row(results: Results, table: str, row: dict, region: str | None) -> list[str]:
    """Print the chain behind one row of Table 1; return the artifacts in it."""
    columns = [key for key in row if key.startswith(f"{region}_" if region else ("top1", "knn_", "n_"))]
    if not columns:
        regions = ", ".join(key.removesuffix("_r") for key in row if key.endswith("_r"))
        raise ValueError(f"no region {region!r} in the table; there are {regions}")
    shown = columns if region else columns + [key for key in row if key.endswith(("_r", "_layer"))]
    print(
        f"{row['model']}, {row['brain']}: " + ", ".join(f"{key} {row[key]}" for key in shown if not pd.isna(row[key]))
    )
    chain = list_row_chain(results, table, row, region)
    names = [name for _, name in chain]
    figures = [name for name in results.records if name.startswith(f"figures/{row['brain']}/")]
    figures = [name for name in figures if not set(results.records[name]["inputs"]).isdisjoint(names)]
    for figure in figures:
        print(f"{figure}   [{results.examine(figure)[0]}]")
    for depth, name in chain:
        print("\n".join(results.describe(name, depth + 1 if figures else depth)))
    return figures + names


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return its exit code: 0 where everything that was checked is as it was made."""
    parser = argparse.ArgumentParser(
        description="Trace an artifact to its sources, and check that nothing was altered."
    )
    parser.add_argument("artifact", type=Path, help="for example results/table1.csv")
    parser.add_argument("--model", help="a row of Table 1")
    parser.add_argument("--brain", help="a brain data set of Table 1")
    parser.add_argument("--region", help="a region of Table 1")
    parser.add_argument(
        "--images", action="store_true", help="read the data sets' own images and compare them with the manifests"
    )
    options = parser.parse_args(arguments)
    try:
        results = Results.read(options.artifact)
        results.read_images = options.images
        name = _name(options.artifact, results.root)
        if Path(name).name != "table1.csv":
            names = [name for _, name in results.list_chain(name)]
            for depth, link in results.list_chain(name):
                print("\n".join(results.describe(link, depth)))
        else:
            rows = list_rows(options.artifact, options.model, options.brain)
            if options.model or options.brain or options.region:
                names = [link for row in rows for link in print_row(results, name, row, options.region)]
            else:
                names = _summarize(results, name, rows)
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    return _conclude(results, dict.fromkeys(names))


def _summarize(results: Results, table: str, rows: list[dict]) -> list[str]:
    """Print one line a row of Table 1; return every artifact that a record names."""
    names = [*results.records, *(name for record in results.records.values() for name in list_read(record))]
    for row in rows:
        links = [link for _, link in list_row_chain(results, table, row)]
        wrong = [link for link in links if results.examine(link)[1]]
        said = f"not as made: {', '.join(wrong)}" if wrong else "as made"
        print(f"{row['model']}, {row['brain']}: {len(links)} artifacts and sources, {said}")
    return [table, *names]


def _conclude(results: Results, names: dict[str, None]) -> int:
    """Print what is wrong and how many artifacts are in which state; return the exit code."""
    found = {name: results.examine(name) for name in names}
    for name, (state, problem) in found.items():
        if problem:
            print(f"{state}: {name}: {problem}")
    counts = Counter(state for state, _ in found.values())
    print(f"{len(found)} artifacts and sources: " + ", ".join(f"{n} {state}" for state, n in counts.items()))
    return int(any(problem for _, problem in found.values()))


if __name__ == "__main__":
    sys.exit(main())
