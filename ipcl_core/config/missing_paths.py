"""
Which folders and files of the user's own a study needs and does not find.
"""

from __future__ import annotations

import glob
import os
from pathlib import Path

from .data import ImageFolder
from .study import Config

IMAGES = "a folder with one sub-folder of images a class, or to archives of images"


def missing_paths(config: Config, datasets: set[str], brains: set[str], models: set[str]) -> list[str]:
    """Say which folders and files of the user's own are needed and not there, or may not be read.

    Args:
        config: the checked configuration.
        datasets: names of the data sets that are about to be converted.
        brains: names of the brain data sets that are about to be imported.
        models: names of the models whose weights are about to be fetched.

    Returns:
        One line per missing path: the key, what stands there, what kind of file or folder it should name. Of a key with many,
        the first three and their number.
    """
    needed = []
    for name in sorted(datasets):
        block = config.datasets[name]
        if isinstance(block, ImageFolder):
            needed += [(f"datasets.{name}.{split}", getattr(block, split), IMAGES) for split in ("train", "val")]
            if block.val_labels:
                needed.append((f"datasets.{name}.val_labels", block.val_labels, "the file of the validation classes"))
    for name in sorted(brains):
        needed += [(f"brains.{name}.{key}", path, kind) for key, path, kind in config.brains[name].list_paths()]
    for name in sorted(models):
        url = config.models[name].weights.url
        if url and not url.startswith("https://"):
            needed.append((f"models.{name}.weights.url", url, "a file of weights, or to its https address"))
    faults: dict[str, list[str]] = {}
    for key, path, kind in needed:
        if fault := _find_fault(path):
            faults.setdefault(key, []).append(f"  {key}: set it to {kind} (found: {fault})")
    missing = []
    for key, lines in faults.items():
        missing += lines[:3]
        if len(lines) > 3:
            missing.append(f"  {key}: and {len(lines) - 3} more")
    return missing


def _find_fault(path: str) -> str | None:
    """Say what is wrong with the path of a file or folder; None where it can be read."""
    try:
        if not path:
            return "nothing"
        if glob.has_magic(path) and not Path(path).exists():
            path = next(glob.iglob(path), path)
        if Path(path).is_dir():
            os.scandir(path).close()
        else:
            open(path, "rb").close()
    except PermissionError:
        return f"{path}, which this user may not read"
    except FileNotFoundError:
        hint = "; braces are not expanded, write * for what varies" if "{" in path else ""
        hint = "; ~ and $ are not expanded, write the path out" if path[0] == "~" or "$" in path else hint
        return f"{path}, which is not there{hint}"
    except OSError as error:
        return f"{path}: {error.strerror}"
    return None
