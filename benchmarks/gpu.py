"""
First light on a GPU: whether it computes what the processor does, then how fast it trains and measures.

    make gpu                      on a machine with an NVIDIA card; at most nine minutes; the table goes to benchmarks/gpu.md
    python -m benchmarks.gpu [--minutes 9] [--table PATH] [--parts checks steps ...]

It needs Python 3.11 or newer, torch 2.11 or newer, pytest and the libraries of pyproject.toml that the parts import; FFCV only
where files are read; no network, no Snakemake. A row is printed, and appended to the table, as soon as it is measured, so that
what was measured remains when the command is cut off; a part that fails leaves its error as its row. Without a GPU the parts
run at a small size on the processor, which shows that they run, and nothing else; a table is then written only where named.
"""

import argparse
import importlib.metadata
import os
import platform
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import torch

from benchmarks.gpu_speeds import (
    GPU,
    ROOT,
    STEPS,
    compare_bits,
    compare_objectives,
    list_kernels,
    measure_files,
    measure_knn,
    measure_limits,
    measure_steps,
    measure_views,
)


def describe_machine() -> str:
    """Card, driver, versions, as one line."""
    packages = ("torch", "triton", "numpy", "numba", "ffcv")
    found = [(name, importlib.metadata.version(name)) for name in packages if find_spec(name)]
    versions = ", ".join(f"{name} {version}" for name, version in [("Python", platform.python_version()), *found])
    if not GPU:
        return f"{platform.machine()} processor, no GPU; {versions}"
    command = ["nvidia-smi", "--query-gpu=driver_version,power.limit", "--format=csv,noheader"]
    try:
        driver = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[0]
    except (OSError, subprocess.CalledProcessError):
        driver = "not known"
    card = torch.cuda.get_device_properties(0)
    return (
        f"{card.name}, {card.total_memory / 2**30:.0f} GiB, driver and power limit {driver}, {os.cpu_count()} cores; "
        f"{versions}, CUDA {torch.version.cuda}"
    )


def run_checks(seconds: float) -> Iterator[tuple]:
    """The tests of tests/gpu, in a process of their own."""
    pytest = [sys.executable, "-m", "pytest", "-m", "gpu", "-v", "--no-header", "-p", "no:cacheprovider"]
    start, paths = time.monotonic(), os.pathsep.join([str(ROOT), *sys.path[1:]])
    options = {"cwd": ROOT, "env": os.environ | {"PYTHONPATH": paths}, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([*pytest, "tests/gpu"], start_new_session=True, **options) as tests:
        watch = threading.Timer(seconds, os.killpg, (tests.pid, signal.SIGKILL))  # a test that hangs says nothing
        watch.start()
        last = ""
        for line in tests.stdout:
            print(line, end="", flush=True)
            last = line.strip(" =\n") or last
        watch.cancel()
    if tests.returncode:
        raise RuntimeError(f"exit {tests.returncode} after {time.monotonic() - start:.0f} s: {last}")
    yield "tests of tests/gpu", last, "all pass", f"{time.monotonic() - start:.0f} s"


PARTS = {  # name -> its rows, seconds it may take on a GPU
    "limits": (measure_limits, 10),
    "views": (measure_views, 15),
    **{f"steps {i}": (lambda case=case: measure_steps(*case), 45) for i, case in enumerate(list(STEPS)[:3])},
    "files": (measure_files, 90),
    "knn": (measure_knn, 30),
    "kernels": (list_kernels, 20),
    "bits": (compare_bits, 40),
    "objectives": (compare_objectives, 15),
    **{f"steps {i}": (lambda case=case: measure_steps(*case), 45) for i, case in enumerate(list(STEPS)[3:], 3)},
}
"""In the order of what is wanted first."""
NEEDS_FFCV = {"files"}
SMALL = {"steps 0", "steps 4", "steps 6"}
"""Of the steps, those that run without a GPU: one of each objective."""


class Table:
    """Prints lines and, where a file is named, appends each to it at once."""

    def __init__(self, path: str | None):
        self.path = path
        if path:
            Path(path).write_text("", encoding="utf-8")

    def add(self, line: str) -> None:
        print(line, flush=True)
        if self.path:
            with Path(self.path).open("a", encoding="utf-8") as file:
                file.write(line + "\n")

    def add_rows(self, part: str, rows: Iterator[tuple]) -> None:
        """Add a part's rows, or the error that ended it."""
        try:
            for row in rows:
                self.add(f"| {' | '.join(map(str, row))} |")
        except Exception as error:
            text = " ".join(str(error).split()).replace("|", "/")[:300]
            self.add(f"| {part} | failed: {type(error).__name__} | | {text} |")
            self.failed = True
        if GPU:
            torch.cuda.empty_cache()

    failed = False


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=9)
    parser.add_argument("--table", default=str(ROOT / "benchmarks/gpu.md") if GPU else None)
    parser.add_argument("--parts", nargs="+", default=["checks", *PARTS], choices=["checks", *PARTS])
    arguments = parser.parse_args()
    end = time.monotonic() + 60 * arguments.minutes
    if not GPU:
        torch.set_num_threads(1)
    table = Table(arguments.table)
    table.add(f"# A GPU: checks and speeds\n\nMade by `make gpu` on {time.strftime('%Y-%m-%d')}: {describe_machine()}.")
    if GPU:
        table.add("What is measured: the first lines of benchmarks/gpu_speeds.py.")
    else:
        table.add("There is no GPU here: small sizes on the processor, which say nothing about speed.")
    table.add("\n| what | found | to reach | |\n|---|---|---|---|")
    left_out = []
    for part in arguments.parts:
        left = end - time.monotonic()
        if not GPU and part.startswith("steps") and part not in SMALL:
            continue
        if part == "checks":
            table.add_rows(part, run_checks(max(left - 200, 30) if GPU else 3600))
        elif part in NEEDS_FFCV and find_spec("ffcv") is None:
            left_out.append(f"{part} (FFCV is not installed)")
        elif GPU and left < PARTS[part][1]:
            left_out.append(f"{part} ({left:.0f} s were left)")
        else:
            table.add_rows(part, PARTS[part][0]())
    if left_out:
        table.add(f"\nNot measured: {', '.join(left_out)}.")
    if not GPU:
        print(
            "Not done without a GPU: the tests named above, compiled steps, kernels, memory, shares of a GPU's peaks."
        )
    sys.exit(table.failed)


if __name__ == "__main__":
    main()
