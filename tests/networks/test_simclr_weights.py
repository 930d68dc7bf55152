"""SimCLR's published weights: a checkpoint of TensorFlow, converted, gives what the published code computes."""

import math
import stat
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from test_tf_checkpoint import write_checkpoint
from torch import nn
from torch.nn import functional
from weight_blocks import draw_images, make_model

from ipcl_core.config import Preprocessing
from ipcl_core.networks.architectures import NetworkSpec, build_network
from ipcl_core.networks.network_files import load_network
from ipcl_core.networks.published_weights import convert_weights, list_simclr_layers

STAGES = [(64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)]  # channels, blocks, stride


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
