"""
What the form in which images are stored costs: bytes on disk, processor time of loading, and how views differ.

    python -m benchmarks.storage [--rounds 4] [--images 128]

The images and the way of measuring are those of loading.py: one thread, user and system time, medians over interleaved
rounds. The table is printed; the one committed is in loading.md.
"""

import argparse
import tempfile
from io import BytesIO
from pathlib import Path

import numba
import numpy as np
import torch
from PIL import Image
from torchvision.transforms import functional as F

from benchmarks.loading import BATCH, exhaust, make_photos, measure_core_seconds, write_beton
from ipcl_core.config import Augmentation, Preprocessing
from ipcl_core.images.ffcv_names import Reader
from ipcl_core.views.draws import TOP, draw_views, pack_policy
from ipcl_core.views.loader import ViewLoader

SHAPE = Augmentation(flip=0, grayscale=0, brightness=0, contrast=0, saturation=0, hue=0)
"""Crops alone."""


def shrink(photo: Image.Image, shortest: int) -> Image.Image:
    """Resize to a shortest side."""
    ratio = shortest / min(photo.size)
    return photo.resize(tuple(round(side * ratio) for side in photo.size), Image.Resampling.BILINEAR)


def read_pictures(beton: Path) -> list[Image.Image]:
    """Decode the JPEG files inside a .beton file with Pillow."""
    reader, content = Reader(str(beton)), beton.read_bytes()
    sizes = {int(row["ptr"]): int(row["size"]) for row in reader.alloc_table}
    starts = [int(start) for start in reader.metadata["f0"]["data_ptr"]]
    return [Image.open(BytesIO(content[start : start + sizes[start]])) for start in starts]


def compare_with_pillow(pictures: list[Image.Image], loader: ViewLoader) -> tuple[float, float, float]:
    """Difference of our crops from torchvision's of the same pictures in Pillow, in grey levels of 255.

    Returns:
        mean, 99.9th percentile and maximum of the absolute difference.
    """
    found, differences = {}, []
    for batch in loader.iterate_random(n_views=1, augmentation=SHAPE, seed=0, epoch=0):
        found |= dict(zip(batch.images.tolist(), batch.views[:, 0], strict=True))
    for i, view in found.items():
        picture = pictures[i]
        sizes = np.array([picture.height]), np.array([picture.width])
        crop = draw_views(*sizes, np.array([i]), 1, 0, 0, pack_policy(SHAPE))[0, 0, TOP : TOP + 4]
        expected = F.pil_to_tensor(F.resized_crop(picture, *(int(x) for x in crop), [224, 224])).float()
        differences.append((255 * view - expected).abs().flatten())
    values = torch.cat(differences).numpy()
    return float(values.mean()), float(np.percentile(values, 99.9)), float(values.max())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--images", type=int, default=128)
    arguments = parser.parse_args()
    numba.set_num_threads(1)
    torch.set_num_threads(1)
    photos = make_photos(arguments.images)
    small = [shrink(photo, 192) for photo in photos]
    forms = {
        "JPEG 90, shortest side 256 to 300": (photos, {"jpeg_quality": 90}),
        "JPEG 75, same size": (photos, {"jpeg_quality": 75}),
        "JPEG 90, shortest side 192": (small, {"jpeg_quality": 90}),
        "raw, shortest side 256 to 300": (photos, {"write_mode": "raw"}),
        "raw, shortest side 192": (small, {"write_mode": "raw"}),
    }
    plain = Preprocessing(image_size=224, mean=[0.0] * 3, std=[1.0] * 3)
    with tempfile.TemporaryDirectory() as folder:
        loaders, sizes = {}, {}
        for i, (name, (images, mode)) in enumerate(forms.items()):
            beton = Path(folder) / f"{i}.beton"
            write_beton(images, beton, **mode)
            loaders[name] = ViewLoader(beton, batch_size=BATCH, preprocessing=plain, n_threads=1)
            sizes[name] = loaders[name]._loader.reader.alloc_table["size"].mean()

        def load(name: str, augmentation: Augmentation, n_views: int) -> float:
            options = {"n_views": n_views, "augmentation": augmentation, "seed": 0, "epoch": 0}
            seconds = measure_core_seconds(lambda: exhaust(loaders[name].iterate_random(**options)))
            return 1000 * seconds / (arguments.images // BATCH * BATCH)

        for name in forms:
            load(name, Augmentation(), 5)  # compile
        rounds = [{name: load(name, Augmentation(), 5) for name in forms} for _ in range(arguments.rounds)]
        first = next(iter(forms))
        print("| stored as | kB an image | GB for 1.28 M | core-ms an image, five views | of the first row's |")
        print("|---|---|---|---|---|")
        for name in forms:
            cost = np.median([costs[name] for costs in rounds])
            ratio = np.median([costs[name] / costs[first] for costs in rounds])
            print(f"| {name} | {sizes[name] / 1000:.0f} | {sizes[name] * 1.281167e-3:.0f} | {cost:.2f} | {ratio:.2f} |")
        print(
            "\n| our crops against torchvision's on Pillow images, grey levels of 255 | mean | 99.9 % below | largest |"
        )
        print("|---|---|---|---|")
        compared = {
            "the same JPEG files, each its own decoder": (read_pictures(Path(folder) / "0.beton"), first),
            "the same pixels": (photos, "raw, shortest side 256 to 300"),
        }
        for name, (pictures, form) in compared.items():
            mean, high, largest = compare_with_pillow(pictures, loaders[form])
            print(f"| {name} | {mean:.2f} | {high:.1f} | {largest:.1f} |")


if __name__ == "__main__":
    main()
