"""
The losses of twenty minibatches, as they were when golden/losses.json was written.

They are computed in double precision, from views in single precision: another kind of processor moves them by less than 1e-12
of themselves, the training by 1e-3 to 6e-2. In single precision a max pooling or ReLU whose inputs are nearly equal chooses
differently there, and twenty steps later the losses differ by up to 3e-2. The views have the same bits on x86 processors with
FMA (since 2013); without it the losses move by up to 7e-3.

After a change that is meant to move them: UPDATE_GOLDEN=1 python -m pytest tests/test_golden.py, and a line in CHANGELOG.md.
"""

import json
import os

import pytest
import torch
from torch.testing import assert_close
from trainings import GOLDEN, OBJECTIVES, build_golden_training, list_golden_losses, list_losses


@pytest.mark.parametrize("objective", list(OBJECTIVES))
def test_golden_losses(large_batches, objective):
    losses = list_golden_losses(large_batches, objective)
    if os.environ.get("UPDATE_GOLDEN"):
        golden = json.loads(GOLDEN.read_text()) | {objective: [float(f"{loss:.12g}") for loss in losses]}
        GOLDEN.write_text(json.dumps(golden, indent=2) + "\n")
    assert_close(losses, json.loads(GOLDEN.read_text())[objective], rtol=1e-9, atol=0)


@pytest.mark.parametrize("objective", list(OBJECTIVES))
def test_bfloat16_is_near_single_precision(large_batches, objective):
    """What a GPU computes in, on the processor: forward passes in bfloat16, loss, queue and weights in single precision."""
    run = build_golden_training(large_batches, objective)
    run.autocast = True
    found, expected = list_losses(run, 4), list_losses(build_golden_training(large_batches, objective), 4)
    assert_close(found, expected, rtol=0.03, atol=0)
    assert found != expected
    assert all(
        tensor.dtype == torch.float32 for tensor in run.objective.state_dict().values() if torch.is_tensor(tensor)
    )
    assert all(weights.dtype == torch.float32 for weights in run.network.parameters())


@pytest.mark.parametrize("precision", ["float32", "tf32", "bfloat16"])
def test_precision_of_a_processor_is_single(large_batches, precision):
    expected = list_losses(build_golden_training(large_batches, "ipcl", precision="float32"), 2)
    assert list_losses(build_golden_training(large_batches, "ipcl", precision=precision), 2) == expected
