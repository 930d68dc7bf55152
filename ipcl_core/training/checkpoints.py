"""
The file from which an interrupted training goes on, the one before it, and the lock that keeps other processes away.
"""

import fcntl
import pickle
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from ..files import open_patiently, write_whole


def name_previous(checkpoint: Path) -> Path:
    """Return where the checkpoint before this one is kept."""
    return checkpoint.with_stem(f"{checkpoint.stem}.previous")


def write_checkpoint(state: dict, path: Path) -> None:
    """Write a training's state (`Training.save_checkpoint`); the file that was there becomes the previous one."""
    with write_whole(path) as temporary:
        with open_patiently(temporary) as file:
            torch.save(state, file)
        if path.exists():
            path.replace(name_previous(path))


def read_checkpoint(path: Path, device: torch.device) -> dict:
    """Return the state that `write_checkpoint` wrote, its tensors on a device.

    Raises:
        ValueError: the file is no checkpoint, or holds objects that could run code.
    """
    try:
        with zipfile.ZipFile(path) as file:
            if damaged := file.testzip():  # torch does not look at the checksums that it writes
                raise zipfile.BadZipFile(f"bad checksum of {damaged}")
        state = torch.load(path, map_location=device, weights_only=True)
        state["fingerprint"]
    except (zipfile.BadZipFile, pickle.UnpicklingError, RuntimeError, EOFError, LookupError, TypeError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise ValueError(f"{path}: is no whole checkpoint; remove it to train from the start ({reason})") from None
    return state


@contextmanager
def lock(path: Path) -> Iterator[None]:
    """Keep every other process out until the end, for instance the job of a Snakemake that was killed and started again."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BlockingIOError(f"{path}: another process trains this model; wait for its end, or end it") from None
        try:
            yield
        finally:
            path.unlink(missing_ok=True)
