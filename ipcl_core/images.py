"""
Image files of any kind -> RGB pixels.
"""

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".ppm"}


def read_image(path: str | Path, shortest_side: int | None = None) -> np.ndarray:
    """Decode an image file and shrink it.

    EXIF rotation is applied; transparent pixels become white; grey, palette and CMYK become RGB.

    Args:
        path: the image file.
        shortest_side: largest allowed shortest side in pixels; smaller images are not enlarged.

    Returns:
        (height, width, 3) uint8.

    Raises:
        OSError, ValueError, SyntaxError: the file cannot be decoded.
    """
    with Image.open(path) as file:
        file.load()
        image = ImageOps.exif_transpose(file)
    if image.mode.startswith("I"):  # 16-bit grey: Pillow's conversion would clip, not scale
        image = Image.fromarray((np.asarray(image).astype(np.uint32) >> 8).astype(np.uint8))
    if "A" in image.mode or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    image = image.convert("RGB")
    if shortest_side is not None and min(image.size) > shortest_side:
        ratio = shortest_side / min(image.size)
        size = tuple(max(shortest_side, round(side * ratio)) for side in image.size)
        image = image.resize(size, Image.Resampling.BILINEAR, reducing_gap=None)
    return np.asarray(image)
