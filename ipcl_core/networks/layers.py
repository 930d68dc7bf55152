"""
Which modules of a network are layers, and what they return in a forward pass.
"""

import difflib
import logging
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import fields, is_dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from .architectures import NetworkSpec, build_network

logger = logging.getLogger(__name__)

Layers = Literal["all", "blocks", "released_code"] | Sequence[str]
"""all, blocks, released_code, or names of modules with wildcards: see `choose_layers`."""


def choose_layers(network: nn.Module, layers: Layers = "all") -> dict[str, nn.Module]:
    """Return the modules whose outputs count as layers.

    Args:
        network: any network.
        layers: all: every module that owns parameters or has no children. blocks: the elements of the network's lists of
            modules, as ResNet's residual blocks, and the modules beside those lists. released_code: every module that
            has no children (of which `record_layers` then takes the last call alone). Or names of modules; `*` stands
            for any one part between dots, so that `blocks.*` means every block and not what is inside them; `output` is
            what the network returns.

    Returns:
        Name -> module, in the order of the network's definition. A name is that of the module, with `:` in place of `/`
        (HDF5 would make folders); a child of the network that is itself called output is `output (module)`.

    Raises:
        ValueError: a name matches no module, where the message lists near matches; or two modules have one name; or a single
            name does not stand in a list.
    """
    known = isinstance(layers, str) and layers in ("all", "blocks", "released_code")
    listed = isinstance(layers, list | tuple) and len(layers) and all(isinstance(name, str) for name in layers)
    if not known and not listed:
        example = [layers] if isinstance(layers, str) else ["conv1"]
        raise ValueError(f"layers: found {layers!r}; give all, blocks, released_code, or a list of names, as {example}")
    chosen = dict(_list_blocks(network)) if layers == "blocks" else dict(network.named_modules())
    names = [_name_layer(name) for name in chosen]
    if twice := [name for name in names if names.count(name) > 1]:
        raise ValueError(f"{type(network).__name__}: two modules are called {twice[0]}, where / is written as :")
    modules = dict(zip(names, chosen.values(), strict=True))
    modules.pop("", None)
    match layers:
        case "all":
            modules = {n: m for n, m in modules.items() if not list(m.children()) or list(m.parameters(recurse=False))}
        case "released_code":
            modules = {n: m for n, m in modules.items() if not list(m.children())}
    if isinstance(layers, str):
        return modules or {"output": network}
    modules["output"] = network
    expressions = {pattern: _compile(pattern) for pattern in layers}
    for pattern, expression in expressions.items():
        if not any(expression.fullmatch(name) for name in modules):
            near = difflib.get_close_matches(pattern, modules, n=3) or list(modules)[:20]
            raise ValueError(
                f"no layer {pattern!r} in {type(network).__name__}; there are, for example, {', '.join(near)}"
            )
    return {name: m for name, m in modules.items() if any(e.fullmatch(name) for e in expressions.values())}


def _name_layer(module: str) -> str:
    return "output (module)" if module == "output" else module.replace("/", ":")


def _compile(pattern: str) -> re.Pattern:
    return re.compile(re.escape(pattern.replace("/", ":")).replace(r"\*", "[^.]*"))


def _list_blocks(module: nn.Module, prefix: str = "") -> Iterator[tuple[str, nn.Module]]:
    """Yield (name, block). A list of modules is opened, and so is a module that is the only one of its class beside its
    siblings and holds such a list; what stands in a list is a block, or a list itself."""
    classes = Counter(type(child) for child in module.children())
    for name, child in module.named_children():
        wraps = not _is_sequence(module) and classes[type(child)] == 1 and any(map(_is_list, child.modules()))
        if _is_list(child) or wraps:
            yield from _list_blocks(child, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", child


def _is_sequence(module: nn.Module) -> bool:
    return type(module) is nn.ModuleDict or isinstance(module, nn.Sequential | nn.ModuleList)


def _is_list(module: nn.Module) -> bool:
    """Whether a module lists others that have parts: then it is no block."""
    composite = not isinstance(module, nn.Sequential) or any(list(child.children()) for child in module.children())
    return _is_sequence(module) and composite


def check_layers(spec: NetworkSpec, *choices: Layers) -> None:
    """Make sure that there are such layers, of every choice that is not empty, in a network that is still to be trained.

    Raises:
        ValueError: see `choose_layers`.
    """
    with torch.device("meta"):
        network = build_network(spec)
    for layers in filter(len, choices):
        choose_layers(network, layers)


@contextmanager
def record_layers(
    network: nn.Module, layers: Layers = "all", *, shape: tuple[int, ...]
) -> Iterator[Callable[[Tensor], dict[str, Tensor]]]:
    """Give a function of inputs (B, *shape) that returns layer -> output (B, ...), in the order of the forward pass.

    Outputs are cloned when they are made, so that an in-place ReLU behind a layer does not change what is recorded. A
    module that runs more than once in a pass is recorded as name, name#2, name#3, ...; with released_code its last call
    alone is, as name. Where a module returns a tuple, list, dictionary or dataclass, its first tensor is taken. The axis
    that counts the images, found by two passes of one and two zero images, becomes the first; one number an image becomes
    (B, 1). Modules that are not called, return no tensor, or have no such axis (windows of several images in one axis) are
    left out, which is logged.

    Args:
        network: in evaluation mode.
        layers: see `choose_layers`.
        shape: of one input, (3, S, S) for images.

    Raises:
        ValueError: a name in `layers` names no module or only such that are left out; the network cannot take such an
            input; a layer is TorchScript, returns other than real numbers, or (when the function is called) is not called
            for every image.
    """
    recorded: dict[str, Tensor | None] = {}
    modules: dict[str, str] = {}  # key -> name of the module

    def hook_for(name: str):
        def hook(module: nn.Module, args, output) -> None:
            key, n = name, 1
            if layers == "released_code":
                recorded.pop(name, None)
            while key in recorded:
                n += 1
                key = f"{name}#{n}"
            tensor = find_tensor(output)
            recorded[key], modules[key] = None if tensor is None else tensor.detach().clone(), name

        return hook

    chosen = choose_layers(network, layers)
    if script := next((name for name, module in chosen.items() if isinstance(module, torch.jit.ScriptModule)), None):
        raise ValueError(
            f"{type(network).__name__}: layer {script} is TorchScript, in which nothing can be recorded; build the network in "
            "Python and give the weights as state_dict"
        )
    with ExitStack() as stack:
        for name, module in chosen.items():
            stack.callback(module.register_forward_hook(hook_for(name)).remove)
        axes, problems = _find_image_axes(network, recorded, shape)
        _report_problems(network, layers, list(chosen), axes, problems, modules)

        def compute(x: Tensor) -> dict[str, Tensor]:
            recorded.clear()
            network(x)
            return {
                layer: _put_images_first(network, layer, recorded.get(layer), axes[layer], len(x)) for layer in axes
            }

        yield compute


def _put_images_first(network: nn.Module, layer: str, tensor: Tensor | None, axis: int, n_images: int) -> Tensor:
    found = 0 if tensor is None else tensor.shape[axis]
    if found != n_images:
        raise ValueError(
            f"{type(network).__name__}: layer {layer} answers {found} of {n_images} images: which ones it is given depends on "
            "them. Name the layers to take, without this one"
        )
    tensor = tensor.movedim(axis, 0)
    return tensor[:, None] if tensor.ndim == 1 else tensor  # a number an image


def find_tensor(output) -> Tensor | None:
    """Return a module's output, or the first tensor in a tuple, list, dictionary or dataclass; None where there is none."""
    if isinstance(output, Mapping):
        output = tuple(output.values())
    elif is_dataclass(output):
        output = tuple(getattr(output, field.name) for field in fields(output))
    if isinstance(output, tuple | list):
        return next((tensor for tensor in map(find_tensor, output) if tensor is not None), None)
    return output if isinstance(output, Tensor) else None


def _find_image_axes(
    network: nn.Module, recorded: dict[str, Tensor | None], shape: tuple[int, ...]
) -> tuple[dict[str, int], dict[str, str]]:
    """Return layer -> axis that counts the images, and layer -> why it has none, from passes of one and of two images."""
    passes = []
    for n in (1, 2):
        x = torch.zeros(n, *shape, device=next(network.parameters(), torch.empty(0)).device)
        recorded.clear()
        try:
            with torch.no_grad():
                network(x)
        except Exception as error:
            where = find_failing_module(network, x)
            others = {str(p.dtype)[6:] for p in network.parameters() if p.is_floating_point()} - {"float32"}
            hint = (
                f"are its weights, which are {min(others)}, to be float32?"
                if others
                else "is its preprocessing right, and are pictures all that it takes?"
            )
            raise ValueError(
                f"{type(network).__name__} cannot take an input of {' x '.join(map(str, shape))}; {hint} "
                f"{where} failed: {type(error).__name__}: {error}"
            ) from error
        for layer, tensor in recorded.items():
            if kind := _find_kind(tensor):
                raise ValueError(
                    f"{type(network).__name__}: layer {layer} returns {kind}, of which no correlations are computed here: let "
                    "a module return real numbers in their place (as the absolute value), or name the layers to take"
                )
        passes.append({layer: None if tensor is None else tensor.shape for layer, tensor in recorded.items()})
    axes, problems = {}, {}
    for layer, two in passes[1].items():
        one = passes[0].get(layer)
        changed = [axis for axis, sizes in enumerate(zip(one or (), two or (), strict=False)) if sizes[0] != sizes[1]]
        if two is None:
            problems[layer] = "returns no tensor"
        elif len(changed) == 1 and (one[changed[0]], two[changed[0]]) == (1, 2):
            axes[layer] = changed[0]
        else:
            shapes = " and ".join(str(None if sizes is None else tuple(sizes)) for sizes in (one, two))
            problems[layer] = f"returns {shapes} for one and two images: no axis counts the images"
    return axes, problems


def _find_kind(tensor: Tensor | None) -> str:
    """Say what a tensor holds that is no array of real numbers; "" where it is one."""
    if tensor is None:
        return ""
    kinds = {
        "complex numbers": tensor.is_complex(),
        "quantised numbers": tensor.is_quantized,
        "a sparse or nested tensor": tensor.layout is not torch.strided or tensor.is_nested,
    }
    return next((kind for kind, found in kinds.items() if found), "")


def find_failing_module(network: nn.Module, x: Tensor) -> str:
    """Return the name of the innermost module that was running when the network failed."""
    running: list[str] = []

    def enter(name: str, *_) -> None:
        running.append(name)

    def leave(*_) -> None:
        running.pop()

    with ExitStack() as stack, suppress(Exception), torch.no_grad():
        for name, module in network.named_modules():
            if isinstance(module, torch.jit.ScriptModule):
                continue  # takes no hooks
            label = f"{name} ({type(module).__name__})" if name else type(module).__name__
            stack.callback(module.register_forward_pre_hook(partial(enter, label)).remove)
            stack.callback(module.register_forward_hook(leave).remove)
        network(x)
    return running[-1] if running else "its forward pass"


def _report_problems(
    network: nn.Module,
    layers: Layers,
    chosen: list[str],
    axes: dict[str, int],
    problems: dict[str, str],
    modules: dict[str, str],
) -> None:
    """Log which layers are left out and why; refuse a name, or a choice, of which nothing is left."""
    name = type(network).__name__
    called = set(modules.values())
    problems = problems | {layer: "is not called in the forward pass" for layer in chosen if layer not in called}
    for layer, problem in problems.items():
        level = logging.INFO if layer not in modules else logging.WARNING
        logger.log(level, "%s: layer %s %s; it is left out", name, layer, problem)
    for pattern in [layers] if isinstance(layers, str) else layers:
        expression = re.compile(".*") if isinstance(layers, str) else _compile(pattern)
        found = {
            layer: problem for layer, problem in problems.items() if expression.fullmatch(modules.get(layer, layer))
        }
        if found and not any(expression.fullmatch(modules[layer]) for layer in axes):
            layer, problem = next(iter(found.items()))
            raise ValueError(f"layers: {pattern} leaves nothing to record in {name}: {layer} {problem}")
