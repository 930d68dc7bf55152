"""
What folders and archives of labelled images have in common: names of splits, and images beside the class folders.
"""

import logging
import re
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

log = logging.getLogger(__name__)

SPLITS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val"}
SPLITS |= {"test": "test", "testing": "test"}
FEW = 3
"""So many images beside the class folders are passed over with a warning; more are an error."""

SYSTEMS = {"@eadir", "__macosx", "lost+found", "$recycle.bin", "system volume information", "thumbs.db", "desktop.ini"}
"""What file servers and operating systems make, in lower case; Synology's @eaDir holds thumbnails."""

PACKED = re.compile(
    r"\.(tar|parquet)(\.(gz|bz2|xz|zst|lz4|part[\w-]*|a[a-z]|\d+|crdownload|download|incomplete|aria2|tmp))?$"
    r"|\.(tgz|tbz2?|txz|zip|7z|rar)$",
    re.IGNORECASE,
)
"""Names of archives, also such as are compressed, in parts or not yet whole."""
PART = re.compile(
    r"(train|val|test|data|images?|part|shard|chunk|batch|fold|volume|set|split)[-_. ]?\d+", re.IGNORECASE
)
"""Names of parts of a split."""


def is_hidden(name: str) -> bool:
    """Whether a file or folder of this name is passed over."""
    return name.startswith(".") or name.lower() in SYSTEMS


def find_splits(names: Iterable[str]) -> dict[str, str]:
    """Return train, val, test -> the first of the names that is a name of this split."""
    found = {}
    for name in sorted(names):
        if split := SPLITS.get(name.lower()):
            found.setdefault(split, name)
    return found


def refuse_archives_of_several_splits(place: str | Path, files: list[Path]) -> None:
    """Make sure that archives are not of several splits by a word of their names, as in imagenet1k-train-0000.tar.

    Raises:
        ValueError: they are; the message says what to write for train and val.
    """
    by_split: dict[str, list[re.Match]] = {}
    for file in files:
        for word in re.finditer(r"[^-_.]+", file.stem):
            if split := SPLITS.get(word[0].lower()):
                by_split.setdefault(split, []).append(word)
                break
    if len(by_split) < 2:
        return
    patterns = {}
    for split, words in by_split.items():
        starts = {word.string[: word.start()] for word in words}
        start, word = starts.pop() if len(starts) == 1 else "*", words[0]
        rest = f"{word.string[word.end()]}*" if word.end() < len(word.string) else ""
        patterns[split] = files[0].parent / f"{start}{word[0]}{rest}{files[0].suffix}"
    names = ", ".join(pattern.name for pattern in patterns.values())
    raise ValueError(f"{place}: names archives of several splits, {names}; write {say_keys(patterns)}")


def refuse_parts(place: str | Path, images: pd.DataFrame) -> None:
    """Refuse parts of a split that would be taken for classes: part0/cat, part0/dog, part1/cat.

    Args:
        place: folder or archives.
        images: path (<class>/<name>) and class of each.
    """
    classes = images["class"].unique()
    if not all(map(PART.fullmatch, classes)):
        return
    inside = {path.removeprefix(f"{label}/").rpartition("/")[0] for path, label in images[["path", "class"]].to_numpy()}
    if len(inside) > 1 and "" not in inside:
        parts, folders = (", ".join(sorted(names)[:3]) for names in (classes, inside))
        raise ValueError(
            f"{place}: {parts} would be the classes, and seem to be parts of a split, with the classes {folders}; put the "
            "class folders of all parts into one folder, or make each archive of what is in its part"
        )


def say_keys(places: dict[str, Path]) -> str:
    """Return what to write for train and val, where the places of several splits are known; test stands in for val."""
    keys = {"train": places.get("train"), "val": places.get("val", places.get("test"))}
    return " and ".join(f"{key}: {place}" for key, place in keys.items() if place)


def report_beside(place: str | Path, beside: list[str], images: list[str]) -> None:
    """Warn of files beside the class folders; refuse many images, as an interrupted sorting leaves them.

    Args:
        place: folder or archive.
        beside: names of all files beside the class folders.
        images: those of them that are images.
    """
    if len(images) > FEW:
        raise ValueError(
            f"{place}: {len(images)} images lie beside the class folders, among them {images[0]}; was the sorting into "
            "classes interrupted? Move them into their classes, or elsewhere"
        )
    if beside:
        log.warning(
            "%s: %d files beside the class folders are passed over, %d images among them, the first %s",
            *(place, len(beside), len(images), (images or beside)[0]),
        )
