"""
Images in .tar files: where each begins, and what its class is. Nothing is unpacked.

    WebDataset          some member is a .cls, or a .json with a class: the members of a sample have one name up to a dot
    everything else     as if unpacked: folders that all images have in common are left out, then the first is the class.
                        A .tar inside counts as a folder of its name; so do several archives that are all named as synsets
"""

import json
import logging
import os
import posixpath
import re
import tarfile
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import BinaryIO, NamedTuple

from .decoding import IMAGE_SUFFIXES
from .splits import PACKED, find_splits, is_hidden, report_beside, say_keys

log = logging.getLogger(__name__)

BLOCK = 512
WNID = re.compile(r"n\d{8}")
LABELS = ("cls", "label", "class", "wnid")
"""Where the .json of a WebDataset says the class."""


class Picture(NamedTuple):
    """An image in a .tar file."""

    name: str
    """Its path as if unpacked, / between the parts."""
    file: str
    at: int
    size: int


@dataclass
class Contents:
    """What a .tar file holds that matters."""

    pictures: list[Picture] = field(default_factory=list)
    labels: dict[str, int | str] = field(default_factory=dict)
    """Class of each sample of a WebDataset, by what its members' names begin with."""
    others: list[str] = field(default_factory=list)
    """Members that are no images; of a .json without a class also its keys."""


def name_class(label) -> int | str:
    """Return the class that a label says: a whole number from 0, or a text.

    Raises:
        ValueError: it is neither.
    """
    text = "" if label is None or isinstance(label, list | dict | bytes) else str(label).strip()
    number = re.fullmatch(r"(-?\d+)(\.0*)?", text)
    if not text or (number and int(number[1]) < 0) or (isinstance(label, float) and not number):
        raise ValueError(f"{label!r} is no class; a class is a whole number from 0, or a text")
    return int(number[1]) if number else text


def scan_tar(path: Path) -> Contents:
    """List the pictures and labels in a .tar file, and the pictures in the .tar files in it.

    Raises:
        OSError, EOFError, ValueError, tarfile.TarError: it is cut or damaged, or a member is not what it should be.
    """
    found, has_tars = Contents(), False
    with open(path, "rb") as file:
        for name, (at, size) in _list_files(file, 0, file.seek(0, os.SEEK_END)).items():
            stem, suffix = posixpath.splitext(name)
            suffix = suffix.lower()
            try:
                if suffix == ".tar":
                    has_tars = True
                    inside = _list_files(file, at, at + size)
                    images = [one for one in inside if PurePosixPath(one).suffix.lower() in IMAGE_SUFFIXES]
                    if not images:
                        raise ValueError("holds no image")
                    found.pictures += [Picture(_put_below(stem, one), str(path), *inside[one]) for one in images]
                elif suffix in IMAGE_SUFFIXES:
                    found.pictures.append(Picture(name, str(path), at, size))
                elif suffix in (".cls", ".json"):
                    file.seek(at)
                    _add_label(found, stem, suffix, file.read(size))
                else:
                    found.others.append(name)
            except (tarfile.TarError, EOFError, ValueError) as error:
                raise ValueError(f"{name}: {error}") from None
    if has_tars and (packed := [name for name in found.others if PACKED.search(name)]):
        raise ValueError(f"{packed[0]}: beside .tar files, and cannot be read; unpack {path.name}, and this one in it")
    return found


def _add_label(found: Contents, stem: str, suffix: str, content: bytes) -> None:
    if suffix == ".cls":
        found.labels[stem] = name_class(content.decode("utf-8-sig"))
        return
    said = json.loads(content)
    said = said if isinstance(said, dict) else {}
    if keys := [key for key in LABELS if key in said]:
        found.labels.setdefault(stem, name_class(said[keys[0]]))
    else:
        found.others.append(f"{stem}.json ({', '.join(said)})")


def _put_below(folder: str, name: str) -> str:
    """Return the path of a member as if its archive were unpacked into a folder, where it does not name that itself."""
    return posixpath.join(
        posixpath.dirname(folder) if name.startswith(f"{posixpath.basename(folder)}/") else folder, name
    )


def _list_files(file: BinaryIO, start: int, end: int) -> dict[str, tuple[int, int]]:
    """Return path -> (where it begins, bytes) of the files in an archive; those that are hidden are left out.

    Args:
        file: what the archive lies in.
        start, end: where it lies there, bytes.
    """
    places, links = {}, {}
    file.seek(start)
    with tarfile.open(fileobj=file, mode="r:") as archive:
        for member in archive:
            archive.members = []  # else tarfile keeps them all
            name = "/".join(part for part in PurePosixPath(member.name).parts if part != "/")
            if name in places or ".." in name.split("/"):
                raise ValueError(f"{member.name} is there twice, or has .. in its name")
            if not name.isascii() and os.fsencode(name).decode("utf-8", "replace") != name:
                raise ValueError(f"the name {os.fsencode(name)} is not UTF-8; rename it")
            if member.issparse():
                raise ValueError(f"{name} is stored without its zeros; make the archive without tar --sparse")
            if member.isreg():
                places[name] = (member.offset_data, member.size)
            elif member.islnk():
                links[name] = posixpath.normpath(member.linkname.lstrip("/"))
            elif member.issym():
                links[name] = posixpath.normpath(posixpath.join(posixpath.dirname(name), member.linkname))
        stop = archive.offset
    file.seek(stop)
    rest = file.read(min(max(end - stop, 0), 1 << 20))
    if len(rest) < BLOCK or rest[:BLOCK].strip(b"\0"):
        raise EOFError(
            f"is cut or damaged at byte {stop}, where neither a member begins nor its end is marked; copy it again"
        )
    if rest.strip(b"\0"):
        raise ValueError(f"something follows its end at byte {stop}, as in archives that were put one behind the other")
    for name, target in links.items():
        seen = {name}
        while target in links and target not in seen:
            seen.add(target)
            target = links[target]
        if target in places:
            places[name] = places[target]
        elif not _is_hidden(name):
            raise ValueError(
                f"{name} is a link to {target}, which is no file in the archive; make it with tar --dereference"
            )
    return {name: place for name, place in places.items() if not _is_hidden(name)}


def _is_hidden(name: str) -> bool:
    return any(map(is_hidden, name.split("/")))


def index_tars(contents: dict[Path, Contents], *, needs_class: bool) -> list[tuple]:
    """Say the class of each image in the .tar files of a split.

    Args:
        contents: what is in each, see `scan_tar`.
        needs_class: refuse images whose class is not known; else no folder is a class, and images have longer names.

    Returns:
        (name, longer name, class, file, at, size) of every image.

    Raises:
        ValueError: the images are of several splits, or it is not clear what their classes are; the message names one.
    """
    if any(found.labels for found in contents.values()):
        _refuse_splits([one for found in contents.values() for one in found.pictures])
        return [row for path, found in contents.items() for row in _index_webdataset(path, found)]
    one_a_class = len(contents) > 1 and all(WNID.fullmatch(path.stem) for path in contents)
    if one_a_class and (empty := [path for path, found in contents.items() if not found.pictures]):
        raise ValueError(f"{empty[0]}: holds no image")
    pictures = [
        one._replace(name=_put_below(path.stem, one.name)) if one_a_class else one
        for path, found in contents.items()
        for one in found.pictures
    ]
    _refuse_splits(pictures)
    others = {path: found.others for path, found in contents.items() if found.others}
    return _index_folders(pictures, others, needs_class) if pictures else []


def _refuse_splits(pictures: list[Picture]) -> None:
    """Refuse images of which some lie in a folder named train and others in one named val beside it."""
    inside = defaultdict(set)
    for folder in {posixpath.dirname(one.name) for one in pictures}:
        while folder:
            folder, _, name = folder.rpartition("/")
            inside[folder].add(name)
    for folder, names in sorted(inside.items()):
        if len(splits := find_splits(names)) > 1:
            below = {split: posixpath.join(folder, name) for split, name in splits.items()}
            file = Path(next(one.file for one in pictures if one.name.startswith(f"{below[min(below)]}/")))
            places = {split: file.parent / name for split, name in below.items()}
            raise ValueError(
                f"{file}: holds images of several splits, {' and '.join(sorted(below.values()))}; unpack it and write "
                f"{say_keys(places)}"
            )


def _index_folders(pictures: list[Picture], others: dict[Path, list[str]], needs_class: bool) -> list[tuple]:
    """List images by the folders that they lie in, as `datasets.list_images` does; see `index_tars`."""
    for path, names in others.items():
        log.warning("%s: %d members are no images by their names, among them %s", path, len(names), min(names))
    root = os.path.commonpath({posixpath.dirname(one.name) for one in pictures})
    rows, beside = [], defaultdict(list)
    for one in pictures:
        label, _, name = one.name[len(root) :].lstrip("/").partition("/")
        if not needs_class or not name:
            label, name = "", posixpath.join(label, name).rstrip("/")
            beside[one.file].append(name)
        rows.append((name, name, label, one.file, one.at, one.size))
    if len(rows) > sum(map(len, beside.values())):
        for path, names in beside.items():
            report_beside(path, names, names)
        return [row for row in rows if row[2]]
    if needs_class:
        kinds = {name.partition(".")[2] for names in others.values() for name in map(posixpath.basename, names)}
        found = f"; beside them are {', '.join(sorted(kinds)[:5])}" if kinds else ""
        raise ValueError(
            f"{rows[0][3]}: nothing says the class of {rows[0][0]}; give val_labels for validation images in one folder, or "
            f"archives that say it: class folders, or .cls or .json ({', '.join(LABELS)}) beside the images{found}"
        )
    return rows


def _index_webdataset(path: Path, found: Contents) -> list[tuple]:
    """List the images of a shard, one a sample; see `index_tars`."""
    samples = defaultdict(list)
    for one in found.pictures:
        key = one.name
        while key not in found.labels:
            key, dot, suffix = key.rpartition(".")
            if not dot or "/" in suffix:
                raise ValueError(f"{path}: {one.name} has no .cls or .json that says its class, and others have")
        samples[key].append(one)
    rows, passed = [], []
    for key, pictures in samples.items():
        named = [one for one in pictures if posixpath.splitext(one.name)[0] == key]
        chosen = pictures if len(pictures) == 1 else named
        if len(chosen) != 1:
            names = ", ".join(posixpath.basename(one.name) for one in pictures)
            raise ValueError(f"{path}: the sample {key} has several pictures, {names}; one of them should be {key}.jpg")
        passed += [one.name for one in pictures if one is not chosen[0]]
        rows += [(posixpath.basename(one.name), one.name, found.labels[key], *one[1:]) for one in chosen]
    if passed:
        log.warning("%s: %d further pictures of samples are passed over, among them %s", path, len(passed), min(passed))
    if lost := set(found.labels) - set(samples):
        log.warning("%s: %d samples have a class and no picture, among them %s", path, len(lost), min(lost))
    return rows
