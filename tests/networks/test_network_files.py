import math
from pathlib import Path

import pytest
import torch
from conftest import make_spec
from safetensors.torch import load_file, save_file
from test_architectures import draw_images
from torch.testing import assert_close

from ipcl_core.config import Preprocessing
from ipcl_core.networks.architectures import initialize_network
from ipcl_core.networks.network_files import load_network, save_network


@pytest.mark.parametrize("architecture", ["alexnet_gn", "alexnet_bn", "cornet_z_bn", "resnet18"])
def test_weights_file_round_trip(tmp_path, architecture):
    spec = make_spec(
        architecture=architecture, preprocessing=Preprocessing(image_size=64, mean=[0.5, 0, 1], std=[0.2, 0.5, 1])
    )
    network = initialize_network(spec, 3)
    network.train()(draw_images(4, 64))  # BatchNorm has seen data
    save_network(network, spec, tmp_path / "weights.safetensors")
    loaded, found = load_network(tmp_path / "weights.safetensors")
    assert found == spec
    assert not any(module.training for module in loaded.modules())
    images = draw_images(2, 64, seed=1)
    with torch.inference_mode():
        assert_close(loaded(images), network.eval()(images), rtol=0, atol=0)


def test_channels_last_weights_round_trip(tmp_path):
    network = initialize_network(make_spec(), 3).to(memory_format=torch.channels_last)
    save_network(network, make_spec(), tmp_path / "weights.safetensors")
    for name, tensor in load_network(tmp_path / "weights.safetensors")[0].state_dict().items():
        assert_close(tensor, network.state_dict()[name], rtol=0, atol=0)


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor")
@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("sparse: give it as an ordinary tensor", torch.Tensor.to_sparse),
        ("quantised: give the network", lambda tensor: torch.quantize_per_tensor(tensor, 0.1, 0, torch.qint8)),
    ],
)
def test_tensors_that_a_file_cannot_hold_are_refused(tmp_path, kind, change):
    network = initialize_network(make_spec(), 3)
    network.register_buffer("odd", change(torch.eye(2)))
    with pytest.raises(ValueError, match=f"alexnet_gn: odd of its state dict is {kind}"):
        save_network(network, make_spec(), tmp_path / "weights.safetensors")
    assert not list(tmp_path.iterdir())


def spoil(path: Path, *, metadata: bool = True, **changes: torch.Tensor | None) -> None:
    """Write the tiny AlexNet's weights with some tensors replaced, or (None) left out."""
    spec = make_spec()
    save_network(initialize_network(spec, 0), spec, path)
    state = {name: tensor for name, tensor in (load_file(path) | changes).items() if tensor is not None}
    save_file(state, path, metadata={"network": spec.model_dump_json()} if metadata else None)


def test_weights_of_another_project_are_refused(tmp_path):
    spoil(tmp_path / "weights.safetensors", metadata=False)
    with pytest.raises(ValueError, match=r"weights\.safetensors: holds no description of the network"):
        load_network(tmp_path / "weights.safetensors")


def test_weights_of_wrong_shape_are_refused(tmp_path):
    spoil(tmp_path / "weights.safetensors", **{"fc8.0.weight": torch.zeros(9, 128)})
    with pytest.raises(
        ValueError, match=r"(?s)weights.safetensors: does not fit alexnet_gn: .*fc8\.0\.weight"
    ) as error:
        load_network(tmp_path / "weights.safetensors")
    assert "[9, 128]" in str(error.value)


def test_missing_weights_are_refused(tmp_path):
    spoil(tmp_path / "weights.safetensors", **{"fc6.0.bias": None})
    with pytest.raises(ValueError, match=r"(?s)does not fit alexnet_gn: missing 1: fc6\.0\.bias"):
        load_network(tmp_path / "weights.safetensors")


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_non_finite_weights_are_refused(tmp_path, value):
    bias = torch.zeros(8)
    bias[3] = value
    spoil(tmp_path / "weights.safetensors", **{"fc8.0.bias": bias})
    with pytest.raises(ValueError, match=r"weights.safetensors: fc8\.0\.bias holds non-finite values"):
        load_network(tmp_path / "weights.safetensors")


def test_network_without_parameters_comes_back(tmp_path):
    spec = make_spec(architecture="pixels", dim=3072, width=1.0, l2norm=False)
    save_network(initialize_network(spec, 0), spec, tmp_path / "weights.safetensors")
    network, found = load_network(tmp_path / "weights.safetensors")
    assert found == spec and not network.state_dict()
