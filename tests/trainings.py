"""
What the tests of training share: tiny trainings, ways to interrupt and to compare them.
"""

import dataclasses
import itertools
from pathlib import Path

import torch
from conftest import BATCH_SIZE, N_PICTURES, make_recipe, make_spec
from torch.testing import assert_close

from ipcl_core.training import train
from ipcl_core.training.checkpoints import Saver
from ipcl_core.training.state import Training

COLUMNS = ["epoch", "minibatch", "images", "seconds", "images_per_s", "waiting", "lr", "loss", "collapsed_loss"]
COLUMNS += ["embedding_std", "effective_rank"]
TIMES = ["seconds", "images_per_s", "waiting"]
N_BATCHES = N_PICTURES // BATCH_SIZE  # 5
GOLDEN = Path(__file__).parent / "golden/losses.json"

OBJECTIVES = {
    "ipcl": {"name": "ipcl", "n_views": 3, "queue_size": 16},
    "ipcl_infonce": {"name": "ipcl", "n_views": 3, "queue_size": 16, "loss": "infonce"},
    "indexed_memory": {"name": "indexed_memory", "n_negatives": 8},
    "indexed_memory_infonce": {"name": "indexed_memory", "n_negatives": 8, "loss": "infonce"},
    "supervised": {"name": "supervised", "n_views": 2},
}


def make_training(
    loader,
    objective: str = "ipcl",
    *,
    architecture: str = "alexnet_gn",
    dim: int = 8,
    seed: int = 0,
    sha256: str = "x",
    device: str = "cpu",
    **changes,
) -> Training:
    """A tiny training: by default 2 epochs of 5 minibatches of 4 images."""
    supervised = objective == "supervised"
    spec = make_spec(architecture=architecture, dim=3 if supervised else dim, l2norm=not supervised)
    recipe = make_recipe(**{"objective": OBJECTIVES[objective]} | changes)
    return Training(spec, recipe, seed=seed, loader=loader, data_sha256=sha256, device=torch.device(device))


def finish(training: Training, checkpoint: Path) -> None:
    """Train to the end."""
    train.train(training, Saver(training, checkpoint))


def resume(training: Training, checkpoint: Path) -> None:
    """Go on from a checkpoint, where there is one of this training."""
    Saver(training, checkpoint).resume()


class Interrupted(Exception):
    pass


def interrupt(monkeypatch, after: int) -> None:
    """Let every training fail once it has taken so many minibatches."""
    take_step = train.take_step

    def fail(training, batch):
        if training.step == after:
            raise Interrupted
        return take_step(training, batch)

    monkeypatch.setattr(train, "take_step", fail)


def record_losses(monkeypatch) -> list[float]:
    """Return a list that receives the loss of every minibatch."""
    losses, take_step = [], train.take_step

    def record(training, batch):
        loss, output = take_step(training, batch)
        losses.append(loss.item())
        return loss, output

    monkeypatch.setattr(train, "take_step", record)
    return losses


def drop_times(rows: list[dict]) -> list[dict]:
    return [{key: value for key, value in row.items() if key not in TIMES} for row in rows]


def assert_same_state(a: Training, b: Training) -> None:
    """Weights, objective and log agree bit by bit."""
    for part in ("network", "objective"):
        found, expected = getattr(a, part).state_dict(), getattr(b, part).state_dict()
        assert found.keys() == expected.keys()
        for name, tensor in expected.items():
            assert_close(found[name], tensor, rtol=0, atol=0, equal_nan=True)
    assert drop_times(a.rows) == drop_times(b.rows)


# ---- the trainings of golden/losses.json ----


def build_golden_training(loader, objective: str, device: str = "cpu", **changes) -> Training:
    """Twenty minibatches of 11 pictures, SGD, one cycle."""
    supervised = objective == "supervised"
    recipe = make_recipe(
        objective=OBJECTIVES[objective]
        | ({} if supervised else {"tau": 0.5})
        | ({"queue_size": 40} if objective.startswith("ipcl") else {}),  # more than a minibatch
        epochs=10,
        batch_size=11,
        optimizer={"name": "sgd", "lr": 0.001},
        schedule={"name": "one_cycle", "div_factor": 2.0, "final_div_factor": 10.0, "momentum_range": [0.85, 0.95]},
        **changes,
    )
    spec = make_spec(dim=3 if supervised else 32, l2norm=not supervised, width=4 / 32)
    return Training(spec, recipe, seed=0, loader=loader, data_sha256="x", device=torch.device(device))


def list_losses(run: Training, n: int) -> list[float]:
    """The losses of the first n minibatches."""
    dtype = next(run.network.parameters()).dtype  # the views' too
    batches = (dataclasses.replace(batch, views=batch.views.to(dtype)) for batch in train.read_batches(run))
    return [train.take_step(run, batch)[0].item() for batch in itertools.islice(batches, n)]


def list_golden_losses(loader, objective: str, device: str = "cpu") -> list[float]:
    """The losses of twenty minibatches."""
    run = build_golden_training(loader, objective, device)
    run.network.double()
    run.objective.double()
    run.autocast = False
    return list_losses(run, 20)
