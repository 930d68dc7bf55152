"""What a training does with damaged checkpoints, collapsed embeddings, a clock that jumps and a loader that hangs."""

import itertools
import threading
import time

import pytest
import torch
from trainings import Interrupted, assert_same_state, finish, interrupt, make_training, resume

from ipcl_core.training import train
from ipcl_core.training.checkpoints import name_previous
from ipcl_core.training.collapse import COLLAPSED_ROWS, CollapseError, is_collapsed
from ipcl_core.training.state import Training
from ipcl_core.views import on_cpu

# ---- checkpoints -----------------------------------------------------------------------------------------------------


def train_until(loader, path, monkeypatch, after: int, **changes) -> None:
    """Train with a checkpoint behind every minibatch, and fail behind so many."""
    with monkeypatch.context() as patch:
        interrupt(patch, after)
        with pytest.raises(Interrupted):
            finish(make_training(loader, **({"checkpoint_minutes": 1e-9} | changes)), path)


def test_interval_in_steps(loader, tmp_path, monkeypatch):
    """Ten minutes do not pass here; of the checkpoints behind minibatches 3 and 6 both are kept."""
    path = tmp_path / "checkpoint.pt"
    train_until(loader, path, monkeypatch, 8, checkpoint_minutes=10.0, checkpoint_steps=3)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["checkpoint.previous.pt", "checkpoint.pt"]
    steps = [torch.load(file, weights_only=True)["step"] for file in (path, name_previous(path))]
    assert steps == [6, 3]


def test_intervals_are_no_other_training(loader, tmp_path, monkeypatch, warnings_of):
    train_until(loader, tmp_path / "checkpoint.pt", monkeypatch, 4)
    other = make_training(loader, checkpoint_minutes=5.0, checkpoint_steps=7)
    resume(other, tmp_path / "checkpoint.pt")
    assert other.step == 4 and warnings_of() == []


def flip_byte(content: bytes) -> bytes:
    """One bit of the largest tensor's values."""
    at = len(content) // 2
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


DAMAGE = {
    "lost": None,
    "empty": lambda content: b"",
    "half": lambda content: content[: len(content) // 2],
    "one byte short": lambda content: content[:-1],
    "a changed byte": flip_byte,
    "zeros from the middle on": lambda content: content[:5000] + bytes(len(content) - 5000),
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("objective", ["ipcl", "indexed_memory"])
def test_damaged_checkpoint_is_replaced_by_the_one_before(
    loader, tmp_path, monkeypatch, warnings_of, objective, damage
):
    """The training goes on from it and ends with the same bits."""
    path, damaged = tmp_path / "checkpoint.pt", DAMAGE[damage]
    train_until(loader, path, monkeypatch, 7, objective=objective)
    if damaged:
        path.write_bytes(damaged(path.read_bytes()))
    else:
        path.unlink()
    resumed, whole = make_training(loader, objective), make_training(loader, objective)
    resume(resumed, path)
    assert resumed.step == 6
    assert bool(damaged) == any("checkpoint.pt: is no whole checkpoint" in warning for warning in warnings_of())
    for training in (resumed, whole):
        finish(training, tmp_path / "unused.pt")
    assert_same_state(resumed, whole)


def test_damaged_checkpoints_are_refused(loader, tmp_path, monkeypatch):
    train_until(loader, tmp_path / "checkpoint.pt", monkeypatch, 3)
    for file in tmp_path.iterdir():
        file.write_bytes(file.read_bytes()[:3000])
    with pytest.raises(ValueError, match=r"checkpoint\.previous\.pt: is no whole checkpoint; remove it to train from"):
        resume(make_training(loader), tmp_path / "checkpoint.pt")


@pytest.mark.parametrize("content", [[1, 2], {}, {"step": 3}, torch.zeros(3)])
def test_other_torch_file_is_no_checkpoint(loader, tmp_path, content):
    torch.save(content, tmp_path / "checkpoint.pt")
    with pytest.raises(ValueError, match=r"checkpoint\.pt: is no whole checkpoint; remove it"):
        resume(make_training(loader), tmp_path / "checkpoint.pt")


@pytest.mark.parametrize(
    "alter",
    [
        lambda state: state.pop("gradients"),
        lambda state: state["network"].pop("fc8.0.weight"),
        lambda state: state["optimizer"]["param_groups"].clear(),
    ],
)
def test_checkpoint_that_other_code_wrote_is_named(loader, tmp_path, monkeypatch, alter):
    """And nothing of it is trained on."""
    path = tmp_path / "checkpoint.pt"
    train_until(loader, path, monkeypatch, 3)
    for file in (path, name_previous(path)):
        state = torch.load(file, weights_only=True)
        alter(state)
        torch.save(state, file)
    with pytest.raises(RuntimeError, match=r"(?s)checkpoint\.pt: .* remove it to train from the start"):
        resume(make_training(loader), path)


# ---- collapse --------------------------------------------------------------------------------------------------------


def collapse(monkeypatch, loader, after: int, objective: str = "ipcl", **changes) -> Training:
    """A training of 30 epochs whose last layer is the same for every image from a minibatch on."""
    training = make_training(loader, objective, **({"epochs": 30} | changes))
    take_step = train.take_step

    def spoil(training, batch):
        if training.step >= after:
            with torch.no_grad():
                training.network.fc8[0].weight.zero_()
                training.network.fc8[0].bias.fill_(1)
        return take_step(training, batch)

    monkeypatch.setattr(train, "take_step", spoil)
    return training


@pytest.mark.parametrize("objective", ["ipcl", "indexed_memory_infonce"])
def test_collapse_stops_the_training(loader, tmp_path, monkeypatch, objective):
    """From minibatch 12 on, seen at the rows behind 15, 20, ...; the checkpoint is of the last good row's time."""
    training = collapse(monkeypatch, loader, 12, objective, checkpoint_steps=1)
    with pytest.raises(CollapseError) as error:
        finish(training, tmp_path / "checkpoint.pt")
    assert training.step == 10 + 5 * COLLAPSED_ROWS
    for words in (
        "the embeddings have collapsed (std 0.0",
        "effective rank ",
        "at minibatch 60, epoch 12; since minibatch 15 or before)",
        f"of minibatch 14, is kept ({tmp_path / 'checkpoint.pt'})",
    ):
        assert words in str(error.value)
    assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["step"] == 14


def test_network_without_spread_has_a_tenth_of_the_training(loader, tmp_path, monkeypatch):
    """30 epochs of 5 minibatches: nothing is said to be wrong before minibatch 15, nor before ten rows of the log."""
    training = collapse(monkeypatch, loader, 0, epochs=30)
    with pytest.raises(CollapseError, match="at minibatch 50, epoch 10"):
        finish(training, tmp_path / "checkpoint.pt")
    slow = collapse(monkeypatch, loader, 0, epochs=120)
    with pytest.raises(CollapseError, match="at minibatch 65, epoch 13"):
        finish(slow, tmp_path / "checkpoint.pt")


def test_labels_allow_any_spread(loader, tmp_path, monkeypatch):
    training = collapse(monkeypatch, loader, 0, "supervised", epochs=12)
    finish(training, tmp_path / "checkpoint.pt")
    assert training.step == training.n_steps


@pytest.mark.parametrize("batch_size,dim", [(4, 2), (2, 8), (3, 8)])
def test_rank_that_cannot_be_higher_is_no_collapse(batch_size, dim):
    limits = {"batch_size": batch_size, "dim": dim}
    assert not is_collapsed({"embedding_std": 0.9, "effective_rank": 1.0}, **limits)
    assert is_collapsed({"embedding_std": 0.09, "effective_rank": 1.0}, **limits)


# ---- clock and loader ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("jump", [-1e9, 1e9])
def test_clock_that_jumps_has_no_effect(loader, tmp_path, monkeypatch, jump):
    """Intervals and times are those of a clock that nobody sets."""
    now = itertools.count()
    monkeypatch.setattr(time, "time", lambda: next(now) * jump)
    training = make_training(loader)
    finish(training, tmp_path / "checkpoint.pt")
    assert not (tmp_path / "checkpoint.pt").exists()
    assert all(0 <= row["seconds"] < 600 and 0 <= row["waiting"] <= 1 for row in training.rows)


def test_loader_that_hangs_is_an_error(loader, tmp_path, monkeypatch):
    """Like a read from a server that is gone: the third minibatch never comes."""
    release, cut = threading.Event(), on_cpu.make_random_views
    n = itertools.count()

    def hang(*arguments):
        if next(n) >= 2:
            release.wait(60)
        return cut(*arguments)

    monkeypatch.setattr("ipcl_core.views.loader.make_random_views", hang)
    monkeypatch.setattr("ipcl_core.views.loader.STALL_SECONDS", 1)
    training, before = make_training(loader, checkpoint_steps=1), set(threading.enumerate())
    with pytest.raises(TimeoutError, match=r"a\.beton: no batch came for 1 s; does the disk or the network hang\?"):
        finish(training, tmp_path / "checkpoint.pt")
    assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["step"] == 2
    release.set()
    for thread in set(threading.enumerate()) - before:
        thread.join()
