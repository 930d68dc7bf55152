import numpy as np
import pytest
import torch
from conftest import DEVICES, stack
from torch.testing import assert_close

from ipcl_core.config import Augmentation
from ipcl_core.device_views import make_views
from ipcl_core.draws import draw_views, pack_policy
from ipcl_core.views import make_random_views

MEAN, STD = np.array([0.485, 0.456, 0.406], np.float32), np.array([0.229, 0.224, 0.225], np.float32)
POLICIES = [{}, {"jitter_order": "fixed"}, {"grayscale": 1.0}, {"hue": 0, "brightness": 1.5}, {"area": [0.01, 0.1]}]


def make_both(make, photo, device: str, *, side: int, n_views: int = 8, **augmentation) -> list[torch.Tensor]:
    """Views (B, n, 3, S, S) of three images of different sizes, from `make` and from the compiled code."""
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


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("augmentation", POLICIES)
@pytest.mark.parametrize("side", [32, 41])
def test_views_on_the_device_equal_those_of_the_processor(photo, device, side, augmentation):
    found, expected = make_both(make_views, photo, device, side=side, **augmentation)
    assert found.flatten(0, 1).is_contiguous(memory_format=torch.channels_last)
    # on the normalised scale, 1 / .22 times that of pixels
    assert_close(found, expected, rtol=0, atol=1e-4)
