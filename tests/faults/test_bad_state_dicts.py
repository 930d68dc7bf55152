"""State dicts that do not fit the network of the user's own that is to load them."""

import argparse
import os
import re

import pytest
import torch
import torchvision
from conftest import make_spec
from own_models import make
from safetensors.torch import load_file, save_file, save_model
from torch import nn

from ipcl_core.networks.architectures import initialize_network
from ipcl_core.networks.network_files import save_network
from ipcl_core.networks.own_builders import build_own_network


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
        (
            lambda s: s.update({"fc8.0.bias": s["fc8.0.bias"].to("meta")}),
            r"fc8\.0\.bias was saved from the device meta",
        ),
        (
            lambda s: s.update({"fc8.0.bias": s["fc8.0.bias"].to(torch.float8_e5m2)}),
            r"fc8\.0\.bias is quantised \(torch\.float8_e5m2\)",
        ),
        (lambda s: s.update({"fc8.0.bias": s["fc8.0.bias"].to_sparse()}), r"fc8\.0\.bias is sparse; .* to_dense"),
        (
            lambda s: s.update({"fc8.0.bias": s["fc8.0.bias"] + 1j}),
            r"fc8\.0\.bias holds numbers of type torch\.complex64, where alexnet_gn has torch\.float32",
        ),
        (
            lambda s: s.update({"fc8.0.weight": (127 * s["fc8.0.weight"]).to(torch.int8)}),
            r"fc8\.0\.weight holds numbers of type torch\.int8, where alexnet_gn has torch\.float32",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore:Validating sparse")
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
    for name in ("f.pth", "g.safetensors"):
        (tmp_path / name).write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n")
    torch.save({"state_dict": {"weight": torch.ones(1)}, "args": argparse.Namespace(lr=1)}, tmp_path / "h.pth")
    torch.save({"weight": torch.ones(99_999)}, tmp_path / "i.pth")
    os.truncate(tmp_path / "i.pth", 9_999)
    torch.save({0: torch.ones(1)}, tmp_path / "j.pth")
    save_file({"weight": torch.ones(1)}, tmp_path / "k.bin")
    torch.save({"weight": torch.ones(1)}, tmp_path / "l.safetensors")
    torch.save({name: {"weight": torch.ones(1)} for name in ("student", "teacher")}, tmp_path / "d.pth")
    torch.save({key: {"weight": torch.ones(1)} for key in ("state_dict", "state_dict_ema")}, tmp_path / "e.pth")
    for name, message in (
        ("e.pth", "holds several state dicts, state_dict, state_dict_ema; save the one to use alone"),
        ("a.pth", r"holds no state dict, alone or under the key state_dict \(found: model, epoch\)"),
        ("b.pth", r"does not fit alexnet_gn: .*\(0 of its 122 names are among the network's"),
        ("c.safetensors", "is no whole safetensors file"),
        ("d.pth", "holds several state dicts, student, teacher; save the one to use alone"),
        (
            "f.pth",
            "is no file of plain tensors; it is a pointer of Git LFS, not the file itself; fetch that by git lfs",
        ),
        ("g.safetensors", "is no whole safetensors file; it is a pointer of Git LFS"),
        ("h.pth", r"is no file of plain tensors; one that .* with torch\.save\. \(found argparse\.Namespace\)"),
        ("i.pth", r"is no file of plain tensors; .* \(\w+Error: "),
        ("j.pth", r"holds no state dict, alone or under the key state_dict \(found: 0\)"),
        ("k.bin", "does not fit alexnet_gn: .*too many 1: weight"),
        ("l.safetensors", r"is no whole safetensors file; it is one of torch\.save, so call it \.pth"),
    ):
        with pytest.raises(ValueError, match=rf"{re.escape(name)}: {message}"):
            make(tmp_path, architecture="alexnet_gn", dim=8, state_dict=str(tmp_path / name))


TIED = """
def build():
    a, b = nn.Linear(8, 8), nn.Linear(8, 8)
    b.weight = a.weight
    return nn.Sequential(nn.Conv2d(3, 8, 5, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), a, b)
"""


def test_tensor_of_two_names(code, tmp_path):
    """safetensors writes it once; two that differ are another network's."""
    name = code(TIED)
    network = build_own_network(f"{name}:build", arguments={}, code=".")
    state = network.state_dict()
    save_model(network, str(tmp_path / "a.safetensors"))
    make(tmp_path, architecture=f"{name}:build", state_dict=str(tmp_path / "a.safetensors"))
    made = load_file(tmp_path / "weights.safetensors")
    assert torch.equal(made["3.weight"], state["3.weight"]) and torch.equal(made["4.weight"], state["3.weight"])
    torch.save(state | {"4.weight": torch.ones(8, 8)}, tmp_path / "b.pth")
    with pytest.raises(ValueError, match=r"b\.pth: 3\.weight and 4\.weight differ, which are one tensor in .*:build"):
        make(tmp_path, architecture=f"{name}:build", state_dict=str(tmp_path / "b.pth"))


def test_state_that_is_no_tensor_cannot_be_stored(tmp_path):
    class Extra(nn.Linear):
        def get_extra_state(self):
            return "a word"

    with pytest.raises(ValueError, match="_extra_state of its state dict is no tensor"):
        save_network(Extra(2, 2), make_spec(), tmp_path / "w.safetensors")
    assert not (tmp_path / "w.safetensors").exists()
