"""
The random parameters of views: where to crop, whether to flip, which colours to change.

Every random number is a function of (seed, epoch, image, view) alone, so that the same views come out whatever the
number of threads, the batch, the device that makes the views, or where an interrupted training goes on.

Source: Konkle and Alvarez 2020, section 4.1; the distributions are those of torchvision's RandomResizedCrop and
ColorJitter.
"""

import math

import numpy as np
from numba import njit

# positions in the stream of random numbers of one view
_FLIP, _GRAYSCALE, _BRIGHTNESS, _CONTRAST, _SATURATION, _HUE, _ORDER, _CROP = 0, 1, 2, 3, 4, 5, 6, 16

# rows of the `policy` array
AREA_LOW, AREA_HIGH, RATIO_LOW, RATIO_HIGH, P_FLIP, P_GRAYSCALE = range(6)
STRENGTH, SHUFFLED = 6, 10

# the four adjustments of the jitter, and the columns of the array of drawn parameters
BRIGHTNESS, CONTRAST, SATURATION, HUE = range(4)
TOP, LEFT, HEIGHT, WIDTH, FLIP, GRAYSCALE, FACTOR, STEP = 0, 1, 2, 3, 4, 5, 6, 10
N_COLUMNS = 14


@njit(cache=True, inline="always")
def _mix(x):
    """The finaliser of SplitMix64 (Steele, Lea and Flood 2014): one 64-bit word to another, avalanching."""
    x = np.uint64(x)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@njit(cache=True)
def draw_key(seed, epoch, image, view):
    """Return the 64-bit key of one view's stream of random numbers."""
    key = np.uint64(0x9E3779B97F4A7C15)
    for word in (seed, epoch, image, view):
        key = _mix(key + _mix(np.uint64(word) + np.uint64(0x9E3779B97F4A7C15)))
    return key


@njit(cache=True)
def draw_uniform(key, position):
    """Return the number at one position of a stream, uniform in [0, 1), with 53 random bits."""
    word = _mix(key + np.uint64(position + 1) * np.uint64(0x9E3779B97F4A7C15))
    return np.float64(word >> np.uint64(11)) / 9007199254740992.0


@njit(cache=True)
def draw_crop(key, height, width, policy):
    """Draw a crop as torchvision's RandomResizedCrop does.

    Args:
        key: of the view's stream (`draw_key`).
        height, width: of the image in pixels.
        policy: (11,) float64, see `pack_policy`.

    Returns:
        (top, left, height, width) of the crop in pixels, inside the image.
    """
    for attempt in range(10):
        at = _CROP + 4 * attempt
        target = height * width * (policy[AREA_LOW] + (policy[AREA_HIGH] - policy[AREA_LOW]) * draw_uniform(key, at))
        low, high = math.log(policy[RATIO_LOW]), math.log(policy[RATIO_HIGH])
        ratio = math.exp(low + (high - low) * draw_uniform(key, at + 1))
        w = int(round(math.sqrt(target * ratio)))
        h = int(round(math.sqrt(target / ratio)))
        if 0 < w <= width and 0 < h <= height:
            top = int(draw_uniform(key, at + 2) * (height - h + 1))
            left = int(draw_uniform(key, at + 3) * (width - w + 1))
            return top, left, h, w
    w, h = width, height
    if width < policy[RATIO_LOW] * height:
        h = max(1, int(round(width / policy[RATIO_LOW])))
    elif width > policy[RATIO_HIGH] * height:
        w = max(1, int(round(height * policy[RATIO_HIGH])))
    return (height - h) // 2, (width - w) // 2, h, w


@njit(cache=True)
def _draw_factor(key, position, strength):
    low = max(0.0, 1.0 - strength)
    return low + (1.0 + strength - low) * draw_uniform(key, position)


@njit(cache=True)
def draw_view(key, height, width, policy, drawn):
    """Draw all parameters of one view.

    Args:
        key: of the view's stream (`draw_key`).
        height, width: of the image in pixels.
        policy: (11,) float64, see `pack_policy`.
        drawn: (14,) float32, overwritten. TOP, LEFT, HEIGHT, WIDTH: the crop in pixels; FLIP, GRAYSCALE: 0 or 1;
            FACTOR + BRIGHTNESS, + CONTRAST, + SATURATION: factors, + HUE: shift in turns; STEP to STEP + 3: the order
            of the four adjustments. An adjustment of strength 0 has the factor 1 or the shift 0.
    """
    drawn[TOP], drawn[LEFT], drawn[HEIGHT], drawn[WIDTH] = draw_crop(key, height, width, policy)
    drawn[FLIP] = draw_uniform(key, _FLIP) < policy[P_FLIP]
    drawn[GRAYSCALE] = draw_uniform(key, _GRAYSCALE) < policy[P_GRAYSCALE]
    for i in range(3):
        drawn[FACTOR + i] = _draw_factor(key, _BRIGHTNESS + i, policy[STRENGTH + i])
    drawn[FACTOR + HUE] = policy[STRENGTH + HUE] * (2 * draw_uniform(key, _HUE) - 1)
    for i in range(4):
        drawn[STEP + i] = i
    if policy[SHUFFLED]:
        for i in range(3):  # Fisher-Yates
            j = i + int(draw_uniform(key, _ORDER + i) * (4 - i))
            drawn[STEP + i], drawn[STEP + j] = drawn[STEP + j], drawn[STEP + i]


@njit(cache=True)
def draw_views(heights, widths, images, n_views, epoch, seed, policy):
    """Draw the parameters of a batch of views.

    Args:
        heights, widths: (B,) int64, pixels.
        images: (B,) int64, the images' positions in the data set.
        n_views: views an image.
        epoch, seed: non-negative integers.
        policy: (11,) float64, see `pack_policy`.

    Returns:
        (B, n, 14) float32, columns as in `draw_view`.
    """
    drawn = np.empty((len(images), n_views, N_COLUMNS), np.float32)
    for b in range(len(images)):
        for v in range(n_views):
            draw_view(draw_key(seed, epoch, images[b], v), heights[b], widths[b], policy, drawn[b, v])
    return drawn


def pack_policy(augmentation) -> np.ndarray:
    """Return an augmentation (`config.Augmentation`) as the (11,) float64 array that the compiled code reads."""
    a = augmentation
    strengths = a.brightness, a.contrast, a.saturation, a.hue
    return np.array([*a.area, *a.aspect_ratio, a.flip, a.grayscale, *strengths, a.jitter_order == "random"])
