"""Whole trainings on a GPU: from a file, on from a checkpoint, by NCCL, by two processes on one card."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import BATCH_SIZE, make_recipe, make_spec
from resident import Resident
from torch import nn
from torch.testing import assert_close
from trainings import Interrupted, drop_times, finish, interrupt, make_training, resume

from ipcl_core import distributed
from ipcl_core.files import read_json
from ipcl_core.training.train import train_network

pytestmark = pytest.mark.gpu
ROOT = Path(__file__).parents[2]


def test_whole_training(raw_split, device, tmp_path):
    """Files are there; the losses are near those of the processor."""
    for place in dict.fromkeys(["cpu", device]):
        train_network(
            make_spec(),
            make_recipe(optimizer={"name": "sgd", "lr": 0.001}),
            seed=0,
            beton=raw_split.beton,
            data_sha256=read_json(raw_split.summary)["sha256"],
            weights=tmp_path / place / "weights.safetensors",
            log=tmp_path / place / "log.csv",
            provenance=tmp_path / place / "provenance.json",
            n_threads=1,
            device=place,
        )
    assert (
        read_json(tmp_path / device / "provenance.json")["precision"] == {"cpu": "float32", "cuda": "bfloat16"}[device]
    )
    found, expected = (pd.read_csv(tmp_path / place / "log.csv") for place in (device, "cpu"))
    assert_close(found["loss"].tolist(), expected["loss"].tolist(), rtol=0.03, atol=0)
    assert (tmp_path / device / "weights.safetensors").stat().st_size > 0


@pytest.mark.parametrize(
    "objective", ["ipcl", *(pytest.param(name, marks=pytest.mark.cuda) for name in ("indexed_memory", "supervised"))]
)
def test_interrupted_training_goes_on(pixels, device, tmp_path, monkeypatch, objective):
    """To the same rows of the log; bit by bit on the processor, within rounding on a GPU, whose sums have no fixed order."""

    def make(**changes):
        changes |= {"precision": "float32", "optimizer": {"name": "sgd", "lr": 0.001}}
        return make_training(Resident(pixels, BATCH_SIZE), objective, device=device, **changes)

    whole, checkpoint = make(), tmp_path / "checkpoint.pt"
    finish(whole, tmp_path / "unused.pt")
    with monkeypatch.context() as patch:
        interrupt(patch, 7)
        with pytest.raises(Interrupted):
            finish(make(checkpoint_minutes=1e-9), checkpoint)
    resumed = make()
    resume(resumed, checkpoint)
    assert resumed.step == 7
    finish(resumed, checkpoint)
    tolerance = 0 if device == "cpu" else 1e-3
    for found, expected in zip(drop_times(resumed.rows), drop_times(whole.rows), strict=True):
        assert_close(list(found.values()), list(expected.values()), rtol=tolerance, atol=tolerance)


def test_one_process_by_the_backend_of_several(device, monkeypatch):
    """NCCL on a GPU, gloo on the processor: what is exchanged, and batch norm of several processes, by one of them."""
    settings = {"RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "localhost", "MASTER_PORT": "29511"}
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    x = torch.randn(8, 3, 5, 5, generator=torch.Generator().manual_seed(0)).to(device)
    layers = [nn.BatchNorm2d(3).to(device) for _ in range(2)]
    with distributed.join_processes():
        assert distributed.agree(True, False) == [True, False]
        whole = torch.empty_like(x)
        torch.distributed.all_gather([whole], x)
        assert torch.equal(whole, x)
        found = distributed._normalize_batch(layers[0], x)
    assert_close(found, layers[1](x), rtol=1e-5, atol=1e-5)
    assert_close(layers[0].running_var, layers[1].running_var, rtol=1e-5, atol=1e-6)


TRAIN_TOGETHER = """
import sys
import numpy as np, torch
from ipcl_core import distributed
from resident import Resident
from trainings import list_losses, make_training

device, pictures, to = sys.argv[1:]
torch.set_num_threads(1)
with distributed.join_processes("gloo"):
    part = distributed.get_rank(), distributed.count_processes()
    changes = {"precision": "float32", "optimizer": {"name": "sgd", "lr": 0.001}}
    loader = Resident(list(np.load(pictures).values()), 4, *part)
    losses = list_losses(make_training(loader, device=device, **changes), 4)
    if part[0] == 0:
        torch.save(losses, to)
"""


@pytest.mark.cuda
def test_two_processes_on_one_card(pixels, device, tmp_path):
    """By gloo, as NCCL wants a card for each: the losses of one process. On processors: tests/test_distributed.py."""
    changes = {"precision": "float32", "optimizer": {"name": "sgd", "lr": 0.001}}
    from trainings import list_losses

    expected = list_losses(make_training(Resident(pixels, 4), device=device, **changes), 4)
    np.savez(tmp_path / "pictures.npz", *pixels)
    (tmp_path / "together.py").write_text(TRAIN_TOGETHER)
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone"]
    command += [tmp_path / "together.py", device, tmp_path / "pictures.npz", tmp_path / "losses.pt"]
    paths = [ROOT, ROOT / "tests", ROOT / "tests/gpu"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, paths)), "OMP_NUM_THREADS": "1"}
    subprocess.run(command, env=environment, check=True, timeout=300)
    assert_close(torch.load(tmp_path / "losses.pt"), expected, rtol=1e-3, atol=0)
