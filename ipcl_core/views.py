"""
Random and central views of images, in compiled code.

The pixel arithmetic is torchvision's on float tensors: antialiased bilinear resizing as in
`torchvision.transforms.functional.resized_crop(antialias=True)`, colours as in `torchvision.transforms.ColorJitter`.
Every random number is a function of (seed, epoch, image, view) alone, so that the same views come out whatever the
number of threads, the batch, or where an interrupted training goes on.

Source: Konkle and Alvarez 2020, section 4.1; order of operations as in Wu et al. 2018 (lemniscate.pytorch): crop,
grayscale, colour jitter, flip.
"""

import math

import numpy as np
from numba import njit, prange

# positions in the stream of random numbers of one view
_FLIP, _GRAYSCALE, _BRIGHTNESS, _CONTRAST, _SATURATION, _HUE, _ORDER, _CROP = 0, 1, 2, 3, 4, 5, 6, 16

# rows of the `policy` array
AREA_LOW, AREA_HIGH, RATIO_LOW, RATIO_HIGH, P_FLIP, P_GRAYSCALE = range(6)
BRIGHTNESS, CONTRAST, SATURATION, HUE = range(6, 10)


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
        policy: (10,) float64, see `pack_policy`.

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
    side = out.shape[0]
    first_x, count_x, weights_x = x_filter
    first_y, count_y, weights_y = y_filter
    start = first_y[0]
    rows = np.empty((first_y[side - 1] + count_y[side - 1] - start, side, 3), np.float32)
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
    flat_out = out.reshape(side, side * 3)
    for i in range(side):
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


@njit(cache=True)
def _jitter(view, key, policy):
    """Brightness, contrast, saturation and hue, in a random order, each drawn as in torchvision's ColorJitter."""
    order = np.arange(4)
    for i in range(3):  # Fisher-Yates
        j = i + int(draw_uniform(key, _ORDER + i) * (4 - i))
        order[i], order[j] = order[j], order[i]
    for step in order:
        if step == 0 and policy[BRIGHTNESS] > 0:
            adjust_brightness(view, _draw_factor(key, _BRIGHTNESS, policy[BRIGHTNESS]))
        elif step == 1 and policy[CONTRAST] > 0:
            adjust_contrast(view, _draw_factor(key, _CONTRAST, policy[CONTRAST]))
        elif step == 2 and policy[SATURATION] > 0:
            adjust_saturation(view, _draw_factor(key, _SATURATION, policy[SATURATION]))
        elif step == 3 and policy[HUE] > 0:
            adjust_hue(view, policy[HUE] * (2 * draw_uniform(key, _HUE) - 1))


@njit(cache=True)
def _draw_factor(key, position, strength):
    low = max(0.0, 1.0 - strength)
    return low + (1.0 + strength - low) * draw_uniform(key, position)


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


@njit(cache=True, parallel=True)
def make_random_views(pixels, heights, widths, images, epoch, seed, policy, mean, std, views):
    """Fill a batch of augmented, normalised views.

    Args:
        pixels: (B, row) uint8, image b in the first heights[b] * widths[b] * 3 bytes of its row.
        heights, widths: (B,) int64, pixels.
        images: (B,) int64, the images' positions in the data set.
        epoch, seed: non-negative integers.
        policy: (10,) float64, see `pack_policy`.
        mean, std: (3,) float32, of channels in [0, 1].
        views: (B, n, S, S, 3) float32, overwritten.
    """
    n_views = views.shape[1]
    for i in prange(views.shape[0] * n_views):
        b, v = i // n_views, i % n_views
        height, width = heights[b], widths[b]
        image = pixels[b, : height * width * 3].reshape(height, width, 3)
        view = views[b, v]
        key = draw_key(seed, epoch, images[b], v)
        top, left, h, w = draw_crop(key, height, width, policy)
        resize_crop(image, top, left, h, w, view)
        if draw_uniform(key, _GRAYSCALE) < policy[P_GRAYSCALE]:
            adjust_grayscale(view)
        _jitter(view, key, policy)
        if draw_uniform(key, _FLIP) < policy[P_FLIP]:
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
    shortest_side = round(views.shape[1] / fraction)
    for b in prange(views.shape[0]):
        height, width = heights[b], widths[b]
        image = pixels[b, : height * width * 3].reshape(height, width, 3)
        resize_center(image, shortest_side, views[b])
        _normalize(views[b], mean, std)


def pack_policy(augmentation) -> np.ndarray:
    """Return an augmentation (`config.Augmentation`) as the (10,) float64 array that the compiled code reads."""
    a = augmentation
    return np.array([*a.area, *a.aspect_ratio, a.flip, a.grayscale, a.brightness, a.contrast, a.saturation, a.hue])
