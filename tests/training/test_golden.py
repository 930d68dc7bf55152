"""
The losses of twenty minibatches, as they were when golden/losses.json was written.

They are computed in double precision, from views in single precision: another kind of processor moves them by less than 1e-12
of themselves, the training by 1e-3 to 6e-2. In single precision a max pooling or ReLU whose inputs are nearly equal chooses
differently there, and twenty steps later the losses differ by up to 3e-2. The views have the same bits on x86 processors with
FMA (since 2013); without it the losses move by up to 7e-3.

After a change that is meant to move them: UPDATE_GOLDEN=1 python -m pytest tests/test_golden.py, and a line in CHANGELOG.md.
"""

import dataclasses
import itertools
import json
import os
from pathlib import Path

import pytest
import torch
from conftest import NO_GPU, make_recipe, make_spec
from torch.testing import assert_close
from trainings import OBJECTIVES

from ipcl_core.training.state import Training
from ipcl_core.training.train import read_batches, take_step

GOLDEN = Path(__file__).parents[1] / "golden/losses.json"


def build_training(loader, objective: str, device: str = "cpu", **changes) -> Training:
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


def train(run: Training, n: int) -> list[float]:
    """The losses of the first n minibatches."""
    dtype = next(run.network.parameters()).dtype  # the views' too
    batches = (dataclasses.replace(batch, views=batch.views.to(dtype)) for batch in read_batches(run))
    return [take_step(run, batch)[0].item() for batch in itertools.islice(batches, n)]


def train_in_double_precision(loader, objective: str, device: str = "cpu") -> list[float]:
    """The losses of twenty minibatches."""
    run = build_training(loader, objective, device)
    run.network.double()
    run.objective.double()
    run.autocast = False
    return train(run, 20)


@pytest.mark.parametrize("objective", list(OBJECTIVES))
def test_golden_losses(large_batches, objective):
    losses = train_in_double_precision(large_batches, objective)
    if os.environ.get("UPDATE_GOLDEN"):
        golden = json.loads(GOLDEN.read_text()) | {objective: [float(f"{loss:.12g}") for loss in losses]}
        GOLDEN.write_text(json.dumps(golden, indent=2) + "\n")
    assert_close(losses, json.loads(GOLDEN.read_text())[objective], rtol=1e-9, atol=0)


@pytest.mark.parametrize("objective", list(OBJECTIVES))
def test_bfloat16_is_near_single_precision(large_batches, objective):
    """What a GPU computes in, on the processor: forward passes in bfloat16, loss, queue and weights in single precision."""
    run = build_training(large_batches, objective)
    run.autocast = True
    found, expected = train(run, 4), train(build_training(large_batches, objective), 4)
    assert_close(found, expected, rtol=0.03, atol=0)
    assert found != expected
    assert all(
        tensor.dtype == torch.float32 for tensor in run.objective.state_dict().values() if torch.is_tensor(tensor)
    )
    assert all(weights.dtype == torch.float32 for weights in run.network.parameters())


@pytest.mark.gpu
@NO_GPU
@pytest.mark.parametrize("objective", list(OBJECTIVES))
def test_golden_losses_on_a_gpu(large_batches, objective):
    """The same file: channels last, fused optimizer, a GPU's kernels."""
    losses = train_in_double_precision(large_batches, objective, "cuda")
    assert_close(losses, json.loads(GOLDEN.read_text())[objective], rtol=1e-6, atol=0)


@pytest.mark.gpu
@NO_GPU
@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("objective", list(OBJECTIVES))
def test_gpu_agrees_with_the_processor(large_batches, objective, compiled):
    """Four minibatches in bfloat16, channels last, compiled or not, within 3% of single precision on the processor."""
    found = train(build_training(large_batches, objective, "cuda", compile=compiled), 4)
    assert_close(found, train(build_training(large_batches, objective), 4), rtol=0.03, atol=0)


@pytest.mark.gpu
@NO_GPU
@pytest.mark.parametrize("precision,tolerance", [("float32", 1e-3), ("tf32", 1e-2), ("bfloat16", 3e-2)])
def test_precision_of_a_gpu(large_batches, precision, tolerance, monkeypatch):
    """Four minibatches against the same in single precision on the processor: near, and as far as the precision says."""
    found = train(build_training(large_batches, "ipcl", precision=precision), 4)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    expected = train(build_training(large_batches, "ipcl", precision=precision), 4)
    assert_close(found, expected, rtol=tolerance, atol=0)
    furthest = max(abs(a - b) / b for a, b in zip(found, expected, strict=True))
    assert furthest > {"float32": 0, "tf32": 1e-6, "bfloat16": 1e-4}[precision]


@pytest.mark.parametrize("precision", ["float32", "tf32", "bfloat16"])
def test_precision_of_a_processor_is_single(large_batches, precision):
    expected = train(build_training(large_batches, "ipcl", precision="float32"), 2)
    assert train(build_training(large_batches, "ipcl", precision=precision), 2) == expected


@pytest.mark.gpu
@NO_GPU
def test_the_step_does_not_wait_for_the_gpu(large_batches):
    """CUDA refuses every synchronisation during the second minibatch; the first one sets things up."""
    run = build_training(large_batches, "ipcl", "cuda")
    batches = read_batches(run)
    take_step(run, next(batches))
    batch = next(batches)
    torch.cuda.set_sync_debug_mode("error")
    try:
        take_step(run, batch)
    finally:
        torch.cuda.set_sync_debug_mode("default")
