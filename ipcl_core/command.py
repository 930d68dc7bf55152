"""
The command `ipcl`: what a user types beside `snakemake`.

    ipcl new my_study                                            a folder with a small study to start from
    ipcl check my_study/config.yaml                              what is wrong with it, before a job runs
    ipcl simulate simulated                                      a brain data set whose answer is known
    ipcl costs config.yaml --gpus 8                              views, GPU-hours and disk of every model
    ipcl provenance results/table1.csv --model ipcl --region IT  where a number comes from
    ipcl crate results                                           a finished run as an RO-Crate
    ipcl release results release --models ipcl                   its networks, to be given to others

`ipcl COMMAND --help` says more, `ipcl --version` which this is. Exit code: 0 where all is well, 1 where something is not, 2
where nothing could be done.
"""

import argparse
import signal
import sys
from importlib import import_module

from . import __version__

MODULES = {
    "new": "new_study",
    "check": "check",
    "simulate": "simulation",
    "costs": "costs",
    "provenance": "provenance",
    "crate": "crate",
    "release": "release.make",
}
EXTRAS = {"ffcv": "training"} | dict.fromkeys(("torch", "torchvision", "numba", "safetensors"), "networks")
"""Module that may be absent -> the extra of this package that brings it."""


def main(arguments: list[str] | None = None) -> int:
    """Run a command; return its exit code."""
    parser = argparse.ArgumentParser(
        prog="ipcl", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, usage="ipcl COMMAND ..."
    )
    parser.add_argument("command", choices=MODULES, metavar="COMMAND", help=", ".join(MODULES))
    parser.add_argument("--version", action="version", version=f"ipcl {__version__}")
    if arguments is None:
        arguments = sys.argv[1:]
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `| head` is no error
    command = parser.parse_args(arguments[:1]).command
    try:
        return import_module(f".{MODULES[command]}", __package__).main(arguments[1:])
    except ModuleNotFoundError as error:
        if error.name not in EXTRAS:
            raise
        print(
            f"ipcl {command} needs {error.name}: pip install 'ipcl-core[{EXTRAS[error.name]}]'",
            file=sys.stderr,
        )
        return 2
