import math

import numba
import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from torchvision.transforms import RandomResizedCrop
from torchvision.transforms import functional as F
from torchvision.transforms.v2 import functional as F2

from ipcl_core import views
from ipcl_core.config import Augmentation
from ipcl_core.views import (
    adjust_brightness,
    adjust_contrast,
    adjust_grayscale,
    adjust_hue,
    adjust_saturation,
    draw_crop,
    draw_key,
    draw_uniform,
    make_center_views,
    make_random_views,
    pack_policy,
    resize_crop,
)

MEAN, STD = np.array([0.485, 0.456, 0.406], np.float32), np.array([0.229, 0.224, 0.225], np.float32)


@pytest.fixture(scope="module")
def image(photo) -> np.ndarray:
    """(600, 512, 3) uint8."""
    return np.array(photo)


@pytest.fixture(scope="module")
def view(image) -> np.ndarray:
    """(96, 96, 3) float32 in [0, 1]: photograph, and stripes of grey, black, white, red and random colours."""
    view = image[100:196, 150:246].astype(np.float32) / 255
    view[:8] = view[:8].mean(2, keepdims=True)
    view[8:16], view[16:24], view[24:32] = 0, 1, (1, 0, 0)
    view[32:64] = np.random.default_rng(0).random((32, 96, 3), np.float32)
    return view


def to_tensor(image: np.ndarray, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """(H, W, 3) uint8 in 0-255 or float in 0-1 -> (3, H, W) in 0-1."""
    tensor = torch.from_numpy(image).permute(2, 0, 1)
    return tensor.to(dtype) / 255 if image.dtype == np.uint8 else tensor.to(dtype)


def to_array(tensor: torch.Tensor) -> np.ndarray:
    """(3, H, W) -> (H, W, 3)."""
    return tensor.permute(1, 2, 0).numpy()


def stack(images: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The ragged buffer that the loader hands over, with the images' heights and widths; rests hold rubbish."""
    pixels = np.full((len(images), max(image.size for image in images)), 77, np.uint8)
    for row, image in zip(pixels, images, strict=True):
        row[: image.size] = image.ravel()
    return pixels, *(np.array([image.shape[axis] for image in images]) for axis in (0, 1))


def key_of(seed: int, epoch: int, image: int, view: int) -> np.uint64:
    return np.uint64(draw_key(seed, epoch, image, view))


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


# ---- colours ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("factor", [0.0, 0.6, 1.0, 1.37, 3.0])
@pytest.mark.parametrize(
    "ours,theirs",
    [
        (adjust_brightness, F.adjust_brightness),
        (adjust_contrast, F.adjust_contrast),
        (adjust_saturation, F.adjust_saturation),
    ],
)
def test_colour_equals_torchvision(view, ours, theirs, factor):
    found = view.copy()
    ours(found, factor)
    # largest difference seen: 4e-7
    assert_allclose(found, to_array(theirs(to_tensor(view), factor)), rtol=0, atol=1e-5)


@pytest.mark.parametrize("shift", [-0.5, -0.4, -1 / 6, -0.01, 0.0, 0.1, 1 / 3, 0.5])
def test_hue_equals_torchvision(view, shift):
    found = view.copy()
    adjust_hue(found, shift)
    # largest difference seen: 1.4e-6
    assert_allclose(found, to_array(F.adjust_hue(to_tensor(view), shift)), rtol=0, atol=1e-5)


def test_grayscale_equals_torchvision(view):
    found = view.copy()
    adjust_grayscale(found)
    assert_allclose(found, to_array(F.rgb_to_grayscale(to_tensor(view), 3)), rtol=0, atol=1e-6)


def test_hue_by_hand():
    # a third of a turn takes red to green, green to blue, blue to red; grey stays
    view = np.array([[[1, 0, 0], [0, 0.5, 0]], [[0, 0, 1], [0.3, 0.3, 0.3]]], np.float32)
    adjust_hue(view, 1 / 3)
    assert_allclose(view, [[[0, 1, 0], [0, 0, 0.5]], [[1, 0, 0], [0.3, 0.3, 0.3]]], rtol=0, atol=1e-6)


def test_contrast_by_hand():
    # mean luminance .25: half way towards it
    view = np.array([[[0.5, 0.5, 0.5], [0, 0, 0]]], np.float32)
    adjust_contrast(view, 0.5)
    assert_allclose(view, [[[0.375] * 3, [0.125] * 3]], rtol=1e-3, atol=0)  # the weights of the luminance sum to .9999


# ---- random numbers --------------------------------------------------------------------------------------------------


@numba.njit
def draw_many(seeds, epochs, images, views, positions):
    numbers = np.empty(len(seeds))
    for i in range(len(seeds)):
        numbers[i] = draw_uniform(draw_key(seeds[i], epochs[i], images[i], views[i]), positions[i])
    return numbers


@pytest.mark.parametrize("varied", ["seed", "epoch", "image", "view", "position"])
def test_numbers_are_uniform(varied):
    n = 20000
    words = [
        np.arange(n) if name == varied else np.full(n, 3) for name in ("seed", "epoch", "image", "view", "position")
    ]
    numbers = draw_many(*words)
    assert 0 <= numbers.min() < numbers.max() < 1
    assert len(np.unique(numbers)) == n
    assert scipy.stats.kstest(numbers, "uniform").pvalue > 1e-3
    # neighbours are uncorrelated: |r| of independent numbers is below 4 / sqrt(n) = .028
    for lag in (1, 2, 5, 16):
        assert abs(np.corrcoef(numbers[:-lag], numbers[lag:])[0, 1]) < 4 / math.sqrt(n)


@pytest.mark.parametrize("other", [(1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1), (1, 1, 0, 0), (5, 0, 0, 3)])
def test_neighbouring_streams_are_uncorrelated(other):
    n, constant = 20000, lambda word: np.full(20000, word)
    first = draw_many(*(constant(word) for word in (7, 4, 100, 2)), np.arange(n))
    second = draw_many(*(constant(a + b) for a, b in zip((7, 4, 100, 2), other, strict=True)), np.arange(n))
    for lag in range(-2, 3):
        a, b = first[max(0, lag) : n + min(0, lag)], second[max(0, -lag) : n + min(0, -lag)]
        assert abs(np.corrcoef(a, b)[0, 1]) < 4 / math.sqrt(n)


def test_words_do_not_stand_for_each_other():
    """(seed, epoch, image, view) in another order is another stream, and so for every small quadruple."""
    keys = {draw_key(*(int(i) for i in words)) for words in np.ndindex(8, 8, 8, 8)}
    assert len(keys) == 8**4


def test_no_two_decisions_share_a_number():
    names = ("FLIP", "GRAYSCALE", "BRIGHTNESS", "CONTRAST", "SATURATION", "HUE")
    positions = [getattr(views, f"_{name}") for name in names]
    positions += [views._ORDER + i for i in range(3)]
    positions += [views._CROP + i for i in range(4 * 10)]  # four numbers for each of ten attempts
    assert len(set(positions)) == len(positions)


# ---- crops -----------------------------------------------------------------------------------------------------------


@numba.njit
def draw_crops(n, height, width, policy):
    crops = np.empty((n, 4))
    for i in range(n):
        crops[i] = draw_crop(draw_key(0, 0, i, 0), height, width, policy)
    return crops


@settings(deadline=None, max_examples=300, derandomize=True)
@given(
    height=st.integers(1, 700),
    width=st.integers(1, 700),
    area=st.tuples(st.floats(0.01, 1), st.floats(0.01, 1)).map(sorted),
    ratio=st.tuples(st.floats(0.1, 10), st.floats(0.1, 10)).map(sorted),
    image=st.integers(0, 2**40),
)
def test_crop_lies_inside_the_image(height, width, area, ratio, image):
    policy = pack_policy(Augmentation(area=area, aspect_ratio=ratio))
    top, left, h, w = draw_crop(key_of(0, 0, image, 0), height, width, policy)
    assert min(top, left) >= 0
    assert min(h, w) >= 1
    assert top + h <= height
    assert left + w <= width


@pytest.mark.parametrize("height,width", [(256, 256), (256, 400), (500, 333)])
def test_crops_are_distributed_as_torchvisions(height, width):
    """Kolmogorov-Smirnov tests of area, aspect ratio and position, 5000 crops each."""
    n = 5000
    ours = draw_crops(n, height, width, pack_policy(Augmentation()))
    torch.manual_seed(0)
    image = torch.empty(3, height, width)
    theirs = np.array([RandomResizedCrop.get_params(image, [0.2, 1.0], [3 / 4, 4 / 3]) for _ in range(n)])

    def describe(crops):
        top, left, h, w = crops.T.astype(float)
        return {"area": h * w, "log ratio": np.log(w / h), "vertical": top + h / 2, "horizontal": left + w / 2}

    for name, values in describe(ours).items():
        found = scipy.stats.ks_2samp(values, describe(theirs)[name])
        assert found.pvalue > 1e-3, f"{name}: {found}"


def test_every_position_is_as_likely():
    """Crops of 4 x 4 pixels in an image of 6 x 6: nine positions, each 1000 times in 9000, give or take four errors."""
    crops = draw_crops(9000, 6, 6, pack_policy(Augmentation(area=[16 / 36, 16 / 36], aspect_ratio=[1.0, 1.0])))
    assert (crops[:, 2:] == 4).all()
    positions, counts = np.unique(crops[:, :2], axis=0, return_counts=True)
    assert positions.tolist() == [[top, left] for top in range(3) for left in range(3)]
    assert_allclose(counts, 1000, rtol=0, atol=4 * math.sqrt(9000 * 1 / 9 * 8 / 9))


@pytest.mark.parametrize("height,width", [(10, 300), (300, 10), (1, 50), (50, 1), (101, 7)])
def test_fallback_for_extreme_images_equals_torchvision(height, width):
    """No crop of at least 90 % of the area has an allowed ratio: the central crop of the nearest ratio."""
    expected = RandomResizedCrop.get_params(torch.empty(3, height, width), [0.9, 1.0], [3 / 4, 4 / 3])
    policy = pack_policy(Augmentation(area=[0.9, 1.0]))
    for image in range(20):
        assert draw_crop(key_of(0, 0, image, 0), height, width, policy) == expected


def test_policy_by_hand():
    settings = Augmentation(area=[0.1, 0.9], aspect_ratio=[0.5, 2.0], flip=0.3, grayscale=0.6, brightness=0.7, hue=0.25)
    assert pack_policy(settings).tolist() == [0.1, 0.9, 0.5, 2.0, 0.3, 0.6, 0.7, 0.4, 0.4, 0.25]


# ---- random views ----------------------------------------------------------------------------------------------------


def make(images: list[np.ndarray], positions: list[int], *, n_views=3, side=48, epoch=2, seed=1, **augmentation):
    """Views (B, n, S, S, 3) of images at some positions of the data set."""
    found = np.full((len(images), n_views, side, side, 3), np.nan, np.float32)
    policy = pack_policy(Augmentation(**augmentation))
    make_random_views(*stack(images), np.array(positions), epoch, seed, policy, MEAN, STD, found)
    return found


def rebuild(image: np.ndarray, position: int, view: int, *, side=48, epoch=2, seed=1, **augmentation) -> np.ndarray:
    """The same view by torchvision, in float64 where it can, with the parameters of the view's stream."""
    settings = Augmentation(**augmentation)
    key = key_of(seed, epoch, position, view)
    top, left, h, w = draw_crop(key, *image.shape[:2], pack_policy(settings))
    x = F2.resized_crop(to_tensor(image, torch.float64), top, left, h, w, [side, side], antialias=True).float()
    if draw_uniform(key, views._GRAYSCALE) < settings.grayscale:
        x = F.rgb_to_grayscale(x, 3)
    order = [0, 1, 2, 3]
    for i in range(3):
        j = i + int(draw_uniform(key, views._ORDER + i) * (4 - i))
        order[i], order[j] = order[j], order[i]
    for name in (("brightness", "contrast", "saturation", "hue")[i] for i in order):
        strength, u = getattr(settings, name), draw_uniform(key, getattr(views, f"_{name.upper()}"))
        low = -strength if name == "hue" else max(0, 1 - strength)
        high = strength if name == "hue" else 1 + strength
        x = getattr(F, f"adjust_{name}")(x, low + (high - low) * u) if strength > 0 else x
    x = F.hflip(x) if draw_uniform(key, views._FLIP) < settings.flip else x
    return to_array(F.normalize(x, MEAN.tolist(), STD.tolist()))


@pytest.mark.parametrize("augmentation", [{}, {"hue": 0.0, "brightness": 1.5}, {"grayscale": 1.0, "flip": 0.0}])
def test_view_equals_torchvisions_functions(image, augmentation):
    images, positions = [image[:200, :300], image[150:, 100:], image[300:340, 200:230]], [5, 0, 77]
    found = make(images, positions, **augmentation)
    for b in range(3):
        for v in range(3):
            # the tolerance is on the normalised scale, 1 / .22 times that of pixels
            assert_allclose(found[b, v], rebuild(images[b], positions[b], v, **augmentation), rtol=0, atol=1e-4)


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


# ---- central views ---------------------------------------------------------------------------------------------------


def make_center(images: list[np.ndarray], *, side: int, fraction: float) -> np.ndarray:
    """Central views (B, S, S, 3), normalisation undone."""
    found = np.full((len(images), side, side, 3), np.nan, np.float32)
    make_center_views(*stack(images), fraction, MEAN, STD, found)
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


@pytest.mark.parametrize("height,width,side,fraction", CENTERS)
def test_center_views_equal_torchvision(image, height, width, side, fraction):
    """Resize to a shortest side of S / fraction, crop S."""
    picture = np.ascontiguousarray(np.tile(image, (1, 2, 1))[:height, :width])
    resized = F2.resize(to_tensor(picture, torch.float64), [round(side / fraction)], antialias=True)
    expected = to_array(F2.center_crop(resized, [side]))
    # one image of three: the others have other sizes
    found = make_center([image[:99, :77].copy(), picture, image[:300]], side=side, fraction=fraction)[1]
    assert_allclose(found, expected, rtol=0, atol=2e-6)


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
