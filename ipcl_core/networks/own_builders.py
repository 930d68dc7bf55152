"""
Networks that are not this project's: torchvision's, timm's, and what a function of the user's own returns.

The architecture is torchvision:NAME, timm:NAME or MODULE:FUNCTION. To import a module is to run it: it is the user's code.
"""

import difflib
import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.error import URLError

from ..config import OwnModel
from ..config.models import LIBRARIES

if TYPE_CHECKING:  # torch takes seconds to import, and is not needed to find files
    from torch import nn


def find_files(model: OwnModel) -> tuple[list[str], list[str]]:
    """Find the user's files that a model's network is made from: its state dict and its code.

    The code is the module's file, or every .py file of the package that it is part of; of an installed package, the
    module's file alone.

    Returns:
        The files that are there, sorted, and what is not: one line each, which begins with the key.
    """
    files, faults = [], []
    if model.state_dict:
        if Path(model.state_dict).is_file():
            files.append(model.state_dict)
        else:
            faults.append(f"state_dict: set it to a file of weights (found: {model.state_dict}, which is not there)")
    place, colon, _ = model.architecture.partition(":")
    if colon and place not in LIBRARIES:
        try:
            path, is_own = find_module(place, model.code)
            package = Path(model.code) / place.split(".")[0]
            files += map(str, package.rglob("*.py") if is_own and package.is_dir() else [path])
        except ValueError as error:
            faults.append(str(error))
    return sorted(files), faults


def find_module(module: str, code: str | Path) -> tuple[Path, bool]:
    """Return the file of a module without importing it, and whether it lies in the folder `code`.

    A module that this process has imported from another folder is not there.

    Raises:
        ValueError: there is no such module in the folder, nor in an installed package.
    """
    top, *rest = module.split(".")
    folder = Path(code)
    spec = next((spec for finder in sys.meta_path if (spec := finder.find_spec(top, None))), None)
    places = [folder]
    if spec:
        places += [Path(place).parent for place in spec.submodule_search_locations or [spec.origin]]
    for place in places:
        for path in (place.joinpath(top, *rest, "__init__.py"), place.joinpath(top, *rest).with_suffix(".py")):
            if path.is_file():
                return path, place == folder
    if not folder.is_dir():
        raise ValueError(f"code: there is no folder {folder}")
    files = [*folder.glob("*.py"), *(folder / top).rglob("*.py"), *folder.glob("*/__init__.py")]
    there = [".".join(path.relative_to(folder).with_suffix("").parts).removesuffix(".__init__") for path in files]
    raise ValueError(
        f"architecture: there is no module {module} in {folder.resolve()}, and none is installed{_suggest(module, there)}"
    )


def build_own_network(
    architecture: str, *, arguments: dict, code: str | Path, weights: str | None = None
) -> "nn.Module":
    """Build a network that is not this project's, with the weights that its builder gives it.

    Args:
        architecture: torchvision:NAME, timm:NAME, MODULE:FUNCTION.
        arguments: keyword arguments of the builder.
        code: folder of the module.
        weights: name of torchvision's or timm's weights; they are downloaded.

    Raises:
        ValueError: there is no such network, function or name of weights (with near matches), timm is not installed, the
            builder fails, or it returns no Module.
        OSError: the weights cannot be downloaded.
    """
    from torch import nn

    place, name = architecture.split(":")
    match place:
        case "torchvision":
            with _unpickle_tensors_alone():
                network = _build_torchvision(name, weights, arguments)
        case "timm":
            with _unpickle_tensors_alone():
                network = _build_timm(name, weights, arguments)
        case _:
            with import_module(place, code) as module:
                network = _call(_find_function(module, name), architecture, arguments)
    if not isinstance(network, nn.Module):
        raise ValueError(f"{architecture}: returns {_describe(network)}, not a torch.nn.Module")
    _refuse_wrapped(network, architecture)
    return network


def _refuse_wrapped(network: "nn.Module", architecture: str) -> None:
    """Refuse what is a Module but shows no layers."""
    import torch

    kind, wanted = _describe(network), "return the network as Python code, with the weights as state_dict"
    if isinstance(network, torch.jit.ScriptModule):
        raise ValueError(f"{architecture}: returns TorchScript ({kind}), in which no layer can be recorded; {wanted}")
    for name, module in network.named_modules():
        kind, place = _describe(module), f" as {name}" if name else ""
        if isinstance(module, torch.nn.DataParallel | torch.nn.parallel.DistributedDataParallel):
            raise ValueError(
                f"{architecture}: returns {kind}{place} around the network; return what is inside (its .module)"
            )
        if hasattr(module, "_orig_mod"):
            raise ValueError(
                f"{architecture}: returns a compiled network{place}; return it before torch.compile (its ._orig_mod)"
            )
        if getattr(module, "_compiled_call_impl", None) is not None:
            raise ValueError(f"{architecture}: returns a compiled network{place}; return it before its compile()")
    try:
        network.eval()
    except NotImplementedError as error:
        raise ValueError(f"{architecture}: returns an exported program ({error}); {wanted}") from None
    except Exception as error:
        raise ValueError(f"{architecture}: eval() of the network failed: {type(error).__name__}: {error}") from error


@contextmanager
def import_module(name: str, code: str | Path) -> Iterator:
    """Import a module; inside the block Python finds what lies beside it.

    Raises:
        ValueError: it cannot be imported, or Python has another module of this name.
    """
    path, is_own = find_module(name, code)
    before = list(sys.path)
    if is_own:
        sys.path.insert(0, str(Path(code).resolve()))
    try:
        try:
            module = importlib.import_module(name)
        except (Exception, SystemExit) as error:  # a script that reads its command line exits
            raise ValueError(f"{path}: cannot be imported: {type(error).__name__}: {error}") from error
        if Path(module.__file__).resolve() != path.resolve():
            raise ValueError(f"{path}: Python already has a module {name}, {module.__file__}; give yours another name")
        yield module
    finally:
        sys.path[:] = before


@contextmanager
def _unpickle_tensors_alone() -> Iterator[None]:
    """Let torch.load read tensors and no other objects, whatever a library asks of it; torch's hub asks for all."""
    name = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
    before = os.environ.get(name, "0")
    os.environ[name] = "1"
    try:
        yield
    finally:
        os.environ[name] = before


def _find_function(module, name: str):
    function = getattr(module, name, None)
    if callable(function):
        return function
    if function is not None:
        raise ValueError(f"{module.__file__}: {name} is {_describe(function)}, no function")
    raise ValueError(
        f"{module.__file__}: has no function {name}{_suggest(name, [n for n in vars(module) if n[0] != '_'])}"
    )


def _call(build, architecture: str, arguments: dict) -> "nn.Module":
    try:
        return build(**arguments)
    except OSError as error:
        if not isinstance(error, URLError) and not type(error).__module__.startswith("huggingface_hub"):
            raise  # no such file
        raise OSError(
            f"{architecture}: its weights cannot be downloaded ({error}); give a copy of the file as state_dict, no weights"
        ) from None
    except (Exception, SystemExit) as error:
        given = ", ".join(f"{key}={value!r}" for key, value in arguments.items())
        raise ValueError(f"{architecture}({given}) failed: {type(error).__name__}: {error}") from error


def _build_torchvision(name: str, weights: str | None, arguments: dict) -> "nn.Module":
    from torchvision import models

    from ..files import compute_sha256

    names = models.list_models(module=models)
    if name not in names:
        raise ValueError(f"torchvision:{name}: torchvision has no such network{_suggest(name, names)}")
    published = models.get_model_weights(name).__members__
    if weights and weights not in published:
        raise ValueError(f"torchvision:{name}: has no weights {weights}; there are {', '.join(published)}")
    chosen = published[weights] if weights else None
    if chosen:  # torch's hub checks what it downloads, but not what it has downloaded before
        file = find_published_file(f"torchvision:{name}", weights)
        begin = file.stem.rsplit("-", 1)[-1]
        if file.exists() and not (found := compute_sha256(file)).startswith(begin):
            raise ValueError(
                f"{file}: its SHA-256 is {found}, which should begin with {begin}; delete it, to load it again"
            )
    return _call(lambda **given: models.get_model(name, weights=chosen, **given), f"torchvision:{name}", arguments)


def find_published_file(architecture: str, weights: str | None) -> Path | None:
    """Return where torchvision's published weights lie once they are loaded; None for all others."""
    import torch
    from torchvision import models

    place, name = architecture.partition(":")[::2]
    if not weights or place != "torchvision":
        return None
    url = models.get_model_weights(name)[weights].url
    return Path(torch.hub.get_dir()) / "checkpoints" / url.rsplit("/", 1)[-1]


def _build_timm(name: str, weights: str | None, arguments: dict) -> "nn.Module":
    try:
        import timm
    except ImportError:
        raise ValueError(
            f"timm:{name}: the package timm is not installed; pip install timm, or add it to envs/torch.yaml "
            "where the workflow makes the environments"
        ) from None
    if "." in name:  # timm itself takes the tag for a name too, and without `pretrained` no weights
        name, _, tag = name.partition(".")
        raise ValueError(
            f"timm:{name}.{tag}: {tag} names weights; write timm:{name}, and weights: {tag} if it is to have them"
        )
    if not timm.is_model(name):
        raise ValueError(f"timm:{name}: timm has no such network{_suggest(name, timm.list_models())}")
    tags = [full.partition(".")[2] for full in timm.list_pretrained(f"{name}.*")]
    if weights and weights not in tags:
        raise ValueError(f"timm:{name}: has no weights {weights}; there are {', '.join(tags) or 'none'}")
    full = f"{name}.{weights}" if weights else name
    for key, wanted in (
        ("checkpoint_path", "state_dict, whose hash is recorded"),
        ("pretrained_cfg", "weights, their tag"),
    ):
        if key in arguments:
            raise ValueError(f"timm:{name}: arguments.{key}: leave it out and give {wanted}")
    n_outputs = timm.models.get_pretrained_cfg(full).num_classes if weights else None
    if weights and arguments.get("num_classes", n_outputs) not in (0, n_outputs):
        raise ValueError(
            f"timm:{full}: arguments.num_classes: the weights have {n_outputs} outputs, in whose place timm would draw "
            f"{arguments['num_classes']} at random; leave it out, or give 0 for none"
        )
    return _call(lambda **given: timm.create_model(full, pretrained=bool(weights), **given), f"timm:{name}", arguments)


def read_published_preprocessing(architecture: str, weights: str | None, network: "nn.Module") -> dict:
    """Return the preprocessing that torchvision or timm publish with weights, by our keys; {} without weights."""
    place, name = architecture.partition(":")[::2]
    if not weights:
        return {}
    if place == "timm":
        published = network.pretrained_cfg
        size, crop = published["input_size"][-1], published["crop_pct"]
        mean, std, interpolation = (published[key] for key in ("mean", "std", "interpolation"))
    else:
        from torchvision import models

        published = models.get_model_weights(name)[weights].transforms()
        size, crop = published.crop_size[0], published.crop_size[0] / published.resize_size[0]
        mean, std, interpolation = published.mean, published.std, published.interpolation.value
    found = {"image_size": size, "mean": list(mean), "std": list(std), "interpolation": interpolation}
    return found | {"center_crop": round(crop, 3)}


def _suggest(name: str, names: list[str]) -> str:
    near = difflib.get_close_matches(name, names, n=3)
    return f"; did you mean {' or '.join(near)}?" if near else ""


def _describe(value) -> str:
    return f"an object of class {type(value).__name__}"
