import math
from pathlib import Path

import pytest
import torch
import torchvision
from configurations import STUDY
from conftest import make_spec
from torch import nn
from torch.testing import assert_close

from ipcl_core.config import load_config
from ipcl_core.config.architectures import ARCHITECTURES
from ipcl_core.networks.architectures import AlexNet, CORnetZ, NetworkSpec, ResNet, build_network, initialize_network

GOLDEN = Path(__file__).parents[1] / "golden"

# layer names of docs and figures, in the order of the forward pass
LAYERS = [
    *("conv_block_1.0", "conv_block_1.1", "conv_block_1.2", "conv_block_1.3"),
    *("conv_block_2.0", "conv_block_2.1", "conv_block_2.2", "conv_block_2.3"),
    *("conv_block_3.0", "conv_block_3.1", "conv_block_3.2"),
    *("conv_block_4.0", "conv_block_4.1", "conv_block_4.2"),
    *("conv_block_5.0", "conv_block_5.1", "conv_block_5.2", "conv_block_5.3"),
    "ave_pool",
    *("fc6.0", "fc6.1", "fc6.2", "fc7.0", "fc7.1", "fc7.2", "fc8.0", "l2norm"),
]


def draw_images(n: int, side: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, 3, side, side, generator=torch.Generator().manual_seed(seed))


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.fixture(scope="module")
def alexnets() -> dict[str, AlexNet]:
    """Both AlexNets at full width, in evaluation mode; about 60 million weights each."""
    return {
        norm: initialize_network(make_spec(architecture=f"alexnet_{norm}", dim=128, width=1.0), 0).eval()
        for norm in ("bn", "gn")
    }


# ---- AlexNet ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("norm", ["bn", "gn"])
def test_alexnet_is_that_of_appendix_e(alexnets, norm):
    """Line by line; the golden files are appendix E as printed, with the indentation that a page break lost."""
    printed = (GOLDEN / f"alexnet_{norm}.txt").read_text().splitlines()
    assert printed[0] == f"AlexNet{norm.upper()}("
    found = repr(alexnets[norm]).splitlines()
    assert found[0] == "AlexNet("
    # newer versions of torch print whether a norm layer has a bias
    found = [line.replace("affine=True, bias=True", "affine=True") for line in found]
    assert found[1:] == printed[1:]


@pytest.mark.parametrize("norm", ["bn", "gn"])
def test_alexnet_parameters_by_hand(alexnets, norm):
    # convolutions have no bias
    convolutions = 96 * 3 * 121 + 256 * 96 * 25 + 384 * 256 * 9 + 384 * 384 * 9 + 256 * 384 * 9
    norms = 2 * (96 + 256 + 384 + 384 + 256) + 2 * (4096 + 4096)  # weight and bias of each channel
    linear = 256 * 6 * 6 * 4096 + 4096 + 4096 * 4096 + 4096 + 4096 * 128 + 128
    assert count(alexnets[norm]) == convolutions + norms + linear == 58_823_520


@pytest.mark.parametrize("norm", ["bn", "gn"])
def test_alexnet_layer_names(alexnets, norm):
    leaves = [name for name, module in alexnets[norm].named_modules() if not list(module.children())]
    assert leaves == LAYERS
    assert len(leaves) == 27


def test_alexnet_at_224_pixels(alexnets):
    """The average pool is the identity on the 6 x 6 map, and output rows have unit length."""
    network, seen = alexnets["gn"], {}
    handle = network.ave_pool.register_forward_hook(lambda module, args, output: seen.update(x=args[0], y=output))
    with torch.inference_mode():
        output = network(draw_images(2, 224))
    handle.remove()
    assert seen["x"].shape == (2, 256, 6, 6)
    assert_close(seen["y"], seen["x"], rtol=0, atol=0)
    assert output.shape == (2, 128)
    assert_close(output.norm(dim=1), torch.ones(2), rtol=1e-6, atol=0)


def test_alexnet_forward_equals_functions():
    """The forward pass, written again with torch's functions."""
    network = initialize_network(make_spec(), 0).eval()
    w = dict(network.named_parameters()) | dict(network.named_buffers())
    x = images = draw_images(2, 96)
    for i, (stride, padding, pool) in enumerate(
        [(4, 2, True), (1, 2, True), (1, 1, False), (1, 1, False), (1, 1, True)]
    ):
        name = f"conv_block_{i + 1}"
        x = nn.functional.conv2d(x, w[f"{name}.0.weight"], None, stride, padding)
        centered = x - x.mean((1, 2, 3), keepdim=True)  # one group at this width
        x = centered / (centered.square().mean((1, 2, 3), keepdim=True) + 1e-5).sqrt()
        x = (x * w[f"{name}.1.weight"][:, None, None] + w[f"{name}.1.bias"][:, None, None]).clamp(min=0)
        x = nn.functional.max_pool2d(x, 3, 2) if pool else x
    x = nn.functional.adaptive_avg_pool2d(x, 6).flatten(1)
    for name in ("fc6", "fc7"):
        x = x @ w[f"{name}.0.weight"].T + w[f"{name}.0.bias"]
        x = (x - w[f"{name}.1.running_mean"]) / (w[f"{name}.1.running_var"] + 1e-5).sqrt()
        x = (x * w[f"{name}.1.weight"] + w[f"{name}.1.bias"]).clamp(min=0)
    x = x @ w["fc8.0.weight"].T + w["fc8.0.bias"]
    expected = x / x.square().sum(1, keepdim=True).sqrt()
    with torch.inference_mode():
        assert_close(network(images), expected, rtol=1e-4, atol=1e-6)


def test_supervised_alexnet_has_no_l2_norm():
    network = initialize_network(make_spec(l2norm=False), 0).eval()
    leaves = [name for name, module in network.named_modules() if not list(module.children())]
    assert leaves == LAYERS[:-1]
    with torch.inference_mode():
        norms = network(draw_images(2, 64)).norm(dim=1)
    assert (norms - 1).abs().min() > 0.01


def test_alexnet_at_a_quarter_of_the_width():
    network = AlexNet("gn", 16, width=0.25)
    channels = [block[0].out_channels for block in list(network.children())[:5]]
    assert channels == [24, 64, 96, 96, 64]
    assert [block[1].num_groups for block in list(network.children())[:5]] == [8] * 5
    assert (network.fc6[0].in_features, network.fc6[0].out_features) == (64 * 36, 1024)


@pytest.mark.parametrize("width", [0.3, 1 / 64, 0.01])
def test_width_that_groups_cannot_divide_is_refused(width):
    with pytest.raises(ValueError, match=r"width .*groups; use n/32"):
        AlexNet("gn", 16, width=width)


@pytest.mark.parametrize("n", range(1, 33))
def test_every_width_of_n_32ths_divides_into_groups(n):
    channels = [3 * n, 8 * n, 12 * n, 12 * n, 8 * n]
    assert all(c % n == 0 for c in channels)
    with torch.device("meta"):
        network = AlexNet("gn", 4, width=n / 32)
    assert [block[0].out_channels for block in list(network.children())[:5]] == channels


# ---- ResNet, CORnet-Z ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("depth", [18, 50])
def test_resnet_equals_torchvision(depth):
    theirs = getattr(torchvision.models, f"resnet{depth}")(num_classes=16).eval()
    ours, logits = ResNet(depth, 16).eval(), ResNet(depth, 16, l2norm=False).eval()
    for network in (ours, logits):
        network.resnet.load_state_dict(theirs.state_dict())
    images = draw_images(1, 64)
    with torch.inference_mode():
        expected = theirs(images)
        assert_close(logits(images), expected, rtol=0, atol=0)
        assert_close(ours(images), expected / expected.norm(dim=1, keepdim=True), rtol=1e-5, atol=0)


def test_resnet_starts_with_he_fan_out():
    weight = ResNet(18, 16).resnet.layer3[0].conv2.weight  # (256, 256, 3, 3)
    assert_close(weight.std().item(), math.sqrt(2 / (256 * 9)), rtol=0.02, atol=0)


def test_cornet_z_shapes():
    network, shapes = CORnetZ(16).eval(), {}
    for name in ("V1", "V2", "V4", "IT", "ave_pool", "fc"):
        network.get_submodule(name).register_forward_hook(
            lambda module, args, output, name=name: shapes.update({name: tuple(output.shape)})
        )
    with torch.inference_mode():
        output = network(draw_images(2, 64))
    assert shapes == {
        "V1": (2, 64, 16, 16),
        "V2": (2, 128, 8, 8),
        "V4": (2, 256, 4, 4),
        "IT": (2, 512, 2, 2),
        "ave_pool": (2, 512, 1, 1),
        "fc": (2, 16),
    }
    assert_close(output.norm(dim=1), torch.ones(2), rtol=1e-6, atol=0)


def test_cornet_z_parameters_by_hand():
    convolutions = (64 * 3 * 49 + 64) + (128 * 64 * 9 + 128) + (256 * 128 * 9 + 256) + (512 * 256 * 9 + 512)
    norms = 2 * (64 + 128 + 256 + 512)
    assert count(CORnetZ(128)) == convolutions + norms + 512 * 128 + 128 == 1_626_240


def test_cornet_z_starts_with_xavier():
    network = CORnetZ(128)
    weight = network.IT[0].weight  # (512, 256, 3, 3)
    bound = math.sqrt(6 / (256 * 9 + 512 * 9))
    assert weight.abs().max() <= bound
    assert_close(weight.std().item(), bound / math.sqrt(3), rtol=0.01, atol=0)
    assert network.IT[0].bias.abs().max() == network.fc.bias.abs().max() == 0


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_smallest_input_is_the_one_that_the_configuration_allows(architecture):
    """One pixel less and a layer has nothing left, where the architecture needs more than any."""
    least = ARCHITECTURES[architecture].smallest
    dims = {"pixels": 12, "resnet50x2": 4096, "resnet50x4": 8192}
    with torch.device("meta"):
        network = build_network(
            make_spec(architecture=architecture, dim=dims.get(architecture, 2048), width=1.0)
        ).eval()
        network(torch.empty(1, 3, least, least))
        if least > 16:
            with pytest.raises(RuntimeError, match=r"Output size is too small|size can't be greater"):
                network(torch.empty(1, 3, least - 1, least - 1))


@pytest.mark.parametrize("name", ["first", "labelled", "untrained"])
def test_how_accuracy_is_measured_is_no_part_of_a_network(name):
    """A checkpoint, and the weights made from it, can be used with another crop."""
    specs = []
    for center_crop in (None, 0.875, 1.0):
        model = load_config(STUDY).model_dump()["models"][name]
        model["preprocessing"] |= {"center_crop": center_crop}
        specs.append(NetworkSpec.from_model(model, n_classes=3))
    assert repr(specs[0]) == repr(specs[1]) == repr(specs[2])


def test_unknown_architecture_is_refused():
    with pytest.raises(ValueError, match="unknown architecture 'vgg16'"):
        build_network(make_spec(architecture="vgg16"))


# ---- initial weights ------------------------------------------------------------------------------------------------


def test_initial_weights_depend_on_the_seed_alone():
    first = initialize_network(make_spec(), 5).state_dict()
    torch.manual_seed(99)
    before = torch.get_rng_state()
    again, other = initialize_network(make_spec(), 5).state_dict(), initialize_network(make_spec(), 6).state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    for name, tensor in first.items():
        assert_close(again[name], tensor, rtol=0, atol=0)
    assert not torch.equal(first["conv_block_1.0.weight"], other["conv_block_1.0.weight"])
