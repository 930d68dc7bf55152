"""
Category accuracy from embeddings, by each protocol that a model names.
"""

import logging
from pathlib import Path
from typing import get_args

import pandas as pd
import torch
from pydantic import validate_call
from torch import Tensor

from .. import distributed
from ..config import LBFGSProbe, Protocol
from ..files import open_hdf5, read_json, write_csv
from .knn import vote_weighted_knn
from .probes import fit_probe

logger = logging.getLogger(__name__)

ORDER = list(get_args(Protocol))


def measure_accuracy(scores: Tensor, labels: Tensor) -> tuple[float, float]:
    """Return top-1 and top-5 accuracy in %; top-5 is top-n_classes where there are fewer than five classes.

    Classes with equal scores share the places that they take: of two equally likely ones each is half a hit. So the numbers
    depend neither on the order of the classes nor on the device.

    Args:
        scores: (n, n_classes), higher is more likely.
        labels: (n,) int64.

    Raises:
        ValueError: a score is NaN, which is neither higher nor lower than others.
    """
    if scores.isnan().any():
        raise ValueError(f"the scores of {scores.isnan().any(1).sum()} of {len(scores)} images are no numbers")
    own = scores.gather(1, labels[:, None])  # (n, 1)
    higher, equal = (scores > own).sum(1), (scores == own).sum(1)  # (n,) classes, the true one among the equal
    top1, top5 = (100 * ((places - higher) / equal).clamp(0, 1).mean().item() for places in (1, 5))
    return top1, top5


@validate_call  # among several processes the arguments come as JSON
def measure_accuracies(
    embeddings: str | Path,
    summary: str | Path,
    accuracy: str | Path,
    *,
    dataset: str,
    model: str,
    probes: str | Path | None,
    k: int,
    tau: float,
    l_bfgs: LBFGSProbe | None,
    protocols: list[str],
    n_threads: int,
) -> None:
    """Write a model's category accuracies, one row a protocol and layer; the layer of Table 1 comes first.

    Several processes (`distributed`) share the kNN's queries; the first one writes.

    Bank and training features are the training split's, queries and test images the validation split's.

    Args:
        embeddings: HDF5 file of `embedding.embed_dataset` with the splits train and val.
        summary: JSON of the training split, for the number of classes.
        accuracy: CSV to write: dataset, model, protocol, layer, top1, top5 (both in %), k, tau, n_bank, n_query,
            headline (true in the row that Table 1 prints).
        dataset, model: their names.
        probes: HDF5 file of `probes.train_one_cycle_probes`, for that protocol.
        k, tau: of the weighted kNN, which is measured in any case.
        l_bfgs: how to fit the L-BFGS probe, where it is one of the protocols.
        protocols: names as in the configuration; the first is the headline.
        n_threads: processor threads of each process.

    Raises:
        ValueError: see `vote_weighted_knn` and `fit_probe`; softmax is asked for and the network has not one output a
            class.

    Source: appendix B.3 for the kNN; section 4.1 for supervised models.
    """
    torch.set_num_threads(n_threads)
    n_classes = len(read_json(summary)["classes"])
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    rows = []
    with open_hdf5(embeddings) as file:
        bank_labels, labels = (torch.from_numpy(file[f"{split}/label"][:]) for split in ("train", "val"))

        def add_row(protocol: str, layer: str, scores: Tensor, k=None, tau=None, n_bank=None) -> None:
            top1, top5 = measure_accuracy(scores.cpu(), labels)
            rows.append((dataset, model, protocol, layer, top1, top5, k, tau, n_bank, len(labels)))
            logger.info("%s at %s: top-1 %.2f %%", protocol, layer, top1)

        for layer in file.attrs["layers"]:
            bank, queries = file[f"train/layers/{layer}"], torch.from_numpy(file[f"val/layers/{layer}"][:]).to(device)
            votes = vote_weighted_knn(bank, bank_labels, queries, n_classes=n_classes, k=k, tau=tau)
            add_row("weighted kNN", layer, votes, k, tau, len(bank))
            if "linear probe (L-BFGS)" in protocols:
                features, targets = torch.from_numpy(bank[:]).to(device), bank_labels.to(device)
                logits = fit_probe(features, targets, queries, n_classes=n_classes, settings=l_bfgs)
                add_row("linear probe (L-BFGS)", layer, logits)
        if "softmax" in protocols:
            output = torch.from_numpy(file["val/layers/output"][:])
            if output.shape[1] != n_classes:
                raise ValueError(
                    f"{embeddings}: softmax needs one output a class: {output.shape[1]} for {n_classes} classes"
                )
            add_row("softmax", "output", output)
    if "linear probe (one-cycle)" in protocols:
        with open_hdf5(probes) as file:
            for layer in file.attrs["layers"]:
                add_row("linear probe (one-cycle)", layer, torch.from_numpy(file[f"layers/{layer}"][:]))
    columns = ["dataset", "model", "protocol", "layer", "top1", "top5", "k", "tau", "n_bank", "n_query"]
    table = pd.DataFrame(rows, columns=columns).astype({"k": "Int64", "tau": float, "n_bank": "Int64"})
    table = table.sort_values("protocol", key=lambda names: names.map(ORDER.index), kind="stable")
    is_headline = (table["protocol"] == protocols[0]) & ~table["protocol"].duplicated()
    if distributed.get_rank() == 0:
        write_csv(table.assign(headline=is_headline), accuracy)
