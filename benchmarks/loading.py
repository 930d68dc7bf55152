"""
Five 224-pixel views of photographs: the loader against torchvision, FFCV with five pipelines, and bare turbojpeg.

    python -m benchmarks.loading [--rounds 5] [--images 256] [--tables 'decoding only']

The contenders run in turn within each round, in this process and with one thread each; what counts is the processor time
(user and system, this process and its children), as the median over the rounds of the ratio to the loader's own. The
images are crops of the photographs that scikit-image, scikit-learn and matplotlib carry, shortest side 256 to 300,
JPEG of quality 90. The table is printed; the one committed is in loading.md.
"""

import argparse
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from io import BytesIO
from pathlib import Path

import matplotlib
import numba
import numpy as np
import skimage
import sklearn
import torch
from ffcv.fields import IntField, RGBImageField
from ffcv.libffcv import imdecode
from ffcv.loader import Loader, OrderOption
from ffcv.writer import DatasetWriter
from PIL import Image

from benchmarks.peers import FiveViews, build_ffcv
from ipcl_core.config import Augmentation, Preprocessing
from ipcl_core.views.colors import adjust_hue, adjust_linear, adjust_saturation, sum_luminance
from ipcl_core.views.loader import RaggedRGBImageDecoder, ViewLoader
from ipcl_core.views.resizing import ROWS, make_filter, resize_block, write_block

BATCH, PASSES, SIDE = 64, 4, 224
FOLDERS = {
    Path(skimage.__file__).parent / "data": ["astronaut.png", "chelsea.png", "coffee.png", "motorcycle_left.png"],
    Path(sklearn.__file__).parent / "datasets/images": ["china.jpg", "flower.jpg"],
    Path(matplotlib.get_data_path()) / "sample_data": ["grace_hopper.jpg"],
}


def make_photos(n: int, *, seed: int = 0) -> list[Image.Image]:
    """Cut `n` random parts of real photographs and resize them to shortest sides of 256 to 300 pixels."""
    rng, photos = np.random.default_rng(seed), []
    sources = [Image.open(folder / name).convert("RGB") for folder, names in FOLDERS.items() for name in names]
    for i in range(n):
        source = sources[i % len(sources)]
        ratio, shortest = rng.choice([1, 4 / 3, 3 / 4, 3 / 2]), int(rng.integers(256, 301))
        height = rng.uniform(0.8, 1) * min(source.height, source.width / ratio)
        left, top = rng.uniform(0, source.width - height * ratio), rng.uniform(0, source.height - height)
        size = (round(shortest * max(1, ratio)), round(shortest * max(1, 1 / ratio)))
        photos.append(source.resize(size, Image.Resampling.BICUBIC, (left, top, left + height * ratio, top + height)))
    return photos


class Photos(torch.utils.data.Dataset):
    def __init__(self, photos):
        self.photos = photos

    def __len__(self):
        return len(self.photos)

    def __getitem__(self, i):
        return np.asarray(self.photos[i]), i


def write_beton(photos: list[Image.Image], path: Path, **mode) -> None:
    """Write photographs as FFCV's own writer does."""
    fields = {"image": RGBImageField(**{"write_mode": "jpg", "jpeg_quality": 90} | mode), "label": IntField()}
    DatasetWriter(str(path), fields, num_workers=1).from_indexed_dataset(Photos(photos))


def encode(photo: Image.Image) -> bytes:
    file = BytesIO()
    photo.save(file, "JPEG", quality=90)
    return file.getvalue()


def measure_core_seconds(run) -> float:
    """Processor time of a call, user and system, children included."""
    whos = resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN
    before = [resource.getrusage(who) for who in whos]
    run()
    after = [resource.getrusage(who) for who in whos]
    return sum(b.ru_utime + b.ru_stime - a.ru_utime - a.ru_stime for a, b in zip(before, after, strict=True))


def exhaust(batches) -> None:
    for _ in batches:
        pass


def build_contenders(beton: Path, photos: list[Image.Image]) -> dict:
    """Table -> name -> call that reads images, and how many times it reads all of them."""
    jpegs = [encode(photo) for photo in photos]
    ours = ViewLoader(beton, batch_size=BATCH, preprocessing=Preprocessing(image_size=SIDE), n_threads=1)
    options = {"n_views": 5, "augmentation": Augmentation(), "seed": 0, "epoch": 0}
    torchvision = torch.utils.data.DataLoader(FiveViews(jpegs), batch_size=BATCH, num_workers=1, drop_last=True)
    decoder = {"image": [RaggedRGBImageDecoder(BATCH)], "label": None}
    settings = {"order": OrderOption.SEQUENTIAL, "batches_ahead": 1, "indices": np.tile(np.arange(len(photos)), PASSES)}
    decode = Loader(str(beton), BATCH, 1, pipelines=decoder, **settings)
    buffers = [np.empty((photo.height, photo.width, 3), np.uint8) for photo in photos]
    contents = [np.frombuffer(jpeg, np.uint8) for jpeg in jpegs]

    def decode_bare():
        for content, buffer in PASSES * list(zip(contents, buffers, strict=True)):
            height, width = buffer.shape[:2]
            imdecode(content, buffer, height, width, height, width, 0, 0, 1, 1, False, False)

    crops = build_ffcv(str(beton), whole_policy=False, batch_size=BATCH)
    full = build_ffcv(str(beton), whole_policy=True, batch_size=BATCH)
    return {
        "whole policy": {
            "this loader": (lambda: exhaust(ours.iterate_random(**options)), 1),
            "torchvision, Pillow, DataLoader": (lambda: exhaust(torchvision), 1),
            "FFCV, five pipelines as FFCV-SSL": (lambda: exhaust(full), 1),
        },
        "decoding only": {
            "this loader's decoder": (lambda: exhaust(decode), PASSES),
            "FFCV, five crop pipelines": (lambda: exhaust(crops), 1),
            "bare turbojpeg": (decode_bare, PASSES),
        },
    }


def measure_parts() -> dict[str, float]:
    """Part of a view -> milliseconds of processor time for all blocks, the least of 51 runs; the crop: 200 x 200 pixels."""
    image = np.random.default_rng(0).integers(0, 256, (256, 340, 3), dtype=np.uint8)
    block, view = np.empty((3, SIDE * ROWS), np.float32), np.empty((SIDE, SIDE, 3), np.float32)
    filters = make_filter(200, SIDE, 0, SIDE, 1 / 255), make_filter(200, SIDE, 0, SIDE, 1.0)
    half, shift, zero = np.float32(0.5), np.float32(0.1), np.float32(0)
    mean, std = np.full(3, half), np.full(3, half)
    parts = {
        "resizing": lambda b: resize_block(image, 20, 20, *filters, b, block),
        "brightness": lambda b: adjust_linear(block, half, zero),
        "mean luminance, for the contrast": lambda b: sum_luminance(block, ROWS),
        "contrast": lambda b: adjust_linear(block, half, half),
        "saturation": lambda b: adjust_saturation(block, half),
        "hue": lambda b: adjust_hue(block, shift),
        "normalising, channels last": lambda b: write_block(block, b, mean, std, False, view),
    }

    def measure(part) -> float:
        start = time.process_time()
        for b in 20 * list(range(SIDE // ROWS)):
            part(b)
        return 1000 * (time.process_time() - start) / 20

    return {name: min(measure(part) for _ in range(51)) for name, part in parts.items()}


FIRST_BATCH = {
    "this loader": """
from ipcl_core.views.loader import ViewLoader
from ipcl_core.config import Augmentation, Preprocessing
loader = ViewLoader({beton!r}, batch_size=64, preprocessing=Preprocessing(image_size=224), n_threads=1)
next(loader.iterate_random(n_views=5, augmentation=Augmentation(), seed=0, epoch=0))
""",
    "FFCV, five crop pipelines": """
from benchmarks.peers import build_ffcv
next(iter(build_ffcv({beton!r}, whole_policy=False, batch_size=64)))
""",
    "FFCV, five pipelines as FFCV-SSL": """
from benchmarks.peers import build_ffcv
next(iter(build_ffcv({beton!r}, whole_policy=True, batch_size=64)))
""",
}


def measure_first_batch(code: str, cache: str) -> tuple[float, float]:
    """Wall-clock and processor seconds of a new process up to its first batch."""
    start, environment = time.monotonic(), os.environ | {"NUMBA_CACHE_DIR": cache, "NUMBA_NUM_THREADS": "1"}
    run = [sys.executable, "-c", code + "\nimport os; os._exit(0)"]
    core = measure_core_seconds(lambda: subprocess.run(run, check=True, env=environment))
    return time.monotonic() - start, core


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--images", type=int, default=256)
    tables = ["whole policy", "decoding only", "parts of a view", "first batch"]
    parser.add_argument("--tables", nargs="+", choices=tables, default=tables)
    arguments = parser.parse_args()
    numba.set_num_threads(1)
    torch.set_num_threads(1)
    names = ("ffcv", "numba", "torch", "torchvision", "pillow", "opencv-python")
    print(
        f"{time.strftime('%Y-%m-%d')}, {platform.processor() or platform.machine()}, {os.cpu_count()} cores,", end=" "
    )
    print(f"Python {platform.python_version()},", ", ".join(f"{name} {version(name)}" for name in names))
    with tempfile.TemporaryDirectory() as folder:
        beton, photos = Path(folder) / "photos.beton", make_photos(arguments.images)
        write_beton(photos, beton)
        print(f"{len(photos)} photographs, {np.mean([len(encode(photo)) for photo in photos]) / 1000:.1f} kB each\n")
        for title, contenders in build_contenders(beton, photos).items():
            if title not in arguments.tables:
                continue
            for run, _ in contenders.values():
                run()  # compile
            n = len(photos) // BATCH * BATCH
            rounds = [
                {name: measure_core_seconds(run) / passes / n for name, (run, passes) in contenders.items()}
                for _ in range(arguments.rounds)
            ]
            print(
                f"| {title}, {len(rounds)} rounds | core-ms an image, median | times the first row's, median (range) |"
            )
            print("|---|---|---|")
            first = next(iter(contenders))
            for name in contenders:
                ratios = np.array([costs[name] / costs[first] for costs in rounds])
                cost = 1000 * np.median([costs[name] for costs in rounds])
                print(f"| {name} | {cost:.2f} | {np.median(ratios):.2f} ({ratios.min():.2f} to {ratios.max():.2f}) |")
            print(flush=True)
        if "parts of a view" in arguments.tables:
            print("| parts of a view | ms |\n|---|---|")
            for name, cost in measure_parts().items():
                print(f"| {name} | {cost:.3f} |")
            print(flush=True)
        if "first batch" not in arguments.tables:
            return
        print("| first batch of 64 images in a new process | wall s | core s |\n|---|---|---|")
        runs = [("this loader", "nothing compiled before"), ("this loader", "compiled before")]
        for name, state in runs + [(name, "compiles each time") for name in list(FIRST_BATCH)[1:]]:
            wall, core = measure_first_batch(FIRST_BATCH[name].format(beton=str(beton)), f"{folder}/{name}")
            print(f"| {name}, {state} | {wall:.1f} | {core:.1f} |", flush=True)


if __name__ == "__main__":
    main()
