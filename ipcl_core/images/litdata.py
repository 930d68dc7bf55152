"""
Sets of the package litdata: pictures with their names, in chunks that an index lists.

    index.json    config: data_format (the kind of every field), data_spec (the fields' names); chunks: filename,
                  chunk_size (samples), chunk_bytes: the file's, or, as litdata 0.2.20 writes them, those of the samples alone
    chunk         number of samples n; n + 1 offsets; the samples. A sample: the size of every field; the fields, one behind
                  the other. All numbers are 32 bits, unsigned, little-endian.

Only what a picture and its name need is read: fields of the kinds pil (width, height, length of the mode, mode, pixels), jpeg
and bytes (an image file), and str. Nothing is unpickled. Sets that are compressed or encrypted are refused.
"""

import json
import logging
import shutil
from collections.abc import Iterator
from io import BytesIO
from itertools import pairwise
from pathlib import Path

import numpy as np
from PIL import Image

from ..downloads import check_digest, copy_file, name_kept
from ..files import compute_sha256, read_json, write_whole
from .decoding import FORMATS, IMAGE_SUFFIXES

log = logging.getLogger(__name__)

INDEX, SUMS = "index.json", "SHA256SUMS"
PICTURES = ("pil", "jpeg", "bytes")
"""Kinds of fields that may hold a picture."""


def fetch_litdata(url: str, folder: str | Path, *, digest: str | None, key: str, max_mb: int) -> None:
    """Download a set, check it by its hash and write its pictures into a folder.

    The files are kept beside `folder` until they are checked, as `fetch_file` keeps one; a download that was killed goes on.
    The hash of a set is that of what `sha256sum *` prints in a folder with its files alone: `sha256sum * | sha256sum`.

    Args:
        url: https address of the folder of index.json, or a path on this machine.
        folder: receives the pictures, see `export_pictures`.
        digest: sha256: and the hash or its beginning; None: not known.
        key: of the configuration, where the hash stands.
        max_mb: largest size of all files together, megabytes.

    Raises:
        OSError: the address cannot be reached.
        ValueError: the set is too large, damaged, or of a kind that is not read; its hash is another one, or none is known.
    """
    url, folder = url.rstrip("/"), Path(folder)
    kept = name_kept(url, folder)
    left = max_mb * 10**6

    def fetch(name: str) -> None:
        nonlocal left
        if not (kept / name).exists():
            copy_file(f"{url}/{name}", kept / name, left)
        left -= (kept / name).stat().st_size

    fetch(INDEX)
    try:
        chunks = [chunk["filename"] for chunk in _read_index(kept)["chunks"]]
    except ValueError:
        (kept / INDEX).unlink()
        raise
    for name in chunks:
        fetch(name)
    if digest is None:  # nobody should be asked to trust a set that cannot be read
        try:
            for _ in read_samples(kept):
                pass
        except ValueError:
            shutil.rmtree(kept)
            raise
    with write_whole(kept / SUMS) as temporary:
        sums = [f"{compute_sha256(kept / name)}  {name}\n" for name in sorted([INDEX, *chunks])]
        temporary.write_text("".join(sums), encoding="utf-8")
    check_digest(url, kept, digest, key=key, size=max_mb * 10**6 - left, file=SUMS)
    export_pictures(kept, folder)
    shutil.rmtree(kept)


def export_pictures(place: str | Path, folder: str | Path) -> None:
    """Write the pictures of a set under their names: image files as they are, pixels as PNG.

    The name is the last part of the field that names every sample otherwise, by a file name where several do.

    Args:
        place: folder of index.json and the chunks.
        folder: receives the pictures.

    Raises:
        ValueError: the set is damaged or of a kind that is not read, or no field, or several, names the samples.
    """
    index, samples = _read_index(place), list(read_samples(place))
    kinds = index["fields"]
    pictures = [name for name, kind in kinds.items() if kind in PICTURES]
    texts = {field: [Path(sample[field]).name for sample in samples] for field, kind in kinds.items() if kind == "str"}
    named = {field: names for field, names in texts.items() if len({Path(n).stem for n in names}) == len(samples)}
    files = {f: names for f, names in named.items() if all(Path(n).suffix.lower() in IMAGE_SUFFIXES for n in names)}
    found = list((files or named).values())
    if len(pictures) != 1 or len(found) != 1:
        said = ", ".join(f"{name} ({kind})" for name, kind in kinds.items())
        raise ValueError(
            f"{place}: needs one field with a picture and one text that names it, and holds the fields {said}, of which "
            f"{', '.join(files or named) or 'none'} name(s) every one of the {len(samples)} samples otherwise"
        )
    Path(folder).mkdir(parents=True, exist_ok=True)
    for sample, name in zip(samples, found[0], strict=True):
        content, suffix = sample[pictures[0]], Path(name).suffix
        try:
            if kinds[pictures[0]] == "pil":
                content.save(Path(folder, f"{Path(name).stem}.png"))
                continue
            with Image.open(BytesIO(content), formats=FORMATS) as image:
                suffix = suffix if suffix.lower() in IMAGE_SUFFIXES else f".{image.format.lower()}"
        except (OSError, ValueError) as error:
            raise ValueError(f"{place}: the picture {name} cannot be read: {error}") from None
        Path(folder, f"{Path(name).stem}{suffix}").write_bytes(content)
    log.info("%s: %d pictures, named by %s", place, len(samples), next(iter(files or named)))


def read_samples(place: str | Path) -> Iterator[dict]:
    """Yield the samples of a set in their order: field -> text, Pillow image, or bytes.

    Args:
        place: folder of index.json and the chunks.

    Raises:
        ValueError: a chunk is not there, or not the one that the index describes; the set is of a kind that is not read.
    """
    index = _read_index(place)
    for chunk in index["chunks"]:
        path = Path(place, chunk["filename"])
        content = path.read_bytes() if path.exists() else b""
        try:
            n = int(np.frombuffer(content, "<u4", 1)[0])
            offsets = np.frombuffer(content, "<u4", n + 1, 4).tolist()
            said = chunk["chunk_bytes"] in (len(content), len(content) - 4 * (n + 2))
            if not said or n != chunk["chunk_size"] or offsets[-1] != len(content):
                raise ValueError(f"{len(content)} bytes")
            for start, end in pairwise(offsets):
                yield _read_sample(content[start:end], index["fields"])
        except (ValueError, IndexError, UnicodeDecodeError) as error:
            raise ValueError(f"{path}: is not the chunk that {INDEX} describes: {error}") from None


def _read_sample(content: bytes, fields: dict[str, str]) -> dict:
    sample, start = {}, 4 * len(fields)
    for (name, kind), size in zip(fields.items(), np.frombuffer(content, "<u4", len(fields)).tolist(), strict=True):
        value, start = content[start : start + size], start + size
        if kind == "str":
            value = value.decode("utf-8")
        elif kind == "pil":
            width, height, n = np.frombuffer(value, "<u4", 3).tolist()
            value = Image.frombytes(value[12 : 12 + n].decode("ascii"), (width, height), value[12 + n :])
        sample[name] = value
    return sample


def _read_index(place: str | Path) -> dict:
    """Return the index of a set; `fields` names the kind of every field."""
    path = Path(place, INDEX)
    try:
        index = read_json(path)
        config, chunks = index["config"], index["chunks"]
        for chunk in chunks:
            if Path(chunk["filename"]).name != chunk["filename"] or not chunk["chunk_bytes"]:
                raise ValueError(f"a chunk named {chunk['filename']}")
        kinds, spec = config["data_format"], json.loads(config["data_spec"])[1]
        flat = all(not child["children_spec"] for child in spec["children_spec"])
        names = json.loads(spec["context"]) if spec["type"] == "builtins.dict" and flat else range(len(kinds))
        fields = dict(zip(map(str, names), kinds, strict=True))
    except (ValueError, LookupError, TypeError) as error:
        raise ValueError(f"{path}: is no index of a litdata set: {type(error).__name__}: {error}") from None
    for key in ("compression", "encryption"):
        if config.get(key):
            raise ValueError(f"{path}: {key} {config[key]} is not read; write the set without, by litdata itself")
    return index | {"fields": fields}
