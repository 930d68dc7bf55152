"""
Copies of .beton files on a node's own disk, so that every job on the node reads them there and not over the network.

A copy is named after the SHA-256 of its file: changed data get a new copy, and a copy serves every model and every study.
It is made under another name and appears when it is whole; jobs that start at the same time on one node wait for the first
of them to copy. The folder may belong to several users: each reads what another one copied. Copies stay until somebody
removes them.
"""

import fcntl
import hashlib
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tqdm import tqdm

from ..files import UNSUPPORTED, open_lock, read_json, write_json, write_whole
from .beton import check_beton

log = logging.getLogger(__name__)
CHUNK = 1 << 24


def copy_to_scratch(beton: str | Path, scratch: str | Path | None) -> Path:
    """Return the path of a copy of a .beton file on this node's disk, made where there is none that is whole.

    Of a copy that is there `check_beton` is asked: a changed byte of an image would not show.

    Args:
        beton: the file; its summary (.json), which holds its SHA-256, lies beside it.
        scratch: folder on the node's disk; None: no copy is made and the file itself is returned.

    Where the folder has no room for the copy, or cannot be written, or there is no summary, that is logged and the file itself
    is returned.

    Raises:
        ValueError: the folder is no absolute path, or the bytes read are not those that the summary describes.
        OSError: the file, or the summary that is there, cannot be read.
    """
    beton = Path(beton)
    if scratch is None:
        return beton
    named, scratch = scratch, Path(os.path.expanduser(os.path.expandvars(scratch)))  # noqa: PTH111
    if not scratch.is_absolute() or "$" in str(scratch):
        raise ValueError(
            f"scratch: {named} is on this node {scratch}, no absolute path, as that of a node's own disk is"
        )
    if not beton.with_suffix(".json").exists():  # fetched by a storage plugin, which took the file alone
        log.warning("%s: its summary (.json) is not beside it; reading the file itself", beton)
        return beton
    summary, n_bytes = read_json(beton.with_suffix(".json")), beton.stat().st_size
    copy = scratch / f"{summary['sha256']}.beton"
    with beton.open("rb") as source:
        try:
            if not _is_whole(copy):
                copy.parent.mkdir(parents=True, exist_ok=True)
                with _lock(copy.with_suffix(".lock")):
                    if not _is_whole(copy, say=True) and not _copy(source, copy, summary, n_bytes):
                        return beton
        except OSError as error:
            log.warning("%s: cannot be used (%s); reading %s itself", scratch, error, beton)
            return beton
    return copy


def _is_whole(copy: Path, *, say: bool = False) -> bool:
    """Whether there is a copy, and its index is as it should be; where it is not, that can be logged."""
    try:
        check_beton(copy)
    except FileNotFoundError:
        return False
    except ValueError as error:
        if say:
            log.warning("%s; copying it again", error)
        return False
    return True


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    """Wait until no other job copies the same file; where the file system has no locks, do not."""
    file = open_lock(path)
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError as error:
            if error.errno not in UNSUPPORTED:
                raise
        yield
    finally:
        os.close(file)


def _copy(source, copy: Path, summary: dict, n_bytes: int) -> bool:
    """Copy an open file and its summary; return whether there was room.

    Raises:
        ValueError: the bytes read are not those that the summary describes.
    """
    free = shutil.disk_usage(copy.parent).free
    if free < n_bytes:
        log.warning(
            "%s: %d MB free, %d MB needed; reading %s itself", copy.parent, free >> 20, n_bytes >> 20, source.name
        )
        return False
    digest = hashlib.sha256()
    write_json(summary, copy.with_suffix(".json"))
    with write_whole(copy) as temporary:
        progress = tqdm(total=n_bytes, desc=f"copying {source.name}", unit="B", unit_scale=True)
        with temporary.open("wb") as target, progress:
            while chunk := source.read(CHUNK):
                digest.update(chunk)
                target.write(chunk)
                progress.update(len(chunk))
        if digest.hexdigest() != summary["sha256"]:
            raise ValueError(f"{source.name}: not the file that its summary describes; convert the images again")
    log.info("%s copied to %s", source.name, copy)
    return True
