"""
What the tests of kills share: a finished study, jobs that are killed at some moment, the next call of Snakemake.

A round costs little: the finished study is put back, the artifacts of one kind of job are removed, and only they are asked
for.
"""

import hashlib
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pandas as pd
import psutil
from trainings import TIMES

MODEL = "ipcl_alexnet_gn"
KINDS = {  # scripts of the jobs, artifacts that they make
    "convert": (("list_images", "encode_shard", "join_shards"), ("data/twemoji/train.beton", "data/twemoji/val.beton")),
    "train": (("train_model",), (f"models/{MODEL}/weights.safetensors",)),
    "activations": (("extract_activations", "make_rsms"), (f"rsm/inanimate44/{MODEL}.h5",)),
    "kNN": (("embed_images", "measure_accuracy"), (f"embeddings/twemoji/{MODEL}.h5", f"accuracy/twemoji/{MODEL}.csv")),
    "RSA": (("fit_layers", "measure_layers"), (f"rsa/inanimate44/{MODEL}.csv", f"statistics/inanimate44/{MODEL}.csv")),
    "figures": (("figure2", "figure3"), ("figures/inanimate44/figure2.svg", "figures/inanimate44/figure3.svg")),
}
COMMAND = [sys.executable, "-m", "snakemake", "--snakefile", "workflow/Snakefile", "--cores", "2"]


def start(folder: Path, *targets: str) -> psutil.Popen:
    """Start Snakemake in a study's folder."""
    said = (folder / "said.log").open("w")
    return psutil.Popen([*COMMAND, *targets, "--configfile", "study.yaml"], cwd=folder, stdout=said, stderr=said)


def finish(folder: Path, *targets: str) -> None:
    """Run Snakemake to its end; it must succeed."""
    done = start(folder, *targets).wait(timeout=900)
    assert done == 0, (folder / "said.log").read_text()[-6000:]


def hash_results(folder: Path) -> dict[str, str]:
    """SHA-256 of every artifact, without what holds a time: records, on the explorer's page too, and columns of the logs."""
    hashes = {}
    for path in sorted((folder / "results").rglob("*")):
        name = str(path.relative_to(folder / "results"))
        if path.is_file() and not name.startswith("provenance/") and not path.name.startswith(".snakemake"):
            match path.name:
                case "log.csv":
                    content = pd.read_csv(path).drop(columns=TIMES).to_csv().encode()
                case "explorer.html":
                    content = re.sub(rb'"time":"[^"]*","seconds":[^,]*,', b"", path.read_bytes())
                case "provenance.json" | "training.json":
                    content = b""
                case _:
                    content = path.read_bytes()
            hashes[name] = hashlib.sha256(content).hexdigest()
    return hashes


def keep(study: Path, kept: Path) -> None:
    """Put a copy of the results and of Snakemake's own notes aside, times included."""
    for part in ("results", ".snakemake"):
        subprocess.run(["cp", "-a", study / part, kept / part], check=True)


def put_back(study: Path, kept: Path) -> None:
    """Restore the finished study."""
    for part in ("results", ".snakemake"):
        shutil.rmtree(study / part, ignore_errors=True)
    keep(kept, study)


def remove(study: Path, kind: str) -> list[str]:
    """Remove the artifacts of one kind of job, of trainings what is kept of them too; return the artifacts as targets."""
    artifacts = [study / "results" / name for name in KINDS[kind][1]]
    for path in artifacts:
        path.unlink()
        shutil.rmtree(path.with_name("finished"), ignore_errors=True)
    return [str(path.relative_to(study)) for path in artifacts]


def find_jobs(snakemake: psutil.Process, kind: str) -> list[psutil.Process]:
    """The processes below Snakemake that run a script of this kind."""
    found = []
    with suppress(psutil.NoSuchProcess):
        for process in snakemake.children(recursive=True):
            with suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
                if any(word.endswith(tuple(f".{name}.py" for name in KINDS[kind][0])) for word in process.cmdline()):
                    found.append(process)
    return found


def wait_for_job(
    snakemake: psutil.Process, kind: str, moment: float = 0, is_due: Callable[[], bool] = lambda: True
) -> psutil.Process | None:
    """A running job of this kind, so many seconds after the first has begun; None if they have ended before."""
    while not find_jobs(snakemake, kind):
        if snakemake.poll() is not None:
            return None
        time.sleep(0.005)
    time.sleep(moment)
    while not is_due() or not (jobs := find_jobs(snakemake, kind)):
        if snakemake.poll() is not None:
            return None
        time.sleep(0.0002)
    return jobs[0]


def kill(process: psutil.Process | None) -> bool:
    """Kill -9 a process and all below it; return whether it was still there."""
    if process is None or not process.is_running():
        return False
    with suppress(psutil.NoSuchProcess):
        for victim in [process, *process.children(recursive=True)]:
            with suppress(psutil.NoSuchProcess):
                victim.send_signal(signal.SIGKILL)
    return True


def list_differences(found: dict[str, str], expected: dict[str, str]) -> list[str]:
    """Artifacts whose bits differ, and those that should not be there or are not."""
    return [name for name in {**found, **expected} if found.get(name) != expected.get(name)]


def measure_jobs(snakemake: psutil.Process, kind: str) -> float:
    """Seconds from the begin of the first job of this kind to the end of the last."""
    first = last = None
    while snakemake.poll() is None:
        if find_jobs(snakemake, kind):
            last = time.monotonic()
            first = first or last
        time.sleep(0.02)
    return last - first
