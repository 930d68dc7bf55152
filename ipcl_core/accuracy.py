"""
Category accuracy from embeddings, by each protocol that a model names.
"""

import logging
from pathlib import Path

import h5py
import pandas as pd
import torch
from torch import Tensor

from .files import read_json, write_csv
from .knn import vote_weighted_knn

logger = logging.getLogger(__name__)


def measure_accuracy(scores: Tensor, labels: Tensor) -> tuple[float, float]:
    """Return top-1 and top-5 accuracy in %; top-5 is top-n_classes where there are fewer than five classes.

    Args:
        scores: (n, n_classes), higher is more likely.
        labels: (n,) int64.
    """
    best = scores.topk(min(5, scores.shape[1]), dim=1).indices  # (n, 5)
    hits = best == labels[:, None]
    return 100 * hits[:, 0].float().mean().item(), 100 * hits.any(1).float().mean().item()


def measure_accuracies(
    embeddings: str | Path, summary: str | Path, accuracy: str | Path, *, k: int, tau: float, protocols: list[str]
) -> None:
    """Write a model's category accuracies, one row a protocol and layer; the layer of Table 1 comes first.

    Args:
        embeddings: HDF5 file of `embedding.embed_dataset` with the splits train and val.
        summary: JSON of the training split, for the number of classes.
        accuracy: CSV to write: protocol, layer, top1, top5 (both in %), k, tau, n_bank, n_query, headline (true in the
            row that Table 1 prints).
        k, tau: of the weighted kNN, whose bank is the training split and whose queries are the validation split.
        protocols: "weighted kNN", "softmax" or both; the first is the headline. The kNN is measured in any case.

    Raises:
        ValueError: see `vote_weighted_knn`; softmax is asked for and the network has not one output a class.

    Source: appendix B.3; section 4.1 for supervised models.
    """
    n_classes = len(read_json(summary)["classes"])
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    rows = []
    with h5py.File(embeddings) as file:
        bank_labels, labels = (torch.from_numpy(file[f"{split}/label"][:]) for split in ("train", "val"))
        for layer in file.attrs["layers"]:
            logger.info("weighted kNN at layer %s", layer)
            bank, queries = file[f"train/layers/{layer}"], torch.from_numpy(file[f"val/layers/{layer}"][:]).to(device)
            votes = vote_weighted_knn(bank, bank_labels, queries, n_classes=n_classes, k=k, tau=tau)
            scores = measure_accuracy(votes.cpu(), labels)
            rows.append(("weighted kNN", layer, *scores, k, tau, len(bank), len(labels)))
        if "softmax" in protocols:
            output = torch.from_numpy(file["val/layers/output"][:])
            if output.shape[1] != n_classes:
                raise ValueError(
                    f"{embeddings}: softmax needs one output a class: {output.shape[1]} for {n_classes} classes"
                )
            rows.append(("softmax", "output", *measure_accuracy(output, labels), None, None, None, len(labels)))
    columns = ["protocol", "layer", "top1", "top5", "k", "tau", "n_bank", "n_query"]
    table = pd.DataFrame(rows, columns=columns).astype({"k": "Int64", "n_bank": "Int64"})
    is_headline = (table["protocol"] == protocols[0]) & ~table["protocol"].duplicated()
    write_csv(table.assign(headline=is_headline), accuracy)
