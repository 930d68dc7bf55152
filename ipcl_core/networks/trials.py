"""
What a network does with a few pictures, before it is used: whether each picture is answered by itself, and the memory format.
"""

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from .architectures import NetworkSpec
from .layers import Layers, find_failing_module, find_tensor, record_layers

TOLERANCE = 1e-3
"""Largest difference of two responses, as a share of the response's spread over units. float32 in another order of sums gives
1e-6 to 1e-4; a difference of this size moves a correlation by less than 1e-6."""

ALIKE = 0.05
"""The same where a network is used, of a picture alone and in a batch: a GPU chooses its kernels by the number of pictures."""

BATCH = 16
"""Pictures that are shown together where layers are recorded; a network that takes others into account may do so from a
number of pictures on."""


def try_network(network: nn.Module, spec: NetworkSpec, layers: Layers, accuracy_layers: list[str]) -> dict[str, Tensor]:
    """Return every layer's response to three pictures of noise, once all that is asked of it is found right.

    Each layer must answer a picture alone, among two others and among BATCH, and once more afterwards in the same way, within
    TOLERANCE.

    Args:
        network: in evaluation mode, on the CPU.
        spec: its specification.
        layers, accuracy_layers: those that are asked for, see `choose_layers`.

    Returns:
        Layer -> (3, ...) in the layer's own type; "output" is what the network returns.

    Raises:
        ValueError: the network cannot take pictures of this size; a layer is not there, not called, or returns no number;
            the network fails with noise; a response is not finite, or depends on the other pictures or on those before.
    """
    side, preprocessing = spec.preprocessing.image_size, spec.preprocessing
    mean, std = (torch.tensor(values).reshape(3, 1, 1) for values in (preprocessing.mean, preprocessing.std))
    generator = torch.Generator().manual_seed(0)
    pictures = (torch.rand(3, 3, side, side, generator=generator) - mean) / std
    more = (torch.rand(BATCH - 3, 3, side, side, generator=generator) - mean) / std
    responses = {}
    for chosen in (layers, [*accuracy_layers, "output"]):
        with record_layers(network, chosen, shape=(3, side, side)) as record, torch.no_grad():
            compute = partial(_answer, network, spec, record)
            together = compute(pictures)
            for layer, found in together.items():
                if not found[0].numel():
                    raise ValueError(
                        f"{spec.architecture}: layer {layer} returns no number (shape {tuple(found.shape[1:])}); give it "
                        "units, or leave it out of the network"
                    )
                if not found.isfinite().all():
                    raise ValueError(
                        f"{spec.architecture}: layer {layer} gives non-finite activations to a picture of noise"
                    )
            for i in range(len(pictures)):
                alone = compute(pictures[i : i + 1])
                refuse_difference(network, spec, {layer: found[i : i + 1] for layer, found in together.items()}, alone)
            among = compute(torch.cat([pictures, more]))
            refuse_difference(
                network, spec, together, {layer: found[: len(pictures)] for layer, found in among.items()}
            )
            refuse_difference(network, spec, together, compute(pictures))
        responses |= together
    return responses


def _answer(network: nn.Module, spec: NetworkSpec, record: Callable, pictures: Tensor) -> dict[str, Tensor]:
    """Return every layer's response to pictures of noise, of which the network gets a copy, as it may write into its input."""
    try:
        return record(pictures.clone())
    except ValueError:
        raise
    except Exception as error:
        where = find_failing_module(network, pictures.clone())
        raise ValueError(
            f"{spec.architecture}: could take a picture of zeros, but not {len(pictures)} of noise, normalised by "
            f"its preprocessing: {where} failed: {type(error).__name__}: {error}. "
            f"It is shown up to {BATCH} at once, more on a GPU"
        ) from error


def find_difference(first: dict[str, Tensor], second: dict[str, Tensor], least: float = TOLERANCE) -> str | None:
    """Return the first layer whose responses (B, ...) differ by more than `least`, or None.

    The difference and the spread of a picture's response over units are Euclidean norms; half precision anywhere in the
    network allows sixteen of its rounding steps. A response that is alike in all units may differ by 1e-5 of itself.
    """
    steps = [torch.finfo(found.dtype).eps for found in first.values() if found.is_floating_point()]
    tolerance = max([least, *(16 * step for step in steps)])
    for layer, found in first.items():
        a, b = (tensor.flatten(1).double() for tensor in (found, second[layer]))  # (B, ...) -> (B, d)
        allowed = tolerance * (a - a.mean(1, keepdim=True)).norm(dim=1) + 1e-5 * a.norm(dim=1)
        if a.shape != b.shape or not ((a - b).norm(dim=1) <= allowed).all():
            return layer
    return None


def refuse_difference(
    network: nn.Module, spec: NetworkSpec | str | Path, first: dict, second: dict, least: float = TOLERANCE
) -> None:
    """Raise a ValueError where the same pictures were answered differently; see `find_difference`.

    Of the specification the message has the architecture; a name may stand for it.
    """
    if layer := find_difference(first, second, least):
        training = [name for name, module in network.named_modules() if name and module.training]
        hint = (
            f" (in training mode although it was asked for evaluation: {', '.join(training[:3])})" if training else ""
        )
        name = getattr(spec, "architecture", spec)
        raise ValueError(
            f"{name}: layer {layer} answers the same picture differently when it is alone, among others, or "
            f"shown again{hint}. An answer must not depend on other pictures, on those before, or on chance: BatchNorm needs "
            "running statistics, states must begin anew in each pass, noise and dropout must be off in evaluation mode"
        )


def place_network(network: nn.Module, device: torch.device, side: int) -> torch.memory_format:
    """Put a network on a device, with channels last where it can take that; return the memory format of its pictures.

    Channels last is faster. It is an error for `view` behind a convolution and for three-dimensional convolutions; and a
    network that gives other numbers with it gets the ordinary format too.

    Args:
        network: in evaluation mode.
        device: where it shall be.
        side: S of its pictures (B, 3, S, S).
    """
    network.to(device)
    pictures = torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(0)).to(device)
    # what is wrong in both formats shows when the network is used
    with torch.no_grad(), suppress(Exception):
        expected = find_tensor(network(pictures.clone()))
        nn.Module.to(network, memory_format=torch.channels_last)
        found = find_tensor(network(pictures.clone(memory_format=torch.channels_last)))
        if find_difference({"output": expected[None]}, {"output": found[None]}) is None:
            return torch.channels_last
    nn.Module.to(network, memory_format=torch.contiguous_format)
    return torch.contiguous_format
