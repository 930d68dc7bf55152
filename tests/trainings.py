"""
What the tests of training share: tiny trainings, ways to interrupt and to compare them.
"""

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
    **changes,
) -> Training:
    """A tiny training: by default 2 epochs of 5 minibatches of 4 images."""
    supervised = objective == "supervised"
    spec = make_spec(architecture=architecture, dim=3 if supervised else dim, l2norm=not supervised)
    recipe = make_recipe(**{"objective": OBJECTIVES[objective]} | changes)
    return Training(spec, recipe, seed=seed, loader=loader, data_sha256=sha256, device=torch.device("cpu"))


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
