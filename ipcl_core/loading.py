"""
Batches of views from a .beton file: FFCV reads and decodes each image once, compiled code cuts all its views.
"""

import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from ffcv.fields.rgb_image import IMAGE_MODES, SimpleRGBImageDecoder
from ffcv.libffcv import imdecode, memcpy
from ffcv.loader import Loader, OrderOption
from ffcv.loader.epoch_iterator import EpochIterator
from ffcv.pipeline.allocation_query import AllocationQuery
from ffcv.pipeline.compiler import Compiler
from ffcv.reader import Reader

from .config import Augmentation, Preprocessing
from .views import make_center_views, make_random_views, pack_policy


class RaggedRGBImageDecoder(SimpleRGBImageDecoder):
    """FFCV operation: decode images of any size, each once, into the start of its row of one uint8 buffer.

    Row b of the (B, largest image's bytes) output holds image b in its first height * width * 3 bytes.
    """

    def declare_state_and_memory(self, previous_state):
        largest = 3 * int((self.metadata["width"].astype(np.int64) * self.metadata["height"]).max())
        shape, dtype = (largest,), np.dtype("<u1")
        return replace(previous_state, jit_mode=True, shape=shape, dtype=dtype), AllocationQuery(shape, dtype)

    def generate_code(self) -> Callable:
        mem_read = self.memory_read
        decode_jpeg, copy = Compiler.compile(imdecode), Compiler.compile(memcpy)
        my_range, jpg = Compiler.get_iterator(), IMAGE_MODES["jpg"]

        def decode(batch_indices, destination, metadata, storage_state):
            for b in my_range(len(batch_indices)):
                field = metadata[batch_indices[b]]
                data = mem_read(field["data_ptr"], storage_state)
                height, width = np.uint32(field["height"]), np.uint32(field["width"])
                if field["mode"] == jpg:
                    decode_jpeg(data, destination[b], height, width, height, width, 0, 0, 1, 1, False, False)
                else:
                    copy(data, destination[b])
            return destination[: len(batch_indices)]

        decode.is_parallel = True
        return decode


@dataclass
class Batch:
    """Some images of a data set."""

    views: torch.Tensor
    """(B, n, 3, S, S) float32, normalised; channels last in memory."""
    labels: torch.Tensor
    """(B,) int64."""
    images: torch.Tensor
    """(B,) int64, positions in the data set."""


class ViewLoader:
    """Reads batches of views from a .beton file.

    Args:
        beton: FFCV file with fields `image` and `label`.
        batch_size: images a batch.
        preprocessing: side of the views, mean and standard deviation of the channels.
        n_threads: of decoding and cutting; -1 for all cores.

    Attributes:
        n_images: images in the file.
    """

    def __init__(self, beton: str | Path, *, batch_size: int, preprocessing: Preprocessing, n_threads: int = -1):
        metadata = Reader(str(beton)).metadata["f0"]
        self.heights = metadata["height"].astype(np.int64)
        self.widths = metadata["width"].astype(np.int64)
        self.n_images = len(self.heights)
        self.batch_size = batch_size
        self.side = preprocessing.image_size
        self.mean = np.array(preprocessing.mean, np.float32)
        self.std = np.array(preprocessing.std, np.float32)
        self._loader = Loader(
            str(beton),
            batch_size=batch_size,
            num_workers=n_threads,
            order=OrderOption.SEQUENTIAL,
            drop_last=False,
            pipelines={"image": [RaggedRGBImageDecoder()]},
        )

    def iterate_random(
        self, *, n_views: int, augmentation: Augmentation, seed: int, epoch: int, first_batch: int = 0
    ) -> Iterator[Batch]:
        """Yield one epoch of augmented views, in an order that depends on (seed, epoch) alone.

        The incomplete batch at the end of the order is left out; as the order differs, so do the images in it.

        Args:
            n_views: views an image.
            augmentation: the policy.
            seed: of the order and the views.
            epoch: from 0.
            first_batch: batches at the start of the epoch that are passed over.
        """
        n_batches = self.n_images // self.batch_size
        order = np.random.default_rng([seed, epoch]).permutation(self.n_images)
        order = order[first_batch * self.batch_size : n_batches * self.batch_size]
        policy = pack_policy(augmentation)

        def cut(pixels: np.ndarray, images: np.ndarray) -> np.ndarray:
            views = np.empty((len(images), n_views, self.side, self.side, 3), np.float32)
            sizes = self.heights[images], self.widths[images]
            make_random_views(pixels, *sizes, images, epoch, seed, policy, self.mean, self.std, views)
            return views

        return self._iterate(order, cut)

    def iterate_center(self, *, fraction: float) -> Iterator[Batch]:
        """Yield every image once, in the file's order, as one central view.

        Args:
            fraction: side of the square as a share of the shortest side, in (0, 1].
        """

        def cut(pixels: np.ndarray, images: np.ndarray) -> np.ndarray:
            views = np.empty((len(images), self.side, self.side, 3), np.float32)
            sizes = self.heights[images], self.widths[images]
            make_center_views(pixels, *sizes, fraction, self.mean, self.std, views)
            return views[:, None]

        return self._iterate(np.arange(self.n_images), cut)

    def _iterate(self, order: np.ndarray, cut: Callable) -> Iterator[Batch]:
        if len(order) == 0:
            return
        self._loader.traversal_order.indices = order.astype(np.uint64)
        self._loader.first_traversal_order = order

        def read():
            start, batches = 0, iter(self._loader)
            try:
                for pixels, labels in _take(batches):
                    images = order[start : start + len(labels)]
                    start += len(labels)
                    views = torch.from_numpy(cut(pixels, images)).movedim(-1, -3)  # (B, n, S, S, 3) -> (B, n, 3, S, S)
                    yield Batch(views, labels.reshape(-1).clone(), torch.from_numpy(images))
            finally:
                _stop(batches)

        yield from _prefetch(read)


def _take(batches: EpochIterator) -> Iterator:
    """Yield FFCV's batches; its own iterator would wait for ever once its thread had ended with an error."""
    while True:
        try:
            item = batches.output_queue.get(timeout=0.5)
        except queue.Empty:
            if not batches.is_alive() and batches.output_queue.empty():
                raise RuntimeError("FFCV's reading thread ended with an error, which it has printed") from None
            continue
        if item is None:
            return
        yield item[1]


def _stop(batches: EpochIterator) -> None:
    """End FFCV's reading thread: it would wait for ever once nobody takes its batches."""
    batches.iter_ixes = iter(())  # no batch after the present one
    while batches.is_alive():
        with suppress(queue.Empty):
            batches.output_queue.get(timeout=0.01)
    batches.close()


def _prefetch(read: Callable[[], Iterator], depth: int = 2) -> Iterator:
    """Run an iterator in a thread, `depth` items ahead; what it raises is raised here."""
    items: queue.Queue = queue.Queue(depth)
    stop, end = threading.Event(), object()

    def put(item) -> bool:
        while not stop.is_set():
            try:
                items.put(item, timeout=0.1)
                return True
            except queue.Full:
                pass
        return False

    def work():
        try:
            for item in read():
                if not put(item):
                    return
            put(end)
        except BaseException as error:
            put(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        while (item := items.get()) is not end:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        stop.set()
        thread.join()
