import math

import numba
import numpy as np
import pytest
import torch
from conftest import stack, to_array, to_tensor
from numpy.testing import assert_allclose
from torchvision.transforms import functional as F
from torchvision.transforms.v2 import functional as F2

from ipcl_core.config import Augmentation
from ipcl_core.views.draws import FACTOR, FLIP, GRAYSCALE, STEP, TOP, draw_views, pack_policy
from ipcl_core.views.on_cpu import make_random_views

MEAN, STD = np.array([0.485, 0.456, 0.406], np.float32), np.array([0.229, 0.224, 0.225], np.float32)


@pytest.fixture(scope="module")
def image(photo) -> np.ndarray:
    """(600, 512, 3) uint8."""
    return np.array(photo)


# ---- random views ----------------------------------------------------------------------------------------------------


def draw(images: list[np.ndarray], positions: list[int], *, n_views=3, epoch=2, seed=1, **augmentation) -> np.ndarray:
    """Parameters (B, n, 14) of views of images at some positions of the data set."""
    sizes = (np.array([image.shape[axis] for image in images]) for axis in (0, 1))
    return draw_views(*sizes, np.array(positions), n_views, epoch, seed, pack_policy(Augmentation(**augmentation)))


def make(images: list[np.ndarray], positions: list[int], *, side=48, **options) -> np.ndarray:
    """Views (B, n, S, S, 3) of images at some positions of the data set."""
    drawn = draw(images, positions, **options)
    found = np.full((*drawn.shape[:2], side, side, 3), np.nan, np.float32)
    make_random_views(*stack(images), drawn, MEAN, STD, found)
    return found


def rebuild(image: np.ndarray, drawn: np.ndarray, *, side=48) -> np.ndarray:
    """A view by torchvision, in float64 where it can, with the drawn parameters."""
    crop = [int(x) for x in drawn[TOP : TOP + 4]]
    x = F2.resized_crop(to_tensor(image, torch.float64), *crop, [side, side], antialias=True).float()
    x = F.rgb_to_grayscale(x, 3) if drawn[GRAYSCALE] else x
    for step in drawn[STEP : STEP + 4].astype(int):
        adjust = (F.adjust_brightness, F.adjust_contrast, F.adjust_saturation, F.adjust_hue)[step]
        x = adjust(x, float(drawn[FACTOR + step]))
    x = F.hflip(x) if drawn[FLIP] else x
    return to_array(F.normalize(x, MEAN.tolist(), STD.tolist()))


POLICIES = [{}, {"jitter_order": "fixed"}, {"hue": 0.0, "brightness": 1.5}, {"grayscale": 1.0, "flip": 0.0}]


@pytest.mark.parametrize("augmentation", POLICIES)
def test_view_equals_torchvisions_functions(image, augmentation):
    images, positions = [image[:200, :300], image[150:, 100:], image[300:340, 200:230]], [5, 0, 77]
    found, drawn = make(images, positions, **augmentation), draw(images, positions, **augmentation)
    for b in range(3):
        for v in range(3):
            # the tolerance is on the normalised scale, 1 / .22 times that of pixels
            assert_allclose(found[b, v], rebuild(images[b], drawn[b, v]), rtol=0, atol=1e-4)


def test_views_do_not_depend_on_the_batch(image):
    images = [image[:200, :300], image[150:, 100:], image[300:340, 200:230]]
    together = make(images, [5, 0, 77])
    for b, position in enumerate([5, 0, 77]):
        assert_allclose(make([images[b]], [position])[0], together[b], rtol=0, atol=0)
    assert_allclose(make(images[::-1], [77, 0, 5], n_views=2), together[::-1, :2], rtol=0, atol=0)


def test_views_do_not_depend_on_the_number_of_threads(image):
    images, positions = [image[:200, :300], image[150:, 100:], image[300:340, 200:230]], [5, 0, 77]
    before, found = numba.get_num_threads(), {}
    try:
        for n in {1, 2, numba.config.NUMBA_NUM_THREADS}:
            numba.set_num_threads(min(n, numba.config.NUMBA_NUM_THREADS))
            found[n] = make(images, positions)
    finally:
        numba.set_num_threads(before)
    for array in found.values():
        assert_allclose(array, found[1], rtol=0, atol=0)


def test_views_differ_between_seeds_epochs_images_and_views(image):
    picture = image[:200, :300]
    found = [make([picture], [5]), make([picture], [5], seed=2), make([picture], [5], epoch=3), make([picture], [6])]
    flat = np.concatenate(found).reshape(12, -1)
    distances = np.abs(flat[:, None] - flat[None]).max(2)
    assert distances[~np.eye(12, dtype=bool)].min() > 0.1


def test_share_of_flipped_and_grey_views(image):
    """One in two and one in five, within four standard errors of 2000 views."""
    picture = image[200:240, 200:240]
    options = {
        "area": [1.0, 1.0],
        "aspect_ratio": [1.0, 1.0],
        "brightness": 0,
        "contrast": 0,
        "saturation": 0,
        "hue": 0,
    }
    found = make([picture], [0], n_views=2000, side=8, **options)[0] * STD + MEAN
    grey = (np.ptp(found, axis=3) < 1e-5).all((1, 2)).mean()
    assert_allclose(grey, 0.2, rtol=0, atol=4 * math.sqrt(0.2 * 0.8 / 2000))
    luminance = found @ np.array([0.2989, 0.587, 0.114], np.float32)
    straight = np.abs(luminance - luminance[0]).max((1, 2)) < 1e-3
    mirrored = np.abs(luminance - luminance[0][:, ::-1]).max((1, 2)) < 1e-3
    assert (straight ^ mirrored).all()
    assert_allclose(straight.mean(), 0.5, rtol=0, atol=4 * math.sqrt(0.25 / 2000))
