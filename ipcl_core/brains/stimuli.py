"""
The images that participants saw: which, in which order, and a folder of them.
"""

import logging
import re
from pathlib import Path

from PIL import Image

from ..images.decoding import IMAGE_SUFFIXES, read_image

logger = logging.getLogger(__name__)


def strip_suffix(name: str) -> str:
    """Return the name of an image without its suffix, where it has that of an image."""
    return Path(name).stem if Path(name).suffix.lower() in IMAGE_SUFFIXES else name


def copy_stimuli(conditions: list[str], images: Path, folder: Path) -> list[str]:
    """Write each condition's image as a PNG whose name sorts in the order of the conditions; return the names.

    Args:
        conditions: names of the images, with or without a suffix.
        images: folder of the images.
        folder: receives the PNG files.

    Raises:
        ValueError: there is no folder, a condition has no image or several, or its image cannot be decoded.
    """
    if not images.is_dir():
        raise ValueError(f"{images}: is no folder; stimuli are a folder with one image a condition")
    stems = [strip_suffix(name) for name in conditions]
    if len(set(stems)) < len(stems):
        raise ValueError(f"the conditions hold a name twice: {next(stem for stem in stems if stems.count(stem) > 1)!r}")
    found: dict[str, Path] = {}
    for path in sorted(images.iterdir()):
        if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith("."):
            if path.stem in found:
                raise ValueError(f"{images}: {found[path.stem].name} and {path.name} are images of one condition")
            found[path.stem] = path
    if missing := [stem for stem in stems if stem not in found]:
        raise ValueError(
            f"{images}: no image for {len(missing)} of {len(stems)} conditions, among them {missing[0]!r}; the "
            f"{len(found)} images there need the conditions' names, and are, for example, "
            f"{', '.join(path.name for path in list(found.values())[:3]) or 'none'}"
        )
    digits = max(2, len(str(len(stems))))
    names = [f"{i + 1:0{digits}d}_{re.sub(r'[^A-Za-z0-9_-]+', '_', stem)}" for i, stem in enumerate(stems)]
    folder.mkdir(parents=True, exist_ok=True)
    cropped = []
    for stem, name in zip(stems, names, strict=True):
        try:
            pixels = read_image(found[stem])
        except MemoryError:
            raise
        except Exception as error:  # of damaged files, decoders raise errors of many kinds
            raise ValueError(f"{found[stem]}: cannot be decoded: {error}") from None
        height, width = pixels.shape[:2]
        if height != width:
            cropped.append(f"{found[stem].name} ({width} x {height} pixels)")
        Image.fromarray(pixels).save(folder / f"{name}.png")
    if cropped:
        logger.warning(
            "%s: %d of %d stimuli are not square; models see only their central square, among them of %s",
            images,
            len(cropped),
            len(names),
            cropped[0],
        )
    return names


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
        raise ValueError(f"{where}: found {len(names)}; an RSM needs three stimuli or more")
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
