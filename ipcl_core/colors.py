"""
Colour adjustments, in compiled code: torchvision's arithmetic on float tensors.
"""

import math

import numpy as np
from numba import njit


@njit(cache=True, inline="always")
def _clip(x):
    return min(max(x, np.float32(0)), np.float32(1))


@njit(cache=True, inline="always")
def _gray(r, g, b):
    return np.float32(0.2989) * r + np.float32(0.587) * g + np.float32(0.114) * b


@njit(cache=True, fastmath=True)
def adjust_grayscale(view):
    """Replace each pixel of a (S, S, 3) float32 view by its luminance."""
    pixels = view.reshape(-1, 3)
    for p in range(pixels.shape[0]):
        pixels[p, :] = _gray(pixels[p, 0], pixels[p, 1], pixels[p, 2])


@njit(cache=True, fastmath=True)
def adjust_brightness(view, factor):
    """Multiply a (S, S, 3) float32 view by `factor`, within [0, 1]."""
    pixels = view.reshape(-1)
    f = np.float32(factor)
    for p in range(pixels.shape[0]):
        pixels[p] = _clip(f * pixels[p])


@njit(cache=True, fastmath=True)
def adjust_contrast(view, factor):
    """Blend a (S, S, 3) float32 view with its mean luminance, within [0, 1]."""
    pixels = view.reshape(-1, 3)
    total = 0.0
    for p in range(pixels.shape[0]):
        total += _gray(pixels[p, 0], pixels[p, 1], pixels[p, 2])
    f = np.float32(factor)
    offset = np.float32((1.0 - factor) * total / pixels.shape[0])
    flat = view.reshape(-1)
    for p in range(flat.shape[0]):
        flat[p] = _clip(f * flat[p] + offset)


@njit(cache=True, fastmath=True)
def adjust_saturation(view, factor):
    """Blend each pixel of a (S, S, 3) float32 view with its luminance, within [0, 1]."""
    pixels = view.reshape(-1, 3)
    f = np.float32(factor)
    for p in range(pixels.shape[0]):
        offset = (np.float32(1) - f) * _gray(pixels[p, 0], pixels[p, 1], pixels[p, 2])
        for c in range(3):
            pixels[p, c] = _clip(f * pixels[p, c] + offset)


@njit(cache=True, fastmath=True)
def adjust_hue(view, shift):
    """Turn the hue of a (S, S, 3) float32 view by `shift`, in turns of the colour circle, [-.5, .5]."""
    pixels = view.reshape(-1, 3)
    one, six = np.float32(1), np.float32(6)
    for p in range(pixels.shape[0]):
        r, g, b = pixels[p, 0], pixels[p, 1], pixels[p, 2]
        high, low = max(r, g, b), min(r, g, b)
        chroma = high - low
        if chroma == 0:
            continue
        if high == r:
            h = (g - b) / chroma
        elif high == g:
            h = (b - r) / chroma + np.float32(2)
        else:
            h = (r - g) / chroma + np.float32(4)
        h = h / six + np.float32(shift)
        h = (h - np.float32(math.floor(h))) * six
        sector = int(h)
        f = h - np.float32(sector)
        s = chroma / high
        lowest, falling, rising = high * (one - s), high * (one - s * f), high * (one - s * (one - f))
        sector = sector % 6
        if sector == 0:
            r, g, b = high, rising, lowest
        elif sector == 1:
            r, g, b = falling, high, lowest
        elif sector == 2:
            r, g, b = lowest, high, rising
        elif sector == 3:
            r, g, b = lowest, falling, high
        elif sector == 4:
            r, g, b = rising, lowest, high
        else:
            r, g, b = high, lowest, falling
        pixels[p, 0], pixels[p, 1], pixels[p, 2] = r, g, b
