"""
Photographic test images: random crops of the colour photographs that scikit-learn, scikit-image and matplotlib ship.
"""

from pathlib import Path

import matplotlib
import numpy as np
import skimage
import sklearn
from PIL import Image

PHOTOGRAPHS = [
    Path(sklearn.__file__).parent / "datasets/images/china.jpg",
    Path(sklearn.__file__).parent / "datasets/images/flower.jpg",
    Path(skimage.__file__).parent / "data/astronaut.png",
    Path(skimage.__file__).parent / "data/chelsea.png",
    Path(skimage.__file__).parent / "data/coffee.png",
    Path(skimage.__file__).parent / "data/rocket.jpg",
    Path(matplotlib.__file__).parent / "mpl-data/sample_data/grace_hopper.jpg",
]


def write_photographs(folder: str | Path, n: int, *, side: int = 500, quality: int = 92, seed: int = 0) -> None:
    """Write an image folder of n JPEGs in ten classes, sized as ImageNet's commonly are: 4 to 3, longest side `side`."""
    rng = np.random.default_rng(seed)
    photographs = [Image.open(path).convert("RGB") for path in PHOTOGRAPHS]
    for i in range(n):
        photograph = photographs[rng.integers(len(photographs))]
        size = (side, side * 3 // 4) if rng.random() < 0.75 else (side * 3 // 4, side)
        scale = rng.uniform(0.6, 1) * min(photograph.width / size[0], photograph.height / size[1])
        width, height = scale * size[0], scale * size[1]
        left, top = rng.uniform(0, photograph.width - width), rng.uniform(0, photograph.height - height)
        crop = photograph.resize(size, Image.Resampling.BICUBIC, (left, top, left + width, top + height))
        path = Path(folder) / f"{i % 10}" / f"{i:05d}.JPEG"
        path.parent.mkdir(parents=True, exist_ok=True)
        crop.save(path, quality=quality)
