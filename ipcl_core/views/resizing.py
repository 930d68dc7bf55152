"""
Antialiased bilinear and bicubic resizing, in compiled code: torchvision's arithmetic on float tensors.

A resized image is kept in blocks of 16 rows, each (3, width * 16) float32: 16 pixels of one column stand side by side.
So the filter along y runs over whole rows of the source and the filter along x over 16 rows at once, and both, like the
colour adjustments, are loops over neighbouring numbers that the compiler can vectorise. Rows behind the image's last
repeat it. What it would do number by number, or with many checks, is written as instructions on vectors (`intrinsic`),
which LLVM has for any processor.
"""

import math

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

FASTMATH = {"contract", "nsz", "nnan", "ninf"}
"""Without reassociation: sums would have another order in kernels that numba reads from its cache, and so other bits than
in the process that compiled them."""
ROWS, TILE = 16, 8
"""Rows of a block, and of what is transposed at once."""
NUMBERS = types.float32[::1]
"""(n,) float32 that stand side by side."""

BILINEAR, BICUBIC = 1, 2
"""Radius of the filter in pixels of the smaller of both scales."""
RADII = {"bilinear": BILINEAR, "bicubic": BICUBIC}
"""By their names in the configuration."""


def _find_arrays(context, builder, signature, arguments) -> list:
    """Return the arguments of an intrinsic, pointers to the first number in place of arrays."""
    return [
        context.make_array(kind)(context, builder, value).data if isinstance(kind, types.Array) else value
        for kind, value in zip(signature.args, arguments, strict=True)
    ]


def _find_vector(builder, array, place, n: int):
    """Return a pointer to the n float32 that begin at a place of an array."""
    return builder.bitcast(builder.gep(array, [place]), ir.VectorType(ir.FloatType(), n).as_pointer())


@intrinsic
def _transpose_tile(typing_context, source, at, step, target, to, stride):
    """Write 8 x 8 numbers: target[to + j * stride + i] = source[at + i * step + j].

    Args:
        source, target: (n,) float32.
        at, step, to, stride: int64.
    """

    def generate(context, builder, signature, arguments):
        source, at, step, target, to, stride = _find_arrays(context, builder, signature, arguments)
        index, int64 = ir.VectorType(ir.IntType(32), TILE), ir.IntType(64)

        def find(array, begin, step, i):
            return _find_vector(builder, array, builder.add(begin, builder.mul(step, int64(i))), TILE)

        rows = [builder.load(find(source, at, step, i), align=4) for i in range(TILE)]
        for bit in (1, 2, 4):  # of i and j, which change places
            order = [[j & ~bit | i & bit | (TILE if j & bit else 0) for j in range(TILE)] for i in range(TILE)]
            rows = [builder.shuffle_vector(rows[i & ~bit], rows[i | bit], index(order[i])) for i in range(TILE)]
        for j in range(TILE):
            builder.store(rows[j], find(target, to, stride, j), align=4)
        return context.get_dummy_value()

    int64 = types.int64
    if source == target == NUMBERS:  # else numba says that there is no such function
        return types.void(source, int64, int64, target, int64, int64), generate


@intrinsic
def _filter_rows(typing_context, columns, x, stride, weights, i, n, out, to):
    """Write out[to + r] = sum over j < n of weights[i + j] * columns[x + j * stride + r], for r < 16.

    Args:
        columns, weights, out: (m,) float32.
        x, stride, i, to: int64.
        n: int64, >= 2.
    """

    def generate(context, builder, signature, arguments):
        columns, x, stride, weights, i, n, out, to = _find_arrays(context, builder, signature, arguments)
        row, int32, int64 = ir.VectorType(ir.FloatType(), ROWS), ir.IntType(32), ir.IntType(64)
        contract = ("contract",)

        def weigh(j):
            weight = builder.load(builder.gep(weights, [builder.add(i, j)]))
            weight = builder.insert_element(row(ir.Undefined), weight, int32(0))
            weight = builder.shuffle_vector(weight, row(ir.Undefined), ir.VectorType(int32, ROWS)([0] * ROWS))
            place = builder.add(x, builder.mul(j, stride))
            column = builder.load(_find_vector(builder, columns, place, ROWS), align=4)
            return builder.fmul(weight, column, flags=contract)

        total = cgutils.alloca_once_value(builder, builder.fadd(weigh(int64(0)), weigh(int64(1)), flags=contract))
        with cgutils.for_range_slice(builder, int64(2), n, int64(1)) as (j, _):
            builder.store(builder.fadd(builder.load(total), weigh(j), flags=contract), total)
        builder.store(builder.load(total), _find_vector(builder, out, to, ROWS), align=4)
        return context.get_dummy_value()

    int64 = types.int64
    if columns == weights == out == NUMBERS:
        return types.void(columns, int64, int64, weights, int64, int64, out, int64), generate


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
    n_tiled = -(-n // TILE) * TILE
    rows = np.empty((ROWS, n_tiled), np.float32)
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
    columns = np.empty((n_tiled + 3) * ROWS, np.float32)  # ROWS numbers of each channel of each pixel
    numbers, weights = rows.reshape(-1), weights_x.reshape(-1)
    for r in range(0, ROWS, TILE):
        for k in range(0, n_tiled, TILE):
            _transpose_tile(numbers, r * n_tiled + k, n_tiled, columns, k * ROWS + r, ROWS)
    columns[n * ROWS :] = 0  # a second input of weight 0, where an axis has one pixel
    for c in range(3):
        out = block[c]
        for i in range(len(first_x)):
            x = (3 * (first_x[i] - first_x[0]) + c) * ROWS
            _filter_rows(columns, x, 3 * ROWS, weights, i * n_x, n_x, out, i * ROWS)


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
