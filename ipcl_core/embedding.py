"""
Embeddings of a labelled data set.

The HDF5 file holds, for each split, `<split>/embedding` (n, d), `<split>/output` (n, c), `<split>/label` (n,), and the
attribute `layer`, where the embedding was taken.
"""

from contextlib import ExitStack
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from .activations import record_layers
from .architectures import load_network
from .files import write_hdf5
from .loading import ViewLoader

BATCH = 64


def embed_dataset(
    weights: str | Path,
    betons: dict[str, str | Path],
    embeddings: str | Path,
    *,
    layer: str | None,
    center_crop: float,
    n_threads: int,
) -> None:
    """Write the embedding of every image's central view (layout: see the module).

    Args:
        weights: safetensors file of `architectures.save_network`.
        betons: split -> .beton file.
        embeddings: HDF5 file to write.
        layer: module whose output is the embedding; None for the network's output.
        center_crop: side of the central square as a share of the shortest side.
        n_threads: processor threads.

    Raises:
        ValueError: the network has no such layer; see `choose_layers`.
    """
    torch.set_num_threads(n_threads)
    network, spec = load_network(weights)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network.to(device, memory_format=torch.channels_last)
    loaders = {
        split: ViewLoader(beton, batch_size=BATCH, preprocessing=spec.preprocessing, n_threads=n_threads)
        for split, beton in betons.items()
    }
    with ExitStack() as stack:
        recorded = {} if layer is None else stack.enter_context(record_layers(network, [layer]))
        stack.enter_context(torch.inference_mode())
        file = stack.enter_context(write_hdf5(embeddings))
        for split, loader in loaders.items():
            found: dict[str, list[np.ndarray]] = {"embedding": [], "output": [], "label": []}
            batches = loader.iterate_center(fraction=center_crop)
            n_batches = -(-loader.n_images // BATCH)
            for batch in tqdm(batches, total=n_batches, desc=f"embedding {split}", unit="batch", mininterval=10):
                recorded.clear()
                output = network(batch.views[:, 0].to(device)).float()  # (B, 1, 3, S, S) -> (B, c)
                embedding = output if layer is None else recorded[layer].flatten(1).float()  # (B, d)
                for key, value in (("embedding", embedding), ("output", output), ("label", batch.labels)):
                    found[key].append(value.cpu().numpy())
            for key, chunks in found.items():
                file[f"{split}/{key}"] = np.concatenate(chunks)
        file.attrs["layer"] = layer or "output"
