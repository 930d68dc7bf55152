"""
Features of a labelled data set: the embedding, and other layers whose accuracy is asked for.

The HDF5 file holds, for each split, `<split>/label` (n,) and, for each layer, `<split>/layers/<layer>` (n, d) float32. The
attribute `layers` names the layers at which accuracy is measured, that of Table 1 first. The network's output is there in
any case, as the layer "output".
"""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from pathlib import Path

import h5py
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from .. import distributed
from ..files import write_hdf5
from ..memory import keep_freed_memory
from ..networks.layers import record_layers
from ..networks.network_files import load_network
from ..networks.trials import ALIKE, BATCH, place_network, refuse_difference

GPU_BATCHES = 32
"""How many times BATCH images are taken at once on a GPU."""


def pool_maps(activations: Tensor, max_dim: int | None) -> Tensor:
    """Flatten activations (B, ...) to (B, d) float32; larger maps are first averaged to a grid with d <= max_dim.

    Maps (B, c, h, w) with c * h * w > max_dim become the largest grid (B, c, s, s) that has at most max_dim numbers, or
    (B, c, 1, 1) where c alone exceeds it (adaptive average pooling). None: nothing is averaged.
    """
    if activations.ndim == 4 and max_dim is not None and activations[0].numel() > max_dim:
        side = max(1, int((max_dim / activations.shape[1]) ** 0.5))
        activations = F.adaptive_avg_pool2d(activations, side)
    return activations.flatten(1).float()  # (B, c, s, s) -> (B, d)


@contextmanager
def record_features(
    network: nn.Module, layers: list[str], max_dim: int | None, *, side: int
) -> Iterator[Callable[[Tensor], dict[str, Tensor]]]:
    """Give a function of views (B, 3, S, S) that returns layer -> features (B, d), the first of `layers` first.

    Args:
        network: on the device of the views, in evaluation mode.
        layers: names or patterns (`choose_layers`); "output" is what the network returns.
        max_dim: see `pool_maps`.
        side: S.

    Raises:
        ValueError: see `record_layers`.
    """
    with record_layers(network, layers, shape=(3, side, side)) as record:

        def compute(views: Tensor) -> dict[str, Tensor]:
            found = record(views)
            first_first = sorted(found, key=lambda layer: layer != layers[0])
            return {layer: pool_maps(found[layer], max_dim) for layer in first_first}

        yield compute


@contextmanager
def write_behind() -> Iterator[Callable]:
    """Give a function that calls another with its arguments, in a thread and in order, at most eight calls behind.

    What such a call raises is raised by a later one, or at the end of the block, which waits for all.
    """
    calls: deque[Future] = deque()

    def call(function: Callable, *arguments) -> None:
        calls.append(thread.submit(function, *arguments))
        while len(calls) > 8:
            calls.popleft().result()

    with ThreadPoolExecutor(1) as thread:
        yield call
        while calls:
            calls.popleft().result()


def _write_rows(file: h5py.File, path: str, features: Tensor, rows: slice, n_images: int) -> None:
    """Write features (n, d), which may still be on a GPU, to some rows of a dataset of n_images rows."""
    if path not in file:
        file.create_dataset(path, (n_images, features.shape[1]), np.float32)
    file[path][rows] = features.cpu().numpy()


def embed_dataset(
    weights: str | Path,
    betons: dict[str, str | Path],
    embeddings: str | Path,
    *,
    layers: list[str],
    center_crop: float,
    max_dim: int | None,
    n_threads: int,
    scratch: str | Path | None = None,
    model: dict | None = None,
) -> None:
    """Write the features of every image's central view (layout: see the module); memory holds one batch.

    Of several processes (`distributed`) each takes a batch in turn, and the first writes.

    Args:
        weights: safetensors file of `network_files.save_network`.
        betons: split -> .beton file.
        embeddings: HDF5 file to write.
        layers: see `record_features`.
        center_crop: side of the central square as a share of the shortest side.
        max_dim: see `pool_maps`.
        n_threads: processor threads of each process.
        scratch: folder on each node's disk to which the images are copied (`copy_to_scratch`).
        model: its block of the configuration, see `network_files.load_network`.

    Raises:
        ValueError: the network has no such layer, see `choose_layers`; or the first image's features depend on the others in
            its batch.
    """
    from ..images.scratch import copy_to_scratch  # here, because both need FFCV
    from ..views.loader import ViewLoader

    torch.set_num_threads(n_threads)
    keep_freed_memory()
    part, n_parts = distributed.get_rank(), distributed.count_processes()
    network, spec = load_network(weights, model)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    kept, side = list(dict.fromkeys([*layers, "output"])), spec.preprocessing.image_size
    memory_format = place_network(network, device, side)
    with (
        record_features(network, kept, max_dim, side=side) as compute,
        torch.no_grad(),
        write_hdf5(embeddings) if part == 0 else nullcontext() as file,
        write_behind() as write,
    ):
        for split, beton in betons.items():
            loader = ViewLoader(
                copy_to_scratch(beton, scratch),
                batch_size=BATCH * n_parts * (GPU_BATCHES if device.type == "cuda" else 1),
                part=part,
                n_parts=n_parts,
                preprocessing=spec.preprocessing,
                n_threads=n_threads,
            )
            if part == 0:
                file[f"{split}/label"] = loader.labels
            batches = loader.iterate_center(fraction=center_crop)
            progress = {"desc": f"embedding {split}", "unit": "batch", "mininterval": 10, "disable": part > 0}
            for batch in tqdm(batches, total=-(-loader.n_images // loader.batch_size), **progress):
                views = batch.views[:, 0]  # (B, 1, 3, S, S) -> (B, 3, S, S)
                views = views.pin_memory() if device.type == "cuda" else views
                views = views.to(device, memory_format=memory_format, non_blocking=True)
                one = views[:1].clone()  # a network may write into its input
                found = compute(views)
                images = distributed.gather(batch.images)
                n_new = min(len(images), loader.n_images - int(images[0]))  # behind the last come the first again
                rows = slice(int(images[0]), int(images[0]) + n_new)
                if rows.start == 0:
                    first = {layer: features[:1] for layer, features in found.items()}
                    refuse_difference(network, spec, first, compute(one), ALIKE)
                for layer, features in found.items():
                    features = distributed.gather(features)[:n_new]
                    if part == 0:
                        write(_write_rows, file, f"{split}/layers/{layer}", features, rows, loader.n_images)
        if part == 0:
            file.attrs["layers"] = [layer for layer in found if layer != "output" or "output" in layers]
