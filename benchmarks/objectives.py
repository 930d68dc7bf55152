"""
How fast the contrastive losses are, forward, backward and memory update, against the released formulation.

    OMP_NUM_THREADS=1 PYTHONPATH=. python benchmarks/objectives.py > benchmarks/objectives.md

Sizes of the paper: IPCL with 128 images x 5 views, a queue of 4096, d = 128; a Wusnet with 256 images, 4096 negatives, d = 128
and, to spare memory, a bank of 300,000 entries instead of 1.28 million. The released formulation is re-stated here from
open_ipcl (IPCL) and lemniscate.pytorch (Wusnets): similarities, exp, Z, fractions, logarithms, a concatenated queue. Both
sides get the same unit vectors. They run in every round, one after the other; on a processor time is the process's
(user + system), on a GPU wall-clock time around a synchronisation; the ratio is the median of the rounds' ratios. The two
sides' losses and gradients are compared in the first minibatch; later queues differ in which views of the oldest minibatch
they still hold.
"""

import datetime
import os
import platform
import statistics
import time

import torch
from torch import Tensor
from torch.nn import functional as F

from ipcl_core.config import IPCL, IndexedMemory
from ipcl_core.training.objectives import EPS, build_objective

ROUNDS, N_MINIBATCHES = 9, 8
N_IMAGES, DIM, K, TAU, BANK = 1_281_167, 128, 4096, 0.07, 300_000
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def released_nce(similarities: Tensor, z: Tensor, n_images: int) -> tuple[Tensor, Tensor]:
    """The released loss of similarities (M, 1 + K), the positive first, and Z, estimated where it is not set."""
    p = torch.exp(torch.div(similarities, TAU))
    z = (p.mean() * n_images).detach() if z.isnan() else z
    p, noise = torch.div(p, z), K / n_images
    positive, negatives = p.select(1, 0), p.narrow(1, 1, K)
    log_positive = torch.div(positive, positive.add(noise + EPS))
    denominators = negatives.add(noise + EPS)
    log_negatives = torch.div(denominators.clone().fill_(noise), denominators)
    log_positive.log_(), log_negatives.log_()
    return -(log_positive.sum(0) + log_negatives.view(-1, 1).sum(0)) / len(p), z


class ReleasedPrototype:
    """IPCL as released; the queue's columns are the samples, newest first."""

    def __init__(self, queue: Tensor):
        self.queue, self.z = queue.T.contiguous(), torch.tensor(torch.nan)

    def __call__(self, embeddings: Tensor, images: Tensor, step: int) -> Tensor:
        samples, n = embeddings.flatten(0, 1), embeddings.shape[1]
        prototypes = samples.data.reshape(-1, n, DIM).mean(dim=1).detach()
        positive = torch.einsum("nc,nc->n", [samples, prototypes.repeat_interleave(n, dim=0)]).unsqueeze(-1)
        negatives = torch.einsum("nc,ck->nk", [samples, self.queue.clone().detach()])
        loss, self.z = released_nce(torch.cat([positive, negatives], dim=1), self.z, N_IMAGES)
        loss.backward()
        self.queue[:, :K] = torch.cat([samples.detach().T, self.queue[:, : -len(samples)]], dim=1)
        return loss.detach()


class ReleasedMemory:
    """Instance discrimination as in lemniscate.pytorch."""

    def __init__(self, bank: Tensor, draw):
        self.bank, self.draw, self.z = bank.clone(), draw, torch.tensor(torch.nan)

    def __call__(self, embeddings: Tensor, images: Tensor, step: int) -> Tensor:
        samples = embeddings[:, 0]
        drawn = torch.cat([images[:, None], self.draw(len(images), step)], dim=1)
        entries = torch.index_select(self.bank, 0, drawn.view(-1)).view(len(images), K + 1, DIM)
        loss, self.z = released_nce(torch.bmm(entries, samples[:, :, None]).squeeze(2), self.z, BANK)
        loss.backward()
        with torch.no_grad():
            old = self.bank.index_select(0, images)
            old.mul_(0.5).add_(samples.detach(), alpha=0.5)
            self.bank.index_copy_(0, images, old.div(old.pow(2).sum(1, keepdim=True).pow(0.5)))
        return loss.detach()


class Ours:
    """An objective of this package, as a training uses it."""

    def __init__(self, objective):
        self.objective = objective

    def __call__(self, embeddings: Tensor, images: Tensor, step: int) -> Tensor:
        loss = self.objective(embeddings, None, images, step)
        loss.backward()
        self.objective.remember(embeddings, images)
        return loss.detach()


def build_sides(name: str) -> tuple:
    """Both sides of a comparison, with the same start."""
    if name == "IPCL":
        objective = build_objective(IPCL(name="ipcl"), n_images=N_IMAGES, dim=DIM, seed=0).to(DEVICE)
        return ReleasedPrototype(objective.queue), Ours(objective)
    objective = build_objective(IndexedMemory(name="indexed_memory"), n_images=BANK, dim=DIM, seed=0).to(DEVICE)
    return ReleasedMemory(objective.bank, objective.draw_negatives), Ours(objective)


def draw_minibatches(n_images: int, n_views: int) -> list[tuple[Tensor, Tensor]]:
    """Unit vectors whose views of one image are alike, (B, n, d), and the images' positions."""
    generator = torch.Generator().manual_seed(1)
    drawn = []
    for _ in range(N_MINIBATCHES):
        centers = torch.randn(n_images, 1, DIM, generator=generator)
        views = F.normalize(centers + 0.7 * torch.randn(n_images, n_views, DIM, generator=generator), dim=2)
        drawn.append((views.to(DEVICE), torch.randperm(BANK, generator=generator)[:n_images].to(DEVICE)))
    return drawn


def read_clock() -> float:
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()
        return time.perf_counter()
    return time.process_time()


def run_side(side, minibatches: list) -> tuple[float, list[tuple[Tensor, Tensor]]]:
    """Seconds a minibatch, and each minibatch's loss and gradient."""
    results, start = [], read_clock()
    for step, (views, images) in enumerate(minibatches):
        embeddings = views.clone().requires_grad_()
        results.append((side(embeddings, images, step), embeddings))
    seconds = (read_clock() - start) / len(minibatches)
    return seconds, [(loss, embeddings.grad) for loss, embeddings in results]


def compare(name: str, minibatches: list) -> str:
    """A row of the table."""
    run_side(build_sides(name)[1], minibatches[:2])  # warm up
    times, differences = [], []
    for _ in range(ROUNDS):
        (theirs, released), (ours, found) = (run_side(side, minibatches) for side in build_sides(name))
        times.append((theirs, ours))
        differences.append([(a - b).abs().max().item() for a, b in zip(released[0], found[0], strict=True)])
    ratios = sorted(theirs / ours for theirs, ours in times)
    theirs, ours = (1000 * statistics.median(column) for column in zip(*times, strict=True))
    loss, gradient = (max(column) for column in zip(*differences, strict=True))
    ratio = f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
    return f"{ours:.1f} | {theirs:.1f} | {ratio} | {loss:.1e} | {gradient:.1e} |"


def describe_machine() -> str:
    if DEVICE.type == "cuda":
        return torch.cuda.get_device_name()
    with open("/proc/cpuinfo") as file:
        model = next(line.split(":")[1].strip() for line in file if line.startswith("model name"))
    return f"{model}, {torch.get_num_threads()} thread(s), load {os.getloadavg()[0]:.1f} before"


if __name__ == "__main__":
    print(f"""# Contrastive losses against the released formulation

Made by `OMP_NUM_THREADS=1 PYTHONPATH=. python benchmarks/objectives.py > benchmarks/objectives.md` on \
{datetime.date.today()}:
{describe_machine()}; Python {platform.python_version()}, torch {torch.__version__}. {ROUNDS} rounds of {N_MINIBATCHES} \
minibatches; milliseconds a minibatch (medians),
ratios (median and range over rounds). What is measured: the script's first lines.

| what | here | released | ratio | largest difference, loss | gradient |
|---|---|---|---|---|---|""")
    print("| IPCL, 640 views, queue of 4096 |", compare("IPCL", draw_minibatches(128, 5)))
    print("| Wusnet, 256 images, 4096 negatives |", compare("Wusnet", draw_minibatches(256, 1)))
