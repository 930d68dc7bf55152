"""
Batches of views from a .beton file: FFCV reads and decodes each image once, compiled code cuts all its views.
"""

import queue
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from dataclasses import replace
from pathlib import Path

import numba
import numpy as np
import torch
from numba import njit, prange
from numpy.lib.stride_tricks import as_strided

from ..config import Augmentation, Preprocessing
from ..images.beton import check_beton
from ..images.ffcv_names import (
    COMPILED,
    IMAGE_MODES,
    AllocationQuery,
    Compiler,
    EpochIterator,
    Loader,
    OrderOption,
    Reader,
    SimpleRGBImageDecoder,
    copy_bytes,
    decode_jpeg,
    find_bytes,
)
from .batch import Batch
from .draws import draw_views, pack_policy
from .on_cpu import make_center_views, make_random_views, resize_images
from .resizing import RADII

JPG = IMAGE_MODES["jpg"]
RELEASED_SHORTEST_SIDE = 256
"""Pixels; the released code resizes images to it before it crops them."""
RELEASED_LARGEST_RATIO = 100
"""Of the longest side to the shortest, of an image that is resized so: others might fill the memory."""
STALL_SECONDS = 1800
"""A batch that takes longer is an error: the file system hangs, or a thread does. The first one waits for numba too."""


class RaggedRGBImageDecoder(SimpleRGBImageDecoder):
    """FFCV operation: decode images of any size, each once, one behind the other into one uint8 buffer.

    The output is a pair. Of the first, (B, bytes), only the address counts: the images stand at its beginning, without gaps
    between rows, and the last, smaller batch of an epoch may reach behind its own rows (`unpack`). The second, (B,) int32, is
    0 where an image could be decoded: of a damaged JPEG the buffer keeps, in part, what it held before.

    Args:
        batch_size: the loader's; the buffer has room for its largest images.
    """

    def __init__(self, batch_size: int):
        super().__init__()
        self.batch_size = batch_size

    def declare_state_and_memory(self, previous_state):
        sizes = 3 * self.metadata["width"].astype(np.int64) * self.metadata["height"]
        sizes = np.tile(sizes, -(-self.batch_size // len(sizes)))  # where the images are fewer, some come again
        largest = np.sort(sizes)[-self.batch_size :].sum()  # no batch is larger
        shape, dtype = (-(-int(largest) // self.batch_size),), np.dtype("<u1")
        state = replace(previous_state, jit_mode=True, shape=shape, dtype=dtype)
        return state, (AllocationQuery(shape, dtype), AllocationQuery((), np.dtype("<i4")))

    def generate_code(self) -> Callable:
        return _decode if Compiler.num_threads == 1 else _decode_in_parallel


@njit(**COMPILED)
def _decode(batch_indices, memory, metadata, storage_state):
    ends = _list_ends(batch_indices, metadata)
    for b in range(len(batch_indices)):
        _decode_image(b, ends[b], batch_indices, memory, metadata, storage_state)
    return memory


@njit(**COMPILED, parallel=True)
def _decode_in_parallel(batch_indices, memory, metadata, storage_state):
    ends = _list_ends(batch_indices, metadata)
    for b in prange(len(batch_indices)):
        _decode_image(b, ends[b], batch_indices, memory, metadata, storage_state)
    return memory


@njit(**COMPILED)
def _list_ends(batch_indices, metadata):
    """Where in the buffer each image ends."""
    ends, end = np.empty(len(batch_indices), np.int64), 0
    for b in range(len(batch_indices)):
        field = metadata[batch_indices[b]]
        end += np.int64(field["height"]) * np.int64(field["width"]) * 3
        ends[b] = end
    return ends


@njit(**COMPILED)
def _decode_image(b, end, batch_indices, memory, metadata, storage_state):
    destination, codes = memory
    field = metadata[batch_indices[b]]
    data = find_bytes(field["data_ptr"], storage_state)
    height, width = np.uint32(field["height"]), np.uint32(field["width"])
    size = np.int64(height) * np.int64(width) * 3
    to = destination.ctypes.data + end - size
    codes[b] = 0
    if field["mode"] == JPG:
        codes[b] = decode_jpeg(data.ctypes.data, data.size, height, width, to, height, width, 0, 0, 1, 1, False, False)
    else:
        copy_bytes(data.ctypes.data, to, size)


def unpack(rows: np.ndarray, size: int) -> np.ndarray:
    """Return the first `size` bytes of a buffer of `RaggedRGBImageDecoder`, as (size,) uint8."""
    return as_strided(rows, (size,), (1,))


class ViewLoader:
    """Reads batches of views from a .beton file.

    Args:
        beton: FFCV file with fields `image` and `label`.
        batch_size: images a batch.
        part, n_parts: of each batch read only this part, from 0, of so many equal ones in the batch's order.
        preprocessing: side of the views, mean and standard deviation of the channels, filter of the central views.
        n_threads: of decoding and cutting, at most as many as numba has (one a core); -1 for all.
        device: that makes the random views; None for compiled code on the processor. Central views are always made on
            the processor.

    Attributes:
        n_images: images in the file.

    Raises:
        ValueError: a batch cannot be divided into so many parts.
    """

    def __init__(
        self,
        beton: str | Path,
        *,
        batch_size: int,
        preprocessing: Preprocessing,
        part: int = 0,
        n_parts: int = 1,
        n_threads: int = -1,
        device: torch.device | None = None,
    ):
        if batch_size % n_parts:
            raise ValueError(f"batch_size {batch_size} cannot be divided evenly among {n_parts} processes (GPUs)")
        check_beton(beton)
        self.beton = beton
        metadata = Reader(str(beton)).metadata
        self.heights = metadata["f0"]["height"].astype(np.int64)
        self.widths = metadata["f0"]["width"].astype(np.int64)
        self.labels = metadata["f1"].astype(np.int64)
        self.n_images = len(self.heights)
        self.batch_size, self.part, self.n_parts = batch_size, part, n_parts
        self.side = preprocessing.image_size
        self.radius = RADII[preprocessing.interpolation]
        self.mean = np.array(preprocessing.mean, np.float32)
        self.std = np.array(preprocessing.std, np.float32)
        self._spare: deque[np.ndarray] = deque(maxlen=4)
        self.device = device
        self.stream = torch.cuda.Stream(device) if device is not None and device.type == "cuda" else None
        if device is not None:
            from . import on_cuda  # needs Triton, which torch brings along with CUDA only

            self._make_views = on_cuda.make_views
        self._loader = Loader(
            str(beton),
            batch_size=batch_size // n_parts,
            num_workers=min(n_threads, numba.config.NUMBA_NUM_THREADS),
            order=OrderOption.SEQUENTIAL,
            drop_last=False,
            batches_ahead=1,
            pipelines={"image": [RaggedRGBImageDecoder(batch_size // n_parts)], "label": None},
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

        Raises:
            ValueError: in the released code's order an image is so narrow that it cannot be resized first.
        """
        if augmentation.order == "released_code":
            self._check_shapes()
        n_batches = self.n_images // self.batch_size
        order = np.random.default_rng([seed, epoch]).permutation(self.n_images)
        order = order[first_batch * self.batch_size : n_batches * self.batch_size]
        policy = pack_policy(augmentation)

        def cut(images: np.ndarray, pixels: np.ndarray, heights: np.ndarray, widths: np.ndarray) -> torch.Tensor:
            if augmentation.order == "released_code" and (np.minimum(heights, widths) != RELEASED_SHORTEST_SIDE).any():
                pixels, heights, widths = resize_images(pixels, heights, widths, RELEASED_SHORTEST_SIDE)
            drawn = draw_views(heights, widths, images, n_views, epoch, seed, policy)
            if self.device is not None:
                return self._make_on_device(pixels, heights, widths, drawn)
            views = self._borrow(len(images), n_views, self.side, self.side, 3)
            make_random_views(pixels, heights, widths, drawn, self.mean, self.std, views)
            return torch.from_numpy(views).movedim(-1, -3)  # (B, n, S, S, 3) -> (B, n, 3, S, S)

        return self._iterate(order, cut)

    def _check_shapes(self) -> None:
        """Refuse images that would be very large with the released code's shortest side."""
        narrow = np.maximum(self.heights, self.widths) > RELEASED_LARGEST_RATIO * np.minimum(self.heights, self.widths)
        if narrow.any():
            image = np.flatnonzero(narrow)[0]
            raise ValueError(
                f"{self.beton}: image {image} (from 0; the manifest's row) has {self.widths[image]} x {self.heights[image]} "
                f"pixels; augmentation.order: released_code resizes its shortest side to {RELEASED_SHORTEST_SIDE} pixels. "
                "Take it out of the data set, or choose order: wu"
            )

    def iterate_center(self, *, fraction: float) -> Iterator[Batch]:
        """Yield every image once, in the file's order, as one central view.

        Where batches have parts, the first images come again at the end, until the last batch is full.

        Args:
            fraction: side of the square as a share of the shortest side, in (0, 1].
        """

        def cut(images: np.ndarray, pixels: np.ndarray, heights: np.ndarray, widths: np.ndarray) -> torch.Tensor:
            views = np.empty((len(images), self.side, self.side, 3), np.float32)
            make_center_views(pixels, heights, widths, fraction, self.mean, self.std, views, self.radius)
            return torch.from_numpy(views[:, None]).movedim(-1, -3)  # (B, 1, S, S, 3) -> (B, 1, 3, S, S)

        n_filled = -(-self.n_images // self.batch_size) * self.batch_size if self.n_parts > 1 else self.n_images
        return self._iterate(np.arange(n_filled) % self.n_images, cut)

    def _iterate(self, order: np.ndarray, cut: Callable) -> Iterator[Batch]:
        if len(order) == 0:
            return
        if self.n_parts > 1:
            order = order.reshape(-1, self.n_parts, self.batch_size // self.n_parts)[:, self.part].ravel()
        self._loader.traversal_order.indices = order.astype(np.uint64)
        self._loader.first_traversal_order = order

        def read():
            start, batches = 0, iter(self._loader)
            try:
                for ((rows, codes),) in _take(batches):
                    images = order[start : start + len(rows)]
                    start += len(rows)
                    if codes.any():
                        raise ValueError(
                            f"{self.beton}: image {images[codes.astype(bool)][0]} (from 0) cannot be decoded; its bytes are "
                            "damaged: convert the images again"
                        )
                    heights, widths = self.heights[images], self.widths[images]
                    pixels = unpack(rows, int(3 * heights @ widths))
                    views, labels = cut(images, pixels, heights, widths), torch.from_numpy(self.labels[images])
                    yield Batch(views, labels, torch.from_numpy(images))
            finally:
                _stop(batches)

        for batch in _prefetch(read, self.beton):
            if batch.views.is_cuda:  # made on another stream: its memory must not be given away too early
                batch.views.record_stream(torch.cuda.current_stream(self.device))
            yield batch

    def _borrow(self, *shape: int) -> np.ndarray:
        """Return float32 memory that nobody uses; it comes back by itself when the returned array is no longer held.

        New memory would cost a third as much time as the views that it is for.
        """
        memory = self._spare.pop() if self._spare else None
        if memory is None or memory.shape != shape:
            memory = np.empty(shape, np.float32)
        borrowed = memory[...]
        weakref.finalize(borrowed, self._spare.append, memory).atexit = False
        return borrowed

    def _make_on_device(
        self, pixels: np.ndarray, heights: np.ndarray, widths: np.ndarray, drawn: np.ndarray
    ) -> torch.Tensor:
        """Make random views on the device, beside what else it does; return when they are there.

        On a machine with CUDA the buffer of FFCV is page-locked, so that the copy does not stop the processor.
        """
        with nullcontext() if self.stream is None else torch.cuda.stream(self.stream):
            mean, std = (torch.from_numpy(values).to(self.device) for values in (self.mean, self.std))
            source = torch.from_numpy(pixels).to(self.device, non_blocking=True)
            views = self._make_views(source, heights, widths, drawn, self.side, mean, std)
        if self.stream is not None:
            self.stream.synchronize()
        return views


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


def _prefetch(read: Callable[[], Iterator], name: str | Path) -> Iterator:
    """Run an iterator in a thread, two items ahead; what it raises is raised here.

    Raises:
        TimeoutError: it gave nothing for `STALL_SECONDS`; the thread is left behind then. The message holds the name.
    """
    items: queue.Queue = queue.Queue(2)
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
    stalled = False
    try:
        while (item := items.get(timeout=STALL_SECONDS)) is not end:
            if isinstance(item, BaseException):
                raise item
            yield item
    except queue.Empty:
        stalled = True
        raise TimeoutError(f"{name}: no batch came for {STALL_SECONDS} s; does the disk or the network hang?") from None
    finally:
        stop.set()
        if not stalled:
            thread.join()
