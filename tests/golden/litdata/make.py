"""
Write the sets beside this file, with litdata itself.

    pip install litdata==0.2.76; python make.py                  pil, bytes, jpeg
    pip install litdata==0.2.20; python make.py pil_0.2.20       chunk_bytes without what stands before the samples
"""

import io
import sys
from pathlib import Path

import litdata
import numpy as np
from PIL import Image

NAMES = ["Bike (red)", "apple", "mug"]


def draw(i: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(i).integers(0, 256, (5, 6, 3), dtype=np.uint8))


def make_pil(i: int) -> dict:
    """As harvard-visionlab/datasets writes a folder of pictures."""
    return {"index": i, "image": draw(i), "label": 0, "path": f"objects/images/all/{NAMES[i]}.png"}


def make_bytes(i: int) -> dict:
    """An image file, a name without suffix, and a text that is the same for all."""
    file = io.BytesIO()
    draw(i).save(file, "PNG")
    return {"png": file.getvalue(), "name": NAMES[i], "set": "objects"}


def make_jpeg(i: int) -> tuple:
    """One colour, as litdata encodes a picture in memory once more."""
    file = io.BytesIO()
    Image.new("RGB", (6, 5), (80 * i, 120, 200)).save(file, "JPEG")
    return f"{NAMES[i]}.jpg", Image.open(file)


if __name__ == "__main__":
    for name in sys.argv[1:] or ["pil", "bytes", "jpeg"]:
        make = globals()[f"make_{name.partition('_')[0]}"]
        litdata.optimize(make, [0, 1, 2], str(Path(__file__).with_name(name)), chunk_size=2, num_workers=1)
