"""
The file from which an interrupted training goes on: when it is written, which one is read, and the lock that keeps other
processes away.

Beside checkpoint.pt stands the one before it, checkpoint.previous.pt. Checkpoints of another recipe, seed or data set are
set aside as checkpoint.XXXXXXXX.pt, eight digits of their fingerprint's SHA-256, before anything is written in their place.
"""

import fcntl
import hashlib
import logging
import pickle
import threading
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from .. import distributed
from ..files import UNSUPPORTED, open_patiently, write_whole
from .state import Training
from .watch import is_sound

logger = logging.getLogger(__name__)


class Saver:
    """Writes the checkpoint of a training when one is due, and goes on from one.

    Args:
        training: that is saved and restored.
        path: of the checkpoint.

    Attributes:
        signalled: set once the process has received a signal to end (`distributed.catch_signals`).
        told_to_end: whether this process, or one of several, has been told so, and what can be saved is saved.
    """

    def __init__(self, training: Training, path: Path):
        self.training, self.path = training, path
        self.signalled, self.told_to_end = threading.Event(), False
        self.last_save, self.is_due = time.monotonic(), False
        self.saved_step: int | None = None  # of the checkpoint
        self.others: dict[Path, str] = {}  # checkpoints of other trainings -> where to set them aside

    def save_if_due(self) -> None:
        """Write a checkpoint every `checkpoint_minutes`, every `checkpoint_steps` minibatches, and when told to end.

        Several processes do so behind the present group of accumulated minibatches. Where the losses are no numbers, or the
        embeddings have collapsed, nothing is written.
        """
        recipe, now = self.training.recipe, time.monotonic()
        (end,) = distributed.agree(self.signalled.is_set())
        self.is_due |= end or now - self.last_save > 60 * recipe.checkpoint_minutes
        self.is_due |= recipe.checkpoint_steps is not None and self.training.step % recipe.checkpoint_steps == 0
        if self.is_due and self._holds_everything():
            if is_sound(self.training):
                self.save()
                self.last_save = now
            self.is_due, self.told_to_end = False, end

    def _holds_everything(self) -> bool:
        """Whether the first of several processes has all that a checkpoint needs: no gradient of its part alone."""
        return distributed.count_processes() == 1 or next(self.training.network.parameters()).grad is None

    def save(self) -> None:
        """Write a checkpoint; the one that was there becomes the previous one."""
        self.saved_step = self.training.step
        if distributed.get_rank() > 0:
            return
        self._make_room()
        with write_whole(self.path) as temporary:
            with open_patiently(temporary) as file:
                torch.save(self.training.state_dict(), file)
            if self.path.exists():
                self.path.replace(name_previous(self.path))

    def _make_room(self) -> None:
        """Set the checkpoints of other trainings aside, and put this one's back that had been."""
        for file, aside in reversed(self.others.items()):  # the newer one last: of one training, it remains
            logger.info("%s belongs to another recipe, seed or data set: set aside as %s", file, aside.name)
            file.replace(aside)
        self.others = {}
        aside = name_aside(self.path, self.training.fingerprint)
        if aside.exists() and not self.path.exists():
            aside.replace(self.path)

    def resume(self) -> None:
        """Go on from the newest whole checkpoint of this training, also one that was set aside; where there is none, start.

        Raises:
            ValueError: there are only damaged ones.
            RuntimeError: one does not hold what this code's training does.
        """
        fingerprint, damage = self.training.fingerprint, []
        for file in (self.path, name_previous(self.path), name_aside(self.path, fingerprint)):
            if not file.exists():
                continue
            try:
                if (found := read_fingerprint(file)) != fingerprint:
                    self.others[file] = name_aside(self.path, found)
                elif self.saved_step is None:
                    self._load(file)
            except ValueError as error:
                if self.saved_step is None:
                    damage.append(error)
        if damage and self.saved_step is None and not self.others:
            raise damage[-1]
        for error in damage:
            logger.warning("%s; trying the one before", error)
        if self.others and self.saved_step is None:
            file = next(iter(self.others))
            logger.warning("%s belongs to another recipe, seed or data set: training starts anew", file)

    def _load(self, file: Path) -> None:
        state = read_checkpoint(file, self.training.device)
        try:
            self.training.load_state_dict(state)
        except (LookupError, RuntimeError, TypeError, ValueError) as error:  # no ValueError: a part of it is loaded
            raise RuntimeError(
                f"{file}: this training cannot go on from it, as where other code wrote it ({type(error).__name__}: "
                f"{error}); remove it to train from the start"
            ) from error
        self.saved_step = self.training.step
        logger.info("going on from minibatch %d of %d (%s)", self.saved_step, self.training.n_steps, file)

    def remove_leftovers(self) -> None:
        """Behind the end of a training, remove the previous checkpoint and what a killed process left of one."""
        self._make_room()
        for file in (name_previous(self.path), *self.path.parent.glob(f".{self.path.stem}.*{self.path.suffix}")):
            file.unlink(missing_ok=True)

    def say_kept(self) -> str:
        """Say what is left of a training that failed."""
        if self.saved_step is None:
            return "there is no checkpoint"
        return f"the last good checkpoint, of minibatch {self.saved_step}, is kept ({self.path})"


def name_previous(checkpoint: Path) -> Path:
    """Return where the checkpoint before this one is kept."""
    return checkpoint.with_stem(f"{checkpoint.stem}.previous")


def name_aside(checkpoint: Path, fingerprint: str) -> Path:
    """Return where the checkpoint of the training with a fingerprint is kept while another one runs in its place."""
    return checkpoint.with_stem(f"{checkpoint.stem}.{hashlib.sha256(fingerprint.encode()).hexdigest()[:8]}")


def read_fingerprint(path: Path) -> str:
    """Return which training a checkpoint belongs to, without reading its tensors; errors as of `read_checkpoint`."""
    with _name_damage(path):
        return torch.load(path, map_location="cpu", mmap=True, weights_only=True)["fingerprint"]


def read_checkpoint(path: Path, device: torch.device) -> dict:
    """Return the state that `Saver.save` wrote, its tensors on a device.

    Raises:
        ValueError: the file is no checkpoint, or holds objects that could run code.
    """
    with _name_damage(path):
        with zipfile.ZipFile(path) as file:
            if damaged := file.testzip():  # torch does not look at the checksums that it writes
                raise zipfile.BadZipFile(f"bad checksum of {damaged}")
        return torch.load(path, map_location=device, weights_only=True)


@contextmanager
def _name_damage(path: Path) -> Iterator[None]:
    """Say of a file that cannot be read as a checkpoint which one it is."""
    try:
        yield
    except (zipfile.BadZipFile, pickle.UnpicklingError, RuntimeError, EOFError, LookupError, TypeError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise ValueError(f"{path}: is no whole checkpoint; remove it to train from the start ({reason})") from None


@contextmanager
def lock(path: Path) -> Iterator[None]:
    """Keep every other process out until the end, for instance the job of a Snakemake that was killed and started again.

    On a file system without locks (some Lustre, NFS and FUSE) only a warning is given.

    Raises:
        BlockingIOError: another process holds the lock.
        OSError: it could not be asked for; names the file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BlockingIOError(f"{path}: another process trains this model; wait for its end, or end it") from None
        except OSError as error:
            if error.errno not in UNSUPPORTED:
                raise OSError(error.errno, error.strerror, str(path)) from None
            logger.warning(
                "%s: this file system has no locks (%s); training goes on without one. Two jobs must not train this model",
                *(path, error.strerror),
            )
        try:
            yield
        finally:
            path.unlink(missing_ok=True)
