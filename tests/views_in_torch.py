"""
Random views in plain torch, to compare those of `views.on_cpu` and `views.on_cuda` with: from the same drawn parameters.

Images come as they were decoded, one behind the other.
"""

import numpy as np
import torch
from torch import Tensor

from ipcl_core.config import Augmentation
from ipcl_core.views import draws
from ipcl_core.views.draws import FACTOR, FLIP, GRAYSCALE, HEIGHT, HUE, LEFT, STEP, TOP, WIDTH, draw_views, pack_policy
from ipcl_core.views.on_cpu import make_random_views

MEAN, STD = np.array([0.485, 0.456, 0.406], np.float32), np.array([0.229, 0.224, 0.225], np.float32)
POLICIES = [{}, {"jitter_order": "fixed"}, {"grayscale": 1.0}, {"hue": 0, "brightness": 1.5}, {"area": [0.01, 0.1]}]
LUMINANCE = (0.2989, 0.587, 0.114)


def _resizing_matrices(start: Tensor, length: Tensor, n_in: int, side: int) -> Tensor:
    """Antialiased bilinear resizing of a stretch of pixels, as matrices.

    Args:
        start, length: (V,) float32, the stretch in pixels.
        n_in: pixels of the longest image.
        side: S, pixels after the resizing.

    Returns:
        (V, S, n_in) float32; each row sums to 1.
    """
    scale = (length / side)[:, None, None]
    support = scale.clamp(min=1)
    center = scale * (torch.arange(side, device=start.device) + 0.5)[:, None]  # (V, S, 1), from the start
    pixel = torch.arange(n_in, device=start.device) - start[:, None, None] + 0.5  # (V, 1, n_in)
    weights = (1 - (pixel - center).abs() / support).clamp(min=0)
    weights *= (pixel > 0) & (pixel < length[:, None, None])
    return weights / weights.sum(2, keepdim=True)


def _luminance(views: Tensor) -> Tensor:
    """(..., 3, S, S) -> (..., 1, S, S)."""
    r, g, b = views.unbind(-3)
    return (LUMINANCE[0] * r + LUMINANCE[1] * g + LUMINANCE[2] * b).unsqueeze(-3)


def _turn_hue(views: Tensor, shift: Tensor) -> Tensor:
    """Turn the hue of (m, 3, S, S) views by (m, 1, 1, 1) turns; arithmetic as in `colors.adjust_hue`."""
    r, g, b = views.unbind(1)
    high, low = views.amax(1), views.amin(1)
    chroma = high - low
    divisor = torch.where(chroma > 0, chroma, 1)
    hue = torch.where(high == g, (b - r) / divisor + 2, (r - g) / divisor + 4)
    hue = torch.where(high == r, (g - b) / divisor, hue)  # (m, S, S)
    k = hue[:, None] + 6 * shift + torch.tensor([5.0, 3.0, 1.0], device=views.device)[:, None, None]
    k -= 6 * (k / 6).floor()
    return high[:, None] - chroma[:, None] * torch.minimum(k, 4 - k).clamp(0, 1)


def _adjust(views: Tensor, step: int, factor: Tensor) -> Tensor:
    """Apply one adjustment of the jitter to (m, 3, S, S) views, with (m, 1, 1, 1) factors."""
    if step == HUE:
        return _turn_hue(views, factor)
    match step:
        case draws.BRIGHTNESS:
            other = 0
        case draws.CONTRAST:
            other = _luminance(views).mean((2, 3), keepdim=True)
        case draws.SATURATION:
            other = _luminance(views)
    return (factor * views + (1 - factor) * other).clamp(0, 1)


def make_views(
    pixels: Tensor, heights: np.ndarray, widths: np.ndarray, drawn: np.ndarray, side: int, mean: Tensor, std: Tensor
) -> Tensor:
    """Make a batch of augmented, normalised views.

    Args:
        pixels: uint8, the (heights[b], widths[b], 3) images one behind the other, then anything; its device is used.
        heights, widths: (B,) int64, pixels.
        drawn: (B, n, 14) float32, of `draws.draw_views`.
        side: S, of the views in pixels.
        mean, std: (3,) float32, of channels in [0, 1], on the device.

    Returns:
        (B, n, 3, S, S) float32, channels last in memory.
    """
    device, (n_images, n_views) = pixels.device, drawn.shape[:2]
    sizes = (3 * heights * widths).tolist()
    images = torch.zeros(n_images, 3, heights.max(), widths.max(), device=device)
    for b, part in enumerate(pixels[: sum(sizes)].split(sizes)):
        image = part.view(heights[b], widths[b], 3)
        images[b, :, : heights[b], : widths[b]] = image.permute(2, 0, 1)
    columns = torch.from_numpy(drawn).to(device, non_blocking=True).flatten(0, 1)  # (B, n, 14) -> (B n, 14)
    rows = _resizing_matrices(columns[:, TOP], columns[:, HEIGHT], images.shape[2], side)
    cols = _resizing_matrices(columns[:, LEFT], columns[:, WIDTH], images.shape[3], side)
    views = rows.view(n_images, 1, -1, images.shape[2]) @ (images / 255)  # (B, 3, n S, W)
    views = views.unflatten(2, (n_views, side)).transpose(1, 2)  # (B, n, 3, S, W)
    views = (views @ cols.view(n_images, n_views, 1, side, -1).transpose(3, 4)).flatten(0, 1)  # (B n, 3, S, S)

    def select(mask: np.ndarray) -> Tensor:
        return torch.from_numpy(np.flatnonzero(mask)).to(device, non_blocking=True)

    host = drawn.reshape(n_images * n_views, -1)
    gray = select(host[:, GRAYSCALE] > 0)
    views[gray] = _luminance(views[gray]).expand(-1, 3, -1, -1)
    for position in range(4):
        for step in range(4):
            chosen = select(host[:, STEP + position] == step)
            views[chosen] = _adjust(views[chosen], step, columns[chosen, FACTOR + step].view(-1, 1, 1, 1))
    flipped = select(host[:, FLIP] > 0)
    views[flipped] = views[flipped].flip(3)
    views = (views - mean[:, None, None]) / std[:, None, None]
    return views.to(memory_format=torch.channels_last).unflatten(0, (n_images, n_views))


def make_both(make, photo, device: str, *, side: int, n_views: int = 8, **augmentation) -> list[Tensor]:
    """Views (B, n, 3, S, S) of three images of different sizes, from `make` and from the compiled code."""
    from conftest import stack

    image = np.array(photo)
    images = [image[:100, :130].copy(), image[150:400:3, 100::3].copy(), image[300:340, 200:230].copy()]
    pixels, *sizes = stack(images)
    policy = pack_policy(Augmentation(**augmentation))
    drawn = draw_views(*sizes, np.array([5, 0, 77]), n_views, 2, 1, policy)
    expected = np.empty((3, n_views, side, side, 3), np.float32)
    make_random_views(pixels, *sizes, drawn, MEAN, STD, expected)
    mean, std = (torch.from_numpy(values).to(device) for values in (MEAN, STD))
    found = make(torch.from_numpy(pixels).to(device), *sizes, drawn, side, mean, std)
    return [found.cpu(), torch.from_numpy(expected).movedim(4, 2)]
