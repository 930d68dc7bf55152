"""Several processes on the processor (gloo), started by torchrun, against a single one."""

import os
import signal
import threading
import time
from pathlib import Path

import h5py
import pandas as pd
import pytest
import torch
from conftest import make_recipe, make_spec
from distributed_trainings import CASES, train_cases, train_cases_and_fail, train_slowly
from numpy.testing import assert_allclose
from torch.testing import assert_close

from ipcl_core import distributed
from ipcl_core.distributed import ENDING, TRY_AGAIN, launch
from ipcl_core.files import read_json
from ipcl_core.training.train import train_network
from ipcl_core.views.loader import ViewLoader

HERE = Path(__file__).parent
TOLERANCE = {"rtol": 1e-9, "atol": 1e-9}
"""Of double precision after twenty minibatches: the order of its sums alone differs."""


@pytest.fixture(autouse=True)
def paths(monkeypatch):
    """Where the processes find these modules."""
    monkeypatch.setenv("PYTHONPATH", f"{HERE}:{HERE.parent}")


@pytest.fixture(scope="module")
def single(raw_split, tmp_path_factory) -> Path:
    """Folder of a single process's results and checkpoints."""
    folder = tmp_path_factory.mktemp("single")
    train_cases(str(raw_split.beton), str(folder), str(folder), list(CASES), n_threads=1)
    return folder


def keep_arguments(raw_split, folder: Path, checkpoints: Path, cases: list[str]) -> dict:
    folder.mkdir()
    return {"beton": str(raw_split.beton), "folder": str(folder), "checkpoints": str(checkpoints), "cases": cases}


def compare(folder: Path, expected: Path) -> None:
    """Losses, weights, running statistics, queue or bank and Z of every case in one folder are those of the other."""
    found, expected = (torch.load(path / "found.pt", weights_only=True) for path in (folder, expected))
    for case, kinds in found.items():
        whole = expected[case]["whole"]
        for kind, values in kinds.items():
            pairs = [("losses", values["losses"], whole["losses"][-len(values["losses"]) :])]
            for part in ("network", "objective"):
                assert values[part].keys() == whole[part].keys()
                pairs += [(name, values[part][name], value) for name, value in whole[part].items()]
            for name, *two in pairs:
                where = f"{case}, {kind}, {name}: "
                assert_close(*two, equal_nan=True, msg=lambda text, where=where: where + text, **TOLERANCE)


def compare_features(folder: Path, expected: Path) -> None:
    """Labels, features of every layer and kNN votes in one folder are those of the other."""
    with h5py.File(folder / "embeddings.h5") as file, h5py.File(expected / "embeddings.h5") as other:
        assert list(file.attrs["layers"]) == list(other.attrs["layers"]) == ["conv_block_2"]
        for name in ("val/label", "val/layers/conv_block_2", "val/layers/output"):
            assert_allclose(file[name], other[name], rtol=0, atol=1e-5)
    votes = (torch.load(path / "votes.pt", weights_only=True) for path in (folder, expected))
    assert_close(*votes, rtol=1e-5, atol=0)


@pytest.mark.distributed
def test_two_processes_equal_a_single_one(raw_split, single, tmp_path):
    """From the start, and on from a single process's checkpoint; features and kNN."""
    two = tmp_path / "two"
    arguments = keep_arguments(raw_split, two, single, list(CASES))
    launch(train_cases, arguments, n_processes=2, n_threads=2, log=tmp_path / "a.log")
    compare(two, single)
    compare_features(two, single)


@pytest.mark.distributed
def test_four_processes_equal_a_single_one(raw_split, single, tmp_path):
    """The same, and one process goes on from the checkpoint of the four, of which one is then killed: the others end."""
    four, one, cases = tmp_path / "four", tmp_path / "one", ["ipcl", "memory", "supervised"]
    arguments = keep_arguments(raw_split, four, single, cases)
    with pytest.raises(SystemExit) as error:
        launch(train_cases_and_fail, arguments, n_processes=4, n_threads=4, log=tmp_path / "a.log")
    assert error.value.code == 1
    compare(four, single)
    compare_features(four, single)
    train_cases(**keep_arguments(raw_split, one, four, cases), n_threads=1)
    compare(one, single)


@pytest.mark.distributed
@pytest.mark.usefixtures("heeded")
@pytest.mark.parametrize("number", ENDING)
def test_a_signal_ends_all_processes_with_a_checkpoint(raw_split, tmp_path, number):
    """SIGTERM as the process that waits for torchrun receives it, the others as both do; a single process goes on."""
    folder, log = tmp_path / "model", tmp_path / "a.log"
    recipe = make_recipe(epochs=20, checkpoint_minutes=1e-9, accumulate=2)
    arguments = {
        "spec": make_spec().model_dump(),
        "recipe": recipe.model_dump(),
        "seed": 0,
        "beton": str(raw_split.beton),
        "data_sha256": read_json(raw_split.summary)["sha256"],
        "weights": str(folder / "weights.safetensors"),
        "log": str(folder / "log.csv"),
        "provenance": str(folder / "provenance.json"),
    }
    thread = threading.Thread(target=stop_after_checkpoint, args=(folder, number))
    thread.start()
    with pytest.raises(SystemExit) as error:
        launch(train_slowly, arguments, n_processes=2, n_threads=2, log=log)
    thread.join()
    assert error.value.code == TRY_AGAIN
    for process in range(2):
        with pytest.raises(ProcessLookupError):
            os.kill(int((folder / f"process{process}").read_text()), 0)
    step = torch.load(folder / "checkpoint.pt", weights_only=True)["step"]
    assert 0 < step < 100 and step % 2 == 0
    assert log.read_text().count("told to end by a signal, behind minibatch") == 1
    assert f"behind minibatch {step};" in log.read_text()
    train_network(**arguments, n_threads=1)
    assert pd.read_csv(folder / "log.csv")["minibatch"].tolist() == list(range(5, 101, 5))
    assert read_json(folder / "provenance.json")["n_processes"] == 1
    names = ["checkpoint.pt", "log.csv", "process0", "process1", "provenance.json", "weights.safetensors"]
    assert sorted(path.name for path in folder.iterdir()) == names


def stop_after_checkpoint(folder: Path, number: signal.Signals) -> None:
    """Once both processes work and there is a checkpoint, do what SLURM and Snakemake do, or a terminal."""
    for _ in range(1200):
        time.sleep(0.1)
        if (folder / "process1").exists() and (folder / "checkpoint.pt").exists():
            children = " ".join(path.read_text() for path in Path("/proc/self/task").glob("*/children"))
            for process in children.split() if number != signal.SIGTERM else []:
                os.kill(int(process), number)
            return os.kill(os.getpid(), number)


def test_part_of_each_batch(raw_split, loader):
    """Two loaders read the halves of every minibatch, with the views that one loader makes of them."""
    options = {"batch_size": 4, "preprocessing": make_spec().preprocessing, "n_threads": 1}
    halves = [ViewLoader(raw_split.beton, **options, part=part, n_parts=2) for part in range(2)]
    keys = {"n_views": 2, "augmentation": make_recipe().augmentation, "seed": 3, "epoch": 1, "first_batch": 2}
    for whole, *parts in zip(loader.iterate_random(**keys), *(h.iterate_random(**keys) for h in halves), strict=True):
        for name in ("images", "labels", "views"):
            found = torch.cat([getattr(part, name) for part in parts])
            assert_close(found, getattr(whole, name), rtol=0, atol=0)
            assert all(len(getattr(part, name)) == 2 for part in parts)


def test_impossible_divisions_are_refused(raw_split, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="batch_size 4 cannot be divided evenly among 3 processes"):
        ViewLoader(raw_split.beton, batch_size=4, preprocessing=make_spec().preprocessing, n_parts=3)
    keys = {"function": train_slowly, "arguments": {}, "n_threads": 1, "log": tmp_path / "a.log"}
    with pytest.raises(ValueError, match="5 GPUs cannot be spread evenly over 2 nodes"):
        launch(**keys, n_processes=5, n_nodes=2)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(ValueError, match="4 GPUs a node were asked for, and this node shows 1"):
        launch(**keys, n_processes=8, n_nodes=2)


@pytest.fixture
def alone(monkeypatch):
    """A group of one process."""
    for name, value in {"RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "localhost", "MASTER_PORT": "29512"}.items():
        monkeypatch.setenv(name, value)
    with distributed.join_processes():
        yield


def test_processes_wait_longer_than_for_a_checkpoint(alone):
    backend = torch.distributed.group.WORLD._get_backend(torch.device("cpu"))
    assert backend.options._timeout == distributed.PATIENCE


def test_weights_without_gradient_are_left_out(alone, monkeypatch):
    """As a layer that the network has and does not use."""
    network = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2))
    network[0](torch.ones(1, 2)).sum().backward()
    expected = [w.grad / 2 for w in network[0].parameters()]
    monkeypatch.setattr(distributed, "count_processes", lambda: 2)  # the mean is taken over two, of which one is here
    distributed.average_gradients(network)
    assert [torch.equal(w.grad, e) for w, e in zip(network[0].parameters(), expected, strict=True)] == [True, True]
    assert all(w.grad is None for w in network[1].parameters())


@pytest.mark.parametrize("kind", [torch.float64, torch.float32, torch.bfloat16])
def test_batch_norm_of_several_processes_is_torchs(alone, kind):
    """Result, gradients and running statistics; in half precision it computes in single."""
    x = torch.randn(6, 3, 4, 4, generator=torch.Generator().manual_seed(0)).to(kind) + 1
    found, expected = [], []
    for normalize, results in ((distributed._normalize_batch, found), (lambda layer, x: layer(x), expected)):
        layer, part = torch.nn.BatchNorm2d(3), x.clone().requires_grad_()
        layer = layer.double() if kind == torch.float64 else layer
        output = normalize(layer, part)
        assert output.dtype == kind
        (output.float() * torch.arange(16.0).reshape(4, 4)).sum().backward()
        results += [output, part.grad, layer.weight.grad, layer.bias.grad, layer.running_mean, layer.running_var]
    tolerance = {torch.float64: 1e-12, torch.float32: 1e-5, torch.bfloat16: 1e-2}[kind]
    for one, other in zip(found, expected, strict=True):
        assert_close(one, other, rtol=tolerance, atol=tolerance * max(1, other.abs().max().item()))


def test_network_of_several_processes_is_one_graph(alone, monkeypatch):
    """`compile` finds no break: torch's SyncBatchNorm would make one a layer, and wait for the GPU there."""
    monkeypatch.setattr(distributed, "count_processes", lambda: 2)
    network = distributed.couple_layers(torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4)))
    found = torch._dynamo.explain(network)(torch.randn(4, 3, 6, 6))
    assert (found.graph_count, found.graph_break_count) == (1, 0)


@pytest.mark.parametrize(
    "layer", [torch.nn.Dropout2d(), torch.nn.BatchNorm3d(2), torch.nn.BatchNorm1d(2, affine=False)]
)
def test_unknown_layers_are_refused(monkeypatch, layer):
    monkeypatch.setattr(distributed, "count_processes", lambda: 2)
    with pytest.raises(ValueError, match=r"^1, .*: not known to give the same result on several GPUs"):
        distributed.couple_layers(torch.nn.Sequential(torch.nn.Linear(2, 2), layer))
