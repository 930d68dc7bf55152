"""
Colour adjustments, in compiled code: torchvision's arithmetic on float tensors, written without branches.

`pixels` is always (3, n) float32 in [0, 1], overwritten.
"""

import numpy as np
from numba import njit

from .resizing import FASTMATH, ROWS

_ZERO, _ONE = np.float32(0), np.float32(1)


@njit(cache=True, inline="always")
def _clip(x):
    return min(max(x, _ZERO), _ONE)


@njit(cache=True, inline="always")
def _gray(r, g, b):
    return np.float32(0.2989) * r + np.float32(0.587) * g + np.float32(0.114) * b


@njit(cache=True, fastmath=FASTMATH)
def adjust_grayscale(pixels):
    """Replace each pixel by its luminance."""
    reds, greens, blues = pixels[0], pixels[1], pixels[2]
    for p in range(pixels.shape[1]):
        gray = _gray(reds[p], greens[p], blues[p])
        reds[p], greens[p], blues[p] = gray, gray, gray


@njit(cache=True, fastmath=FASTMATH)
def adjust_linear(pixels, factor, offset):
    """Multiply by a factor and add an offset, within [0, 1]: brightness; with the mean luminance, contrast."""
    flat = pixels.reshape(-1)
    for p in range(flat.shape[0]):
        flat[p] = _clip(factor * flat[p] + offset)


@njit(cache=True, fastmath=FASTMATH)
def sum_luminance(pixels, n_rows):
    """Return the sum of the luminance over the first rows of a block (layout: see `resizing`).

    Columns are added by halves: loops that the compiler can vectorise and that have one order of the sums.
    """
    reds, greens, blues = pixels[0], pixels[1], pixels[2]
    n, total = len(reds), _ZERO
    sums = np.empty(n, np.float32)
    for p in range(n):
        sums[p] = _gray(reds[p], greens[p], blues[p])
    while n % (2 * ROWS) == 0:
        n //= 2
        left, right = sums[:n], sums[n : 2 * n]
        for p in range(n):
            left[p] += right[p]
    for begin in range(0, n, ROWS):
        for r in range(n_rows):
            total += sums[begin + r]
    return total


@njit(cache=True, fastmath=FASTMATH)
def adjust_saturation(pixels, factor):
    """Blend each pixel with its luminance, within [0, 1]."""
    reds, greens, blues = pixels[0], pixels[1], pixels[2]
    rest = _ONE - factor
    for p in range(pixels.shape[1]):
        offset = rest * _gray(reds[p], greens[p], blues[p])
        reds[p] = _clip(factor * reds[p] + offset)
        greens[p] = _clip(factor * greens[p] + offset)
        blues[p] = _clip(factor * blues[p] + offset)


@njit(cache=True, inline="always")
def _fall(hue, sector):
    """How far a channel is below the largest, 0 to 1 chromas, at a hue in sixths of the circle."""
    k = hue + np.float32(sector)
    k -= np.float32(6) * np.floor(k * np.float32(1 / 6))
    return _clip(min(k, np.float32(4) - k))


@njit(cache=True, fastmath=FASTMATH)
def adjust_hue(pixels, shift):
    """Turn the hue by `shift`, in turns of the colour circle, [-.5, .5].

    The same as torchvision's way through HSV and back: of the value v and the chroma c, a channel is v - c * fall.
    """
    reds, greens, blues = pixels[0], pixels[1], pixels[2]
    sixths = np.float32(6) * shift
    for p in range(pixels.shape[1]):
        r, g, b = reds[p], greens[p], blues[p]
        high = max(r, max(g, b))
        chroma = high - min(r, min(g, b))
        inverse = _ONE / (chroma if chroma > _ZERO else _ONE)
        if high == r:
            hue = (g - b) * inverse
        elif high == g:
            hue = (b - r) * inverse + np.float32(2)
        else:
            hue = (r - g) * inverse + np.float32(4)
        hue += sixths
        reds[p] = high - chroma * _fall(hue, 5)
        greens[p] = high - chroma * _fall(hue, 3)
        blues[p] = high - chroma * _fall(hue, 1)
