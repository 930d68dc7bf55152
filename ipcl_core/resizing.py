"""
Antialiased bilinear resizing, in compiled code: torchvision's arithmetic on float tensors.
"""

import math

import numpy as np
from numba import njit


@njit(cache=True)
def _resize_weights(n_in, n_resized, start, n_out):
    """Weights of the antialiased bilinear (triangle) filter for some outputs of a resizing along one axis.

    Args:
        n_in, n_resized: pixels before and after the resizing.
        start, n_out: the outputs wanted are start ... start + n_out - 1.

    Returns:
        (n_out,) first input, (n_out,) number of inputs, (n_out, largest number) weights, which sum to 1.
    """
    scale = n_in / n_resized
    support = max(scale, 1.0)
    first = np.empty(n_out, np.int64)
    count = np.empty(n_out, np.int64)
    weights = np.zeros((n_out, math.ceil(support) * 2 + 1), np.float32)
    for i in range(n_out):
        center = scale * (start + i + 0.5)
        low = max(int(center - support + 0.5), 0)
        high = min(int(center + support + 0.5), n_in)
        total = 0.0
        for j in range(high - low):
            w = max(0.0, 1.0 - abs((j + low - center + 0.5) / support))
            weights[i, j] = w
            total += w
        for j in range(high - low):
            weights[i, j] /= total
        first[i], count[i] = low, high - low
    return first, count, weights


@njit(cache=True, fastmath=True)
def _resample(image, top, left, x_filter, y_filter, out):
    """Apply a filter along x and one along y to the part of an image that begins at (top, left), 0-255 to 0-1."""
    height, side = out.shape[:2]
    first_x, count_x, weights_x = x_filter
    first_y, count_y, weights_y = y_filter
    start = first_y[0]
    rows = np.empty((first_y[height - 1] + count_y[height - 1] - start, side, 3), np.float32)
    for y in range(rows.shape[0]):
        for i in range(side):
            r = np.float32(0)
            g = np.float32(0)
            b = np.float32(0)
            for j in range(count_x[i]):
                x = left + first_x[i] + j
                w = weights_x[i, j]
                r += w * image[top + start + y, x, 0]
                g += w * image[top + start + y, x, 1]
                b += w * image[top + start + y, x, 2]
            rows[y, i, 0] = r
            rows[y, i, 1] = g
            rows[y, i, 2] = b
    flat_rows = rows.reshape(rows.shape[0], side * 3)
    flat_out = out.reshape(height, side * 3)
    for i in range(height):
        flat_out[i, :] = 0
        for j in range(count_y[i]):
            w = weights_y[i, j] / np.float32(255)
            y = first_y[i] - start + j
            for x in range(side * 3):
                flat_out[i, x] += w * flat_rows[y, x]


@njit(cache=True)
def resize_crop(image, top, left, height, width, out):
    """Cut a rectangle and resize it to a square, antialiased bilinear, 0-255 to 0-1.

    Args:
        image: (H, W, 3) uint8.
        top, left, height, width: the rectangle in pixels, inside the image.
        out: (S, S, 3) float32, overwritten, in [0, 1].
    """
    side = out.shape[0]
    x_filter = _resize_weights(width, side, 0, side)
    y_filter = _resize_weights(height, side, 0, side)
    _resample(image, top, left, x_filter, y_filter, out)


@njit(cache=True)
def resize_center(image, shortest_side, out):
    """Resize an image to a shortest side and keep the central square, antialiased bilinear, 0-255 to 0-1.

    Args:
        image: (H, W, 3) uint8.
        shortest_side: after the resizing, in pixels, at least S.
        out: (S, S, 3) float32, overwritten, in [0, 1].
    """
    side, (height, width) = out.shape[0], image.shape[:2]
    shortest = min(height, width)
    filters = []
    for length in (width, height):
        resized = shortest_side * length // shortest
        filters.append(_resize_weights(length, resized, round((resized - side) / 2), side))
    _resample(image, 0, 0, filters[0], filters[1], out)


@njit(cache=True)
def resize_whole(image, out):
    """Resize an image to another size, antialiased bilinear, rounded to whole grey levels.

    Args:
        image: (H, W, 3) uint8.
        out: (H', W', 3) uint8, overwritten.
    """
    height, width = out.shape[:2]
    resized = np.empty((height, width, 3), np.float32)
    x_filter = _resize_weights(image.shape[1], width, 0, width)
    y_filter = _resize_weights(image.shape[0], height, 0, height)
    _resample(image, 0, 0, x_filter, y_filter, resized)
    out[:] = np.rint(resized * np.float32(255))
