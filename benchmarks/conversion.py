"""
Conversion of photographs to .beton against FFCV's own writer, and what the forms of storage cost and gain.

    python benchmarks/conversion.py [--images 3000] [--rounds 5] > benchmarks/conversion.md

Both sides shrink the same JPEGs (500 x 375) to a shortest side of 256 and store JPEG of quality 90, with the same number of
processes; ours also takes the SHA-256 of every source and of the result. A round runs each side once, in a process of
its own and in turn; counted is the core time (user + system, children included) from after the imports on.
"""

import argparse
import multiprocessing
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

SIDES = ("ours", "FFCV's writer on torchvision's ImageFolder")
FORMS = [(256, "jpg", 90), (256, "jpg", 75), (256, "raw", 90), (160, "jpg", 90), (160, "raw", 90)]


def convert_ours(folder: str, beton: str, n_workers: int, storage: dict) -> None:
    """List, encode in one shard, join."""
    from ipcl_core.images.beton import join_shards
    from ipcl_core.images.shards import encode_shard, list_splits

    target = Path(beton).parent
    lists = {split: target / f"{split}.images.csv" for split in ("train", "val")}
    yield
    list_splits(dict.fromkeys(lists, folder), lists, val_labels=None, storage=storage)
    shard = {"shard": 0, "n_shards": 1, "storage": storage, "on_corrupt": "error", "n_workers": n_workers}
    encode_shard(folder, lists["train"], target / "0.bin", target / "0.csv", **shard)
    paths = [Path(beton).with_suffix(suffix) for suffix in (".beton", ".csv", ".json")]
    join_shards(lists["train"], [target / "0.bin"], *paths, train_images=lists["train"], storage=storage)


def convert_ffcv(folder: str, beton: str, n_workers: int, storage: dict) -> None:
    """FFCV's documented way."""
    from ffcv.fields import IntField, RGBImageField
    from ffcv.writer import DatasetWriter
    from torchvision.datasets import ImageFolder
    from torchvision.transforms import Resize

    yield
    image = RGBImageField(write_mode=storage["write_mode"], jpeg_quality=storage["jpeg_quality"])
    writer = DatasetWriter(beton, {"image": image, "label": IntField()}, num_workers=n_workers)
    writer.from_indexed_dataset(ImageFolder(folder, Resize(storage["shortest_side"])))
    for process in multiprocessing.active_children():
        process.join()


def measure_one(side: str, folder: str, n_workers: int) -> None:
    """Print core seconds and wall seconds of one conversion."""
    storage = {"shortest_side": 256, "write_mode": "jpg", "jpeg_quality": 90}
    with tempfile.TemporaryDirectory() as target:
        steps = (convert_ours if side == SIDES[0] else convert_ffcv)(folder, f"{target}/a.beton", n_workers, storage)
        next(steps)
        before, start = os.times(), time.monotonic()
        for _ in steps:
            pass
        core = sum(os.times()[:4]) - sum(before[:4])
        print(core, time.monotonic() - start)


def run(*words) -> list[float]:
    """Run this file in a process of its own and return the numbers that it prints."""
    root = Path(__file__).parents[1]
    environment = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, __file__, *map(str, words)]
    said = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    return [float(word) for word in said.stdout.split()]


def measure_form(folder: str, shortest_side: int, write_mode: str, jpeg_quality: int) -> None:
    """Print stored bytes an image, and core ms an image of five views of 224 pixels, whole policy, one thread."""
    import torch

    from ipcl_core.config import Augmentation, Preprocessing
    from ipcl_core.views.loader import ViewLoader

    torch.set_num_threads(1)
    storage = {"shortest_side": shortest_side, "write_mode": write_mode, "jpeg_quality": jpeg_quality}
    with tempfile.TemporaryDirectory() as target:
        steps = convert_ours(folder, f"{target}/a.beton", 1, storage)
        list(steps)
        stored = Path(f"{target}/0.bin").stat().st_size
        loader = ViewLoader(f"{target}/a.beton", batch_size=32, preprocessing=Preprocessing(), n_threads=1)
        times = []
        for epoch in range(4):  # the first one compiles
            before = sum(os.times()[:2])
            for _ in loader.iterate_random(n_views=5, augmentation=Augmentation(), seed=0, epoch=epoch):
                pass
            times.append(sum(os.times()[:2]) - before)
        n_images = loader.n_images
    print(stored / n_images, 1000 * statistics.median(times[1:]) / (n_images // 32 * 32))


def main(n_images: int, rounds: int, n_workers: int) -> None:
    from photographs import write_photographs  # not for the processes that encode: they import this file

    packages = ("ffcv", "pillow", "torchvision", "numpy")
    print("# Conversion\n\nMade by `python benchmarks/conversion.py` (what is measured: see there).")
    print(f"{n_images} images, {rounds} rounds, {n_workers} process(es); {platform.machine()}, {os.cpu_count()} cores,")
    print(", ".join(f"{name} {version(name)}" for name in packages) + ".\n")
    with tempfile.TemporaryDirectory() as folder:
        write_photographs(f"{folder}/all", n_images)
        write_photographs(f"{folder}/few", n_images // 5)
        core = {side: [] for side in SIDES}
        for i in range(rounds):
            for side in SIDES if i % 2 else SIDES[::-1]:
                core[side].append(run("--side", side, "--folder", f"{folder}/all", "--workers", n_workers)[0])
        ratios = [theirs / ours for ours, theirs in zip(*core.values(), strict=True)]
        print("| writer | core ms an image | images/s/core |\n|---|---|---|")
        for side in SIDES:
            seconds = statistics.median(core[side]) / n_images
            print(f"| {side} | {1000 * seconds:.2f} | {1 / seconds:.0f} |")
        print(f"\nOurs is {statistics.median(ratios):.2f} times as fast (median over rounds; ", end="")
        print(f"{min(ratios):.2f} to {max(ratios):.2f}).\n")
        print(
            "## Forms of storage\n\nFor 1,281,167 images of this kind; loading: five views of 224 pixels, whole policy.\n"
        )
        print("| shortest side | form | kB an image | ImageNet, GB | core ms an image to load | deviation |")
        print("|---|---|---|---|---|---|")
        for form in FORMS:
            stored, milliseconds = run("--form", *form, "--folder", f"{folder}/few")
            full = form[0] == 256
            blur = ("artefacts of JPEG" if form[1:] == ("jpg", 75) else "none") if full else "less sharp views"
            print(
                f"| {form[0]} | {form[1]}{f' {form[2]}' if form[1] == 'jpg' else ''} | {stored / 1000:.1f} "
                f"| {stored * 1281167 / 1e9:.0f} | {milliseconds:.2f} | {blur} |"
            )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=3000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--side", help=argparse.SUPPRESS)
    parser.add_argument("--form", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        measure_one(options.side, options.folder, options.workers)
    elif options.form:
        side, mode, quality = options.form
        measure_form(options.folder, int(side), mode, int(quality))
    else:
        main(options.images, options.rounds, options.workers)
