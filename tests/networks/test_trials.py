"""A few pictures before a network is used: each answered by itself, in the memory format that the network can take."""

import pytest
import torch
from conftest import make_spec
from torch import nn
from torch.testing import assert_close

from ipcl_core.networks.architectures import initialize_network
from ipcl_core.networks.trials import find_difference, place_network, try_network

CPU = torch.device("cpu")


class Conv(nn.Module):
    """A convolution, and behind it what `end` does."""

    def __init__(self, end, **modules):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.end = nn.Conv2d(3, 8, 5, 2, 2), end
        for name, module in modules.items():
            self.add_module(name, module)

    def forward(self, x):
        return self.end(self, self.conv(x))


ORDINARY = {
    "view": Conv(lambda self, y: y.view(len(y), -1)),
    "three dimensions": Conv(lambda self, y: self.deep(y[:, :, None]).flatten(1), deep=nn.Conv3d(8, 4, (1, 3, 3))),
    "strides": Conv(lambda self, y: y.as_strided((len(y), 8, 256), (2048, 256, 1)).mean(2)),  # other numbers, no error
}


@pytest.mark.parametrize("name", ORDINARY)
def test_network_that_cannot_take_channels_last_gets_the_ordinary_format(name):
    network, x = ORDINARY[name].eval(), torch.rand(5, 3, 32, 32)
    with torch.no_grad():
        expected = network(x)
        memory_format = place_network(network, CPU, 32)
        assert memory_format is torch.contiguous_format
        assert all(p.is_contiguous() for p in network.parameters())
        found = network(x.to(memory_format=torch.channels_last).to(memory_format=memory_format))
    assert_close(found, expected, rtol=0, atol=0)


def test_network_that_can_take_channels_last_gets_it():
    network, x = initialize_network(make_spec(), 0).eval(), torch.rand(3, 3, 64, 64)
    with torch.no_grad():
        expected = network(x)
        assert place_network(network, CPU, 64) is torch.channels_last
        assert network.conv_block_1[0].weight.is_contiguous(memory_format=torch.channels_last)
        assert_close(network(x), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("dtype", "share", "found"),
    [
        (torch.float32, 0.9e-3, None),
        (torch.float32, 1.2e-3, "b"),
        (torch.bfloat16, 0.05, None),
        (torch.bfloat16, 0.2, "b"),
    ],
)
def test_difference_is_a_share_of_the_spread_over_units(dtype, share, found):
    """Not of the mean: units at 1000 and 1002 have a spread of 1."""
    pattern = torch.tensor([[1.0, -1.0, 1.0, -1.0]], dtype=torch.float64)
    half = {"half": torch.ones(1, 2, dtype=dtype)}
    first, second = ({"a": pattern, "b": 10 + pattern * scale} | half for scale in (1, 1 + share))
    assert find_difference(first, second) == found
    assert find_difference(first, {name: value.clone() for name, value in first.items()}) is None


def test_response_that_is_alike_in_all_units_may_be_rounded():
    first = {"flat": torch.full((2, 5), 100.0)}
    assert find_difference(first, {"flat": first["flat"] + 5e-4}) is None
    assert find_difference(first, {"flat": first["flat"] + 5e-3}) == "flat"


def test_network_may_write_into_its_input():
    """Normalised in place by the network itself; the same picture is then answered as before."""

    class InPlace(nn.Sequential):
        def forward(self, x):
            return super().forward(x.sub_(0.5).relu_())

    torch.manual_seed(0)
    network = InPlace(nn.Conv2d(3, 8, 5, 2, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    assert list(try_network(network, make_spec(), "all", [])) == ["0", "1", "2", "output"]
    assert place_network(network, CPU, 64) is torch.channels_last


def test_responses_of_every_layer_are_returned():
    network = initialize_network(make_spec(), 0).eval()
    responses = try_network(network, make_spec(), ["conv_block_1"], ["fc7.2"])
    assert list(responses) == ["conv_block_1", "fc7.2", "output"]
    assert {len(response) for response in responses.values()} == {3}
