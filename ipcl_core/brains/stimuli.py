"""
The images that participants saw: which, in which order, and a folder of them.
"""

import logging
import re
import unicodedata
from pathlib import Path

from PIL import Image

from ..images.decoding import IMAGE_SUFFIXES, read_image

logger = logging.getLogger(__name__)


def strip_suffix(name: str) -> str:
    """Return the name of an image in Unicode's NFC without its suffix, where it has that of an image.

    Macs write names in another form than Windows and Linux.
    """
    name = unicodedata.normalize("NFC", name)
    return Path(name).stem if Path(name).suffix.lower() in IMAGE_SUFFIXES else name


def copy_stimuli(conditions: list[str], images: Path, folder: Path, background: str = "white") -> list[str]:
    """Write each condition's image as a PNG whose name sorts in the order of the conditions; return the names.

    Args:
        conditions: names of the images, with or without a suffix.
        images: folder of the images.
        folder: receives the PNG files.
        background: colour behind transparent pixels.

    Raises:
        ValueError: there is no folder, a condition has no image or several, or its image cannot be decoded.
    """
    if not images.is_dir():
        raise ValueError(f"{images}: is no folder; stimuli are a folder with one image a condition")
    stems = [strip_suffix(name) for name in conditions]
    if len(set(stems)) < len(stems):
        raise ValueError(f"the conditions hold a name twice: {next(stem for stem in stems if stems.count(stem) > 1)!r}")
    found = _find_images(stems, images)
    digits = max(2, len(str(len(stems))))
    names = [f"{i + 1:0{digits}d}_{re.sub(r'[^A-Za-z0-9_-]+', '_', stem)}" for i, stem in enumerate(stems)]
    folder.mkdir(parents=True, exist_ok=True)
    cropped, transparent = [], []
    for stem, name in zip(stems, names, strict=True):
        path = found[stem]
        try:
            pixels = read_image(path, background=background)
            differ = (read_image(path, background="black") != read_image(path, background="white")).any()
        except MemoryError:
            raise
        except Exception as error:  # of damaged files, decoders raise errors of many kinds
            raise ValueError(f"{path}: cannot be decoded: {error}") from None
        height, width = pixels.shape[:2]
        if height != width:
            cropped.append(f"{path.name}: the central {min(width, height)} of {width} x {height} pixels")
        if differ:
            transparent.append(path.name)
        Image.fromarray(pixels).save(folder / f"{name}.png")
    if cropped:
        n = f"{len(cropped)} of {len(names)}"
        logger.warning("%s: %s stimuli are not square; models see only their centre, of %s", images, n, cropped[0])
    if transparent:
        logger.warning(
            "%s: %d of %d stimuli have transparent pixels, among them %s; they become %s, which can move every result: set "
            "background to the colour that participants saw",
            images,
            len(transparent),
            len(names),
            transparent[0],
            background,
        )
    return names


def _find_images(stems: list[str], images: Path) -> dict[str, Path]:
    """Return stem -> image of a folder, hidden files left out."""
    found: dict[str, Path] = {}
    for path in sorted(images.iterdir()):
        if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith("."):
            if (stem := strip_suffix(path.name)) in found:
                raise ValueError(f"{images}: {found[stem].name} and {path.name} are images of one condition")
            found[stem] = path
    if missing := [stem for stem in stems if stem not in found]:
        raise ValueError(
            f"{images}: no image for {len(missing)} of {len(stems)} conditions, among them {missing[0]!r}; the "
            f"{len(found)} images there need the conditions' names, and are, for example, "
            f"{', '.join(path.name for path in list(found.values())[:3]) or 'none'}{_hint_at_folders(images)}"
        )
    return found


def _hint_at_folders(images: str | Path) -> str:
    """Say that images stand deeper, where they do."""
    deeper = [path for path in Path(images).rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES]
    folders = sorted({str(path.parent.relative_to(images)) for path in deeper} - {"."})
    if not folders:
        return ""
    return f"; {len(folders)} sub-folder(s) hold images, as {folders[0]}, which are not looked into: put all into one folder"


def list_conditions(stimuli: str | Path, order: str | Path | None) -> list[str]:
    """Return the file names of the stimuli in their order: the lines of a file, or the sorted names in the folder.

    Raises:
        ValueError: fewer than three, or one twice; without a file, names whose numbers would count in another order.
    """
    if order is None:
        images = [path for path in Path(stimuli).iterdir() if path.suffix.lower() in IMAGE_SUFFIXES]
        names = sorted(path.name for path in images if not path.name.startswith("."))
        where = f"{stimuli}: images"
        if pair := _find_miscounted(names):
            raise ValueError(
                f"{stimuli}: sorted by name {pair[0]} stands before {pair[1]}, by number behind it; give order, a file with "
                "one name a line in the order of the data"
            )
    else:
        try:
            lines = Path(order).read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeError) as error:
            raise ValueError(f"{order}: cannot be read as text in UTF-8: {error}") from None
        names, where = [line.strip() for line in lines if line.strip()], f"{order}: lines"
    if len(names) < 3:
        hint = "" if order else _hint_at_folders(stimuli)
        raise ValueError(f"{where}: found {len(names)}; an RSM needs three stimuli or more{hint}")
    if twice := [name for name in names if names.count(name) > 1]:
        raise ValueError(f"{where}: {twice[0]} stands there {names.count(twice[0])} times; each stimulus stands once")
    return names


def _find_miscounted(names: list[str]) -> tuple[str, str] | None:
    """Return two sorted names that differ in numbers alone, and stand in another order than these."""
    number, last = re.compile(r"\d+(?:\.\d+)?"), {}
    for name in names:
        stem = strip_suffix(name)
        kind, value = number.sub("#", stem), [float(found) for found in number.findall(stem)]
        if kind in last and value < last[kind][1]:
            return last[kind][0], name
        last[kind] = name, value
    return None
