import logging
import math
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import N_PICTURES
from torch.testing import assert_close
from trainings import COLUMNS, N_BATCHES, OBJECTIVES, assert_same_state, finish, make_training, record_losses

from ipcl_core.networks.architectures import initialize_network
from ipcl_core.training import checkpoints, train, watch
from ipcl_core.training.objectives import build_objective

# ---- losses and log --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("objective", list(OBJECTIVES))
def test_log_of_a_training(loader, tmp_path, monkeypatch, objective):
    losses = record_losses(monkeypatch)
    found = make_training(loader, objective, epochs=3)
    finish(found, tmp_path / "checkpoint.pt")
    rows = pd.DataFrame(found.rows)
    assert list(rows.columns) == COLUMNS
    assert np.isfinite(rows.to_numpy(float)).all()
    assert rows["epoch"].tolist() == [1, 2, 3]
    assert rows["minibatch"].tolist() == [5, 10, 15]
    assert rows["images"].tolist() == [20, 40, 60]
    assert_close(rows["loss"].tolist(), [sum(losses[i : i + 5]) / 5 for i in (0, 5, 10)], rtol=1e-6, atol=0)
    assert (rows["loss"] > 0).all()
    assert (rows["effective_rank"].between(1, 4)).all()
    assert not (tmp_path / "checkpoint.pt").exists()  # ten minutes have not passed


def test_log_has_a_row_every_so_many_minibatches(loader, tmp_path, monkeypatch):
    monkeypatch.setattr(watch, "LOG_EVERY", 2)
    losses = record_losses(monkeypatch)
    found = make_training(loader)
    finish(found, tmp_path / "checkpoint.pt")
    assert [(row["epoch"], row["minibatch"]) for row in found.rows] == [(1, 2), (1, 4), (1, 5), (2, 7), (2, 9), (2, 10)]
    means = [sum(losses[a:b]) / (b - a) for a, b in ((0, 2), (2, 4), (4, 5), (5, 7), (7, 9), (9, 10))]
    assert_close([row["loss"] for row in found.rows], means, rtol=1e-6, atol=0)


def test_log_says_how_long_the_step_waits(loader, tmp_path, monkeypatch, caplog):
    """By a clock that goes on 3 seconds for each minibatch's loading and 1 second for its step."""
    run, now = make_training(loader), [100.0]
    iterate, step = run.loader.iterate_random, train.take_step

    def pass_time(seconds):
        now[0] += seconds

    def load_slowly(**keys):
        for batch in iterate(**keys):
            pass_time(3)
            yield batch

    for module in (watch, checkpoints):
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(run.loader, "iterate_random", load_slowly)
    monkeypatch.setattr(train, "take_step", lambda *arguments: pass_time(1) or step(*arguments))
    caplog.set_level(logging.INFO)
    finish(run, tmp_path / "checkpoint.pt")
    assert [(row["waiting"], row["images_per_s"], row["seconds"]) for row in run.rows] == [(0.75, 1, 20), (0.75, 1, 40)]
    assert all("1 images/s  waiting for images 75%" in message for message in caplog.messages)


def test_log_has_the_learning_rate_of_its_minibatch(loader, tmp_path):
    found = make_training(loader, schedule={"name": "multi_step", "milestones": [1]})
    finish(found, tmp_path / "checkpoint.pt")
    assert_close([row["lr"] for row in found.rows], [0.03, 0.003], rtol=1e-9, atol=0)


def test_training_lowers_the_loss(large_batches, tmp_path):
    """The same few pictures, hardly changed, again and again: the last epochs' loss is clearly below the first's."""
    found = make_training(
        large_batches,
        "supervised",
        epochs=30,
        batch_size=11,
        optimizer={"name": "adamw", "lr": 0.01},
        schedule={"name": "one_cycle", "div_factor": 10.0, "final_div_factor": 10.0},
        augmentation={"area": [0.9, 1.0], "brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "hue": 0.0},
    )
    finish(found, tmp_path / "checkpoint.pt")
    losses = [row["loss"] for row in found.rows]
    assert sum(losses[-3:]) < 0.75 * sum(losses[:3])


@pytest.mark.parametrize("seed", [1, 2])
def test_seed_decides_the_result(loader, tmp_path, seed):
    runs = [make_training(loader, seed=s, epochs=1) for s in (0, 0, seed)]
    for run in runs:
        finish(run, tmp_path / "checkpoint.pt")
    assert_same_state(runs[0], runs[1])
    assert runs[0].rows[0]["loss"] != runs[2].rows[0]["loss"]


# ---- one minibatch ---------------------------------------------------------------------------------------------------


def test_negatives_are_read_before_the_queue_takes_the_minibatch(loader):
    run = make_training(loader, "ipcl_infonce")
    queue = run.objective.queue.clone()
    batch = next(run.loader.iterate_random(n_views=3, augmentation=run.recipe.augmentation, seed=0, epoch=0))
    loss, output = train.take_step(run, batch)
    similarities = [output.flatten(0, 1) @ item for item in queue]
    positive = (output * output.mean(1, keepdim=True)).sum(2).flatten()
    choices = torch.stack([positive, *similarities], 1) / 0.07
    assert_close(loss, (choices.logsumexp(1) - choices[:, 0]).mean(), rtol=1e-5, atol=0)
    entered = output.transpose(0, 1).flatten(0, 1).flip(0)
    assert_close(run.objective.queue, torch.cat([entered, queue[12:]]), rtol=0, atol=0)


def test_all_views_go_through_the_network_together(loader):
    """BatchNorm mixes the views of a minibatch: separate passes would be another model."""
    run = make_training(loader)
    reference = initialize_network(run.spec, 0).train()
    batch = next(run.loader.iterate_random(n_views=3, augmentation=run.recipe.augmentation, seed=0, epoch=0))
    _, output = train.take_step(run, batch)
    with torch.no_grad():
        together = reference(batch.views.reshape(12, 3, 64, 64)).reshape(4, 3, 8)
        first = initialize_network(run.spec, 0).train()(batch.views[:, 0])
    assert_close(output, together, rtol=0, atol=1e-5)
    assert (output[:, 0] - first).abs().max() > 0.01


@pytest.mark.parametrize(
    "accumulate,leftover,n_updates",
    [
        (1, "step", 10),
        (3, "step", 3),
        (4, "step", 3),
        (7, "step", 1),
        (3, "carry", 4),
        (5, "carry", 2),
        (7, "carry", 2),
        (3, "drop", 3),
        (4, "drop", 2),
        (7, "drop", 1),
    ],
)
def test_accumulated_steps_equal_a_manual_loop(loader, tmp_path, accumulate, leftover, n_updates):
    """Ten minibatches in two epochs, one step with a group's sum of gradients over `accumulate`.

    step: the first epoch's last step takes what is left; the second's is none. carry: the group of the epoch's end is
    completed in the next epoch, the last step takes what is left. drop: the second epoch's first step has the gradients of
    that epoch alone, and what is left at the end is no step.
    """
    lr, momentum, decay = 0.01, 0.9, 0.01
    run = make_training(
        loader,
        "supervised",
        accumulate=accumulate,
        optimizer={"name": "sgd", "lr": lr, "momentum": momentum, "weight_decay": decay},
        schedule={"name": "multi_step", "milestones": []},
        leftover_gradients=leftover,
    )
    network = initialize_network(run.spec, 0).to(memory_format=torch.channels_last).train()
    objective = build_objective(run.recipe.objective, n_images=N_PICTURES, dim=3, seed=0)
    weights = list(network.parameters())
    velocity, gradients, found_updates = [torch.zeros_like(w) for w in weights], [], 0
    for step in range(2 * N_BATCHES):
        if step % N_BATCHES == 0:
            policy = run.recipe.augmentation
            batches = loader.iterate_random(n_views=2, augmentation=policy, seed=0, epoch=step // N_BATCHES)
            gradients = gradients if leftover == "carry" else []
        batch = next(batches)
        output = network(batch.views.flatten(0, 1)).unflatten(0, (4, 2))
        loss = objective(output, batch.labels, batch.images, step)
        gradients.append(torch.autograd.grad(loss, weights))
        objective.remember(output, batch.images)
        count = step % N_BATCHES if leftover == "step" else step
        left = {"step": step + 1 == N_BATCHES, "carry": step + 1 == 2 * N_BATCHES, "drop": False}[leftover]
        if (count + 1) % accumulate == 0 or left:
            with torch.no_grad():
                for i, w in enumerate(weights):
                    mean = sum(g[i] for g in gradients) / accumulate
                    velocity[i] = momentum * velocity[i] + mean + decay * w
                    w -= lr * velocity[i]
            gradients, found_updates = [], found_updates + 1
    assert found_updates == n_updates

    before = [w.clone() for w in run.network.parameters()]
    finish(run, tmp_path / "checkpoint.pt")
    triples = list(zip(run.network.parameters(), weights, before, strict=True))
    difference = max((found - expected).abs().max().item() for found, expected, _ in triples)
    moved = max((expected - start).abs().max().item() for _, expected, start in triples)
    # rounding grows with the updates: some per cent of the movement after ten, below 1e-4 after one or two
    assert moved > 0.001 and difference < moved * (0.1 if n_updates > 2 else 1e-4), (difference, moved)


@pytest.mark.parametrize("leftover,expected", [("step", [4, 5, 9]), ("carry", [4, 8, 10]), ("drop", [4, 8])])
def test_groups_at_the_end_of_an_epoch(loader, tmp_path, monkeypatch, leftover, expected):
    """Ten minibatches in two epochs, in groups of 4."""
    steps = []
    run = make_training(loader, accumulate=4, leftover_gradients=leftover)
    step = run.optimizer.step
    monkeypatch.setattr(run.optimizer, "step", lambda: steps.append(run.step) or step())
    finish(run, tmp_path / "unused.pt")
    assert steps == expected


# ---- what goes wrong -------------------------------------------------------------------------------------------------


def test_loss_that_is_no_number_stops_the_training(loader, tmp_path, monkeypatch):
    """From minibatch 7 on: noticed at the next row, behind 10; the checkpoint of minibatch 6 stays."""
    run, take_step = make_training(loader, checkpoint_minutes=1e-9), train.take_step

    def spoil(training, batch):
        if training.step == 6:
            with torch.no_grad():
                training.network.fc8[0].bias[0] = math.nan
        return take_step(training, batch)

    monkeypatch.setattr(train, "take_step", spoil)
    checkpoint = tmp_path / "checkpoint.pt"
    with pytest.raises(FloatingPointError) as error:
        finish(run, checkpoint)
    assert str(error.value) == (
        "the loss is nan at minibatch 10 (epoch 2); lower the lr; the last good checkpoint, of minibatch 6, is kept "
        f"({checkpoint})"
    )
    state = torch.load(checkpoint, weights_only=True)
    assert state["step"] == 6
    assert all(torch.isfinite(tensor).all() for tensor in state["network"].values())


def test_loss_that_is_no_number_from_the_start(loader, tmp_path):
    run = make_training(loader, checkpoint_minutes=1e-9)
    with torch.no_grad():
        run.network.fc8[0].bias[0] = math.nan
    with pytest.raises(
        FloatingPointError, match=r"nan at minibatch 5 \(epoch 1\); lower the lr; there is no checkpoint"
    ):
        finish(run, tmp_path / "checkpoint.pt")
    assert not (tmp_path / "checkpoint.pt").exists()


def test_collapse_is_reported(loader, tmp_path, warnings_of):
    run = make_training(loader)
    with torch.no_grad():
        run.network.fc8[0].weight.zero_()
        run.network.fc8[0].bias.fill_(1)
    finish(run, tmp_path / "checkpoint.pt")
    assert run.rows[0]["embedding_std"] < 0.1
    assert "the embeddings have collapsed (std 0.0" in warnings_of()[0]


@pytest.mark.parametrize(
    "embeddings,expected",
    [
        (torch.eye(4), False),
        (torch.ones(4, 4), True),
        (torch.eye(4) + 30, True),  # nearly the same direction
        (torch.tensor([[1.0, 0], [-1, 0], [1, 0], [-1, 0]]), True),  # spread, but along one line
    ],
)
def test_collapse_is_small_spread_or_one_dimension(loader, warnings_of, embeddings, expected):
    run = make_training(loader)
    run.objective(torch.nn.functional.normalize(torch.ones(4, 3, 8), dim=2), None, None, 0)
    watch.Watch(run, say_kept=str).add_row(1.0, embeddings, rate=1.0, waiting=0.0)
    assert any("collapsed" in message for message in warnings_of()) == expected


def test_full_memory_of_a_gpu_names_the_key(loader, tmp_path, monkeypatch):
    def fill(training, batch):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.\nMore.")

    monkeypatch.setattr(train, "take_step", fill)
    with pytest.raises(torch.OutOfMemoryError, match=r"recipe's batch_size: 4 images x 3 views of 64 x 64 .* 2 GiB\.$"):
        finish(make_training(loader), tmp_path / "checkpoint.pt")


def test_batch_larger_than_the_data_is_refused(loader):
    with pytest.raises(ValueError, match="batch_size 24 is larger than the 23 training images"):
        make_training(loader, "supervised", batch_size=24)
