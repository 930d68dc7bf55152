"""
Short trainings by config/cifar10.yaml's recipes, in part otherwise set: the trials of docs/miniature.md.

    snakemake --cores all --configfile config/cifar10.yaml -- results/cifar10/data/cifar10/{train,val}.beton
    python -m benchmarks.trials results/cifar10/data/cifar10 [--only NAME ...]

A trial goes through one cycle of the learning rate in the minibatches that it has. Loss: mean of its last 20 minibatches.
Rank: effective rank of one view of each image of the last one. kNN: by the study's k and tau, of every fifth image of each
split.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch
import yaml
from torch import Tensor

from ipcl_core.accuracy.knn import vote_weighted_knn
from ipcl_core.config import load_config
from ipcl_core.memory import keep_freed_memory
from ipcl_core.networks.architectures import NetworkSpec
from ipcl_core.training.collapse import measure_spread
from ipcl_core.training.state import Training
from ipcl_core.training.train import read_batches, take_step
from ipcl_core.views.loader import ViewLoader

CONFIGURATION = Path(__file__).parents[1] / "config/cifar10.yaml"
EVERY, BATCH = 5, 500
SGD = {"name": "sgd", "momentum": 0.9, "weight_decay": 1e-4}
TRIALS = {  # name -> recipe, minibatches, learning rate, optimizer, objective
    "the release's rate (SGD)": ("ipcl", 180, 0.03, SGD, {"queue_size": 4096}),
    "AdamW, queue 4096": ("ipcl", 180, 3e-4, {}, {"queue_size": 4096}),
    "AdamW, queue 4096, slow": ("ipcl", 180, 1e-4, {}, {"queue_size": 4096}),
    "NCE": ("ipcl", 180, 1e-4, {}, {"queue_size": 4096, "loss": "nce"}),
    "fast": ("ipcl", 180, 1e-3, {}, {}),
    "chosen for IPCL": ("ipcl", 180, 3e-4, {}, {}),
    "paper's negatives": ("wusnet", 195, 3e-4, {}, {"n_negatives": 4096}),
    "paper's negatives, fast": ("wusnet", 195, 1e-3, {}, {"n_negatives": 4096}),
    "chosen for Wusnets": ("wusnet", 195, 3e-4, {}, {}),
}


def embed(network: torch.nn.Module, loader: ViewLoader) -> tuple[Tensor, Tensor]:
    """Return the (n, d) embeddings and (n,) labels of every fifth image, from central views."""
    outputs, labels = [], []
    with torch.no_grad():
        for batch in loader.iterate_center(fraction=1.0):
            chosen = batch.images % EVERY == 0
            outputs.append(network(batch.views[chosen, 0]))
            labels.append(batch.labels[chosen])
    return torch.cat(outputs), torch.cat(labels)


def measure_knn(network: torch.nn.Module, splits: list[ViewLoader], *, k: int, tau: float) -> float:
    """Return the top-1 accuracy in % of the weighted kNN."""
    (bank, classes), (queries, labels) = (embed(network.eval(), loader) for loader in splits)
    votes = vote_weighted_knn(bank, classes, queries, n_classes=int(classes.max()) + 1, k=k, tau=tau)
    network.train()
    return 100 * (votes.argmax(1) == labels).float().mean().item()


def run_trial(name: str, folder: Path, n_threads: int) -> str:
    """Train as a trial says; return its row."""
    recipe, n_batches, rate, optimizer, objective = TRIALS[name]
    values = yaml.safe_load(CONFIGURATION.read_text(encoding="utf-8"))
    block = values["recipes"][recipe]
    block |= {"epochs": 1, "optimizer": (optimizer or block["optimizer"]) | {"lr": rate}}
    block["objective"] |= objective
    study = load_config(values)
    model, settings = study.models[f"{recipe}_seed0"], study.recipes[recipe]
    spec = NetworkSpec.from_model(model.model_dump())
    options = {"preprocessing": spec.preprocessing, "n_threads": n_threads}
    loader = ViewLoader(folder / "train.beton", batch_size=settings.batch_size, **options)
    training = Training(spec, settings, seed=0, loader=loader, data_sha256="", device=torch.device("cpu"))
    training.n_batches = n_batches
    losses, start = [], time.monotonic()
    for batch in read_batches(training):
        loss, output = take_step(training, batch)
        losses.append(loss.item())
        if training.step == n_batches:
            break
    seconds = time.monotonic() - start
    splits = [ViewLoader(folder / f"{split}.beton", batch_size=BATCH, **options) for split in ("train", "val")]
    knn = measure_knn(training.network, splits, k=study.knn.k, tau=study.knn.tau)
    numbers = getattr(settings.objective, "queue_size", None) or settings.objective.n_negatives
    found = f"{np.mean(losses[-20:]):.2f} | {measure_spread(output[:, 0])[1]:.0f} | {knn:.1f} | {seconds:.0f}"
    return f"| {name} | {recipe} | {settings.objective.loss} | {numbers} | {rate:g} | {n_batches} | {found} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", nargs="+", choices=TRIALS, default=list(TRIALS))
    arguments = parser.parse_args()
    keep_freed_memory()
    print(
        "| trial | recipe | loss | queue or negatives | peak rate | minibatches | loss at the end | rank | kNN (%) | s |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|", flush=True)
    for name in arguments.only:
        print(run_trial(name, arguments.folder, torch.get_num_threads()), flush=True)


if __name__ == "__main__":
    main()
