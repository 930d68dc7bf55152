"""
Random and central views of images, in compiled code.

The pixel arithmetic is torchvision's on float tensors (`resizing`, `colors`), the parameters come from `draws`.

Source: Konkle and Alvarez 2020, section 4.1; order of operations as in Wu et al. 2018 (lemniscate.pytorch): crop,
grayscale, colour jitter, flip. The flip commutes with the others, so that the released code's order (crop, flip,
grayscale, jitter) gives the same pixels.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np
from numba import config, njit

from .colors import adjust_grayscale, adjust_hue, adjust_linear, adjust_saturation, sum_luminance
from .draws import BRIGHTNESS, CONTRAST, FACTOR, FLIP, GRAYSCALE, HEIGHT, HUE, LEFT, SATURATION, STEP, TOP, WIDTH
from .resizing import BICUBIC, BILINEAR, ROWS, make_filter, resize_block, resize_view, write_block


@njit(cache=True)
def _adjust(pixels, drawn, steps):
    """Brightness, saturation and hue, in the drawn order; those that change nothing are passed over."""
    for step in steps:
        factor = drawn[FACTOR + int(step)]
        if step == BRIGHTNESS and factor != 1:
            adjust_linear(pixels, factor, np.float32(0))
        elif step == SATURATION and factor != 1:
            adjust_saturation(pixels, factor)
        elif step == HUE and factor != 0 and not drawn[GRAYSCALE]:
            adjust_hue(pixels, factor)


@njit(cache=True)
def make_random_view(image, drawn, mean, std, view):
    """Make one augmented, normalised view, in two passes over its blocks: up to the contrast's mean, and from there on.

    Args:
        image: (H, W, 3) uint8.
        drawn: (14,) float32, of `draws.draw_view`.
        mean, std: (3,) float32, of channels in [0, 1].
        view: (S, S, 3) float32, overwritten.
    """
    side, steps = view.shape[0], drawn[STEP : STEP + 4]
    contrast, position = drawn[FACTOR + CONTRAST], 0
    while steps[position] != CONTRAST:
        position += 1
    y_filter = make_filter(int(drawn[HEIGHT]), side, 0, side, 1 / 255)
    x_filter = make_filter(int(drawn[WIDTH]), side, 0, side, 1.0)
    blocks, total = np.empty((-(-side // ROWS), 3, side * ROWS), np.float32), 0.0
    for b in range(len(blocks)):
        resize_block(image, int(drawn[TOP]), int(drawn[LEFT]), y_filter, x_filter, b, blocks[b])
        if drawn[GRAYSCALE]:
            adjust_grayscale(blocks[b])
        _adjust(blocks[b], drawn, steps[:position])
        if contrast != 1:
            total += sum_luminance(blocks[b], min(ROWS, side - b * ROWS))
    offset = (np.float32(1) - contrast) * np.float32(total / side**2)
    for b in range(len(blocks)):
        if contrast != 1:
            adjust_linear(blocks[b], contrast, offset)
        _adjust(blocks[b], drawn, steps[position + 1 :])
        write_block(blocks[b], b, mean, std, drawn[FLIP] != 0, view)


@njit(cache=True)
def list_starts(heights, widths):
    """Return where each of the images that stand one behind the other begins, and where the last ends: (B + 1,) int64."""
    starts = np.zeros(len(heights) + 1, np.int64)
    for b in range(len(heights)):
        starts[b + 1] = starts[b] + heights[b] * widths[b] * 3
    return starts


@cache
def _start_threads(n: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(n, "views")


def _share(kernel: Callable, n: int, *arguments) -> None:
    """Run kernel(first, last, *arguments) on parts of range(n), on as many threads as numba has.

    Numba's own parallel loops would take a third longer to compile.
    """
    n_threads = config.NUMBA_NUM_THREADS
    bounds = np.linspace(0, n, min(n, 4 * n_threads) + 1).astype(int).tolist()
    parts = _start_threads(n_threads).map(lambda first, last: kernel(first, last, *arguments), bounds, bounds[1:])
    list(parts)


def make_random_views(pixels, heights, widths, drawn, mean, std, views):
    """Fill a batch of augmented, normalised views.

    Args:
        pixels: uint8, the (heights[b], widths[b], 3) images one behind the other, then anything.
        heights, widths: (B,) int64, pixels.
        drawn: (B, n, 14) float32, of `draws.draw_views`.
        mean, std: (3,) float32, of channels in [0, 1].
        views: (B, n, S, S, 3) float32, overwritten.
    """
    starts = list_starts(heights, widths)
    _share(
        _make_random_views, drawn.shape[0] * drawn.shape[1], pixels, starts, heights, widths, drawn, mean, std, views
    )


@njit(cache=True, nogil=True)
def _make_random_views(first, last, pixels, starts, heights, widths, drawn, mean, std, views):
    for i in range(first, last):
        b, v = i // views.shape[1], i % views.shape[1]
        image = pixels[starts[b] : starts[b + 1]].reshape(heights[b], widths[b], 3)
        make_random_view(image, drawn[b, v], mean, std, views[b, v])


def make_center_views(pixels, heights, widths, fraction, mean, std, views, radius=BILINEAR):
    """Fill a batch of central, normalised views: shortest side resized to S / fraction, central S x S pixels.

    What a bicubic filter makes darker than black or brighter than white is cut.

    Args:
        pixels, heights, widths, mean, std: as in `make_random_views`.
        fraction: side of the square as a share of the shortest side, in (0, 1].
        views: (B, S, S, 3) float32, overwritten.
        radius: BILINEAR or BICUBIC.
    """
    starts = list_starts(heights, widths)
    _share(_make_center_views, len(heights), pixels, starts, heights, widths, fraction, mean, std, views, radius)


@njit(cache=True, nogil=True)
def _make_center_views(first, last, pixels, starts, heights, widths, fraction, mean, std, views, radius):
    side = views.shape[1]
    shortest_side = round(side / fraction)
    for b in range(first, last):
        image = pixels[starts[b] : starts[b + 1]].reshape(heights[b], widths[b], 3)
        shortest = min(heights[b], widths[b])
        height, width = shortest_side * heights[b] // shortest, shortest_side * widths[b] // shortest
        y_filter = make_filter(heights[b], height, round((height - side) / 2), side, 1 / 255, radius)
        x_filter = make_filter(widths[b], width, round((width - side) / 2), side, 1.0, radius)
        resize_view(image, 0, 0, y_filter, x_filter, mean, std, views[b])
        if radius == BICUBIC:
            numbers = views[b].reshape(-1)
            for i in range(len(numbers)):
                low, high = -mean[i % 3] / std[i % 3], (1 - mean[i % 3]) / std[i % 3]
                numbers[i] = min(max(numbers[i], low), high)


def resize_images(pixels, heights, widths, shortest_side):
    """Resize images to a shortest side in pixels, antialiased bilinear, rounded to whole grey levels.

    Args:
        pixels, heights, widths: as in `make_random_views`.
        shortest_side: in pixels.

    Returns:
        pixels, heights, widths of the resized images; the longest side is cut down to whole pixels, as by torchvision.
    """
    shortest = np.minimum(heights, widths)
    new_heights, new_widths = shortest_side * heights // shortest, shortest_side * widths // shortest
    starts, new_starts = list_starts(heights, widths), list_starts(new_heights, new_widths)
    resized = np.empty(new_starts[-1], np.uint8)
    sizes = (starts, heights, widths, new_starts, new_heights, new_widths)
    _share(_resize_images, len(heights), pixels, *sizes, resized)
    return resized, new_heights, new_widths


@njit(cache=True, nogil=True)
def _resize_images(first, last, pixels, starts, heights, widths, new_starts, new_heights, new_widths, resized):
    zero, one = np.zeros(3, np.float32), np.ones(3, np.float32)
    for b in range(first, last):
        image = pixels[starts[b] : starts[b + 1]].reshape(heights[b], widths[b], 3)
        out = resized[new_starts[b] : new_starts[b + 1]].reshape(new_heights[b], new_widths[b], 3)
        height, width = new_heights[b], new_widths[b]
        y_filter = make_filter(heights[b], height, 0, height, 1.0)
        x_filter = make_filter(widths[b], width, 0, width, 1.0)
        levels = np.empty((height, width, 3), np.float32)
        resize_view(image, 0, 0, y_filter, x_filter, zero, one, levels)
        out[:] = np.rint(levels)
