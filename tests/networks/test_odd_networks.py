"""Networks of the user's own that are built, drawn or run in ways of their own."""

import sys

import h5py
import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from own_models import describe, make
from torch import nn
from torch.testing import assert_close

from ipcl_core.accuracy.embedding import embed_dataset
from ipcl_core.config import Preprocessing
from ipcl_core.fits.activations import extract_activations, transform_stimulus
from ipcl_core.fits.rsms import make_rsms
from ipcl_core.networks.network_files import load_network

ON_DEVICE = """
class Network(nn.Module):
    def __init__(self, device):
        super().__init__()
        self.conv, self.last = nn.Conv2d(3, 4, 5, stride=4), nn.Linear(4 * 15 * 15, 7)
        self.to(device)
    def to(self, device):
        self.place = device
        return super().to(device)
    def cpu(self):
        self.place = "cpu"
        return super().cpu()
    def forward(self, x):
        assert self.place == "cpu"
        return self.last(self.conv(x).flatten(1))
"""


@pytest.mark.parametrize("device", ["cpu", "a GPU that the test only pretends to have"])
def test_network_that_its_builder_puts_on_a_gpu(code, tmp_path, device):
    """It is tried, written and read where the pictures are."""
    text = ON_DEVICE if device == "cpu" else ON_DEVICE.replace("self.to(device)", "self.place = device")
    block = {"architecture": f"{code(text)}:Network", "arguments": {"device": device}}
    make(tmp_path, layers=["conv"], **block)
    network = load_network(tmp_path / "weights.safetensors", describe(**block))[0]
    assert network.place == "cpu" and not network.conv.weight.is_cuda


def test_function_may_use_what_lies_beside_its_module(code, tmp_path):
    """A helper, imported when the function runs; a tied weight; a module shared by two names."""
    name = code("def make():\n    from parts_beside import Tied\n    return Tied()\n")
    tied = """
class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.flat, self.a, self.b = nn.Flatten(), nn.Linear(3 * 64 * 64, 8), nn.Linear(8, 8)
        self.c = nn.Linear(8, 8)
        self.c.weight = self.b.weight
    def forward(self, x):
        return self.c(self.b(self.a(self.flat(x)))), None
"""
    code(tied, "parts_beside")
    spec, _ = make(tmp_path, architecture=f"{name}:make")
    network = load_network(tmp_path / "weights.safetensors", describe(architecture=f"{name}:make"))[0]
    assert spec.dim == 8 and str(tmp_path) not in sys.path
    assert_close(network.b.weight, network.c.weight, rtol=0, atol=0)
    del sys.modules["parts_beside"]


def test_lazy_modules_are_drawn_by_the_seed(code, tmp_path):
    """As the same network with its shapes given: the lazy weights come behind the others, in the order of the pass."""
    lazy = (
        "nn.Sequential(nn.LazyConv2d(8, 5, 2), nn.LazyBatchNorm2d(), nn.Flatten(), nn.LazyLinear(10), nn.Linear(10, 3))"
    )
    name = code(f"def build(): return {lazy}")
    block = {"architecture": f"{name}:build", "seed": 5}
    states = []
    for rubbish in (1, 2):
        torch.manual_seed(rubbish)
        make(tmp_path, **block)
        states.append(load_network(tmp_path / "weights.safetensors", describe(**block))[0].state_dict())
    torch.manual_seed(5)
    last, conv, linear = nn.Linear(10, 3), nn.Conv2d(3, 8, 5, 2), nn.Linear(8 * 30 * 30, 10)
    for state in states:
        assert_close(state["0.weight"], conv.weight.detach(), rtol=0, atol=0)
        assert_close(state["3.weight"], linear.weight.detach(), rtol=0, atol=0)
        assert_close(state["4.weight"], last.weight.detach(), rtol=0, atol=0)
        assert_close(state["1.running_mean"], torch.zeros(8), rtol=0, atol=0)
    make(tmp_path, **block | {"seed": 6})
    assert not torch.equal(load_network(tmp_path / "weights.safetensors", describe(**block))[0][0].weight, conv.weight)


ODD = """
class Odd(nn.Module):
    def __init__(self):
        super().__init__()
        self.add_module("conv", nn.Conv2d(3, 8, 5, 2, 2))
        self.add_module("conv/bn", nn.BatchNorm2d(8))
        self.output = nn.Linear(8 * 32 * 32, 10)
    def train(self, mode=True):
        super().train(mode)  # and returns nothing
    def cpu(self):
        super().cpu()
    def forward(self, x):
        y = getattr(self, "conv/bn")(self.conv(x))
        return 2 * self.output(y.view(len(y), -1))  # an error with channels last
"""


def test_network_with_odd_names_and_methods(code, tmp_path, photo, raw_split):
    """A name with a slash beside its prefix, a child called output, train() and cpu() that return nothing, and view."""
    block = {"architecture": f"{code(ODD)}:Odd"}
    layers = ["conv", "conv:bn", "output (module)"]
    make(tmp_path, accuracy_layers=["conv/bn", "output (module)"], **block)
    network, _ = load_network(weights := tmp_path / "weights.safetensors", describe(**block))
    (tmp_path / "stimuli").mkdir()
    for i in range(3):
        photo.crop((20 * i, 0, 20 * i + 64, 64)).save(tmp_path / f"stimuli/{i}.png")
    extract_activations(weights, tmp_path / "stimuli", tmp_path / "a.h5", model=describe(**block))
    make_rsms(tmp_path / "a.h5", tmp_path / "r.h5", brain="b", model="m")
    views = torch.stack(
        [transform_stimulus(tmp_path / f"stimuli/{i}.png", Preprocessing(image_size=64)) for i in range(3)]
    )
    with h5py.File(tmp_path / "a.h5") as file, h5py.File(tmp_path / "r.h5") as rsms, torch.inference_mode():
        assert list(file.attrs["layers"]) == list(rsms.attrs["layers"]) == layers
        assert_close(2 * torch.tensor(file["layers/output (module)"][:]), network(views), rtol=0, atol=1e-5)
        assert file["layers/conv:bn"].shape == rsms["layers/conv:bn"].shape[:1] + (8, 32, 32)
    settings = {"center_crop": 1.0, "max_dim": None, "n_threads": 1, "model": describe(**block)}
    embed_dataset(weights, {"val": raw_split.beton}, tmp_path / "e.h5", layers=["output", *layers], **settings)
    with h5py.File(tmp_path / "e.h5") as file:
        assert list(file.attrs["layers"]) == ["output", *layers]
        assert_allclose(file["val/layers/output"], 2 * file["val/layers/output (module)"][:], rtol=1e-6)


SLOPE = """
class Slope(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
    def energy(self, x):
        return self.conv(x).pow(2).mean((1, 2, 3)).sum()
    def forward(self, x):
        with torch.enable_grad():
            y = x.detach().requires_grad_()
            (slope,) = torch.autograd.grad(self.energy(y), y)
        return torch.cat([slope, torch.func.grad(self.energy)(x)], 1)
"""


def test_network_may_take_gradients_in_its_forward_pass(code, tmp_path, photo):
    """As models of energies do; in torch's inference mode the first kind is an error, and the second gives zeros."""
    block = {"architecture": f"{code(SLOPE)}:Slope"}
    make(tmp_path, **block)
    (tmp_path / "stimuli").mkdir()
    for i in range(3):
        photo.crop((20 * i, 0, 20 * i + 64, 64)).save(tmp_path / f"stimuli/{i}.png")
    weights, activations = tmp_path / "weights.safetensors", tmp_path / "a.h5"
    extract_activations(weights, tmp_path / "stimuli", activations, layers=["output"], model=describe(**block))
    with h5py.File(activations) as file:
        first, second = np.split(file["layers/output"][0].reshape(6, 64, 64), 2)
    assert abs(first).max() > 1e-6
    assert_allclose(first, second, rtol=1e-4, atol=1e-9)
