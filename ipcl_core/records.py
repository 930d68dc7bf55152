"""
Records: what each job read and made, with which code, and whether it is still so.

Each workflow script ends in `record_job`, which writes <results>/provenance/<first output>.json: rule, wildcards,
parameters, commit, versions, hardware, time, the SHA-256 of everything the job read and made, and of its code. A folder's
SHA-256 is that of its listing.

A record is no declared output of its rule. The workflow repeats a job whose declared output is lost, and a lost note must
not repeat a week of training; nor shall records added to the workflow make a finished study run again. It needs no
declaration: the job that makes an artifact writes its record before it ends, so an artifact without one is a job that
did not end well, which the workflow repeats. Records guard against accidents, not against somebody who edits them too.
"""

import glob
import json
import logging
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache, cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from .code import PACKAGE, hash_code
from .files import compute_sha256, read_json, write_json

logger = logging.getLogger(__name__)
PACKAGES = ("ffcv", "h5py", "numpy", "pandas", "pillow", "scipy", "snakemake", "torch", "torchvision")
LARGE_BYTES = 100_000_000
"""An input of at least this size is not hashed again while its size and time are those that its record gives."""
OF_HOOKS = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR", "GIT_OBJECT_DIRECTORY")
"""Variables by which git tells its hooks, and what `rebase --exec` starts, the repository that it works on."""
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
    environment = {key: value for key, value in os.environ.items() if key not in OF_HOOKS}

    def git(*words: str) -> str:
        words = (*command, str(checkout), *words)
        done = subprocess.run(  # nosec B603
            words, env=environment, capture_output=True, encoding="utf-8", errors="replace", check=True
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


def record_job(
    job,
    *sources: str | Path,
    folders: dict[str, str | Path] | None = None,
    kept: bool = True,
    again: bool = False,
) -> None:
    """Write the record of a job that has just made its outputs.

    Args:
        job: what the workflow gives to its script: rule, wildcards, params, input, output, threads, config, scriptdir. The
            rule is recorded by the name of its script, which it has here: an importer may call it otherwise.
        sources: files and folders that were read though they are no declared input.
        folders: split -> folder that images were read from, or root -> that of torchvision; named, and too large to be hashed.
        kept: whether the workflow keeps the outputs once the jobs that need them are done.
        again: whether the outputs are those that an earlier job wrote, unchanged: its time, code and machine stay.
    """
    results = Path((job.config.get("pathvars") or {}).get("results", "results"))
    records, root = results.absolute() / "provenance", _find_root(next(iter(job.output)), results)
    outputs = {}
    script = _find_script(job)
    for path in job.output:
        stat = Path(path).stat()
        stamp = {"size": stat.st_size, "mtime_ns": stat.st_mtime_ns}
        outputs[name_artifact(path, root)] = {"sha256": compute_sha256(path)} | stamp
    record = {
        "rule": script.stem,
        "wildcards": dict(job.wildcards.items()),
        **describe_run(),
        "seconds": round(time.monotonic() - _START, 1),
        "threads": job.threads,
        "params": dict(job.params.items()),
        "code": hash_code(script),
        "inputs": {
            name_artifact(path, root): _hash_input(Path(path), name_artifact(path, root), records)
            for path in [*job.input, *sources]
        },
        "folders": {key: name_artifact(path, root) for key, path in (folders or {}).items()},
        "outputs": outputs,
        "kept": kept,
    }
    path = records / f"{next(iter(outputs))}.json"
    write_json(record | (_find_origin(path, outputs) if again else {}), path)


def _find_script(job) -> Path:
    """Return the script that runs, which Snakemake gives its own path; outside of Snakemake the one of the rule's name."""
    running = Path(getattr(sys.modules["__main__"], "__file__", None) or "").resolve()
    folder = Path(job.scriptdir).resolve()
    return running if running.parent == folder else folder / f"{job.rule}.py"


def _find_origin(path: Path, outputs: dict[str, dict]) -> dict:
    """Return when, where and by which code a record says that the same bytes were made; {} where it is not of them."""
    try:
        made = read_json(path)
        if any(made["outputs"][name]["sha256"] != output["sha256"] for name, output in outputs.items()):
            return {}
        return {key: made[key] for key in ("time", "commit", "versions", "hardware", "seconds", "threads", "code")}
    except (FileNotFoundError, ValueError, LookupError, TypeError):
        return {}


def name_artifact(path: str | Path, root: Path) -> str:
    """A path as records give it: relative to the results folder, or absolute where it is outside."""
    path = Path(os.path.normpath(Path(path).absolute()))
    return str(path.relative_to(root)) if path.is_relative_to(root) else str(path)


def _find_root(output: str | Path, results: Path) -> Path:
    """Return the results folder that an output lies in: the study's, or a storage plugin's copy of it, the last folder of its
    name. Records stay in the study's, which such a plugin leaves alone."""
    path, n = Path(output).absolute(), len(results.parts)
    if not path.is_relative_to(results.absolute()):
        for end in range(len(path.parts), n, -1):
            if path.parts[end - n : end] == results.parts:
                return Path(*path.parts[:end])
    return results.absolute()


def _hash_input(path: Path, name: str, records: Path) -> str:
    """The SHA-256 of a file or folder; that of a large file is taken from its record while size and time agree."""
    stat, record = path.stat(), records / f"{name}.json"
    if stat.st_size >= LARGE_BYTES and path.is_file() and record.is_file():
        made = read_json(record)["outputs"][name]
        if (made["size"], made["mtime_ns"]) == (stat.st_size, stat.st_mtime_ns):
            return made["sha256"]
    return compute_sha256(path)


def settle_hash(
    results: str | Path, artifact: str, params: tuple[str, str], digest: str | None, source: str | Path | None = None
) -> str | None:
    """Return the hash by which a job checked a file, where `digest` is of the same file; else `digest`.

    So a hash that is given later, or with more digits, is no other parameter of that job.

    Args:
        artifact: what the job made, below the results.
        params: the job's parameter, and the key in it, that the hash was.
        digest: sha256: and the hash or its beginning, or the hash alone; None fits any file.
        source: the file, which the job read; None: the artifact.
    """
    try:
        record = read_json(Path(results, "provenance", f"{artifact}.json"))
        inputs, made = record["inputs"], record["outputs"][artifact]["sha256"]
        found = inputs[name_artifact(source, Path(results).absolute())] if source else made
        fits = found.startswith((digest or "").removeprefix("sha256:"))
        return record["params"][params[0]][params[1]] if fits else digest
    except (OSError, ValueError, LookupError, TypeError):
        return digest


def list_read(record: dict) -> list[str]:
    """Return what a job read: its inputs, and folders of images."""
    return [*record.get("inputs", {}), *record.get("folders", {}).values()]


@cache
def _hash_code(name: str) -> str | None:
    file = PACKAGE.parent / name
    return compute_sha256(file) if file.exists() else None


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
    compare_images: Callable[[Path, Path], str] | None = None
    """What compares a folder of images with the manifest of its data set, and says what differs; None: nothing does."""

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
            manifests = [path for path in self.manifests[name] if path.exists()]
            place = self.root / name
            if not (place.exists() or any(glob.iglob(str(place)))):  # a pattern names archives
                found = "elsewhere", ""
            elif not (self.compare_images and manifests):
                found = "not read", ""
            else:
                problem = "; ".join(filter(None, (self.compare_images(place, path) for path in manifests)))
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

    def list_changed_code(self, name: str) -> list[str]:
        """Return the files of code that an artifact was made by, and that have other bytes today or are gone.

        Scripts are not compared where the package was installed without them.
        """
        code = self.records.get(name, {}).get("code", {})
        here = {file: made for file, made in code.items() if (PACKAGE.parent / Path(file).parts[0]).exists()}
        return [file for file, made in here.items() if _hash_code(file) != made]

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
        if changed := self.list_changed_code(name):
            yield f"{margin}made by other code than today's: {', '.join(changed)}"
        for key, value in record["params"].items():
            text = json.dumps(value)
            yield f"{margin}{key}: {text if len(text) <= 1000 else f'{len(text)} characters, in the record'}"
