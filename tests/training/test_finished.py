"""A training that has finished is given back with the same bytes, and only where it is the same."""

import errno
import os
from pathlib import Path

import pytest
from conftest import make_recipe, make_spec
from trainings import make_training

from ipcl_core.training.checkpoints import lock
from ipcl_core.training.finished import keep, take_back
from ipcl_core.training.state import describe_training

CONTENTS = {"weights.safetensors": b"weights\0", "log.csv": b"loss\n1.5\n", "provenance.json": b"{}\n"}


@pytest.fixture
def outputs(tmp_path) -> list[Path]:
    """What a training wrote."""
    (tmp_path / "model").mkdir()
    paths = [tmp_path / "model" / name for name in CONTENTS]
    write(paths)
    return paths


def write(paths: list[Path], prefix: bytes = b"") -> None:
    for path in paths:
        path.write_bytes(prefix + CONTENTS[path.name])


def lose(paths: list[Path]) -> None:
    """As Snakemake does before it repeats a job."""
    for path in paths:
        path.unlink()


def read(paths: list[Path]) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in paths if path.exists()}


def test_same_training_comes_back(outputs, caplog):
    """As often as it is asked for; until then nothing is there, and what is kept needs no space."""
    assert not take_back(outputs, "mine")
    keep(outputs, "mine")
    folder = outputs[0].parent
    assert all(path.samefile(folder / "finished" / path.name) for path in outputs)
    for _ in range(2):
        lose(outputs)
        with caplog.at_level("INFO"):
            assert take_back(outputs, "mine")
        assert read(outputs) == CONTENTS
        assert "has finished before (network, recipe, seed and the data's SHA-256 are the same)" in caplog.text
    assert {path.name for path in folder.iterdir()} == {"finished", *CONTENTS}
    assert {path.name for path in (folder / "finished").iterdir()} == {"training.json", *CONTENTS}


def test_another_training_does_not(outputs):
    """Nor does it take anything away before it has finished; then the first is gone."""
    keep(outputs, "mine")
    lose(outputs)
    assert not take_back(outputs, "other") and read(outputs) == {}
    write(outputs, b"other ")
    assert read([path.parent / "finished" / path.name for path in outputs]) == CONTENTS
    keep(outputs, "other")
    lose(outputs)
    assert not take_back(outputs, "mine")
    assert take_back(outputs, "other") and outputs[0].read_bytes() == b"other weights\0"


@pytest.mark.parametrize(
    ("changes", "same"),
    [
        ({}, True),
        ({"checkpoint_minutes": 3.0, "checkpoint_steps": 7}, True),
        *(({"seed": 1}, False), ({"sha256": "y"}, False), ({"epochs": 3}, False), ({"dim": 9}, False)),
    ],
)
def test_fingerprint_is_that_of_checkpoints(loader, changes, same):
    training, mine = make_training(loader, **changes), make_training(loader)
    assert (training.fingerprint == describe_training(mine.spec, mine.recipe, mine.seed, "x")) == same


@pytest.mark.parametrize("name", [*CONTENTS, "training.json"])
@pytest.mark.parametrize("damage", ["altered", "lost"])
def test_damaged_one_is_not_used(outputs, warnings_of, name, damage):
    """Also where it was the weights beside it, the same file, in which a byte has changed."""
    keep(outputs, "mine")
    file = outputs[0].parent / "finished" / name
    if damage == "altered":
        file.write_bytes(b"[" + file.read_bytes()[1:])
    else:
        file.unlink()
    lose(outputs)
    assert not take_back(outputs, "mine") and read(outputs) == {}
    if (name, damage) != ("training.json", "lost"):
        (message,) = warnings_of()
        assert f"{file.parent}: not as the training left it" in message
    write(outputs)
    keep(outputs, "mine")
    assert take_back(outputs, "mine")


def test_part_of_what_was_to_be_kept_is_not_used(outputs, monkeypatch, warnings_of):
    """The disk is full, or the process killed, between two files: the training's own files stay, and a warning is given."""
    keep(outputs, "mine")
    write_json = "ipcl_core.training.finished.write_json"

    def fail(value, path):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    with monkeypatch.context() as patch:
        patch.setattr(write_json, fail)
        keep(outputs, "mine")
    (message,) = warnings_of()
    assert "finished: not kept ([Errno 28] No space left on device" in message
    assert read(outputs) == CONTENTS and not take_back(outputs, "mine")


def test_file_system_without_hard_links(outputs, monkeypatch):
    def refuse(source, target):
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", refuse)
    keep(outputs, "mine")
    assert not outputs[0].samefile(outputs[0].parent / "finished" / outputs[0].name)
    lose(outputs)
    assert take_back(outputs, "mine") and read(outputs) == CONTENTS


def test_nothing_is_given_back_while_another_process_trains_the_model(outputs):
    keep(outputs, "mine")
    lose(outputs)
    with lock(outputs[0].parent / "training.lock"), pytest.raises(BlockingIOError, match="another process trains"):
        take_back(outputs, "mine")
    assert read(outputs) == {}


def test_recipe_with_a_new_key_is_another_training():
    """Its default may not be what was done before."""
    recipe = make_recipe()
    less = recipe.model_copy()
    del less.__dict__["precision"]
    assert describe_training(make_spec(), recipe, 0, "x") != describe_training(make_spec(), less, 0, "x")
