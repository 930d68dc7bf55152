"""
The images that participants saw: which, in which order, and a folder of them.
"""

import difflib
import hashlib
import logging
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from PIL import Image

from ..images.decoding import IMAGE_SUFFIXES, read_image
from .kinds import refuse_broken_link, refuse_kind

logger = logging.getLogger(__name__)

LONGEST = 200
"""Letters of a name, which with its number and suffix may have 255."""


def strip_suffix(name: str) -> str:
    """Return the name of an image in Unicode's NFC without its suffix, where it has that of an image.

    Macs write names in another form than Windows and Linux.
    """
    name = unicodedata.normalize("NFC", name)
    return Path(name).stem if Path(name).suffix.lower() in IMAGE_SUFFIXES else name


def copy_stimuli(
    conditions: Iterable[tuple[str, Sequence[str]]], images: Path, folder: Path, background: str = "white"
) -> list[str]:
    """Write each condition's picture as a PNG whose name sorts in the order of the conditions; return the names.

    Several pictures of a condition stand in a folder of its name.

    Args:
        conditions: the name of each, and those of its pictures (see `list_conditions`).
        images: folder of the images.
        folder: receives the PNG files.
        background: colour behind transparent pixels.

    Raises:
        ValueError: there is no folder, a condition has no picture, one picture stands for two images or in two places, or an
            image cannot be decoded.
    """
    conditions, pictures = zip(*conditions, strict=True)
    names, cropped, transparent, same = name_stimuli(conditions), [], [], []
    other = "white" if background in ("black", "#000000") else "black"
    targets, seen = {}, {}
    for name, paths in zip(names, find_pictures(pictures, images), strict=True):
        places = [name] if len(paths) == 1 else [f"{name}/{one}" for one in _number([path.stem for path in paths])]
        targets |= dict(zip(places, paths, strict=True))
    for name, path in targets.items():
        refuse_broken_link(path)
        refuse_kind(path, "")
        try:
            pixels = read_image(path, background=background)
            differ = (read_image(path, background=other) != pixels).any()
        except MemoryError:
            raise
        except Exception as error:  # of damaged files, decoders raise errors of many kinds
            message = str(error).removeprefix(f"{path}: ")
            raise ValueError(f"{path}: cannot be decoded: {message}") from None
        height, width = pixels.shape[:2]
        if height != width:
            cropped.append(f"{path.name}: the central {min(width, height)} of {width} x {height} pixels")
        if differ:
            transparent.append(path.name)
        first = seen.setdefault(hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).digest(), path)
        if first != path:
            same.append(f"{first.name} and {path.name}")
        target = folder / f"{name}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(target)
    if cropped:
        n = f"{len(cropped)} of {len(targets)}"
        logger.warning("%s: %s stimuli are not square; models see only their centre, of %s", images, n, cropped[0])
    if same:
        logger.warning(
            "%s: %d stimuli show the same picture as another, as %s; is that meant?", images, len(same), same[0]
        )
    if transparent:
        logger.warning(
            "%s: %d of %d stimuli have transparent pixels, among them %s; they become %s, which can move every result: set "
            "background to the colour that participants saw",
            *(images, len(transparent), len(targets), transparent[0], background),
        )
    return names


def name_stimuli(conditions: Iterable[str]) -> list[str]:
    """Return the names under which `copy_stimuli` writes conditions.

    Raises:
        ValueError: two conditions have one name, but for its suffix.
    """
    stems = [strip_suffix(name) for name in conditions]
    (stem, n), *_ = Counter(stems).most_common(1)
    if n > 1:
        raise ValueError(f"the conditions hold a name twice: {stem!r}")
    return _number(stems)


def _number(stems: Sequence[str]) -> list[str]:
    """Return names of files that sort in this order."""
    digits = max(2, len(str(len(stems))))
    return [f"{i + 1:0{digits}d}_{make_ascii(stem)}" for i, stem in enumerate(stems)]


def drop_numbers(names: Sequence[str]) -> list[str]:
    """Return names of `name_stimuli` without the number that it puts before them; others as they are."""
    return [name.removeprefix(f"{i + 1:0{len(name.split('_')[0])}d}_") for i, name in enumerate(names)]


def make_ascii(stem: str) -> str:
    """Return a name of letters, and of a length, that every file system takes.

    Latin letters lose their accents, other letters become their code points, so that names in any script stay distinct.
    """
    stem = re.sub("([A-Za-z])[\u0300-\u036f]+", r"\1", unicodedata.normalize("NFD", stem))
    stem = re.sub(r"[^\W_]", lambda letter: letter[0] if letter[0].isascii() else f"{ord(letter[0]):x}", stem)
    return re.sub(r"[^A-Za-z0-9_-]+", "_", stem)[:LONGEST]


def find_pictures(conditions: Sequence[Sequence[str]], images: Path) -> list[list[Path]]:
    """Return the images of each condition by their names; the name of a folder stands for all images in it.

    Raises:
        ValueError: there is no folder, or no image of a name; an image stands in two places.
    """
    _refuse_no_folder(images)
    listed = {images: _list_images(images)}

    def find(name: str) -> list[Path]:
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise ValueError(f"{name}: leaves {images}; pictures are named below it")
        parent = (images / name).parent
        if parent not in listed:
            listed[parent] = _list_images(parent) if parent.is_dir() else {}
        if path := listed[parent].get(strip_suffix(Path(name).name)):
            return [path]
        folder = images / name
        return list(_list_images(folder).values()) if folder != images and folder.is_dir() else []

    found = [[path for name in names for path in find(name)] for names in conditions]
    named = [name for names in conditions for name in names]
    missing = [name for name in named if not find(name)]
    if missing:
        there = listed[images]
        unused = set(there.values()) - {path for paths in found for path in paths}
        near = _find_near(missing[0], [path.name for path in sorted(unused)])
        what = "conditions" if len(named) == len(conditions) else "pictures"
        raise ValueError(
            f"{images}: no image for {len(missing)} of {len(named)} {what}, among them {missing[0]!r}{near}; the "
            f"{len(there)} images there need the conditions' names, and are, for example, "
            f"{', '.join(path.name for path in list(there.values())[:3]) or 'none'}{_hint_at_folders(images)}"
        )
    ((path, n),) = Counter(path for paths in found for path in paths).most_common(1)
    if n > 1:
        raise ValueError(f"{path}: stands {n} times among the pictures of the conditions")
    return found


def _refuse_no_folder(images: Path) -> None:
    if not images.is_dir():
        raise ValueError(f"{images}: is no folder; stimuli are a folder with one image a condition")


def _find_near(name: str, names: Sequence[str]) -> str:
    """Say which name could be meant, where case, quotes, folders or what stands behind it differ."""
    folded = {other.casefold(): other for other in names}
    near = difflib.get_close_matches(Path(name).name.casefold(), folded, n=1, cutoff=0.75)
    return f" (did you mean {folded[near[0]]}?)" if near else ""


def _list_images(folder: Path) -> dict[str, Path]:
    """Return stem -> image of a folder, hidden files left out."""
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".") and not path.is_dir():
            if (stem := strip_suffix(path.name)) in found:
                raise ValueError(f"{folder}: {found[stem].name} and {path.name} are images of one condition")
            found[stem] = path
    return found


def _hint_at_folders(images: str | Path) -> str:
    """Say that images stand deeper, where they do."""
    deeper = [path for path in Path(images).rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES]
    folders = sorted({str(path.parent.relative_to(images)) for path in deeper} - {"."})
    if not folders:
        return ""
    return (
        f"; {len(folders)} sub-folder(s) hold images, as {folders[0]}, which are not looked into: put all into one folder, or "
        "name folders or pictures below it in order"
    )


def list_conditions(stimuli: str | Path, order: str | Path | None) -> dict[str, list[str]]:
    """Return the conditions in their order -> the names of their pictures.

    They are the lines of a file: the name of a picture, or of a folder of several, below the folder of the stimuli; or the
    condition's name and those of several pictures, with tabs between. Without a file, the sorted names in the folder.

    Raises:
        ValueError: no folder; fewer than three, or one twice; without a file, names whose numbers would count in another
            order.
    """
    if order is None:
        _refuse_no_folder(Path(stimuli))
        images = [path for path in Path(stimuli).iterdir() if path.suffix.lower() in IMAGE_SUFFIXES]
        lines = [[path.name] for path in sorted(images) if not path.name.startswith(".")]
        where = f"{stimuli}: images"
        if pair := find_miscounted([name for (name,) in lines]):
            raise ValueError(
                f"{stimuli}: sorted by name {pair[0]} stands before {pair[1]}, by number behind it; give order, a file with "
                "one name a line in the order of the data"
            )
    else:
        try:
            text = Path(order).read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeError) as error:
            raise ValueError(f"{order}: cannot be read as text in UTF-8: {error}") from None
        text = [line.replace("\\", "/") for line in text]  # of folders, as Windows writes them
        lines = [[name.strip() for name in line.split("\t") if name.strip()] for line in text if line.strip()]
        where = f"{order}: lines"
    names = [line[0] for line in lines]
    if len(names) < 3:
        hint = "" if order else _hint_at_folders(stimuli)
        raise ValueError(f"{where}: found {len(names)}; an RSM needs three stimuli or more{hint}")
    ((name, n),) = Counter(names).most_common(1)
    if n > 1:
        raise ValueError(f"{where}: {name} stands there {n} times; each stimulus stands once")
    return {name: pictures or [name] for name, *pictures in lines}


def find_miscounted(names: list[str]) -> tuple[str, str] | None:
    """Return two sorted names that differ in numbers alone, and stand in another order than these."""
    number, last = re.compile(r"\d+(?:\.\d+)?"), {}
    for name in names:
        stem = strip_suffix(name)
        kind, value = number.sub("#", stem), [float(found) for found in number.findall(stem)]
        if kind in last and value < last[kind][1]:
            return last[kind][0], name
        last[kind] = name, value
    return None
