import numpy as np
import pytest
from conftest import to_array, to_tensor
from numpy.testing import assert_allclose
from torchvision.transforms import functional as F

from ipcl_core.views import colors
from ipcl_core.views.resizing import ROWS


@pytest.fixture(scope="module")
def view(photo) -> np.ndarray:
    """(96, 96, 3) float32 in [0, 1]: photograph, and stripes of grey, black, white, red and random colours."""
    view = np.array(photo)[100:196, 150:246].astype(np.float32) / 255
    view[:8] = view[:8].mean(2, keepdims=True)
    view[8:16], view[16:24], view[24:32] = 0, 1, (1, 0, 0)
    view[32:64] = np.random.default_rng(0).random((32, 96, 3), np.float32)
    return view


def apply(adjust, view: np.ndarray, *factors: float) -> np.ndarray:
    """The adjusted copy of a (H, W, 3) view."""
    pixels = np.ascontiguousarray(view.reshape(-1, 3).T)  # (H W, 3) -> (3, H W)
    adjust(pixels, *(np.float32(factor) for factor in factors))
    return pixels.T.reshape(view.shape)


def adjust_brightness(pixels: np.ndarray, factor: np.float32) -> None:
    colors.adjust_linear(pixels, factor, np.float32(0))


def adjust_contrast(pixels: np.ndarray, factor: np.float32) -> None:
    mean = colors.sum_luminance(pixels, ROWS) / pixels.shape[1]
    colors.adjust_linear(pixels, factor, np.float32((1 - factor) * mean))


@pytest.mark.parametrize("factor", [0.0, 0.6, 1.0, 1.37, 3.0])
@pytest.mark.parametrize(
    "ours,theirs",
    [
        (adjust_brightness, F.adjust_brightness),
        (adjust_contrast, F.adjust_contrast),
        (colors.adjust_saturation, F.adjust_saturation),
    ],
)
def test_colour_equals_torchvision(view, ours, theirs, factor):
    found = apply(ours, view, factor)
    # largest difference seen: 4e-7
    assert_allclose(found, to_array(theirs(to_tensor(view), factor)), rtol=0, atol=1e-5)


@pytest.mark.parametrize("shift", [-0.5, -0.4, -1 / 6, -0.01, 0.0, 0.1, 1 / 3, 0.5])
def test_hue_equals_torchvision(view, shift):
    found = apply(colors.adjust_hue, view, shift)
    # largest difference seen: 1.4e-6
    assert_allclose(found, to_array(F.adjust_hue(to_tensor(view), shift)), rtol=0, atol=1e-5)


def test_grayscale_equals_torchvision(view):
    found = apply(colors.adjust_grayscale, view)
    assert_allclose(found, to_array(F.rgb_to_grayscale(to_tensor(view), 3)), rtol=0, atol=1e-6)


def test_hue_by_hand():
    # a third of a turn takes red to green, green to blue, blue to red; grey stays
    view = np.array([[[1, 0, 0], [0, 0.5, 0]], [[0, 0, 1], [0.3, 0.3, 0.3]]], np.float32)
    found = apply(colors.adjust_hue, view, 1 / 3)
    assert_allclose(found, [[[0, 1, 0], [0, 0, 0.5]], [[1, 0, 0], [0.3, 0.3, 0.3]]], rtol=0, atol=1e-6)


def test_contrast_by_hand():
    # mean luminance .25: half way towards it
    view = np.array([[[0.5, 0.5, 0.5], [0, 0, 0]]] * 8, np.float32)
    found = apply(adjust_contrast, view, 0.5)
    assert_allclose(
        found, [[[0.375] * 3, [0.125] * 3]] * 8, rtol=1e-3, atol=0
    )  # the weights of the luminance sum to .9999


@pytest.mark.parametrize("width", [1, 7, 8, 96, 224])
@pytest.mark.parametrize("n_rows", [1, 5, ROWS])
def test_luminance_is_summed_over_the_rows_that_belong_to_the_image(width, n_rows):
    block = np.random.default_rng(width).random((3, width * ROWS), np.float32)
    columns = block.reshape(3, width, ROWS)[:, :, :n_rows].astype(np.float64)
    expected = (columns * [[[0.2989]], [[0.587]], [[0.114]]]).sum()
    assert_allclose(colors.sum_luminance(block, n_rows), expected, rtol=1e-6)
