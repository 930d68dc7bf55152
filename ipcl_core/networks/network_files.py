"""
Networks in files: weights that describe themselves, as safetensors.

A weights file carries, beside the tensors, which architecture to build and how images enter it, so that everything
after training needs the file alone.
"""

from pathlib import Path

import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from ..files import check_readable, write_whole
from .architectures import NetworkSpec, initialize_network


def list_tensors(network: nn.Module, spec: NetworkSpec) -> dict[str, Tensor]:
    """Return the state dict of a network.

    Raises:
        ValueError: it holds something else than plain tensors, which cannot be stored.
    """
    state = network.state_dict()
    for name, tensor in state.items():
        hint = "give the network as it was before that, with floating-point weights"
        if not isinstance(tensor, Tensor):
            raise ValueError(
                f"{spec.architecture}: {name} of its state dict is no tensor and cannot be stored (if quantised, {hint})"
            )
        if tensor.is_quantized or tensor.layout is not torch.strided:
            kind = f"quantised: {hint}" if tensor.is_quantized else "sparse: give it as an ordinary tensor"
            raise ValueError(f"{spec.architecture}: {name} of its state dict is {kind}")
    return state


def save_network(network: nn.Module, spec: NetworkSpec, path: str | Path) -> None:
    """Write weights and specification to one safetensors file.

    Raises:
        ValueError: see `list_tensors`.
    """
    # copies, as two names may share a tensor
    state = list_tensors(network, spec).items()
    tensors = {name: tensor.clone(memory_format=torch.contiguous_format) for name, tensor in state}
    with write_whole(path) as temporary:
        save_file(tensors, temporary, metadata={"network": spec.model_dump_json()})


def fill_network(spec: NetworkSpec, state: dict[str, Tensor], source: str | Path, *, seed: int = 0) -> nn.Module:
    """Build a network, with `seed` for torch's generator, and give it weights.

    Names that all begin with one word too much, as module. or model., are taken without it.

    Raises:
        ValueError: the weights do not fit the network or are not finite; the message begins with `source`.
    """
    for name, tensor in state.items():
        if tensor.is_quantized or (tensor.is_floating_point() and tensor.itemsize == 1):
            raise ValueError(f"{source}: {name} is quantised ({tensor.dtype}); give the weights as they were before")
        if tensor.layout is not torch.strided:
            raise ValueError(f"{source}: {name} is sparse; give it as an ordinary tensor, by its to_dense()")
        if tensor.is_meta:
            raise ValueError(f"{source}: {name} was saved from the device meta and holds no numbers")
        if not torch.isfinite(tensor).all():
            raise ValueError(f"{source}: {name} holds non-finite values")
    try:
        network = initialize_network(spec, seed)
    except (RuntimeError, ValueError) as error:
        raise ValueError(f"{source}: {error}") from None
    wanted = network.state_dict().keys()
    shortened = state
    while (
        shortened
        and len(shortened) == len(state)
        and not wanted & shortened.keys()
        and all("." in name for name in shortened)
    ):
        shortened = {name.partition(".")[2]: tensor for name, tensor in shortened.items()}
    if shortened.keys() <= wanted and len(shortened) == len(state):
        state = shortened
    _refuse_other_types(network, spec, state, source)
    try:
        missing, unexpected = network.load_state_dict(state, strict=False)
        missing = _leave_out_shared(network, spec, state, missing, source)
        found = {"missing": missing, "too many": unexpected}
        faults = [f"{what} {len(names)}: {', '.join(names[:5])}" for what, names in found.items() if names]
    except RuntimeError as error:  # sizes
        faults = [" ".join(str(error).split("\n", 1)[-1].split())]
    if faults:
        share = f"{len(wanted & state.keys())} of its {len(state)} names are among the network's {len(wanted)}"
        raise ValueError(f"{source}: does not fit {spec.architecture}: {'; '.join(faults)} ({share})")
    return network


def _refuse_other_types(network: nn.Module, spec: NetworkSpec, state: dict[str, Tensor], source: str | Path) -> None:
    """Refuse whole or complex numbers for weights that are floating-point numbers: torch would convert them without a word."""
    for name, tensor in network.state_dict().items():
        found = state.get(name)
        if found is None or not isinstance(tensor, Tensor) or not tensor.is_floating_point():
            continue
        if not found.is_floating_point():
            raise ValueError(
                f"{source}: {name} holds numbers of type {found.dtype}, where {spec.architecture} has {tensor.dtype}; give "
                "the weights as floating-point numbers, as they were before a conversion"
            )


def _leave_out_shared(
    network: nn.Module, spec: NetworkSpec, state: dict[str, Tensor], missing: list[str], source: str | Path
) -> list[str]:
    """Return the missing names without those whose tensor is there under another name, as safetensors writes shared ones.

    Raises:
        ValueError: the file has two tensors for what is one in the network.
    """
    given: dict[tuple, str] = {}
    places = {
        name: (tensor.data_ptr(), tensor.shape, tensor.stride())
        for name, tensor in network.state_dict().items()
        if isinstance(tensor, Tensor) and tensor.layout is torch.strided
    }
    for name in places.keys() & state.keys():
        first = given.setdefault(places[name], name)
        if not torch.equal(state[first], state[name]):
            one, other = sorted((first, name))
            raise ValueError(f"{source}: {one} and {other} differ, which are one tensor in {spec.architecture}")
    return [name for name in missing if places.get(name) not in given]


def load_network(path: str | Path, model: dict | None = None, *, seed: int = 0) -> tuple[nn.Module, NetworkSpec]:
    """Read a weights file written by `save_network`.

    Args:
        path: the safetensors file.
        model: `config.models.<name>`, as a dictionary. Needed where the network is not this project's: to build it runs code,
            which a weights file alone must not choose.
        seed: of what is drawn while the network is built; the file's weights take its place.

    Returns:
        The network in evaluation mode, on the CPU, and its specification.

    Raises:
        ValueError: the file is torn, holds no specification, one that names other code than `model`, tensors that do not fit
            the network, or non-finite weights.
    """
    check_readable(path)
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, no dictionary
    except SafetensorError as error:
        raise ValueError(f"{path}: is no whole safetensors file ({error})") from None
    if "network" not in metadata:
        raise ValueError(
            f"{path}: holds no description of the network; of weights that this project did not write name the network, with "
            f"state_dict={str(path)!r}"
        )
    try:
        spec = NetworkSpec.model_validate_json(metadata["network"])
    except ValidationError as error:
        raise ValueError(f"{path}: its description of the network cannot be used: {error}") from None
    if ":" in spec.architecture:
        found = {key: getattr(spec, key) for key in ("architecture", "arguments", "code")}
        allowed = {key: (model or {}).get(key) for key in found}
        if found != allowed:
            raise ValueError(
                f"{path}: would be built by {found}, the model's block says {allowed if model else 'nothing'}; to build it is "
                "to run code, so the two must be the same"
            )
    network = fill_network(spec, state, path, seed=seed)
    network.eval()  # returns nothing where a network of the user's overrides train()
    return network, spec
