"""
Trainings that have finished already.

The workflow repeats a training whenever its data were written anew, though a folder that moved or another number of shards
gives the same bytes. So what a training wrote stays in a folder `finished` beside its weights, until another one of the same
model has finished: the same files under a second name, or copies where the file system has no hard links. No output is
declared there, as Snakemake removes those before it repeats a job.
"""

import logging
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from ..files import compute_sha256, read_json, write_json, write_whole
from .checkpoints import lock

logger = logging.getLogger(__name__)


def keep(outputs: Iterable[str | Path], fingerprint: str) -> None:
    """Keep what a training has written; where that cannot be done, only a warning is given.

    Args:
        outputs: its files, in one folder.
        fingerprint: of the training, see `state.describe_training`.
    """
    outputs = [Path(path) for path in outputs]
    folder = outputs[0].with_name("finished")
    try:
        # first removed and last written: a part is not taken for the whole
        (folder / "training.json").unlink(missing_ok=True)
        for path in outputs:
            _put(path, folder / path.name)
        hashes = {path.name: compute_sha256(path) for path in outputs}
        write_json({"fingerprint": fingerprint, "sha256": hashes}, folder / "training.json")
    except OSError as error:
        logger.warning("%s: not kept (%s); the same training would be repeated where it is asked for", folder, error)


def take_back(outputs: Iterable[str | Path], fingerprint: str) -> bool:
    """Write what the same training wrote before; return whether it was there and is unchanged.

    Args:
        outputs, fingerprint: see `keep`.

    Raises:
        BlockingIOError: another process trains this model.
        OSError: the files cannot be read, or written again.
    """
    outputs = [Path(path) for path in outputs]
    folder = outputs[0].with_name("finished")
    if not (folder / "training.json").exists():
        return False
    try:
        kept = read_json(folder / "training.json")
        if kept["fingerprint"] != fingerprint:
            return False
        names = [path.name for path in outputs]
        changed = [name for name in names if compute_sha256(folder / name) != kept["sha256"][name]]
    except (ValueError, LookupError, TypeError, FileNotFoundError) as error:
        changed = [str(error)]
    if changed:
        logger.warning("%s: not as the training left it (%s): it is repeated", folder, ", ".join(changed))
        return False
    with lock(outputs[0].with_name("training.lock")):
        for path in outputs:
            _put(folder / path.name, path)
    logger.info(
        "this training has finished before (network, recipe, seed and the data's SHA-256 are the same): "
        "its files are taken from %s. To train anew, remove that folder",
        folder,
    )
    return True


def _put(source: Path, target: Path) -> None:
    """Give a file a second name, or copy it."""
    with write_whole(target) as temporary:
        try:
            os.link(source, temporary)
        except OSError:
            shutil.copyfile(source, temporary)
