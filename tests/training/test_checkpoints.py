"""Which checkpoint a training goes on from, what becomes of those of others, and the lock."""

import errno
import fcntl
import os
from pathlib import Path

import pytest
import torch
from trainings import Interrupted, assert_same_state, finish, interrupt, make_training, resume

from ipcl_core.training import train
from ipcl_core.training.checkpoints import Saver, lock, name_aside, name_previous, read_fingerprint
from ipcl_core.training.state import Training


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "checkpoint.pt"


def go_on(training: Training, path: Path) -> Training:
    """As a job does."""
    saver = Saver(training, path)
    saver.resume()
    train.train(training, saver)
    return training


def train_until(loader, path: Path, monkeypatch, after: int, **changes) -> None:
    """Go on with a checkpoint behind every minibatch, and fail behind so many."""
    with monkeypatch.context() as patch:
        interrupt(patch, after)
        with pytest.raises(Interrupted):
            go_on(make_training(loader, checkpoint_minutes=1e-9, **changes), path)


def list_steps(path: Path) -> dict[str, int]:
    return {file.name: torch.load(file, weights_only=True)["step"] for file in sorted(path.parent.iterdir())}


# ---- a recipe that changes and changes back --------------------------------------------------------------------------


@pytest.mark.parametrize("n_others", [1, 2, 5])
@pytest.mark.parametrize("other", [{"seed": 1}, {"accumulate": 2}])
def test_recipe_that_changes_back_goes_on(loader, path, monkeypatch, other, n_others):
    """However many checkpoints the other one wrote meanwhile; both end with the same bits as undisturbed ones."""
    train_until(loader, path, monkeypatch, 7)
    mine = name_aside(path, read_fingerprint(path))
    train_until(loader, path, monkeypatch, n_others, **other)
    theirs = name_aside(path, read_fingerprint(path))
    previous = {"checkpoint.previous.pt": n_others - 1} if n_others > 1 else {}
    assert list_steps(path) == {"checkpoint.pt": n_others, **previous, mine.name: 7}
    train_until(loader, path, monkeypatch, 9)
    assert list_steps(path) == {"checkpoint.pt": 9, "checkpoint.previous.pt": 8, theirs.name: n_others}
    for changes, step in (({}, 9), (other, n_others), ({}, 9)):
        resumed, whole = (make_training(loader, **changes) for _ in range(2))
        resume(resumed, path)
        assert resumed.step == step
        finish(resumed, path.with_name("unused.pt"))
        finish(whole, path.with_name("unused.pt"))
        assert_same_state(resumed, whole)


def test_recipe_that_changes_back_at_once_finds_everything_in_place(loader, path, monkeypatch, warnings_of):
    """Nothing is moved before something is written."""
    train_until(loader, path, monkeypatch, 4)
    resume(make_training(loader, seed=1), path)
    assert list_steps(path) == {"checkpoint.pt": 4, "checkpoint.previous.pt": 3}
    assert [message.split()[0] for message in warnings_of()] == [str(path)]


def test_three_recipes_in_turn(loader, path, monkeypatch):
    for after in (3, 5):
        for seed in range(3):
            train_until(loader, path, monkeypatch, after + seed, seed=seed)
    for seed in range(3):
        training = make_training(loader, seed=seed)
        resume(training, path)
        assert training.step == 5 + seed
    assert len(list_steps(path)) == 4


@pytest.mark.parametrize("mine", ["checkpoint.pt", "checkpoint.previous.pt"])
def test_one_of_another_recipe_beside_it(loader, path, monkeypatch, mine):
    """As trainings left them before other recipes' checkpoints were set aside: each recipe goes on from its own."""
    theirs = ({"checkpoint.pt", "checkpoint.previous.pt"} - {mine}).pop()
    for name, seed, step in ((mine, 0, 5), (theirs, 1, 3)):
        folder = path.parent / str(seed)
        train_until(loader, folder / "checkpoint.pt", monkeypatch, step, seed=seed)
        (folder / "checkpoint.pt").rename(path.with_name(name))
        name_previous(folder / "checkpoint.pt").unlink()
        folder.rmdir()
    train_until(loader, path, monkeypatch, 7)
    aside = name_aside(path, make_training(loader, seed=1).fingerprint)
    assert list_steps(path) == {"checkpoint.pt": 7, "checkpoint.previous.pt": 6, aside.name: 3}


def test_end_of_a_training_leaves_those_of_others(loader, path, monkeypatch):
    """Also where it was too short to write a checkpoint."""
    train_until(loader, path, monkeypatch, 4)
    path.with_name(".checkpoint.123.pt").touch()
    short = make_training(loader, epochs=1)
    saver = Saver(short, path)
    saver.resume()
    train.train(short, saver)
    saver.remove_leftovers()
    assert list_steps(path) == {name_aside(path, make_training(loader).fingerprint).name: 4}
    back = make_training(loader)
    resume(back, path)
    assert back.step == 4


def test_damaged_one_of_a_recipe_set_aside(loader, path, monkeypatch, warnings_of):
    """Nothing of it can be used, and the other's is whole: the training starts."""
    train_until(loader, path, monkeypatch, 4)
    train_until(loader, path, monkeypatch, 2, seed=1)
    aside = name_aside(path, make_training(loader).fingerprint)
    aside.write_bytes(aside.read_bytes()[:-100])
    back = make_training(loader)
    resume(back, path)
    assert back.step == 0
    assert any(f"{aside}: is no whole checkpoint" in message for message in warnings_of())


# ---- the lock --------------------------------------------------------------------------------------------------------


def refuse_locks(monkeypatch, number: int) -> None:
    """As file systems do: Lustre without -o flock, NFS without its daemon, FUSE."""

    def refuse(file, operation):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_file_system_without_locks(tmp_path, monkeypatch, warnings_of, number):
    refuse_locks(monkeypatch, number)
    file, done = tmp_path / "model/training.lock", False
    with lock(file):
        done = True
    assert done and not file.exists()
    (message,) = warnings_of()
    assert f"{file}: this file system has no locks ({os.strerror(number)})" in message


def test_other_errors_of_the_lock_name_the_file(tmp_path, monkeypatch):
    refuse_locks(monkeypatch, errno.EIO)
    with pytest.raises(OSError, match=r"Input/output error: '.*training\.lock'"), lock(tmp_path / "training.lock"):
        pass
