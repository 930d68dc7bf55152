"""
The loaders that loading.py is compared with: torchvision's transforms, FFCV with a pipeline a view, bare turbojpeg.
"""

from dataclasses import replace
from io import BytesIO

import numpy as np
import torch
from ffcv.fields.rgb_image import RandomResizedCropRGBImageDecoder
from ffcv.loader import Loader, OrderOption
from ffcv.pipeline import PipelineSpec
from ffcv.pipeline.allocation_query import AllocationQuery
from ffcv.pipeline.compiler import Compiler
from ffcv.pipeline.operation import Operation
from ffcv.transforms import NormalizeImage, RandomHorizontalFlip, ToTensor
from numba import njit
from PIL import Image
from torchvision import transforms

MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


class FiveViews(torch.utils.data.Dataset):
    """JPEG files in memory -> five views by torchvision's transforms on Pillow images, as Wu et al.'s code has them."""

    def __init__(self, jpegs: list[bytes]):
        self.jpegs = jpegs
        self.transform = transforms.Compose(
            [
                transforms.RandomResizedCrop(224, scale=(0.2, 1.0)),
                transforms.RandomGrayscale(0.2),
                transforms.ColorJitter(0.4, 0.4, 0.4, 0.4),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize(MEAN, STD),
            ]
        )

    def __len__(self) -> int:
        return len(self.jpegs)

    def __getitem__(self, i: int) -> torch.Tensor:
        image = Image.open(BytesIO(self.jpegs[i])).convert("RGB")
        return torch.stack([self.transform(image) for _ in range(5)])


@njit(fastmath=True)
def _jitter_like_ssl(image, brightness, contrast, saturation, shift):
    """FFCV-SSL's jitter, re-stated, in float64 as there.

    Fixed order, luminance of the unchanged image, hue as a rotation about the grey axis, clipped once.
    """
    x = image.astype("float64")
    luminance = np.float32(0.2989) * x[..., 0] + np.float32(0.587) * x[..., 1] + np.float32(0.114) * x[..., 2]
    x = x * brightness
    x = contrast * x + (1 - contrast) * np.float32(luminance.mean())
    for c in range(3):
        x[..., c] = saturation * x[..., c] + (1 - saturation) * luminance
    cos, sin = np.cos(2 * np.pi * shift), np.sqrt(1 / 3) * np.sin(2 * np.pi * shift)
    same, less, more = cos + (1 - cos) / 3, (1 - cos) / 3 - sin, (1 - cos) / 3 + sin
    rotation = np.array([[same, more, less], [less, same, more], [more, less, same]])
    for row in range(x.shape[0]):
        x[row] = x[row] @ rotation
    return np.clip(x, 0, 255).astype(np.uint8)


class ColorsLikeSSL(Operation):
    """FFCV operation: grayscale (p = .2) and colour jitter of (B, S, S, 3) uint8."""

    def generate_code(self):
        my_range, jitter = Compiler.get_iterator(), _jitter_like_ssl

        def change(images, destination):
            for i in my_range(images.shape[0]):
                if np.random.rand() < 0.2:  # noqa: NPY002
                    image = images[i]
                    gray = np.float32(0.2989) * image[..., 0] + np.float32(0.587) * image[..., 1]
                    gray += np.float32(0.114) * image[..., 2]
                    for c in range(3):
                        images[i, ..., c] = gray.astype(np.uint8)
                brightness, contrast = np.random.uniform(0.6, 1.4), np.random.uniform(0.6, 1.4)  # noqa: NPY002
                saturation, shift = np.random.uniform(0.6, 1.4), np.random.uniform(-0.4, 0.4)  # noqa: NPY002
                destination[i] = jitter(images[i], brightness, contrast, saturation, shift)
            return destination[: images.shape[0]]

        change.is_parallel = True
        return change

    def declare_state_and_memory(self, previous_state):
        query = AllocationQuery(previous_state.shape, previous_state.dtype)
        return replace(previous_state, jit_mode=True), query


def build_ffcv(beton: str, *, whole_policy: bool, batch_size: int) -> Loader:
    """FFCV's loader with five pipelines on one image field, each of which decodes."""

    def view():
        decoder = RandomResizedCropRGBImageDecoder((224, 224), scale=(0.2, 1.0))
        if not whole_policy:
            return PipelineSpec("image", decoder=decoder, transforms=[ToTensor()])
        colors = [
            RandomHorizontalFlip(),
            ColorsLikeSSL(),
            NormalizeImage(MEAN * 255, STD * 255, np.float32),
            ToTensor(),
        ]
        return PipelineSpec("image", decoder=decoder, transforms=colors)

    pipelines = {f"view{i}": view() for i in range(1, 5)}
    options = {"batch_size": batch_size, "num_workers": 1, "order": OrderOption.SEQUENTIAL}
    return Loader(beton, pipelines={"image": None, "label": None, "view0": view(), **pipelines}, **options)
