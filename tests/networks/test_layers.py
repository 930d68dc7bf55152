import logging
from dataclasses import dataclass

import pytest
import torch
import torchvision
from conftest import make_spec
from torch import nn
from torch.testing import assert_close

from ipcl_core.networks.architectures import build_network, initialize_network
from ipcl_core.networks.layers import check_layers, choose_layers, record_layers


class Twice(nn.Module):
    """A network that uses its modules in another order than it defines them, one of them twice."""

    def __init__(self):
        super().__init__()
        self.last = nn.Linear(4, 2)
        self.norm = nn.BatchNorm1d(4)
        self.relu = nn.ReLU(inplace=True)
        self.unused = nn.Identity()

    def forward(self, x):
        return self.last(self.relu(self.relu(self.norm(x)) - 0.5))


def test_in_place_layers_do_not_change_what_was_recorded():
    network, x = Twice().eval(), torch.tensor([[1.0, -2.0, 3.0, -4.0]])
    with record_layers(network, shape=(4,)) as compute, torch.inference_mode():
        recorded = compute(x)
    assert_close(recorded["norm"], x / (1 + 1e-5) ** 0.5, rtol=1e-6, atol=0)
    assert_close(recorded["relu"], recorded["norm"].clamp(min=0), rtol=0, atol=0)


def test_layers_come_in_the_order_of_the_pass_and_a_second_call_has_a_number():
    network, x = Twice().eval(), torch.randn(3, 4)
    with record_layers(network, shape=(4,)) as compute, torch.inference_mode():
        for _ in range(2):
            recorded = compute(x)
            assert list(recorded) == ["norm", "relu", "relu#2", "last"]
            assert_close(recorded["relu#2"], (recorded["relu"] - 0.5).clamp(min=0), rtol=0, atol=0)


def test_nothing_is_recorded_behind_the_block():
    network = Twice().eval()
    with record_layers(network, shape=(4,)):
        pass
    assert not any(module._forward_hooks for module in network.modules())
    with pytest.raises(KeyError), record_layers(network, shape=(4,)):
        raise KeyError
    assert not any(module._forward_hooks for module in network.modules())


class Owner(nn.Module):
    """A module with a parameter of its own and a child."""

    def __init__(self):
        super().__init__()
        self.scale, self.inner = nn.Parameter(torch.ones(4)), nn.Linear(4, 4)

    def forward(self, x):
        return self.inner(x) * self.scale


@pytest.fixture
def nested() -> nn.Module:
    blocks = nn.Sequential(nn.Sequential(nn.Linear(4, 4), nn.ReLU()), nn.Sequential(Owner(), nn.ReLU()))
    return nn.Sequential(blocks, nn.Linear(4, 2))


def test_layers_are_the_modules_that_compute(nested):
    """Leaves, and modules that own parameters."""
    assert list(choose_layers(nested)) == ["0.0.0", "0.0.1", "0.1.0", "0.1.0.inner", "0.1.1", "1"]
    assert choose_layers(nested)["0.1.0"] is nested[0][1][0]
    leaf = nn.Linear(4, 2)
    assert choose_layers(leaf) == choose_layers(leaf, "blocks") == choose_layers(leaf, ["output"]) == {"output": leaf}


@pytest.mark.parametrize(
    "patterns,expected",
    [
        (["1"], ["1"]),
        (["0.*"], ["0.0", "0.1"]),
        (["0.*.1", "1"], ["0.0.1", "0.1.1", "1"]),
        (["0.1.0.inner"], ["0.1.0.inner"]),
        (["1", "0"], ["0", "1"]),
        (["output", "1"], ["1", "output"]),
    ],
)
def test_layers_are_chosen_by_pattern(nested, patterns, expected):
    assert list(choose_layers(nested, patterns)) == expected


def test_pattern_without_a_layer_is_refused(nested):
    with pytest.raises(ValueError, match=r"no layer '0\.0\.7' in Sequential; there are, for example, .*0\.0\.[01]"):
        choose_layers(nested, ["1", "0.0.7"])
    for wrong in (None, [], 5, [None], (name for name in ["1"])):
        with pytest.raises(ValueError, match=r"layers: found .*; give all, .*, or a list of names, as \['conv1'\]"):
            choose_layers(nested, wrong)
    with pytest.raises(ValueError, match=r"layers: found '1'; give all, .*, or a list of names, as \['1'\]"):
        choose_layers(nested, "1")


def test_chosen_layers_alone_are_recorded(nested):
    x = torch.randn(2, 4)
    with record_layers(nested, ["0.*", "output"], shape=(4,)) as compute, torch.inference_mode():
        recorded = compute(x)
    assert list(recorded) == ["0.0", "0.1", "output"]
    assert_close(recorded["0.1"], nested[0](x).detach(), rtol=0, atol=0)


def test_released_code_takes_the_last_call_of_what_has_no_children(nested):
    assert list(choose_layers(nested, "released_code")) == ["0.0.0", "0.0.1", "0.1.0.inner", "0.1.1", "1"]
    network, x = Twice().eval(), torch.randn(3, 4)
    with record_layers(network, "released_code", shape=(4,)) as compute, torch.inference_mode():
        for _ in range(2):
            recorded = compute(x)
            assert list(recorded) == ["norm", "relu", "last"]
            assert_close(recorded["relu"], (recorded["norm"].clamp(min=0) - 0.5).clamp(min=0), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("architecture", "n_all", "n_released"), [("resnet18", 61, 53), ("resnet50", 159, 127), ("alexnet_gn", 27, 27)]
)
def test_numbers_of_layers(architecture, n_all, n_released):
    """The released code lists as many (its feature_extractor.py, on networks with an L2 norm)."""
    network = initialize_network(make_spec(architecture=architecture, width=1.0), 0).eval()
    for layers, n in (("all", n_all), ("released_code", n_released)):
        with record_layers(network, layers, shape=(3, 64, 64)) as compute, torch.inference_mode():
            assert len(compute(torch.zeros(1, 3, 64, 64))) == n


def test_names_that_would_make_folders_or_stand_for_the_network():
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            for name in ("conv", "conv/bn", "output"):
                self.add_module(name, nn.Linear(4, 4))

        def forward(self, x):
            for child in self.children():
                x = child(x)
            return x + 1

    network, x = Odd(), torch.randn(2, 4)
    for layers in ("all", "blocks", "released_code", ["conv", "conv/bn", "output (module)"], ["con*", "output*"]):
        with record_layers(network, layers, shape=(4,)) as compute, torch.inference_mode():
            recorded = compute(x)
        names = ["conv", "conv:bn", "output (module)"]
        assert list(recorded) == (names if layers != ["con*", "output*"] else [*names, "output"])
        if "output" in recorded:
            assert_close(recorded["output"], recorded["output (module)"] + 1, rtol=0, atol=0)
    network.add_module("conv:bn", nn.Linear(4, 4))
    with pytest.raises(ValueError, match="Odd: two modules are called conv:bn, where / is written as :"):
        choose_layers(network)


# ---- blocks ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "n", "expected"),
    [
        ("resnet18", 14, ["conv1", "bn1", "relu", "maxpool", "layer1.0", "layer1.1", "layer2.0", "layer4.1", "fc"]),
        ("vit_b_16", 16, ["conv_proj", "encoder.dropout", "encoder.layers.encoder_layer_11", "encoder.ln", "heads"]),
        ("efficientnet_b0", 20, ["features.0", "features.1.0", "features.7.0", "features.8", "avgpool", "classifier"]),
        ("googlenet", 19, ["conv1", "maxpool1", "inception3a", "inception5b", "avgpool", "fc"]),
        ("convnext_tiny", 24, ["features.0", "features.1.0", "features.2", "features.7.2", "avgpool", "classifier"]),
        ("swin_t", 21, ["features.0", "features.1.0", "features.2", "features.7.1", "norm", "head"]),
        ("densenet121", 13, ["features.conv0", "features.denseblock1", "features.transition1", "classifier"]),
    ],
)
def test_blocks_are_what_stands_in_a_networks_lists(name, n, expected):
    with torch.device("meta"):
        options = {"init_weights": False, "aux_logits": False} if name == "googlenet" else {}
        network = torchvision.models.get_model(name, weights=None, **options)
    found = list(choose_layers(network, "blocks"))
    assert [layer for layer in found if layer in expected] == expected and len(found) == n, found


@pytest.mark.parametrize(
    ("architecture", "expected"),
    [
        ("alexnet_gn", [*(f"conv_block_{i}" for i in range(1, 6)), "ave_pool", "fc6", "fc7", "fc8", "l2norm"]),
        ("cornet_z", ["V1", "V2", "V4", "IT", "ave_pool", "fc", "l2norm"]),
        ("pixels", ["image", "pool"]),
    ],
)
def test_blocks_of_our_networks(architecture, expected):
    network = build_network(make_spec(architecture=architecture, dim=12))
    assert list(choose_layers(network, "blocks")) == expected


def test_blocks_of_our_resnets_are_torchvisions():
    with torch.device("meta"):
        network = build_network(make_spec(architecture="resnet18", head="mlp"))
        expected = choose_layers(torchvision.models.resnet18(), "blocks")
    assert list(choose_layers(network, "blocks")) == [*(f"resnet.{name}" for name in expected), "l2norm"]


# ---- networks of other people ----------------------------------------------------------------------------------------


@dataclass
class Fields:
    first: None
    second: torch.Tensor


class Mixed(nn.Module):
    """Layers whose outputs are a tuple, a dictionary, time first, windows of images, nothing, and one that is not called."""

    class Returns(nn.Module):
        def __init__(self, make):
            super().__init__()
            self.make = make

        def forward(self, x):
            return self.make(x)

    def __init__(self):
        super().__init__()
        self.pair = self.Returns(lambda x: (None, [x + 1, x + 2]))
        self.named = self.Returns(lambda x: {"out": x[1][0] * 2, "aux": x})
        self.fields = self.Returns(lambda x: Fields(None, x["out"]))
        self.time_first = self.Returns(lambda x: x.second.T)
        self.windows = self.Returns(lambda x: x.T.reshape(-1, 2))
        self.nothing = self.Returns(lambda x: "no tensor")
        self.unused = nn.Linear(2, 2)

    def forward(self, x):
        x = self.windows(self.time_first(self.fields(self.named(self.pair(x)))))
        self.nothing(x)
        return x.reshape(-1, 4)


def test_outputs_of_any_kind_are_recorded_with_the_images_first(caplog):
    caplog.set_level(logging.INFO)
    x = torch.arange(12.0).reshape(3, 4)
    with record_layers(Mixed().eval(), shape=(4,)) as compute:
        recorded = compute(x)
    assert list(recorded) == ["pair", "named", "fields", "time_first"]
    assert_close(recorded["pair"], x + 1, rtol=0, atol=0)
    assert_close(recorded["named"], recorded["time_first"], rtol=0, atol=0)
    assert_close(recorded["named"], recorded["fields"], rtol=0, atol=0)
    assert_close(recorded["named"], 2 * (x + 1), rtol=0, atol=0)
    said = [(record.levelname, record.getMessage()) for record in caplog.records]
    windows = "Mixed: layer windows returns (2, 2) and (4, 2) for one and two images: no axis counts the images"
    assert said == [
        ("WARNING", f"{windows}; it is left out"),
        ("WARNING", "Mixed: layer nothing returns no tensor; it is left out"),
        ("INFO", "Mixed: layer unused is not called in the forward pass; it is left out"),
    ]


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (
            ["pair", "unused"],
            "layers: unused leaves nothing to record in Mixed: unused is not called in the forward pass",
        ),
        (["nothing"], "nothing returns no tensor"),
        (["wind*"], r"windows returns \(2, 2\) and \(4, 2\)"),
    ],
)
def test_name_without_a_usable_layer_is_refused(layers, message):
    network = Mixed().eval()
    with pytest.raises(ValueError, match=message), record_layers(network, layers, shape=(4,)):
        pass
    assert not any(module._forward_hooks for module in network.modules())


def test_transformers_own_fast_path_hides_no_layer():
    """Attention returns a tuple; torch's fused kernel would call none of the modules inside."""
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    network, x = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False).eval(), torch.randn(3, 5, 8)
    patterns = ["layers.*.self_attn", "layers.*.linear1"]
    with record_layers(network, patterns, shape=(5, 8)) as compute, torch.inference_mode():
        recorded, attended = compute(x), network.layers[0].self_attn(x, x, x)[0]
    assert list(recorded) == [f"layers.{i}.{name}" for i in (0, 1) for name in ("self_attn", "linear1")]
    assert_close(recorded["layers.0.self_attn"], attended, rtol=0, atol=1e-6)


def test_input_that_does_not_fit_names_the_module_that_failed(nested):
    message = (
        r"Sequential cannot take an input of 5; is its preprocessing right, .* 0\.0\.0 \(Linear\) failed: RuntimeError"
    )
    with pytest.raises(ValueError, match=message), record_layers(nested, shape=(5,)):
        pass


def test_image_axis_of_as_many_tokens_as_images_is_not_mistaken():
    class TokensFirst(nn.Module):
        def __init__(self):
            super().__init__()
            self.token = nn.Identity()

        def forward(self, x):
            return self.token(x.movedim(1, 0)).movedim(1, 0)  # (B, L, d) -> (L, B, d) -> (B, L, d)

    x = torch.randn(7, 7, 3)
    with record_layers(TokensFirst(), shape=(7, 3)) as compute:
        assert_close(compute(x)["token"], x, rtol=0, atol=0)


def test_layers_are_checked_before_a_training():
    check_layers(make_spec(), "blocks", ["fc7.2", "conv_block_*", "output"], [])
    with pytest.raises(ValueError, match=r"fc7.9.*fc7\."):
        check_layers(make_spec(), ["fc8", "fc7.9"])


def test_layer_of_one_number_an_image_has_two_axes():
    class Counts(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.mean = nn.Conv2d(3, 4, 3), nn.Identity()

        def forward(self, x):
            return self.mean(self.conv(x).mean((1, 2, 3))).argmax(0).expand(len(x))

    with record_layers(Counts().eval(), ["mean", "output"], shape=(3, 8, 8)) as compute, torch.no_grad():
        assert {layer: found.shape for layer, found in compute(torch.rand(5, 3, 8, 8)).items()} == {
            "mean": (5, 1),
            "output": (5, 1),
        }
