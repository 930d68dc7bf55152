import itertools
import math

import numba
import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from torchvision.transforms import ColorJitter, RandomResizedCrop

from ipcl_core.config import Augmentation
from ipcl_core.views import draws
from ipcl_core.views.draws import (
    FACTOR,
    FLIP,
    GRAYSCALE,
    STEP,
    draw_crop,
    draw_key,
    draw_uniform,
    draw_views,
    pack_policy,
)


def key_of(seed: int, epoch: int, image: int, view: int) -> np.uint64:
    return np.uint64(draw_key(seed, epoch, image, view))


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
    positions = [getattr(draws, f"_{name}") for name in names]
    positions += [draws._ORDER + i for i in range(3)]
    positions += [draws._CROP + i for i in range(4 * 10)]  # four numbers for each of ten attempts
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
    assert pack_policy(settings).tolist() == [0.1, 0.9, 0.5, 2.0, 0.3, 0.6, 0.7, 0.4, 0.4, 0.25, 1]
    assert pack_policy(Augmentation(jitter_order="fixed"))[-1] == 0


# ---- flips and colours -----------------------------------------------------------------------------------------------


def draw_colours(n: int, **augmentation) -> np.ndarray:
    """(n, 14) parameters of n images of 50 x 60 pixels."""
    sizes = np.full(n, 50), np.full(n, 60)
    return draw_views(*sizes, np.arange(n), 1, 3, 9, pack_policy(Augmentation(**augmentation)))[:, 0]


def test_colours_are_distributed_as_torchvisions():
    """Kolmogorov-Smirnov tests of the four factors, 2000 draws each; brightness over 1 is cut at the factor 0."""
    strengths = {"brightness": 1.5, "contrast": 0.4, "saturation": 0.2, "hue": 0.4}
    ours, theirs = draw_colours(2000, **strengths), ColorJitter(**strengths)
    torch.manual_seed(0)
    ranges = theirs.brightness, theirs.contrast, theirs.saturation, theirs.hue
    params = [ColorJitter.get_params(*ranges)[1:] for _ in range(2000)]
    for i, values in enumerate(zip(*params, strict=True)):
        found = ours[:, FACTOR + i]
        assert ranges[i][0] <= found.min() < found.max() <= ranges[i][1]
        assert scipy.stats.ks_2samp(found, values).pvalue > 1e-3
    for column, share in ((FLIP, 0.5), (GRAYSCALE, 0.2)):
        assert set(ours[:, column]) == {0, 1}
        assert_allclose(ours[:, column].mean(), share, rtol=0, atol=4 * math.sqrt(share * (1 - share) / 2000))


def test_every_order_of_the_jitter_is_as_likely():
    """24 orders, 100 times each in 2400, give or take four errors."""
    orders, counts = np.unique(draw_colours(2400)[:, STEP : STEP + 4], axis=0, return_counts=True)
    assert sorted(map(tuple, orders)) == sorted(itertools.permutations(range(4)))
    assert_allclose(counts, 100, rtol=0, atol=4 * math.sqrt(2400 * 1 / 24 * 23 / 24))


def test_fixed_order_changes_the_order_alone():
    drawn, shuffled = draw_colours(50, jitter_order="fixed"), draw_colours(50)
    assert (drawn[:, STEP : STEP + 4] == [0, 1, 2, 3]).all()
    assert_allclose(drawn[:, :STEP], shuffled[:, :STEP], rtol=0, atol=0)


def test_strength_zero_changes_nothing():
    drawn = draw_colours(50, brightness=0, contrast=0, saturation=0, hue=0)
    assert_allclose(drawn[:, FACTOR : FACTOR + 4], np.tile([1, 1, 1, 0], (50, 1)), rtol=0, atol=0)
