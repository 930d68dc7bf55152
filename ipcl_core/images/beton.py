"""
Encoded shards -> one .beton file, in the format of FFCV 1.0.2; and whether such a file is whole.

The format: header, descriptions of the fields, metadata of every image (label, size, where its bytes are), then pages of
equal size with the images' bytes, none across two pages, then the table of what lies where. FFCV's own writer waits for
ever when one of its processes dies or an image does not fit into a page, and its pages lie in another order each time;
here the page is as large as the largest image needs, and the same images make the same file.
"""

import hashlib
import logging
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pandas as pd

from ..files import read_json, write_csv, write_json, write_whole
from .ffcv_names import (
    ALLOC_TABLE_TYPE,
    CURRENT_VERSION,
    IMAGE_MODES,
    FieldDescType,
    HeaderType,
    IntField,
    RGBImageField,
    get_metadata_type,
)
from .shards import read_images

log = logging.getLogger(__name__)
PAGE_BYTES = 8 << 20  # FFCV's default
FIELDS = {"image": (2, RGBImageField()), "label": (1, IntField())}  # name -> FFCV's number of the type, field
METADATA_TYPE = get_metadata_type([field for _, field in FIELDS.values()])


def join_shards(
    images: str | Path,
    shards: list[str | Path],
    beton: str | Path,
    manifest: str | Path,
    summary: str | Path,
    *,
    train_images: str | Path,
    storage: dict,
) -> None:
    """Write the encoded shards of a split as one .beton file with the fields `image` and `label`.

    Args:
        images: list of the split's images.
        shards: the shards' .bin files in order, each beside its .csv.
        beton: the FFCV file to write.
        manifest: CSV to write, one row an image in the order of the .beton file: path, class, label, sha256. Refused
            images follow with label -1 and the reason.
        summary: JSON to write: n_images, n_refused, classes (their order is the label), the storage, and of the .beton
            file n_bytes, sha256 and index_sha256 (of its start up to the images' bytes).
        train_images: list of the training split's images, for the names of the classes.
        storage: shortest_side, write_mode, jpeg_quality.

    Raises:
        ValueError: the shards are not those of the list; or no image is left.
    """
    listed = read_images(images)
    table = pd.concat([read_images(Path(shard).with_suffix(".csv")) for shard in shards], ignore_index=True)
    sizes = [Path(shard).stat().st_size for shard in shards]
    table["begin"] = table["n_bytes"].cumsum() - table["n_bytes"]  # in all shards, one behind the other
    same = table["n_bytes"].sum() == sum(sizes) and len(table) == len(listed)
    if same and "file" in listed:  # encoded in the order of the archives
        table = table.set_index("path").reindex(listed["path"]).reset_index()
    if not (same and table[["path", "label"]].equals(listed[["path", "label"]])):
        raise ValueError(
            f"{Path(shards[0]).parent}: the shards are not those of {images}; remove the folder and repeat"
        )
    refused = table["refused"] != ""
    if refused.all():
        raise ValueError(f"{images}: none of the {len(table)} images can be decoded")
    kept = table[~refused]
    if lost := sorted(set(table["class"]) - set(kept["class"])):
        log.warning("%s: no image is left of %d class(es), among them %r", images, len(lost), lost[0])
    hashes = write_beton(beton, kept, _read_stored(shards, sizes, kept))
    table.loc[refused, "label"] = -1
    rows = pd.concat([table[~refused], table[refused]])
    write_csv(rows[["path", "class", "label", "sha256", "refused"]], manifest)
    write_json(
        {
            "n_images": len(kept),
            "n_refused": int(refused.sum()),
            "n_bytes": Path(beton).stat().st_size,
            "classes": sorted(set(read_images(train_images)["class"])),
            **storage,
            **hashes,
        },
        summary,
    )


def _read_stored(shards: list[str | Path], sizes: list[int], images: pd.DataFrame) -> Iterator[bytes]:
    """Yield the bytes of each image, in whatever order the shards hold them."""
    ends = np.cumsum(sizes)
    in_order = images["begin"].is_monotonic_increasing
    with ExitStack() as stack:
        files = [stack.enter_context(Path(shard).open("rb", PAGE_BYTES if in_order else 0)) for shard in shards]
        for begin, n_bytes in images[["begin", "n_bytes"]].itertuples(index=False, name=None):
            shard = int(np.searchsorted(ends, begin, side="right"))
            files[shard].seek(begin - ends[shard] + sizes[shard])
            yield files[shard].read(n_bytes)


def write_beton(path: str | Path, images: pd.DataFrame, stored: Iterable[bytes]) -> dict[str, str]:
    """Write a .beton file.

    Args:
        path: the file.
        images: one row an image: label, jpeg (else raw pixels), height, width, n_bytes.
        stored: each image's bytes.

    Returns:
        sha256 of the file, and index_sha256 of its start: header, descriptions and metadata.
    """
    sizes = images["n_bytes"].to_numpy()
    page = max(PAGE_BYTES, 1 << int(sizes.max() - 1).bit_length())
    head = HeaderType.itemsize + len(FIELDS) * FieldDescType.itemsize + len(sizes) * METADATA_TYPE.itemsize
    positions, position = np.empty(len(sizes), np.uint64), -(-head // page) * page
    for i, size in enumerate(sizes.tolist()):
        if position % page + size > page:
            position += -position % page
        positions[i] = position
        position += size
    end = position + -position % page

    header = np.zeros(1, HeaderType)
    header["version"], header["num_fields"], header["page_size"] = CURRENT_VERSION, len(FIELDS), page
    header["num_samples"], header["alloc_table_ptr"] = len(sizes), end
    descriptions = np.zeros(len(FIELDS), FieldDescType)
    for description, (name, (number, _)) in zip(descriptions, FIELDS.items(), strict=True):
        description["type_id"] = number
        description["name"][: len(name)] = np.frombuffer(name.encode(), np.uint8)
    metadata = np.zeros(len(sizes), METADATA_TYPE)
    metadata["f0"]["mode"] = np.where(images["jpeg"], IMAGE_MODES["jpg"], IMAGE_MODES["raw"])
    for key in ("height", "width"):
        metadata["f0"][key] = images[key]
    metadata["f0"]["data_ptr"], metadata["f1"] = positions, images["label"]
    regions = np.zeros(len(sizes), ALLOC_TABLE_TYPE)
    regions["sample_id"], regions["ptr"], regions["size"] = np.arange(len(sizes)), positions, sizes

    digest, written = hashlib.sha256(), 0
    with write_whole(path) as temporary, temporary.open("wb") as file:

        def put(content: bytes, at: int | None = None) -> None:
            nonlocal written
            for part in (bytes(at - written) if at else b"", content):
                file.write(part)
                digest.update(part)
                written += len(part)

        put(header.tobytes() + descriptions.tobytes() + metadata.tobytes())
        index_sha256 = digest.hexdigest()
        for content, at in zip(stored, positions.tolist(), strict=True):
            put(content, at)
        put(regions.tobytes(), end)
    return {"index_sha256": index_sha256, "sha256": digest.hexdigest()}


def check_beton(path: str | Path) -> None:
    """Make sure that a .beton file is whole and the one that its summary, where there is one, describes.

    Its size, its start and its end are looked at: labels, sizes and places of the images. A changed byte of an image
    shows in the summary's sha256, or where its JPEG can no longer be decoded (`views.loader`).

    Raises:
        ValueError: it is not; the message says what was found.
    """
    path = Path(path)
    n_bytes = path.stat().st_size
    header = np.fromfile(path, HeaderType, count=1)
    head = HeaderType.itemsize + len(FIELDS) * FieldDescType.itemsize
    if n_bytes < head or header["version"] != CURRENT_VERSION or header["num_fields"] != len(FIELDS):
        raise ValueError(f"{path}: not a .beton file of FFCV version {CURRENT_VERSION} with the fields image and label")
    n_images = int(header["num_samples"][0])
    whole = int(header["alloc_table_ptr"][0]) + n_images * ALLOC_TABLE_TYPE.itemsize
    if n_bytes != whole:
        raise ValueError(f"{path}: has {n_bytes} bytes where its header promises {whole}; convert the images again")
    with path.open("rb") as file:
        index = file.read(head + n_images * METADATA_TYPE.itemsize)
    metadata = np.frombuffer(index, METADATA_TYPE, offset=head)["f0"]
    regions = np.fromfile(path, ALLOC_TABLE_TYPE, offset=whole - n_images * ALLOC_TABLE_TYPE.itemsize)
    raw = metadata["mode"] == IMAGE_MODES["raw"]
    n_pixels = 3 * metadata["height"].astype(np.uint64) * metadata["width"]
    fits = (metadata["data_ptr"] == regions["ptr"]) & (regions["ptr"] >= len(index))
    fits &= (regions["ptr"] + regions["size"] <= header["alloc_table_ptr"]) & (~raw | (n_pixels == regions["size"]))
    if not fits.all():
        raise ValueError(
            f"{path}: image {np.flatnonzero(~fits)[0]} (from 0) does not lie in the file; convert the images again"
        )
    summary = path.with_suffix(".json")
    if summary.exists():
        try:
            expected = read_json(summary)["index_sha256"]
        except (ValueError, LookupError, TypeError) as error:
            reason = f"{type(error).__name__}: {error}"
            raise ValueError(f"{summary}: no summary of {path.name} ({reason}); convert the images again") from None
        if hashlib.sha256(index).hexdigest() != expected:
            raise ValueError(f"{path}: not the file that {summary.name} beside it describes; convert the images again")
