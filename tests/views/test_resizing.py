import numpy as np
import pytest
import torch
from conftest import stack, to_array, to_tensor
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as F2

from ipcl_core.views.on_cpu import make_center_views, resize_images
from ipcl_core.views.resizing import RADII, make_filter, resize_view

MEAN, STD = np.array([0.485, 0.456, 0.406], np.float32), np.array([0.229, 0.224, 0.225], np.float32)


@pytest.fixture(scope="module")
def image(photo) -> np.ndarray:
    """(600, 512, 3) uint8."""
    return np.array(photo)


def resize_crop(image: np.ndarray, top: int, left: int, height: int, width: int, out: np.ndarray) -> None:
    """Resize a rectangle to a square, 0-255 to 0-1."""
    filters = make_filter(height, len(out), 0, len(out), 1 / 255), make_filter(width, len(out), 0, len(out), 1.0)
    resize_view(image, top, left, *filters, np.zeros(3, np.float32), np.ones(3, np.float32), out)


# ---- resizing --------------------------------------------------------------------------------------------------------

CROPS = [(0, 0, 600, 512, 224), (11, 7, 500, 333, 64), (3, 400, 97, 101, 32), (20, 30, 31, 29, 32), (5, 6, 40, 50, 224)]
CROPS += [(0, 0, 600, 60, 100), (100, 100, 64, 64, 64), (50, 60, 1, 1, 16), (50, 60, 2, 77, 9), (9, 9, 250, 250, 1)]


@pytest.mark.parametrize("top,left,height,width,side", CROPS)
def test_resize_equals_torchvision(image, top, left, height, width, side):
    out = np.full((side, side, 3), np.nan, np.float32)
    resize_crop(image, top, left, height, width, out)
    expected = [
        to_array(F2.resized_crop(to_tensor(image, dtype), top, left, height, width, [side, side], antialias=True))
        for dtype in (torch.float64, torch.float32)
    ]
    # largest difference seen in 300 random crops: 5e-7 (a grey level is 4e-3)
    assert_allclose(out, expected[0], rtol=0, atol=2e-6)
    # torchvision's own rounding on float32 tensors, in the positions of the filter, is up to 2e-5
    assert_allclose(out, expected[1], rtol=0, atol=4e-5)


def test_resize_by_hand():
    # two columns to one: the triangle filter weighs both alike; one column to two: a copy
    image, out = np.zeros((2, 2, 3), np.uint8), np.empty((1, 1, 3), np.float32)
    image[:, 0], image[:, 1] = 51, 102
    resize_crop(image, 0, 0, 2, 2, out)
    assert_allclose(out, np.full((1, 1, 3), 0.3), rtol=1e-6, atol=0)
    out = np.empty((2, 2, 3), np.float32)
    resize_crop(image, 0, 1, 1, 1, out)
    assert_allclose(out, np.full((2, 2, 3), 0.4), rtol=1e-6, atol=0)


def test_resize_to_the_same_size_is_exact(image):
    out = np.empty((64, 64, 3), np.float32)
    resize_crop(image, 10, 20, 64, 64, out)
    assert_allclose(out * 255, image[10:74, 20:84], rtol=1e-6, atol=0)


# ---- central views ---------------------------------------------------------------------------------------------------


def make_center(images: list[np.ndarray], *, side: int, fraction: float, interpolation="bilinear") -> np.ndarray:
    """Central views (B, S, S, 3), normalisation undone."""
    found = np.full((len(images), side, side, 3), np.nan, np.float32)
    make_center_views(*stack(images), fraction, MEAN, STD, found, RADII[interpolation])
    return found * STD + MEAN


def test_center_views_without_resizing_are_exact(image):
    images = [image[i : i + 64, 2 * i : 2 * i + 64] for i in (0, 50, 111)]
    for found, expected in zip(make_center(images, side=64, fraction=1.0), images, strict=True):
        assert_allclose(found, expected / 255, rtol=0, atol=2e-7)


CENTERS = [
    (256, 256, 224, 0.875),  # the standard of ImageNet: resize 256 (nothing to do here), crop 224
    (256, 340, 224, 0.875),
    (301, 256, 224, 0.875),
    (500, 375, 224, 0.875),
    (333, 500, 64, 0.875),
    (256, 257, 64, 0.5),
    (101, 150, 48, 0.7),
    (20, 31, 48, 1.0),
    (72, 72, 64, 1.0),
    (600, 41, 64, 1.0),
    (41, 600, 65, 0.9),
]


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("height,width,side,fraction", CENTERS)
def test_center_views_equal_torchvision(image, height, width, side, fraction, interpolation):
    """Resize to a shortest side of S / fraction, crop S; bicubic overshoots are cut."""
    picture = np.ascontiguousarray(np.tile(image, (1, 2, 1))[:height, :width])
    options = {"antialias": True, "interpolation": InterpolationMode(interpolation)}
    resized = F2.resize(to_tensor(picture, torch.float64), [round(side / fraction)], **options)
    expected = to_array(F2.center_crop(resized, [side])).clip(0, 1)
    # one image of three: the others have other sizes
    images = [image[:99, :77].copy(), picture, image[:300]]
    found = make_center(images, side=side, fraction=fraction, interpolation=interpolation)[1]
    assert_allclose(found, expected, rtol=0, atol=2e-6)


def test_bicubic_overshoots_are_cut_at_black_and_white():
    """A black and a white half, enlarged: torchvision's float arithmetic leaves [0, 1] here."""
    halves = np.repeat(np.array([0, 255], np.uint8), 4)[None, :, None].repeat(8, 0).repeat(3, 2)
    loose = F2.resize(to_tensor(halves), [32], interpolation=InterpolationMode.BICUBIC, antialias=True)
    found = make_center([halves], side=32, fraction=1.0, interpolation="bicubic")[0]
    assert loose.min() < -0.02 and loose.max() > 1.02
    assert_allclose(found, to_array(loose).clip(0, 1), rtol=0, atol=2e-6)


@settings(deadline=None, max_examples=60, derandomize=True)
@given(
    height=st.integers(1, 150),
    width=st.integers(1, 150),
    side=st.integers(1, 70),
    fraction=st.floats(0.3, 1),
    seed=st.integers(0, 9),
)
def test_center_views_of_any_size_equal_torchvision(height, width, side, fraction, seed):
    picture = np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)
    resized = F2.resize(to_tensor(picture, torch.float64), [round(side / fraction)], antialias=True)
    found = make_center([picture], side=side, fraction=fraction)[0]
    assert_allclose(found, to_array(F2.center_crop(resized, [side])), rtol=0, atol=2e-6)


# ---- whole images ----------------------------------------------------------------------------------------------------


def test_whole_images_equal_torchvision(image):
    """Larger, smaller and equal sizes together; torchvision's result in float64 is rounded here."""
    images = [image[:300, :200].copy(), image[:64, 9:100].copy(), image[100:150, 50:250].copy(), image]
    pixels, heights, widths = resize_images(*stack(images), 64)
    assert list(zip(heights, widths, strict=True)) == [(96, 64), (64, 91), (64, 256), (75, 64)]
    ends = np.cumsum(3 * heights * widths)
    assert len(pixels) == ends[-1]
    for found, height, width, picture in zip(np.split(pixels, ends[:-1]), heights, widths, images, strict=True):
        expected = to_array(F2.resize(to_tensor(picture, torch.float64), [64], antialias=True)) * 255
        assert expected.shape == (height, width, 3)
        # half a level of rounding, and what float32 adds
        assert_allclose(found.reshape(height, width, 3), expected, rtol=0, atol=0.5001)
    assert_allclose(pixels[ends[0] : ends[1]], images[1].ravel(), rtol=0, atol=0)
