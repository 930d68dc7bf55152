"""
What the processes of test_distributed.py run: trainings of 20 minibatches in double precision, and a slow one to disturb.
"""

import itertools
import os
import signal
import time
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from conftest import make_recipe, make_spec
from trainings import Interrupted, assert_same_state, finish, interrupt, resume

from ipcl_core import distributed
from ipcl_core.accuracy import embedding
from ipcl_core.accuracy.knn import vote_weighted_knn
from ipcl_core.config import Preprocessing
from ipcl_core.networks.architectures import initialize_network
from ipcl_core.networks.network_files import save_network
from ipcl_core.training import train as training_loop
from ipcl_core.training.checkpoints import Saver
from ipcl_core.training.state import Training
from ipcl_core.views.loader import ViewLoader

N_STEPS, HALF = 20, 10
BATCH = 8  # 2 minibatches an epoch

IPCL = {"name": "ipcl", "n_views": 3, "queue_size": 40, "tau": 0.5}
MEMORY = {"name": "indexed_memory", "n_negatives": 8, "tau": 0.5, "z": "ema"}
SUPERVISED = {"name": "supervised", "n_views": 2}
CASES = {  # name -> architecture, recipe
    "ipcl": ("alexnet_gn", {"objective": IPCL}),
    "memory": ("alexnet_bn", {"objective": MEMORY, "optimizer": {"name": "adamw", "lr": 1e-3}}),
    "supervised": ("alexnet_bn", {"objective": SUPERVISED, "accumulate": 3, "leftover_gradients": "drop"}),
    "prototypes": (
        "alexnet_gn",
        {"objective": IPCL | {"queue": "prototypes", "detach_prototype": False, "loss": "infonce"}, "accumulate": 3},
    ),
    "dropout": ("alexnet", {"objective": SUPERVISED}),
}


def make_loader(beton: str) -> ViewLoader:
    """The part of this process of minibatches of 8 images."""
    part = {"part": distributed.get_rank(), "n_parts": distributed.count_processes()}
    return ViewLoader(beton, batch_size=BATCH, preprocessing=Preprocessing(image_size=64), n_threads=1, **part)


def make(loader: ViewLoader, case: str, **changes) -> Training:
    """A training whose network and objective compute in double precision, so that only a mistake is seen."""
    architecture, recipe = CASES[case]
    supervised = recipe["objective"] is SUPERVISED
    spec = make_spec(architecture=architecture, dim=3 if supervised else 8, l2norm=not supervised)
    recipe = make_recipe(epochs=10, batch_size=BATCH, **{"optimizer": {"name": "sgd", "lr": 0.001}} | recipe | changes)
    run = Training(spec, recipe, seed=0, loader=loader, data_sha256="x", device=torch.device("cpu"))
    run.network.double()
    run.objective.double()
    run.forward = lambda views: run.network(views.double())
    return run


def train(run: Training, to: int) -> list[float]:
    """Train up to a minibatch; return the losses."""
    batches = itertools.islice(training_loop.read_batches(run), to - run.step)
    return [training_loop.take_step(run, batch)[0].item() for batch in batches]


def describe(run: Training, losses: list[float]) -> dict:
    """What must not depend on the number of processes: losses, weights, statistics, queue or bank, Z, image spread."""
    return {"losses": losses, "network": run.network.state_dict(), "objective": run.objective.state_dict()}


def train_cases(beton: str, folder: str, checkpoints: str, cases: list[str], n_threads: int) -> None:
    """Train each case from its start and on from the checkpoint in `checkpoints`; the first process writes what came out.

    A single process writes its checkpoint, in `folder`, within a group of gradients, several at its end.
    """
    torch.set_num_threads(n_threads)
    loader, found, alone = make_loader(beton), {}, distributed.count_processes() == 1
    for case in cases:
        run = make(loader, case)
        losses = train(run, HALF if alone else HALF - HALF % run.recipe.accumulate)
        Saver(run, Path(folder) / f"{case}.pt").save()
        losses += train(run, N_STEPS)
        resumed = make(loader, case)
        resume(resumed, Path(checkpoints) / f"{case}.pt")
        found[case] = {"whole": describe(run, losses), "resumed": describe(resumed, train(resumed, N_STEPS))}
    if distributed.get_rank() == 0:
        torch.save(found, Path(folder) / "found.pt")
    embed_and_vote(beton, Path(folder))
    if distributed.count_processes() == 2:
        check_bits(loader, Path(folder) / "bits.pt")


def embed_and_vote(beton: str, folder: Path) -> None:
    """Write features of the 23 images, in batches that they do not fill, and kNN votes for 7 queries."""
    weights, embeddings = folder / "weights.safetensors", folder / "embeddings.h5"
    if distributed.get_rank() == 0:
        save_network(initialize_network(make_spec(), 0), make_spec(), weights)
    distributed.agree(True)  # it is there
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(embedding, "BATCH", {1: 64, 2: 25, 4: 5}[distributed.count_processes()])
        options = {"layers": ["conv_block_2"], "center_crop": 1.0, "max_dim": None, "n_threads": 1}
        embedding.embed_dataset(weights, {"val": beton}, embeddings, **options)
    bank, queries = (torch.randn(n, 8, generator=torch.Generator().manual_seed(n)) for n in (50, 7))
    votes = vote_weighted_knn(bank, torch.arange(50) % 3, queries, n_classes=3, k=5, tau=0.1)
    if distributed.get_rank() == 0:
        torch.save(votes, folder / "votes.pt")


def check_bits(loader: ViewLoader, checkpoint: Path) -> None:
    """Every process: interrupted within a group of gradients and resumed by as many processes, the same bits come out."""
    whole = make(loader, "prototypes", leftover_gradients="carry")
    finish(whole, checkpoint)
    with pytest.MonkeyPatch.context() as patch, suppress(Interrupted):
        interrupt(patch, 11)
        finish(make(loader, "prototypes", leftover_gradients="carry", checkpoint_minutes=1e-9), checkpoint)
    resumed = make(loader, "prototypes", leftover_gradients="carry")
    resume(resumed, checkpoint)
    assert resumed.step == 9
    finish(resumed, checkpoint)
    assert_same_state(resumed, whole)


def train_slowly(n_threads: int, **arguments) -> None:
    """`train_network`, 0.1 seconds a minibatch; each process leaves its number in a file beside the weights."""
    take_step, folder = training_loop.take_step, Path(arguments["weights"]).parent

    def slow(run, batch):
        time.sleep(0.1)
        return take_step(run, batch)

    training_loop.take_step = slow
    folder.mkdir(exist_ok=True)
    (folder / f"process{distributed.get_rank()}").write_text(str(os.getpid()))
    training_loop.train_network(n_threads=n_threads, **arguments)


def train_cases_and_fail(**arguments) -> None:
    """`train_cases`, behind which the last process is killed and the others wait for it."""
    train_cases(**arguments)
    while True:
        distributed.agree(True)
        if distributed.get_rank() == distributed.count_processes() - 1:
            os.kill(os.getpid(), signal.SIGKILL)
