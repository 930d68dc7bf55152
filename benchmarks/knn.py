"""
Time and memory of the weighted kNN, against the one-hot vote of Wu et al.'s code and faiss-cpu's flat index.

    pip install --target /tmp/peers --no-deps faiss-cpu
    PYTHONPATH=.:/tmp/peers OMP_NUM_THREADS=2 python benchmarks/knn.py > benchmarks/knn.md

1,000 queries, k = 200, tau = .07, 1,000 classes, d = 128; random embeddings around one centre a class, the bank in the order
of the classes, as ImageNet is. All methods take turns in every round. Time is
core time (user + system, all threads) of the search and the vote, the building of faiss's index included; the ratio is the
median of the rounds' ratios. Memory is the peak above the loaded embeddings and labels. Give bank sizes as arguments.

All methods take the same product in float32, which bounds them: "the product alone" is that of all queries with 8,192 bank
images at a time; here 256 are taken at a time, whose similarities stay in the processor's cache until they are searched. On a
busy machine the other methods' threads wait for each other, and waiting counts as core time: ratios above 2 against faiss
were seen there.
"""

import ctypes
import datetime
import importlib.metadata
import os
import platform
import re
import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ipcl_core.accuracy.knn import BLOCK, vote_weighted_knn

ROUNDS, N_QUERIES, DIM, N_CLASSES, K, TAU = 4, 1000, 128, 1000, 200, 0.07


def draw_embeddings(n_bank: int, n_queries: int = N_QUERIES) -> list[Tensor]:
    """Return a bank in the order of its classes, its labels, and as many queries of each class; rows of unit length."""
    generator = torch.Generator().manual_seed(0)
    centres = 0.7 * torch.randn(N_CLASSES, DIM, generator=generator)
    labels = torch.arange(n_bank) * N_CLASSES // n_bank

    def draw(labels: Tensor) -> Tensor:
        embeddings = torch.randn(len(labels), DIM, generator=generator).add_(centres[labels])
        return embeddings.div_(embeddings.norm(dim=1, keepdim=True))

    return [draw(labels), labels, draw(torch.arange(n_queries) * N_CLASSES // n_queries)]


def vote_here(bank: Tensor, labels: Tensor, queries: Tensor) -> Tensor:
    return vote_weighted_knn(bank, labels, queries, n_classes=N_CLASSES, k=K, tau=TAU)


def vote_one_hot(bank: Tensor, labels: Tensor, queries: Tensor) -> Tensor:
    """Wu et al. 2018 (lemniscate.pytorch), re-stated: all similarities of 100 queries, one row of classes a neighbour."""
    votes = []
    for chunk in queries.split(100):
        similarity, neighbour = torch.mm(chunk, bank.T).topk(K, dim=1, largest=True, sorted=True)
        found = labels[None].expand(len(chunk), -1).gather(1, neighbour)
        one_hot = torch.zeros(len(chunk) * K, N_CLASSES).scatter_(1, found.view(-1, 1), 1)
        weights = (similarity / TAU).exp()
        votes.append((one_hot.view(len(chunk), K, N_CLASSES) * weights[:, :, None]).sum(1))
    return torch.cat(votes)


def vote_faiss(bank: Tensor, labels: Tensor, queries: Tensor) -> Tensor:
    import faiss

    faiss.omp_set_num_threads(torch.get_num_threads())
    index = faiss.IndexFlatIP(DIM)
    index.add(bank.numpy())
    similarity, neighbour = (torch.from_numpy(found) for found in index.search(queries.numpy(), K))
    return torch.zeros(len(queries), N_CLASSES).scatter_add_(1, labels[neighbour], (similarity / TAU).exp())


def multiply(bank: Tensor, labels: Tensor, queries: Tensor) -> Tensor:
    """The product alone, in blocks: the floor of any exhaustive search."""
    for block in bank.split(BLOCK):
        queries @ block.T
    return torch.zeros(len(queries), N_CLASSES)


METHODS = {"here": vote_here, "one-hot vote": vote_one_hot, "faiss-cpu flat": vote_faiss, "the product alone": multiply}


def measure(method: str, data: list[Tensor]) -> dict:
    """Return the core and wall seconds, extra peak memory in MB and predictions of one run."""
    ctypes.CDLL("libc.so.6").malloc_trim(0)  # what the run before has freed goes back
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before, core, wall = read_memory("VmRSS"), time.process_time(), time.perf_counter()
    votes = METHODS[method](*data)
    core, wall = time.process_time() - core, time.perf_counter() - wall
    return {"core": core, "wall": wall, "mb": read_memory("VmHWM") - before, "predictions": votes.argmax(1)}


def read_memory(key: str) -> float:
    """Return a line of the process's status in MB."""
    return int(re.search(rf"{key}:\s+(\d+)", Path("/proc/self/status").read_text())[1]) / 1024


def compare(n_bank: int) -> None:
    """Print one table: every method at one size of the bank."""
    data = draw_embeddings(n_bank)
    for vote in METHODS.values():  # compiles, and loads libraries
        vote(data[0][:1000], data[1][:1000], data[2])
    found = {name: [] for name in METHODS}
    for i in range(ROUNDS):
        for name in list(METHODS)[:: 1 if i % 2 else -1]:
            found[name].append(measure(name, data))
            print(n_bank, i + 1, name, round(found[name][-1]["core"], 1), file=sys.stderr)
    print(f"\n{n_bank:,} bank images x {DIM}:\n")
    print(
        "| method | core s | wall s | ratio to here | extra peak, MB | predictions as here |\n|---|---|---|---|---|---|"
    )
    for name, runs in found.items():
        core, wall, mb = (np.median([run[key] for run in runs]) for key in ("core", "wall", "mb"))
        ratios = [run["core"] / here["core"] for run, here in zip(runs, found["here"], strict=True)]
        same = 100 * (runs[0]["predictions"] == found["here"][0]["predictions"]).float().mean()
        ratio = f"{np.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        said = "" if name == "the product alone" else f"{same:g}%"
        print(f"| {name} | {core:.1f} | {wall:.1f} | {ratio} | {mb:.0f} | {said} |", flush=True)


def main() -> None:
    sizes = [int(size) for size in sys.argv[1:]] or [80_000, 320_000, 1_280_000]
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())[1]
    load = os.getloadavg()[0]
    versions = ", ".join(
        f"{name} {importlib.metadata.version(name)}" for name in ("torch", "numba", "numpy", "faiss-cpu")
    )
    print("# Weighted kNN against a one-hot vote and faiss\n")
    print(
        "Made by `PYTHONPATH=.:/tmp/peers OMP_NUM_THREADS=2 python benchmarks/knn.py > benchmarks/knn.md` on", end=" "
    )
    print(
        f"{datetime.date.today()}:\n{model}, {torch.get_num_threads()} threads, load {load:.1f} before;",
        end=" ",
    )
    print(
        f"Python {platform.python_version()}, {versions}.\n{ROUNDS} rounds; medians, and the range of the ratios.",
        end=" ",
    )
    print("What is measured: the script's first lines.")
    for size in sizes:
        compare(size)


if __name__ == "__main__":
    main()
