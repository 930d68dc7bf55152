"""Views that a GPU makes are those of the processor."""

import pytest
import torch
from conftest import BATCH_SIZE, make_recipe
from resident import Resident
from torch.testing import assert_close
from views_in_torch import POLICIES, make_both

from ipcl_core.config import Preprocessing

pytestmark = pytest.mark.gpu
KEYS = {"n_views": 2, "augmentation": make_recipe().augmentation, "seed": 3, "epoch": 1}


@pytest.mark.cuda
@pytest.mark.parametrize("augmentation", POLICIES)
@pytest.mark.parametrize("side", [32, 224])
def test_kernels_equal_the_processor(photo, side, augmentation):
    from ipcl_core.views import on_cuda

    found, expected = make_both(on_cuda.make_views, photo, "cuda", side=side, **augmentation)
    # on the normalised scale, 1 / .22 times that of pixels
    assert_close(found, expected, rtol=0, atol=1e-4)


@pytest.mark.cuda
def test_loader_with_a_gpu_equals_the_processor(raw_split, loader):
    from ipcl_core.views.loader import ViewLoader

    options = {"batch_size": BATCH_SIZE, "preprocessing": Preprocessing(image_size=64), "n_threads": 1}
    other = ViewLoader(raw_split.beton, device=torch.device("cuda"), **options)
    for found, expected in zip(other.iterate_random(**KEYS), loader.iterate_random(**KEYS), strict=True):
        assert found.views.is_cuda and found.images.tolist() == expected.images.tolist()
        assert_close(found.views.cpu(), expected.views, rtol=0, atol=1e-4)


def test_pictures_in_memory_give_the_views_of_the_loader(loader, pixels):
    """So the other tests of this folder stand for trainings from a file."""
    for found, expected in zip(
        Resident(pixels, BATCH_SIZE).iterate_random(**KEYS), loader.iterate_random(**KEYS), strict=True
    ):
        for name in ("views", "labels", "images"):
            assert torch.equal(getattr(found, name), getattr(expected, name)), name
