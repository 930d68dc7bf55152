"""
Embeddings of a labelled data set, and the accuracies measured on them.

The HDF5 file holds, for each split, `<split>/embedding` (n, d), `<split>/output` (n, c), `<split>/label` (n,), and the
attribute `layer`, where the embedding was taken.
"""

from contextlib import ExitStack
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from .activations import record_layers
from .architectures import load_network
from .datasets import read_summary
from .files import write_csv, write_hdf5
from .knn import measure_accuracy, vote_weighted_knn
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


def measure_accuracies(
    embeddings: str | Path, summary: str | Path, accuracy: str | Path, *, k: int, tau: float, softmax: bool
) -> None:
    """Write a model's category accuracies, one row a protocol.

    Args:
        embeddings: HDF5 file of `embed_dataset` with the splits train and val.
        summary: JSON of the training split, for the number of classes.
        accuracy: CSV to write: protocol, layer, top1, top5 (both in %), k, tau, n_bank, n_query.
        k, tau: of the weighted kNN, whose bank is the training split and whose queries are the validation split.
        softmax: whether the network's output are logits of these classes; adds that protocol's row.

    Raises:
        ValueError: see `vote_weighted_knn`.

    Source: appendix B.3; section 4.1 for supervised models.
    """
    n_classes = len(read_summary(summary)["classes"])
    with h5py.File(embeddings) as file:
        bank, queries = (torch.from_numpy(file[f"{split}/embedding"][:]) for split in ("train", "val"))
        bank_labels, labels = (torch.from_numpy(file[f"{split}/label"][:]) for split in ("train", "val"))
        output, layer = torch.from_numpy(file["val/output"][:]), file.attrs["layer"]
    votes = vote_weighted_knn(bank, bank_labels, queries, n_classes=n_classes, k=k, tau=tau)
    top1, top5 = measure_accuracy(votes, labels)
    rows = [("weighted kNN", layer, top1, top5, k, tau, len(bank), len(labels))]
    if softmax:
        top1, top5 = measure_accuracy(output, labels)
        rows.append(("softmax", "output", top1, top5, None, None, None, len(labels)))
    columns = ["protocol", "layer", "top1", "top5", "k", "tau", "n_bank", "n_query"]
    write_csv(pd.DataFrame(rows, columns=columns).astype({"k": "Int64", "n_bank": "Int64"}), accuracy)
