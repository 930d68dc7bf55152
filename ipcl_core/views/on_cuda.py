"""
Random views in two CUDA kernels: the same as `tests/views_in_torch.py` makes, in two passes over the views' pixels.

The first kernel resizes the crop and does what comes before the contrast adjustment; it leaves the sum of the luminance
of each tile, from which the second has the mean. Sums have a fixed order, so that a run can be repeated bit by bit.
Without a GPU the kernels run in Triton's interpreter (TRITON_INTERPRET=1), slowly.
"""

import numpy as np
import torch
import triton
import triton.language as tl
from torch import Tensor

from . import draws
from .on_cpu import list_starts

TILE = 1024
"""Pixels of a program."""

BRIGHTNESS, CONTRAST, SATURATION, HUE = (
    tl.constexpr(step) for step in (draws.BRIGHTNESS, draws.CONTRAST, draws.SATURATION, draws.HUE)
)
TOP, LEFT, HEIGHT, WIDTH, FLIP, GRAYSCALE, FACTOR, STEP = (
    tl.constexpr(column)
    for column in (
        *(draws.TOP, draws.LEFT, draws.HEIGHT, draws.WIDTH),
        *(draws.FLIP, draws.GRAYSCALE, draws.FACTOR, draws.STEP),
    )
)
N_COLUMNS = tl.constexpr(draws.N_COLUMNS)


@triton.jit
def _clip(x):
    return tl.minimum(tl.maximum(x, 0.0), 1.0)


@triton.jit
def _gray(r, g, b):
    return 0.2989 * r + 0.587 * g + 0.114 * b


@triton.jit
def _fall(hue, sector):
    k = hue + sector
    k -= 6.0 * tl.floor(k / 6.0)
    return _clip(tl.minimum(k, 4.0 - k))


@triton.jit
def _adjust(r, g, b, step, factor):
    """Brightness, saturation or hue."""
    if step == BRIGHTNESS:
        r, g, b = _clip(factor * r), _clip(factor * g), _clip(factor * b)
    elif step == SATURATION:
        offset = (1.0 - factor) * _gray(r, g, b)
        r, g, b = _clip(factor * r + offset), _clip(factor * g + offset), _clip(factor * b + offset)
    elif step == HUE:
        high = tl.maximum(r, tl.maximum(g, b))
        chroma = high - tl.minimum(r, tl.minimum(g, b))
        divisor = tl.where(chroma > 0.0, chroma, 1.0)
        hue = tl.where(high == g, (b - r) / divisor + 2.0, (r - g) / divisor + 4.0)
        hue = tl.where(high == r, (g - b) / divisor, hue) + 6.0 * factor
        r, g, b = high - chroma * _fall(hue, 5.0), high - chroma * _fall(hue, 3.0), high - chroma * _fall(hue, 1.0)
    return r, g, b


@triton.jit
def _weigh(position, scale, support, n_in, j):
    """Input number j of the triangle filter of some outputs, and its weight before normalisation."""
    center = scale * (position.to(tl.float32) + 0.5)
    low = tl.maximum((center - support + 0.5).to(tl.int32), 0)
    weight = tl.maximum(1.0 - tl.abs((low + j).to(tl.float32) - center + 0.5) / support, 0.0)
    inside = low + j < n_in
    return tl.where(inside, low + j, 0), tl.where(inside, weight, 0.0)


@triton.jit
def _crop_views(
    pixels, starts, widths, drawn, work, sums, SIDE: tl.constexpr, N_VIEWS: tl.constexpr, TILE: tl.constexpr
):
    v, tile = tl.program_id(0), tl.program_id(1)
    image, row = pixels + tl.load(starts + v // N_VIEWS), drawn + v * N_COLUMNS
    pitch = tl.load(widths + v // N_VIEWS).to(tl.int32) * 3
    top, left = tl.load(row + TOP).to(tl.int32), tl.load(row + LEFT).to(tl.int32)
    height, width = tl.load(row + HEIGHT).to(tl.int32), tl.load(row + WIDTH).to(tl.int32)
    scale_y, scale_x = height.to(tl.float32) / SIDE, width.to(tl.float32) / SIDE
    support_y, support_x = tl.maximum(scale_y, 1.0), tl.maximum(scale_x, 1.0)
    p = tile * TILE + tl.arange(0, TILE)
    inside = p < SIDE * SIDE
    y, x = p // SIDE, p % SIDE
    r, g, b = tl.zeros((TILE,), tl.float32), tl.zeros((TILE,), tl.float32), tl.zeros((TILE,), tl.float32)
    total = tl.zeros((TILE,), tl.float32)
    for i in range((2.0 * support_y).to(tl.int32) + 1):
        from_y, weight_y = _weigh(y, scale_y, support_y, height, i)
        for j in range((2.0 * support_x).to(tl.int32) + 1):
            from_x, weight_x = _weigh(x, scale_x, support_x, width, j)
            weight = weight_y * weight_x
            source = image + (top + from_y) * pitch + (left + from_x) * 3
            used = inside & (weight > 0.0)
            r += weight * tl.load(source, mask=used, other=0).to(tl.float32)
            g += weight * tl.load(source + 1, mask=used, other=0).to(tl.float32)
            b += weight * tl.load(source + 2, mask=used, other=0).to(tl.float32)
            total += weight
    total *= 255.0
    r, g, b = r / total, g / total, b / total
    if tl.load(row + GRAYSCALE) != 0.0:
        gray = _gray(r, g, b)
        r, g, b = gray, gray, gray
    before = 1
    for i in range(4):
        step = tl.load(row + STEP + i).to(tl.int32)
        if step == CONTRAST:
            before = 0
        if before == 1:
            r, g, b = _adjust(r, g, b, step, tl.load(row + FACTOR + step))
    to = work + v.to(tl.int64) * 3 * SIDE * SIDE + p
    tl.store(to, r, mask=inside)
    tl.store(to + SIDE * SIDE, g, mask=inside)
    tl.store(to + 2 * SIDE * SIDE, b, mask=inside)
    tl.store(sums + v * tl.num_programs(1) + tile, tl.sum(tl.where(inside, _gray(r, g, b), 0.0)))


@triton.jit
def _finish_views(work, sums, drawn, mean, std, views, SIDE: tl.constexpr, TILE: tl.constexpr, N_SUMS: tl.constexpr):
    v, tile, n_tiles = tl.program_id(0), tl.program_id(1), tl.num_programs(1)
    row, p = drawn + v * N_COLUMNS, tile * TILE + tl.arange(0, TILE)
    inside, size = p < SIDE * SIDE, SIDE * SIDE
    source = work + v.to(tl.int64) * 3 * size + p
    r = tl.load(source, mask=inside, other=0.0)
    g = tl.load(source + size, mask=inside, other=0.0)
    b = tl.load(source + 2 * size, mask=inside, other=0.0)
    tiles = tl.arange(0, N_SUMS)
    luminance = tl.sum(tl.load(sums + v * n_tiles + tiles, mask=tiles < n_tiles, other=0.0)) / size
    behind = 0
    for i in range(4):
        step = tl.load(row + STEP + i).to(tl.int32)
        factor = tl.load(row + FACTOR + step)
        if step == CONTRAST:
            offset = (1.0 - factor) * luminance
            r, g, b = _clip(factor * r + offset), _clip(factor * g + offset), _clip(factor * b + offset)
            behind = 1
        elif behind == 1:
            r, g, b = _adjust(r, g, b, step, factor)
    y, x = p // SIDE, p % SIDE
    x = tl.where(tl.load(row + FLIP) != 0.0, SIDE - 1 - x, x)
    to = views + v.to(tl.int64) * 3 * size + (y * SIDE + x) * 3
    tl.store(to, (r - tl.load(mean)) / tl.load(std), mask=inside)
    tl.store(to + 1, (g - tl.load(mean + 1)) / tl.load(std + 1), mask=inside)
    tl.store(to + 2, (b - tl.load(mean + 2)) / tl.load(std + 2), mask=inside)


def make_views(
    pixels: Tensor, heights: np.ndarray, widths: np.ndarray, drawn: np.ndarray, side: int, mean: Tensor, std: Tensor
) -> Tensor:
    """Make a batch of augmented, normalised views on the device of the pixels.

    Args:
        pixels: uint8, the (heights[b], widths[b], 3) images one behind the other, then anything.
        heights, widths: (B,) int64, pixels.
        drawn: (B, n, 14) float32, of `draws.draw_views`.
        side: S, pixels.
        mean, std: (3,) float32, of channels in [0, 1].

    Returns:
        (B, n, 3, S, S) float32, channels last in memory.
    """
    (n_images, n_views), device = drawn.shape[:2], pixels.device
    sizes = (list_starts(heights, widths)[:-1], np.asarray(widths, np.int64), drawn)
    starts, pitches, columns = (torch.from_numpy(array).to(device, non_blocking=True) for array in sizes)
    n_tiles = triton.cdiv(side * side, TILE)
    work = torch.empty(n_images * n_views, 3, side, side, device=device)
    sums = torch.empty(n_images * n_views, n_tiles, device=device)
    views = torch.empty(n_images, n_views, side, side, 3, device=device)
    grid = (n_images * n_views, n_tiles)
    _crop_views[grid](pixels, starts, pitches, columns, work, sums, SIDE=side, N_VIEWS=n_views, TILE=TILE)
    n_sums = triton.next_power_of_2(n_tiles)
    _finish_views[grid](work, sums, columns, mean, std, views, SIDE=side, TILE=TILE, N_SUMS=n_sums)
    return views.movedim(4, 2)  # (B, n, S, S, 3) -> (B, n, 3, S, S)
