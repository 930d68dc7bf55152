"""
Snakemake's command line for tests, each call in a process of its own.

Python's fork server imports Snakemake and what it or its Snakefile imports once, and nothing of this project: that takes two
seconds of processor time, which no call needs to spend anew.
"""

import multiprocessing
import os
import sys
import tempfile
from pathlib import Path

TESTS = Path(__file__).parent
SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["snakemake.cli", "snakemake_executor_plugin_slurm", "pandas", "pydantic"])


def run_snakemake(folder: str | Path, *arguments: str | Path, timeout: float = 1800) -> tuple[int, str]:
    """Do what `python -m snakemake` with these arguments does in a folder; return its exit code and what it says."""
    with tempfile.NamedTemporaryFile("r", encoding="utf-8", errors="replace") as said:
        words = [str(word) for word in arguments]
        process = SERVER.Process(target=_run, args=(str(folder), words, dict(os.environ), said.name))
        process.start()
        process.join(timeout)
        if process.is_alive():
            process.kill()
            process.join()
        return process.exitcode, said.read()


def count_jobs(said: str) -> dict[str, int]:
    """Read Snakemake's table of jobs: rule -> number."""
    lines = said.split("Job stats:")[1].strip().splitlines()[2:]
    table = {}
    for line in lines:
        if len(line.split()) != 2:
            break
        rule, number = line.split()
        table[rule] = int(number)
    return {rule: number for rule, number in table.items() if rule not in ("total", "all")}


def _run(folder: str, arguments: list[str], environment: dict[str, str], said: str) -> None:
    """In the new process: the folder, arguments, environment, output and modules that the command line would have."""
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    output = os.open(said, os.O_WRONLY | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(output, stream)
    sys.argv = ["snakemake", *arguments]
    sys.path[:] = [folder, *(path for path in sys.path if not _is_of_tests(Path(path)))]

    from snakemake.cli import main

    main()


def _is_of_tests(path: Path) -> bool:
    """Whether pytest has put the folder on the path of modules."""
    return path == TESTS.parent or path.is_relative_to(TESTS)
