"""
A training step on tensors without numbers (torch's FakeTensorMode): what it would do on a GPU, where there is none.

To read a number, or make a shape that depends on numbers, is an error of such tensors: on a GPU it would make the host wait.
So is an operation on tensors of two devices; where the device is not there, torch takes no gradients, so that such a step ends
with the loss.
"""

from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode
from trainings import OBJECTIVES, make_training

from ipcl_core.training.optimizers import build_optimizer
from ipcl_core.training.train import take_step
from ipcl_core.views.batch import Batch


def pretend(module: nn.Module, device: str) -> None:
    """Replace weights and buffers by such without numbers, of the same form, on a device."""

    def empty(tensor):
        return torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device=device)

    for part in module.modules():
        part._parameters |= {name: nn.Parameter(empty(w)) for name, w in part._parameters.items() if w is not None}
        part._buffers |= {name: empty(b) for name, b in part._buffers.items() if b is not None}


def take_steps(objective: str, device: str, **changes) -> list[torch.Tensor]:
    """Losses and outputs of two steps; the second is like all that follow."""
    training = make_training(SimpleNamespace(n_images=23), objective, **changes)
    with FakeTensorMode(allow_non_fake_inputs=True):
        for module in (training.network, training.objective):
            pretend(module, device)
        training.optimizer = build_optimizer(training.network, training.recipe.optimizer)
        training.device, training.autocast, found = torch.device(device), device == "cpu", []
        for _ in range(2):
            views = torch.empty(4, OBJECTIVES[objective].get("n_views", 1), 64, 64, 3, device=device).movedim(4, 2)
            found += take_step(training, Batch(views, torch.zeros(4, dtype=torch.long), torch.arange(4)))
    return found


@pytest.mark.parametrize("objective", ["ipcl", "indexed_memory", "supervised"])
def test_no_step_reads_a_number(objective):
    """Forward, backward, optimizer, queue or bank."""
    found = take_steps(objective, "cpu")
    assert [tensor.dtype for tensor in found] == 4 * [torch.float32]


@pytest.mark.parametrize("objective", ["ipcl", "ipcl_infonce", "indexed_memory", "supervised"])
def test_all_tensors_are_on_the_device(objective, monkeypatch):
    """Those that the host makes come from pinned memory."""
    pinned = []
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: pinned.append(tensor.shape) or tensor)
    monkeypatch.setattr(torch.Tensor, "backward", lambda tensor: None)
    found = take_steps(objective, "cuda")
    assert {tensor.device.type for tensor in found} == {"cuda"}
    assert pinned.count((4,)) == 4  # labels and images


def test_a_step_that_reads_a_number_is_found(monkeypatch):
    monkeypatch.setattr(nn.ReLU, "forward", lambda layer, x: x.clamp(min=0) if x.sum().item() else x)
    with pytest.raises(DataDependentOutputException):
        take_steps("ipcl", "cpu")
