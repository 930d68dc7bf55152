"""
Antialiased bilinear and bicubic resizing, in compiled code: torchvision's arithmetic on float tensors.

A resized image is kept in blocks of 16 rows, each (3, width * 16) float32: 16 pixels of one column stand side by side.
So the filter along y runs over whole rows of the source and the filter along x over 16 rows at once, and both, like the
colour adjustments, are loops over neighbouring numbers that the compiler can vectorise. Rows behind the image's last
repeat it.
"""

import math

import numpy as np
from numba import njit

FASTMATH = {"contract", "nsz", "nnan", "ninf"}
"""Without reassociation: sums would have another order in kernels that numba reads from its cache, and so other bits than
in the process that compiled them."""
ROWS = 16
"""Rows of a block."""

BILINEAR, BICUBIC = 1, 2
"""Radius of the filter in pixels of the smaller of both scales."""
RADII = {"bilinear": BILINEAR, "bicubic": BICUBIC}
"""By their names in the configuration."""


@njit(cache=True)
def _weigh(distance, radius):
    """Return the weight of an input at a distance in pixels: a triangle, or Keys' cubic with a = -1/2."""
    x = abs(distance)
    if radius == BILINEAR:
        return max(0.0, 1.0 - x)
    if x < 1:
        return (1.5 * x - 2.5) * x * x + 1
    return ((-0.5 * x + 2.5) * x - 4) * x + 2 if x < 2 else 0.0


@njit(cache=True)
def make_filter(n_in, n_resized, start, n_out, gain, radius=BILINEAR):
    """Make the antialiased filter for some outputs of a resizing along one axis.

    Args:
        n_in, n_resized: pixels before and after the resizing.
        start, n_out: the outputs wanted are start ... start + n_out - 1.
        gain: sum of the weights of an output.
        radius: BILINEAR or BICUBIC.

    Returns:
        (n_out,) int64 first input; (n_out, n) float32 weights of it and those behind it, n >= 2. All of them exist,
        except where n_in = 1.
    """
    scale = n_in / n_resized
    stretch = max(scale, 1.0)
    support = radius * stretch
    first = np.empty(n_out, np.int64)
    weights = np.zeros((n_out, max(2, min(n_in, math.ceil(2 * support) + 1))), np.float32)
    width = 2
    for i in range(n_out):
        center = scale * (start + i + 0.5)
        low = max(int(center - support + 0.5), 0)
        high = min(int(center + support + 0.5), n_in)
        width = max(width, high - low)
        total = 0.0
        for j in range(low, high):
            total += _weigh((j - center + 0.5) / stretch, radius)
        first[i] = low
        for j in range(low, high):
            weights[i, j - low] = gain * _weigh((j - center + 0.5) / stretch, radius) / total
    for i in range(n_out):  # at the end of the axis: begin earlier, so that all `width` inputs exist
        shift = min(first[i], max(0, first[i] + width - n_in))
        if shift > 0:
            first[i] -= shift
            for j in range(width - 1, -1, -1):
                weights[i, j] = weights[i, j - shift] if j >= shift else 0
    return first, weights[:, :width].copy()


@njit(cache=True, fastmath=FASTMATH)
def resize_block(image, top, left, y_filter, x_filter, b, block):
    """Make one block of 16 rows of a resized image.

    Args:
        image: (H, W, 3) uint8.
        top, left: in pixels, where the filters' input 0 stands.
        y_filter, x_filter: of `make_filter`, for the height and the width.
        b: number of the block, which begins at row 16 b.
        block: (3, width * 16) float32, overwritten.
    """
    first_y, weights_y = y_filter
    first_x, weights_x = x_filter
    n_y, n_x = weights_y.shape[1], weights_x.shape[1]
    begin = first_x[0]
    width = min(first_x[-1] + n_x, image.shape[1] - left) - begin
    source = image.reshape(image.shape[0], -1)
    begin, n = 3 * (left + begin), 3 * width
    rows = np.empty((ROWS, n), np.float32)
    for r in range(ROWS):
        i = min(b * ROWS + r, len(first_y) - 1)
        y, row = top + first_y[i], rows[r]
        w0, w1 = weights_y[i, 0], weights_y[i, 1]
        row0 = source[y, begin : begin + n]
        row1 = source[min(y + 1, image.shape[0] - 1), begin : begin + n]
        if n_y == 3:
            w2, row2 = weights_y[i, 2], source[y + 2, begin : begin + n]
            for k in range(n):
                row[k] = w0 * row0[k] + w1 * row1[k] + w2 * row2[k]
            continue
        for k in range(n):
            row[k] = w0 * row0[k] + w1 * row1[k]
        for j in range(2, n_y):
            w2, row2 = weights_y[i, j], source[y + j, begin : begin + n]
            for k in range(n):
                row[k] += w2 * row2[k]
    columns = np.zeros((width + 1) * ROWS, np.float32)
    for c in range(3):
        out = block[c]
        for x in range(width):
            for r in range(ROWS):
                columns[x * ROWS + r] = rows[r, 3 * x + c]
        for i in range(len(first_x)):
            x, to = (first_x[i] - first_x[0]) * ROWS, i * ROWS
            w0, w1 = weights_x[i, 0], weights_x[i, 1]
            if n_x == 3:
                w2 = weights_x[i, 2]
                for r in range(ROWS):
                    out[to + r] = w0 * columns[x + r] + w1 * columns[x + ROWS + r] + w2 * columns[x + 2 * ROWS + r]
                continue
            for r in range(ROWS):
                out[to + r] = w0 * columns[x + r] + w1 * columns[x + ROWS + r]
            for j in range(2, n_x):
                w2 = weights_x[i, j]
                for r in range(ROWS):
                    out[to + r] += w2 * columns[x + j * ROWS + r]


@njit(cache=True, fastmath=FASTMATH)
def write_block(block, b, mean, std, flip, view):
    """Write a block to its place in a (H, W, 3) float32 view, normalised, mirrored where `flip` is true."""
    height, width = view.shape[:2]
    scale0, scale1, scale2 = np.float32(1) / std[0], np.float32(1) / std[1], np.float32(1) / std[2]
    offset0, offset1, offset2 = mean[0] * scale0, mean[1] * scale1, mean[2] * scale2
    flat = view.reshape(-1)
    for x in range(width):
        reds, greens, blues = block[:, x * ROWS : (x + 1) * ROWS]
        to = np.uint64(3 * (b * ROWS * width + (width - 1 - x if flip else x)))  # unsigned: never counted from the end
        for r in range(min(ROWS, height - b * ROWS)):
            flat[to] = reds[r] * scale0 - offset0
            flat[to + np.uint64(1)] = greens[r] * scale1 - offset1
            flat[to + np.uint64(2)] = blues[r] * scale2 - offset2
            to += np.uint64(3 * width)


@njit(cache=True)
def resize_view(image, top, left, y_filter, x_filter, mean, std, view):
    """Resize a part of an image and normalise it.

    Args:
        image, top, left, y_filter, x_filter: as in `resize_block`.
        mean, std: (3,) float32.
        view: (height, width, 3) float32, overwritten; its size is that of the filters.
    """
    block = np.empty((3, view.shape[1] * ROWS), np.float32)
    for b in range(-(-view.shape[0] // ROWS)):
        resize_block(image, top, left, y_filter, x_filter, b, block)
        write_block(block, b, mean, std, False, view)
