"""
Modules of the networks that differ from torch's: in what they return, or in what a compiled step makes of them.

For GroupNorm and max pooling torch.compile writes kernels that read channels_last maps against their order, and adds the
gradients of overlapping windows in no fixed order, through a map of zeros in single precision. In a compiled step both are
therefore written as sums over pixels and as reads alone: the same numbers within rounding.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn


class Normalize(nn.Module):
    """Divide each row by its L2 norm: (B, d) -> (B, d)."""

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.normalize(x, dim=1)


class GroupNorm(nn.GroupNorm):
    """torch's, whose result has the type of its input: under autocast torch's would be in single precision, and with it what
    follows up to the next convolution, at twice the memory. Mean and variance are in single precision here too."""

    def forward(self, x: Tensor) -> Tensor:
        normalize = self._normalize_channels if torch.compiler.is_compiling() else super().forward
        return normalize(x.float() if x.dtype.itemsize < 4 else x).to(x.dtype)

    def _normalize_channels(self, x: Tensor) -> Tensor:
        """The same, (B, C, H, W) -> (B, C, H, W), from each channel's mean and variance: a group's variance is the mean of
        theirs and the variance of their means (Chan et al. 1983)."""
        (b, c), groups = x.shape[:2], self.num_groups
        pixels = x.movedim(1, -1)  # (B, H, W, C)
        variance, mean = (each.view(b, groups, -1) for each in torch.var_mean(pixels, (1, 2), correction=0))
        center = mean.mean(2, keepdim=True)  # (B, groups, 1)
        spread = (variance + (mean - center).square()).mean(2, keepdim=True)
        scale = ((spread + self.eps).rsqrt() * self.weight.view(groups, -1)).view(b, 1, 1, c)
        shift = self.bias - center.expand(b, groups, c // groups).reshape(b, 1, 1, c) * scale
        return (pixels * scale + shift).movedim(-1, 1)


class AdaptiveAvgPool2d(nn.AdaptiveAvgPool2d):
    """torch's, but a map that has its size already is left alone: on a GPU torch's gradient has no fixed order of sums."""

    def forward(self, x: Tensor) -> Tensor:
        return x if x.shape[2:] == self.output_size else super().forward(x)


class MaxPool2d(nn.MaxPool2d):
    """torch's; in a compiled step each pixel looks up the windows that chose it.

    Args:
        size: side of the square windows, pixels; at most 11.
        stride, padding: pixels, in both directions.
    """

    def __init__(self, size: int, stride: int, padding: int = 0):
        super().__init__(size, stride, padding)

    def forward(self, x: Tensor) -> Tensor:
        if torch.compiler.is_compiling():
            return _PoolWindows.apply(x, self.kernel_size, self.stride, self.padding)
        return super().forward(x)


class _PoolWindows(torch.autograd.Function):
    """Max pooling, (B, C, H, W) -> (B, C, h, w), that keeps which pixel of its window each maximum was, counted row by row, as
    one byte."""

    @staticmethod
    def forward(ctx, x: Tensor, size: int, stride: int, padding: int) -> Tensor:
        pooled, index = nn.functional.max_pool2d(x, size, stride, padding, return_indices=True)
        tops, lefts = (torch.arange(n, device=x.device) * stride - padding for n in pooled.shape[2:])
        width = x.shape[3]
        ctx.save_for_backward(((index // width - tops[:, None]) * size + index % width - lefts).to(torch.int8))
        ctx.windows, ctx.shape = (size, stride, padding), x.shape[2:]
        return pooled

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        (chosen,), size = ctx.saved_tensors, ctx.windows[0]
        gradient, chosen = gradient.movedim(1, -1), chosen.movedim(1, -1)  # (B, h, w, C)

        def list_windows(axis: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
            """Of each row or column of the input: a window that holds it, its place there, whether there is such a window."""
            n_windows, (_, stride, padding) = gradient.shape[1 + axis], ctx.windows
            at = torch.arange(ctx.shape[axis], device=gradient.device) + padding
            for back in range(-(-size // stride)):
                window = at // stride - back
                place = at - stride * window
                yield window.clamp(0, n_windows - 1), place, (window >= 0) & (window < n_windows) & (place < size)

        total = torch.zeros((), dtype=gradient.dtype, device=gradient.device)
        for row, down, rows in list_windows(0):
            for column, right, columns in list_windows(1):
                there, place = rows[:, None] & columns, down[:, None] * size + right
                mine = there[..., None] & (chosen[:, row[:, None], column] == place[..., None])
                total = total + torch.where(mine, gradient[:, row[:, None], column], 0)
        return total.movedim(-1, 1), None, None, None


class MaxPoolSame(MaxPool2d):
    """Max pooling with TensorFlow's SAME padding: (0, 1) pixels where stride 2 meets an even side, (1, 1) at an odd one.

    For inputs that are nowhere negative, which is what stands behind a ReLU: the padding is zero.
    """

    def forward(self, x: Tensor) -> Tensor:
        padding = []
        for side in (x.shape[3], x.shape[2]):
            total = max((-(-side // self.stride) - 1) * self.stride + self.kernel_size - side, 0)
            padding += [total // 2, total - total // 2]
        return super().forward(nn.functional.pad(x, padding))
