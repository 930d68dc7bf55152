"""
Random and central views of images, in compiled code.

The pixel arithmetic is torchvision's on float tensors (`resizing`, `colors`), the parameters come from `draws`.

Source: Konkle and Alvarez 2020, section 4.1; order of operations as in Wu et al. 2018 (lemniscate.pytorch): crop,
grayscale, colour jitter, flip. The flip commutes with the others, so that the released code's order (crop, flip,
grayscale, jitter) gives the same pixels.
"""

import numpy as np
from numba import njit, prange

from .colors import adjust_brightness, adjust_contrast, adjust_grayscale, adjust_hue, adjust_saturation
from .draws import BRIGHTNESS, CONTRAST, FACTOR, FLIP, GRAYSCALE, HEIGHT, HUE, LEFT, SATURATION, STEP, TOP, WIDTH
from .resizing import resize_center, resize_crop, resize_whole


@njit(cache=True)
def _jitter(view, drawn):
    """Brightness, contrast, saturation and hue, in the drawn order."""
    for step in drawn[STEP : STEP + 4]:
        if step == BRIGHTNESS and drawn[FACTOR + BRIGHTNESS] != 1:
            adjust_brightness(view, drawn[FACTOR + BRIGHTNESS])
        elif step == CONTRAST and drawn[FACTOR + CONTRAST] != 1:
            adjust_contrast(view, drawn[FACTOR + CONTRAST])
        elif step == SATURATION and drawn[FACTOR + SATURATION] != 1:
            adjust_saturation(view, drawn[FACTOR + SATURATION])
        elif step == HUE and drawn[FACTOR + HUE] != 0:
            adjust_hue(view, drawn[FACTOR + HUE])


@njit(cache=True, fastmath=True)
def _normalize(view, mean, std):
    for y in range(view.shape[0]):
        for x in range(view.shape[1]):
            for c in range(3):
                view[y, x, c] = (view[y, x, c] - mean[c]) / std[c]


@njit(cache=True, fastmath=True)
def _flip(view):
    width = view.shape[1]
    for y in range(view.shape[0]):
        for x in range(width // 2):
            for c in range(3):
                view[y, x, c], view[y, width - 1 - x, c] = view[y, width - 1 - x, c], view[y, x, c]


@njit(cache=True)
def list_starts(heights, widths):
    """Return where each of the images that stand one behind the other begins, and where the last ends: (B + 1,) int64."""
    starts = np.zeros(len(heights) + 1, np.int64)
    for b in range(len(heights)):
        starts[b + 1] = starts[b] + heights[b] * widths[b] * 3
    return starts


@njit(cache=True, parallel=True)
def make_random_views(pixels, heights, widths, drawn, mean, std, views):
    """Fill a batch of augmented, normalised views.

    Args:
        pixels: uint8, the (heights[b], widths[b], 3) images one behind the other, then anything.
        heights, widths: (B,) int64, pixels.
        drawn: (B, n, 14) float32, of `draws.draw_views`.
        mean, std: (3,) float32, of channels in [0, 1].
        views: (B, n, S, S, 3) float32, overwritten.
    """
    starts, n_views = list_starts(heights, widths), views.shape[1]
    for i in prange(views.shape[0] * n_views):
        b, v = i // n_views, i % n_views
        image = pixels[starts[b] : starts[b + 1]].reshape(heights[b], widths[b], 3)
        view, draw = views[b, v], drawn[b, v]
        resize_crop(image, int(draw[TOP]), int(draw[LEFT]), int(draw[HEIGHT]), int(draw[WIDTH]), view)
        if draw[GRAYSCALE]:
            adjust_grayscale(view)
        _jitter(view, draw)
        if draw[FLIP]:
            _flip(view)
        _normalize(view, mean, std)


@njit(cache=True, parallel=True)
def make_center_views(pixels, heights, widths, fraction, mean, std, views):
    """Fill a batch of central, normalised views: shortest side resized to S / fraction, central S x S pixels.

    Args:
        pixels, heights, widths, mean, std: as in `make_random_views`.
        fraction: side of the square as a share of the shortest side, in (0, 1].
        views: (B, S, S, 3) float32, overwritten.
    """
    starts, shortest_side = list_starts(heights, widths), round(views.shape[1] / fraction)
    for b in prange(views.shape[0]):
        image = pixels[starts[b] : starts[b + 1]].reshape(heights[b], widths[b], 3)
        resize_center(image, shortest_side, views[b])
        _normalize(views[b], mean, std)


@njit(cache=True, parallel=True)
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
    for b in prange(len(heights)):
        image = pixels[starts[b] : starts[b + 1]].reshape(heights[b], widths[b], 3)
        out = resized[new_starts[b] : new_starts[b + 1]].reshape(new_heights[b], new_widths[b], 3)
        resize_whole(image, out)
    return resized, new_heights, new_widths
