"""
Image folders and archives -> lists of images -> encoded shards, which `beton` joins.

    list (CSV: path, class, label) -> shards (.bin: the images' bytes; .csv: one row an image) -> .beton

Shards may be encoded at the same time, on several machines. Each appears whole or not at all, so what a killed
conversion loses is the work on its unfinished shards.
"""

import logging
import multiprocessing
import shutil
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import numpy as np
import pandas as pd

from ..files import write_csv, write_whole
from .archives import Piece, locate
from .datasets import label_splits
from .decoding import EncodedImage, encode_images, reuse_memory

N_SAMPLE = 32  # images from which a split's size is estimated
CHUNK = 16  # images a worker takes at a time

log = logging.getLogger(__name__)


class CorruptImageError(ValueError):
    """Images that cannot be decoded; the message names them."""


def list_splits(folders: dict[str, str | Path], lists: dict[str, str | Path], *, val_labels: str | None, storage: dict):
    """List the images of both splits, and make sure that their .beton files will fit on the disk.

    Args:
        folders: train and val -> the split's folder or archives, see `datasets.label_splits`.
        lists: train and val -> CSV to write, one row an image in the order of the .beton file, see
            `datasets.label_splits`. Its file system is the one whose free space is looked at; quotas are not seen.
        val_labels: file of the validation images' classes where those lie in one folder, or None.
        storage: shortest_side, write_mode, jpeg_quality.

    Raises:
        ValueError: the folders do not hold a labelled data set, or images none of which can be decoded.
        OSError: shards and .beton files need more space than there is.
    """
    images = label_splits(folders["train"], folders["val"], val_labels)
    n_bytes = {split: estimate_bytes(locate(folders[split], table), storage) for split, table in images.items()}
    for path in lists.values():
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(Path(lists["train"]).parent).free
    parts = [f"{split} {len(images[split]):,} images, about {n / 1e9:.2f} GB" for split, n in n_bytes.items()]
    needed = 2 * sum(n_bytes.values())
    text = f"{'; '.join(parts)}. While shards are joined {needed / 1e9:.2f} GB are needed; {free / 1e9:.2f} GB are free"
    if needed > free:
        raise OSError(f"{Path(lists['train']).parent}: not enough space. {text}")
    log.info(text)
    for split, table in images.items():
        write_csv(table, lists[split])


def estimate_bytes(places: list[Path | Piece], storage: dict) -> float:
    """Estimate the bytes of a split's encoded images from a random sample of them (seed 0); damaged ones do not count.

    Raises:
        CorruptImageError: none of the sample can be decoded. Where some cannot, a warning names one.
    """
    sample = [places[i] for i in np.random.default_rng(0).permutation(len(places))[:N_SAMPLE]]
    encoded = encode_images(sample, **storage)
    sizes = [len(image.stored) for image in encoded if not image.refused]
    refused = [f"{place}: {image.refused}" for place, image in zip(sample, encoded, strict=True) if image.refused]
    if refused:
        text = (
            f"{len(refused)} of {len(sample)} images that were looked at cannot be decoded, among them {min(refused)}"
        )
        if not sizes:
            raise CorruptImageError(text)
        log.warning(text)
    return len(places) * float(np.mean(sizes)) if sizes else 0.0


def read_images(path: str | Path) -> pd.DataFrame:
    """Read a list, or a shard's table, of images."""
    texts = ("path", "class", "file", "sha256", "refused")
    numbers = ("label", "at", "size", "height", "width", "n_bytes")
    dtypes = dict.fromkeys(texts, str) | dict.fromkeys(numbers, "int64") | {"jpeg": bool}
    return pd.read_csv(path, keep_default_na=False, dtype=dtypes)


def encode_shard(
    folder: str | Path,
    images: str | Path,
    stored: str | Path,
    table: str | Path,
    *,
    shard: int,
    n_shards: int,
    storage: dict,
    on_corrupt: str,
    n_workers: int,
) -> None:
    """Encode one part of a split's images. Those in archives are taken in the order in which they lie there.

    Args:
        folder: the split's folder; that of images in archives is not looked at.
        images: list of its images.
        stored: .bin file to write: the encoded images, one behind the other.
        table: CSV to write: the list's columns, then sha256 (of the source file), refused (why, or empty), jpeg, height,
            width, n_bytes.
        shard: which part, from 0.
        n_shards: number of parts; they differ by at most one image.
        storage: shortest_side, write_mode, jpeg_quality.
        on_corrupt: error or skip.
        n_workers: processes.

    Raises:
        CorruptImageError: images cannot be decoded and on_corrupt is error; the message names up to 20 of them.
        RuntimeError: a worker process was killed.
    """
    rows = read_images(images)
    if "file" in rows:
        rows = rows.sort_values(["file", "at"])
    bounds = len(rows) * np.arange(n_shards + 1) // n_shards
    rows = rows[bounds[shard] : bounds[shard + 1]].reset_index(drop=True)
    encoded = []
    start = reported = time.monotonic()
    with write_whole(stored) as temporary:
        with temporary.open("wb") as file:
            for image in _encode_in_order(locate(folder, rows), storage, n_workers):
                file.write(image.stored)
                encoded.append((image.sha256, image.refused, image.jpeg, image.height, image.width, len(image.stored)))
                if (now := time.monotonic()) - reported > 30:
                    log.info("%d of %d images, %.0f a second", len(encoded), len(rows), len(encoded) / (now - start))
                    reported = now
        columns = ["sha256", "refused", "jpeg", "height", "width", "n_bytes"]
        rows = rows.join(pd.DataFrame(encoded, columns=columns, index=rows.index))
        corrupt = rows[rows["refused"] != ""]
        if len(corrupt) and on_corrupt == "error":
            some = corrupt.head(20)
            lines = [f"  {place}: {why}" for place, why in zip(locate(folder, some), some["refused"], strict=True)]
            raise CorruptImageError(
                f"{len(corrupt)} of {len(rows)} images cannot be decoded. Repair or remove them, or set "
                "on_corrupt: skip for this data set:\n" + "\n".join(lines)
            )
    log.info("%d images in %.0f s, %d of them refused", len(rows), time.monotonic() - start, len(corrupt))
    write_csv(rows, table)


def _encode_in_order(paths: list[Path | Piece], storage: dict, n_workers: int) -> Iterator[EncodedImage]:
    """Yield the encoded images; workers are at most three chunks each ahead of what was taken."""
    pending = deque()
    with ProcessPoolExecutor(n_workers, multiprocessing.get_context("spawn"), reuse_memory) as pool:
        try:
            for start in range(0, len(paths), CHUNK):
                pending.append(pool.submit(encode_images, paths[start : start + CHUNK], **storage))
                if len(pending) > 3 * n_workers:
                    yield from pending.popleft().result()
            while pending:
                yield from pending.popleft().result()
        except BrokenProcessPool:
            raise RuntimeError(
                "a process that encodes images was killed from outside, perhaps because memory ran out"
            ) from None
