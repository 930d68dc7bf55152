import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch
from conftest import N_PICTURES, make_recipe, make_spec
from trainings import (
    COLUMNS,
    N_BATCHES,
    OBJECTIVES,
    TIMES,
    Interrupted,
    assert_same_state,
    finish,
    interrupt,
    make_training,
    resume,
)

from ipcl_core.distributed import ENDING, TRY_AGAIN, catch_signals
from ipcl_core.files import read_json
from ipcl_core.networks.architectures import initialize_network
from ipcl_core.networks.network_files import load_network
from ipcl_core.training.checkpoints import Saver, lock
from ipcl_core.training.state import Training
from ipcl_core.training.train import train_network

# ---- interruption ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("after", [3, 5, 8])
@pytest.mark.parametrize("objective", list(OBJECTIVES))
def test_resumed_training_ends_with_the_same_bits(loader, tmp_path, monkeypatch, objective, after):
    """Interrupted within the first epoch, at its end, within the second."""
    whole = make_training(loader, objective)
    finish(whole, tmp_path / "unused.pt")
    checkpoint = tmp_path / "checkpoint.pt"
    with monkeypatch.context() as patch:
        interrupt(patch, after)
        with pytest.raises(Interrupted):
            finish(make_training(loader, objective, checkpoint_minutes=1e-9), checkpoint)
    resumed = make_training(loader, objective)
    resume(resumed, checkpoint)
    assert resumed.step == after
    finish(resumed, checkpoint)
    assert_same_state(resumed, whole)


def test_dropout_is_resumed(loader, tmp_path, monkeypatch):
    """Units are dropped by the seed and the position alone: the same after an interruption, others at each minibatch."""

    def make(**changes) -> Training:
        spec = make_spec(architecture="alexnet", dim=3, l2norm=False)
        recipe = make_recipe(objective=OBJECTIVES["supervised"], **changes)
        return Training(spec, recipe, seed=0, loader=loader, data_sha256="x", device=torch.device("cpu"))

    whole, dropped = make(), []
    handle = whole.network.fc7[2].register_forward_hook(lambda m, args, y: dropped.append(y[args[0] != 0] == 0))
    finish(whole, tmp_path / "unused.pt")
    handle.remove()
    assert len({str(mask.tolist()) for mask in dropped}) == 2 * N_BATCHES
    assert 0.4 < torch.cat(dropped).float().mean() < 0.6
    checkpoint = tmp_path / "checkpoint.pt"
    with monkeypatch.context() as patch:
        interrupt(patch, 3)
        with pytest.raises(Interrupted):
            finish(make(checkpoint_minutes=1e-9), checkpoint)
    resumed = make()
    resume(resumed, checkpoint)
    torch.rand(7)  # whatever else was drawn before
    finish(resumed, checkpoint)
    assert_same_state(resumed, whole)


@pytest.mark.parametrize(
    "changes",
    [
        {"optimizer": {"name": "adamw", "lr": 0.003, "weight_decay": 0.01}},
        {"optimizer": {"name": "ranger", "lr": 0.003, "weight_decay": 0.01}, "epochs": 3},
        {"schedule": {"name": "multi_step", "milestones": [1]}},
        {"schedule": {"name": "one_cycle", "momentum_range": [0.85, 0.95]}},
    ],
    ids=["adamw", "ranger", "multi_step", "momentum"],
)
def test_optimizer_and_schedule_are_resumed(loader, tmp_path, monkeypatch, changes):
    whole = make_training(loader, **changes)
    finish(whole, tmp_path / "unused.pt")
    checkpoint = tmp_path / "checkpoint.pt"
    with monkeypatch.context() as patch:
        interrupt(patch, 4)
        with pytest.raises(Interrupted):
            finish(make_training(loader, checkpoint_minutes=1e-9, **changes), checkpoint)
    resumed = make_training(loader, **changes)
    resume(resumed, checkpoint)
    finish(resumed, checkpoint)
    assert_same_state(resumed, whole)


@pytest.mark.parametrize("accumulate,after", [(2, 4), (2, 9), (3, 5), (4, 7)])
@pytest.mark.parametrize("leftover", ["step", "carry", "drop"])
def test_gradients_of_an_incomplete_group_are_resumed(loader, tmp_path, monkeypatch, accumulate, after, leftover):
    """Whatever the epochs' length: the checkpoint is of the minibatch before the interruption, and no gradient is lost."""
    changes = {"accumulate": accumulate, "leftover_gradients": leftover}
    whole = make_training(loader, **changes)
    finish(whole, tmp_path / "unused.pt")
    checkpoint = tmp_path / "checkpoint.pt"
    with monkeypatch.context() as patch:
        interrupt(patch, after)
        with pytest.raises(Interrupted):
            finish(make_training(loader, checkpoint_minutes=1e-9, **changes), checkpoint)
    resumed = make_training(loader, **changes)
    resume(resumed, checkpoint)
    assert resumed.step == after
    finish(resumed, checkpoint)
    assert_same_state(resumed, whole)


@pytest.mark.parametrize(
    "changes",
    [
        *({"seed": 1}, {"sha256": "y"}, {"epochs": 3}, {"objective": "ipcl_infonce"}),
        *({"dim": 9}, {"architecture": "alexnet_bn"}),
    ],
)
def test_checkpoint_of_another_training_is_not_used(loader, tmp_path, warnings_of, changes):
    Saver(make_training(loader, epochs=2), tmp_path / "checkpoint.pt").save()
    state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    torch.save(state | {"step": 7}, tmp_path / "checkpoint.pt")
    same = make_training(loader, checkpoint_minutes=3)
    resume(same, tmp_path / "checkpoint.pt")
    assert same.step == 7
    assert warnings_of() == []
    other = make_training(loader, **changes)
    resume(other, tmp_path / "checkpoint.pt")
    assert other.step == 0
    assert len(warnings_of()) == 1
    assert "checkpoint.pt belongs to another recipe, seed or data set: training starts anew" in warnings_of()[0]
    assert_same_state(other, make_training(loader, **changes))


# ---- the whole job ---------------------------------------------------------------------------------------------------


def train(beton: Path, summary: Path, folder: Path, **changes) -> dict[str, Path]:
    paths = {name: folder / name for name in ("weights.safetensors", "log.csv", "provenance.json")}
    train_network(
        make_spec(),
        make_recipe(**changes),
        seed=0,
        beton=beton,
        data_sha256=read_json(summary)["sha256"],
        weights=paths["weights.safetensors"],
        log=paths["log.csv"],
        provenance=paths["provenance.json"],
        n_threads=1,
    )
    return paths


def test_job_whose_outputs_are_lost_behind_the_training_goes_on_from_its_last_checkpoint(raw_split, tmp_path, caplog):
    """As Snakemake removes them when a job is killed between the end of its training and its own."""
    paths = train(raw_split.beton, raw_split.summary, tmp_path, checkpoint_steps=3)
    expected = paths["weights.safetensors"].read_bytes()
    for path in paths.values():
        path.unlink()
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.pt"]
    with caplog.at_level("INFO"):
        train(raw_split.beton, raw_split.summary, tmp_path, checkpoint_steps=3)
    assert "going on from minibatch" in caplog.text and paths["weights.safetensors"].read_bytes() == expected


def test_interrupted_job_ends_with_the_same_files(raw_split, tmp_path, monkeypatch):
    whole = train(raw_split.beton, raw_split.summary, tmp_path / "whole")
    with monkeypatch.context() as patch:
        interrupt(patch, 7)
        with pytest.raises(Interrupted):
            train(raw_split.beton, raw_split.summary, tmp_path / "resumed", checkpoint_minutes=1e-9)
    assert {path.name for path in (tmp_path / "resumed").iterdir()} == {"checkpoint.pt", "checkpoint.previous.pt"}
    resumed = train(raw_split.beton, raw_split.summary, tmp_path / "resumed")
    assert {path.name for path in (tmp_path / "resumed").iterdir()} == {"checkpoint.pt", *resumed}
    assert resumed["weights.safetensors"].read_bytes() == whole["weights.safetensors"].read_bytes()
    logs = [pd.read_csv(paths["log.csv"]).drop(columns=TIMES) for paths in (resumed, whole)]
    pd.testing.assert_frame_equal(*logs, check_exact=True)

    assert list(pd.read_csv(whole["log.csv"]).columns) == COLUMNS
    network, spec = load_network(whole["weights.safetensors"])
    assert spec == make_spec()
    start = initialize_network(spec, 0)
    assert (network.fc8[0].weight - start.fc8[0].weight).abs().max() > 0
    provenance = json.loads(whole["provenance.json"].read_text())
    assert provenance["network"] == make_spec().model_dump()
    assert provenance["recipe"] == json.loads(make_recipe().model_dump_json())
    assert provenance["seed"] == 0
    assert provenance["data"] == {
        "sha256": read_json(raw_split.summary)["sha256"],
        "n_images": N_PICTURES,
    }
    assert {"network", "recipe", "seed", "data", "seconds", "precision", "n_processes", "jobs"} == provenance.keys()
    (job,) = provenance["jobs"]
    assert job["minibatch"] == 0 and job["hardware"].keys() == {"processor", "n_threads", "gpu"}


def test_jobs_with_other_code_that_trained_in_turn_are_named(raw_split, tmp_path, monkeypatch, warnings_of):
    """The record is that of the last one alone; a checkpoint of before has no jobs."""
    with monkeypatch.context() as patch:
        patch.setattr("ipcl_core.training.train.hash_code", lambda path: {"ipcl_core/training/train.py": "other"})
        patch.setattr("ipcl_core.records.find_commit", lambda: "begun")
        interrupt(patch, 7)
        with pytest.raises(Interrupted):
            train(raw_split.beton, raw_split.summary, tmp_path, checkpoint_minutes=1e-9)
    state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    paths = train(raw_split.beton, raw_split.summary, tmp_path)
    first, second = read_json(paths["provenance.json"])["jobs"]
    assert (first["minibatch"], first["commit"], second["minibatch"]) == (0, "begun", 7)
    assert first["hardware"] == second["hardware"] and first["code"] != second["code"]
    assert "the minibatches before were trained by other code (commit begun; now " in warnings_of()[-1]
    del state["jobs"]
    torch.save(state, tmp_path / "checkpoint.pt")
    train(raw_split.beton, raw_split.summary, tmp_path)
    (job,) = read_json(paths["provenance.json"])["jobs"]
    assert job["minibatch"] == 7


def test_failed_job_is_not_repeated_unless_something_changed(raw_split, tmp_path, monkeypatch):
    """A retry says at once what went wrong; another recipe, or the file removed, and it trains."""
    with monkeypatch.context() as patch:
        patch.setattr("ipcl_core.training.train.take_step", spoil_loss)
        with pytest.raises(FloatingPointError, match="the loss is nan at minibatch 5"):
            train(raw_split.beton, raw_split.summary, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["failure.json"]
    with pytest.raises(FloatingPointError, match=r"nan at minibatch 5.*to try the same again, remove .*failure.json"):
        train(raw_split.beton, raw_split.summary, tmp_path)
    assert train(raw_split.beton, raw_split.summary, tmp_path, epochs=1)["weights.safetensors"].exists()
    assert not (tmp_path / "failure.json").exists()


def spoil_loss(training, batch):
    training.step += 1
    return torch.tensor(torch.nan), torch.zeros(4, 3, 8)


def test_two_jobs_do_not_train_one_model(raw_split, tmp_path):
    with (
        lock(tmp_path / "training.lock"),
        pytest.raises(BlockingIOError, match=r"training.lock: another process trains this model"),
    ):
        train(raw_split.beton, raw_split.summary, tmp_path)
    assert train(raw_split.beton, raw_split.summary, tmp_path)["weights.safetensors"].exists()


TESTS = Path(__file__).parents[1]
SLURM_KILLS = 30
"""Seconds after SIGTERM, by default (KillWait)."""

SLOW_TRAINING = """
import sys, time
sys.path[:0] = [{tests!r}, {tests!r} + "/training", {root!r}]
from pathlib import Path
from ipcl_core.training import train
import test_resume

take_step = train.take_step
def slow(training, batch):
    print("minibatch", training.step, flush=True)
    time.sleep(0.2)
    return take_step(training, batch)
train.take_step = slow
test_resume.train(Path({beton!r}), Path({summary!r}), Path({folder!r}), accumulate=4)
"""


@pytest.mark.usefixtures("heeded")
@pytest.mark.parametrize("number", ENDING)
def test_signal_ends_the_process_with_a_checkpoint(raw_split, tmp_path, number):
    """A real process, told to end within an epoch and within a group of gradients; called again it ends with the same bits."""
    folder = tmp_path / "stopped"
    values = {"tests": str(TESTS), "root": str(TESTS.parent), "folder": str(folder)}
    script = SLOW_TRAINING.format(beton=str(raw_split.beton), summary=str(raw_split.summary), **values)
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=dict(os.environ)
    )
    for line in process.stdout:
        if line == "minibatch 6\n":
            process.send_signal(number)
            break
    output, errors = process.communicate(timeout=SLURM_KILLS)
    assert process.returncode == TRY_AGAIN == 75, errors
    assert "minibatch 7" not in output
    assert [path.name for path in folder.iterdir()] == ["checkpoint.pt"]
    assert torch.load(folder / "checkpoint.pt", weights_only=True)["step"] == 7
    stopped = train(raw_split.beton, raw_split.summary, folder, accumulate=4)
    whole = train(raw_split.beton, raw_split.summary, tmp_path / "whole", accumulate=4)
    assert stopped["weights.safetensors"].read_bytes() == whole["weights.safetensors"].read_bytes()


@pytest.mark.usefixtures("heeded")
@pytest.mark.parametrize("number", ENDING)
def test_signal_is_given_back(number):
    before = signal.getsignal(number)
    with catch_signals() as terminated:
        assert not terminated.is_set()
        os.kill(os.getpid(), number)
        assert terminated.wait(5)
    assert signal.getsignal(number) == before


def test_a_closed_terminal_is_nothing_to_nohup():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with catch_signals() as terminated:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not terminated.wait(0.2)
    finally:
        signal.signal(signal.SIGHUP, before)
