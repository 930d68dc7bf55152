"""
Copies of .beton files on a node's own disk, for clusters whose shared file system is slow.

Jobs on one node share a copy: the first makes it, the others wait for it. Its name is the SHA-256 of the original, so that
changed data get a copy of their own; its summary (.json) lies beside it. Copies stay until somebody removes them.
"""

import fcntl
import hashlib
import logging
import shutil
from pathlib import Path

from tqdm import tqdm

from ..files import read_json, write_json, write_whole
from .beton import check_beton

log = logging.getLogger(__name__)
CHUNK = 1 << 24


def copy_to_scratch(beton: str | Path, scratch: str | Path | None) -> Path:
    """Return the path of a copy of a .beton file on this node's disk, made where there is none that is whole.

    Of a copy that is there `check_beton` is asked: a changed byte of an image would not show.

    Args:
        beton: the file; its summary (.json), which holds its SHA-256, lies beside it.
        scratch: folder on the node's disk; None: no copy is made and the file itself is returned.

    Where the folder has no room for the copy, that is logged and the file itself is returned.

    Raises:
        ValueError: the bytes read are not those that the summary describes.
        OSError: the folder cannot be written.
    """
    beton = Path(beton)
    if scratch is None:
        return beton
    summary, n_bytes = read_json(beton.with_suffix(".json")), beton.stat().st_size
    sha256 = summary["sha256"]
    copy = Path(scratch) / f"{sha256}.beton"
    copy.parent.mkdir(parents=True, exist_ok=True)
    with copy.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if copy.exists():
            try:
                check_beton(copy)
                return copy
            except ValueError as error:
                log.warning("%s; copying %s again", error, beton)
                copy.unlink()
        free = shutil.disk_usage(scratch).free
        if free < n_bytes:
            log.warning("%s: %d MB free, %d MB needed; reading %s itself", scratch, free >> 20, n_bytes >> 20, beton)
            return beton
        write_json(summary, copy.with_suffix(".json"))
        with write_whole(copy) as temporary:
            if _copy(beton, temporary, n_bytes) != sha256:
                raise ValueError(f"{beton}: not the file that its summary describes; convert the images again")
    log.info("%s copied to %s", beton, copy)
    return copy


def _copy(source: Path, destination: Path, n_bytes: int) -> str:
    """Copy a file and return the SHA-256 of the bytes that were written."""
    digest = hashlib.sha256()
    progress = tqdm(total=n_bytes, desc=f"copying {source.name}", unit="B", unit_scale=True)
    with source.open("rb") as read, destination.open("wb") as write, progress:
        while chunk := read.read(CHUNK):
            digest.update(chunk)
            write.write(chunk)
            progress.update(len(chunk))
    return digest.hexdigest()
