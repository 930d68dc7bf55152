"""Modules that differ from torch's, and what a compiled step makes of them."""

import pytest
import torch
from conftest import make_spec
from functorch.compile import make_boxed_func
from test_architectures import draw_images
from torch import nn
from torch._dynamo.backends.common import aot_autograd
from torch.testing import assert_close

from ipcl_core.networks.architectures import initialize_network
from ipcl_core.networks.modules import GroupNorm, MaxPool2d, _PoolWindows


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def test_group_norm_keeps_half_precision():
    """Under autocast too, where torch's returns single precision; nothing else differs from torch's."""
    ours = [m for m in initialize_network(make_spec(), 0).modules() if isinstance(m, nn.GroupNorm)]
    assert len(ours) == 5
    layer, x = ours[1], draw_images(2, 9)[:, :1].expand(-1, ours[1].num_channels, -1, -1)
    expected = nn.functional.group_norm(x, layer.num_groups, layer.weight, layer.bias, layer.eps)
    assert torch.equal(layer(x), expected)
    with torch.autocast("cpu", torch.bfloat16):
        found = layer(x.bfloat16())
    assert found.dtype == torch.bfloat16
    rounded = nn.functional.group_norm(x.bfloat16().float(), layer.num_groups, layer.weight, layer.bias, layer.eps)
    assert torch.equal(found, rounded.bfloat16())


def test_average_pool_leaves_a_map_of_its_size_alone():
    pool, x = initialize_network(make_spec(), 0).ave_pool, draw_images(2, 6)
    assert pool(x) is x
    assert torch.equal(nn.functional.adaptive_avg_pool2d(x, 6), x)
    assert pool(draw_images(2, 12)).shape == (2, 3, 6, 6)


def run(forward, x: torch.Tensor, gradient: torch.Tensor, *weights: torch.Tensor) -> list[torch.Tensor]:
    """What a function returns, and the gradients of its input and weights."""
    x = x.detach().clone().requires_grad_()
    returned = forward(x)
    return [returned, *torch.autograd.grad(returned, [x, *weights], gradient)]


@pytest.mark.parametrize("mean", [0, 30])
@pytest.mark.parametrize("form", [torch.contiguous_format, torch.channels_last])
def test_compiled_group_norm(mean, form):
    """By its formula in double precision; that of torch for channels_last is a hundred times less precise at a mean of 30."""
    norm, x, gradient = GroupNorm(4, 12), torch.randn(3, 12, 9, 7) + mean, torch.randn(3, 12, 9, 7)
    nn.init.uniform_(norm.weight)
    nn.init.normal_(norm.bias)
    weights = [norm.weight, norm.bias]
    found = run(norm._normalize_channels, x.to(memory_format=form), gradient, *weights)
    doubled = [each.double().detach().requires_grad_() for each in weights]
    expected = run(lambda x: nn.functional.group_norm(x, 4, *doubled), x.double(), gradient.double(), *doubled)
    for one, other in zip(found, expected, strict=True):
        assert_close(one.double(), other, rtol=1e-4, atol=1e-4)


WINDOWS = [(3, 2, 0), (3, 2, 1), (2, 2, 0), (3, 1, 1), (5, 3, 2), (2, 3, 0)]


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("shape", [(13, 13), (14, 14), (15, 28)])
def test_compiled_max_pooling(window, shape):
    """To the bit: maxima that occur twice, and gradients of whole numbers, whose sums have no rounding."""
    x = torch.randn(2, 3, *shape).mul(3).round().relu().to(memory_format=torch.channels_last)
    expected = nn.functional.max_pool2d(x, *window)
    gradient = torch.randint(-99, 99, expected.shape).float()
    found = run(lambda x: _PoolWindows.apply(x, *window), x, gradient)
    for one, other in zip(found, run(lambda x: nn.functional.max_pool2d(x, *window), x, gradient), strict=True):
        assert torch.equal(one, other)


def test_pooling_passes_on_what_is_no_number():
    x = torch.zeros(1, 1, 7, 7)
    x[0, 0, 3, 3] = torch.nan
    assert torch.equal(_PoolWindows.apply(x, 3, 2, 0).isnan(), nn.functional.max_pool2d(x, 3, 2).isnan())


def test_a_compiled_step_scatters_no_gradients():
    """None of AlexNet's operations reads maps against their order or adds in an order of chance; the step is the same."""
    operations = []

    def keep(graph, inputs):
        operations.extend(str(node.target) for node in graph.graph.nodes)
        return make_boxed_func(graph.forward)

    network, images = initialize_network(make_spec(), 0).eval(), draw_images(2, 63)
    weights = list(network.parameters())
    compiled = torch.compile(network, backend=aot_autograd(fw_compiler=keep), fullgraph=True)
    gradient = torch.randn(network(images).shape)
    for one, other in zip(
        run(compiled, images, gradient, *weights), run(network, images, gradient, *weights), strict=True
    ):
        assert_close(one, other, rtol=1e-4, atol=1e-5)
    assert [name for name in operations if "convolution_backward" in name]
    assert not [
        name for name in operations if "scatter" in name or "group_norm" in name or "pool2d_with_indices_b" in name
    ]
    assert {type(module) for module in network.modules() if isinstance(module, nn.MaxPool2d)} == {MaxPool2d}
