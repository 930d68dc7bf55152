"""
Batches of views from pictures in memory, for machines without FFCV.
"""

from collections.abc import Iterator

import numpy as np
import torch
from conftest import stack
from views_in_torch import MEAN, STD

from ipcl_core.config import Augmentation
from ipcl_core.views.batch import Batch
from ipcl_core.views.draws import draw_views, pack_policy
from ipcl_core.views.on_cpu import make_random_views

SIDE = 64


class Resident:
    """The random views that `ViewLoader` makes of the same pictures on the processor, 64 pixels a side.

    Args:
        pictures: (H, W, 3) uint8 each.
        batch_size: images a batch.
        part, n_parts: as of `ViewLoader`.
    """

    def __init__(self, pictures: list[np.ndarray], batch_size: int, part: int = 0, n_parts: int = 1):
        self.pictures, self.batch_size, self.n_images = pictures, batch_size, len(pictures)
        self.part, self.n_parts = part, n_parts

    def iterate_random(
        self, *, n_views: int, augmentation: Augmentation, seed: int, epoch: int, first_batch: int = 0
    ) -> Iterator[Batch]:
        """Yield one epoch; labels are the pictures' classes in tests/conftest.py: a, b, c, each in order."""
        order = np.random.default_rng([seed, epoch]).permutation(self.n_images)
        labels = np.sort(np.arange(self.n_images) % 3)
        for batch in range(first_batch, self.n_images // self.batch_size):
            images = order[batch * self.batch_size : (batch + 1) * self.batch_size]
            images = np.split(images, self.n_parts)[self.part]
            pixels, *sizes = stack([self.pictures[image] for image in images])
            drawn = draw_views(*sizes, images, n_views, epoch, seed, pack_policy(augmentation))
            views = np.empty((len(images), n_views, SIDE, SIDE, 3), np.float32)
            make_random_views(pixels, *sizes, drawn, MEAN, STD, views)
            views = torch.from_numpy(views).movedim(-1, -3)
            yield Batch(views, torch.from_numpy(labels[images]), torch.from_numpy(images))
