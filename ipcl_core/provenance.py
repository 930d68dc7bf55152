"""
Where an artifact comes from: commit, versions, hardware.
"""

import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import torch

PACKAGES = ("ffcv", "numpy", "snakemake", "torch", "torchvision")


def describe_run() -> dict:
    """Return the software and hardware of this process: time, commit, package versions, processor, GPU."""
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": find_commit(),
        "versions": {"python": platform.python_version()} | {name: version(name) for name in PACKAGES},
        "hardware": {
            "host": platform.node(),
            "processor": platform.machine(),
            "n_threads": torch.get_num_threads(),
            "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        },
    }


def find_commit() -> str | None:
    """Return the git commit of this package's checkout, "+changes" behind it where files differ; None outside git."""

    def git(*words: str) -> str:
        command = ["git", "-C", str(Path(__file__).parent), *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        return git("rev-parse", "HEAD") + ("+changes" if git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return None
