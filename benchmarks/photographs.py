"""
Photographic test images: random crops of the colour photographs that scikit-learn, scikit-image and matplotlib ship, of those
that are installed.
"""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image

FILES = {
    "sklearn": ["datasets/images/china.jpg", "datasets/images/flower.jpg"],
    "skimage": ["data/astronaut.png", "data/chelsea.png", "data/coffee.png", "data/rocket.jpg"],
    "matplotlib": ["mpl-data/sample_data/grace_hopper.jpg"],
}
PHOTOGRAPHS = [
    Path(spec.origin).parent / name
    for package, names in FILES.items()
    if (spec := find_spec(package))
    for name in names
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
