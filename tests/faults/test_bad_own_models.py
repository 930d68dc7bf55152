"""Networks of the user's own and of libraries that cannot be used: each is refused with a reason."""

import re
import sys

import pytest
import torch
import torchvision
from conftest import make_spec
from own_models import make
from torch import nn

from ipcl_core.networks.architectures import initialize_network
from ipcl_core.networks.network_files import save_network
from ipcl_core.networks.own_builders import build_own_network


def test_timm_that_is_not_installed_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ValueError, match="timm:resnet18: the package timm is not installed; pip install timm"):
        make(tmp_path, architecture="timm:resnet18")


@pytest.mark.parametrize(
    ("architecture", "weights", "message"),
    [
        ("torchvision:resnet_18", None, "torchvision has no such network; did you mean .*resnet18"),
        ("torchvision:resnet18", "IMAGENET1K_V9", "has no weights IMAGENET1K_V9; there are IMAGENET1K_V1"),
    ],
)
def test_unknown_names_of_torchvision(architecture, weights, message):
    with pytest.raises(ValueError, match=message):
        build_own_network(architecture, arguments={}, code=".", weights=weights)


@pytest.mark.parametrize(
    ("text", "arguments", "message"),
    [
        (
            "import no_such_package",
            {},
            r"networks_\d+\.py: cannot be imported: ModuleNotFoundError: No module named 'no_such",
        ),
        (
            "import argparse\np = argparse.ArgumentParser()\np.add_argument('--x', required=True)\np.parse_args([])",
            {},
            r"networks_\d+\.py: cannot be imported: SystemExit: 2",
        ),
        ("def build(): raise SystemExit('no')", {}, r"build\(\) failed: SystemExit: no"),
        ("def biuld(): pass", {}, r"networks_\d+\.py: has no function build; did you mean biuld"),
        ("build = 3", {}, r"build is an object of class int, no function"),
        ("def build(): return {}", {}, r"returns an object of class dict, not a torch\.nn\.Module"),
        (
            "def build(width): pass",
            {"widht": 3},
            r"build\(widht=3\) failed: TypeError: .*unexpected keyword argument 'widht'",
        ),
    ],
)
def test_functions_that_cannot_be_used(code, text, arguments, message):
    with pytest.raises(ValueError, match=message):
        build_own_network(f"{code(text)}:build", arguments=arguments, code=".")


def test_module_with_the_name_of_another_is_refused(code):
    code("", "colorsys")
    import colorsys

    with pytest.raises(ValueError, match=rf"colorsys\.py: Python already has a module colorsys, {colorsys.__file__}"):
        build_own_network("colorsys:build", arguments={}, code=".")


NETWORK = """
class Network(nn.Module):
    def __init__(self, **given):
        super().__init__()
        self.conv, self.act, self.last = nn.Conv2d(3, 4, 5), nn.ReLU(), nn.Linear(4 * 60 * 60, 7)
        self.given = given
        if "buffer" in given:
            self.register_buffer("drawn", torch.rand(1), persistent=False)
    def forward(self, x):
        x = self.act(self.conv(x) + (self.drawn if "buffer" in self.given else 0))
        if "infinite" in self.given:
            x = x / 0
        return self.last(x.flatten(1))
"""


@pytest.mark.parametrize(
    ("block", "layers", "message"),
    [
        ({}, ["cnov"], "no layer 'cnov' in Network; there are, for example, conv"),
        (
            {"preprocessing": {"image_size": 32}},
            "all",
            r"input of 3 x 32 x 32; is its preprocessing .*last \(Linear\) failed",
        ),
        ({"arguments": {"infinite": 1}}, "all", "layer last gives non-finite activations to a picture of noise"),
        (
            {"arguments": {"buffer": 1}, "seed": 1},
            "all",
            "given its own state dict, the network returns something else",
        ),
    ],
)
def test_networks_that_cannot_be_used(code, tmp_path, block, layers, message):
    with pytest.raises(ValueError, match=message):
        make(tmp_path, layers=layers, architecture=f"{code(NETWORK)}:Network", **block)
    assert not (tmp_path / "weights.safetensors").exists()


@pytest.mark.parametrize(
    ("alter", "message"),
    [
        (
            lambda s: s.pop("fc6.0.bias"),
            r"does not fit alexnet_gn: missing 1: fc6\.0\.bias \(30 of its 30 names are",
        ),
        (lambda s: s.update(extra=torch.zeros(2)), r"too many 1: extra"),
        (lambda s: s.update({"fc8.0.weight": torch.zeros(8, 5)}), r"size mismatch for fc8\.0\.weight"),
        (lambda s: s["fc8.0.bias"].fill_(torch.nan), r"fc8\.0\.bias holds non-finite values"),
    ],
)
def test_state_dicts_that_do_not_fit(tmp_path, alter, message):
    state = initialize_network(make_spec(), 0).state_dict()
    alter(state)
    torch.save(state, tmp_path / "a.pth")
    with pytest.raises(ValueError, match=rf"a\.pth: .*{message}"):
        make(tmp_path, architecture="alexnet_gn", dim=8, width=1 / 32, state_dict=str(tmp_path / "a.pth"))


def test_state_dict_of_another_network(tmp_path):
    torch.save({"model": 1, "epoch": 3}, tmp_path / "a.pth")
    torch.save(torchvision.models.resnet18().state_dict(), tmp_path / "b.pth")
    (tmp_path / "c.safetensors").write_bytes(b"torn")
    for name, message in (
        ("a.pth", r"holds no state dict, alone or under the key state_dict \(found: model, epoch\)"),
        ("b.pth", r"does not fit alexnet_gn: .*\(0 of its 122 names are among the network's"),
        ("c.safetensors", "is no whole safetensors file"),
    ):
        with pytest.raises(ValueError, match=rf"{re.escape(name)}: {message}"):
            make(tmp_path, architecture="alexnet_gn", dim=8, state_dict=str(tmp_path / name))


def test_state_that_is_no_tensor_cannot_be_stored(tmp_path):
    class Extra(nn.Linear):
        def get_extra_state(self):
            return "a word"

    with pytest.raises(ValueError, match="_extra_state of its state dict is no tensor"):
        save_network(Extra(2, 2), make_spec(), tmp_path / "w.safetensors")
    assert not (tmp_path / "w.safetensors").exists()
