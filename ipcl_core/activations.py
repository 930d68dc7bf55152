"""
Every layer's activations to a set of stimuli, in one forward pass an image, as an HDF5 file.

The file: dataset `stimuli` (n names, in order); for each layer, in the order of the forward pass, dataset
`layers/<layer>` (n, ...) float32; attributes `layers` (their order) and `network` (the specification, JSON).
"""

import difflib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torchvision.transforms.v2 import functional as F

from .architectures import load_network
from .brains import list_stimuli
from .config import Preprocessing
from .files import write_hdf5

BATCH = 16


def transform_stimulus(path: str | Path, preprocessing: Preprocessing) -> Tensor:
    """Read one stimulus as the network sees it: shortest side resized to the input's side, central square, normalised.

    Returns:
        (3, S, S) float32.

    Source: `docs/deviations.md`, stimuli are not cropped further, so that whole objects are shown.
    """
    image = F.to_dtype(F.pil_to_tensor(Image.open(path).convert("RGB")), torch.float32, scale=True)
    image = F.resize(image, [preprocessing.image_size], antialias=True)
    image = F.center_crop(image, [preprocessing.image_size])
    return F.normalize(image.clamp(0, 1), preprocessing.mean, preprocessing.std)


@contextmanager
def record_layers(network: nn.Module, only: str | None = None) -> Iterator[dict[str, Tensor]]:
    """Record the output of every leaf module, or `only` that of one, in each forward pass made inside the block.

    Outputs are cloned when they are made, so that an in-place ReLU behind a layer does not change what is recorded. A
    module that runs more than once in a pass is recorded as name, name#2, name#3, ...

    Raises:
        ValueError: the network has no leaf module `only`; the message lists those it has.

    Yields:
        Layer name -> (B, ...) output of the latest pass, in the order of the pass; clear it between passes.
    """
    recorded: dict[str, Tensor] = {}

    def hook_for(name: str):
        def hook(module: nn.Module, args, output: Tensor) -> None:
            key, n = name, 1
            while key in recorded:
                n += 1
                key = f"{name}#{n}"
            recorded[key] = output.detach().clone()

        return hook

    leaves = {name: module for name, module in network.named_modules() if not list(module.children())}
    if only is not None and only not in leaves:
        near = difflib.get_close_matches(only, leaves, n=3)
        raise ValueError(f"no layer {only!r}; near: {', '.join(near) or 'none'}; all: {', '.join(leaves)}")
    handles = [module.register_forward_hook(hook_for(name)) for name, module in leaves.items() if only in (None, name)]
    try:
        yield recorded
    finally:
        for handle in handles:
            handle.remove()


def extract_activations(weights: str | Path, stimuli: str | Path, activations: str | Path) -> None:
    """Write every layer's activations to every stimulus (layout: see the module).

    At most BATCH stimuli are in memory at once.

    Args:
        weights: safetensors file of `architectures.save_network`.
        stimuli: folder of images; their order is that of their names.
        activations: HDF5 file to write.

    Raises:
        ValueError: there are fewer than three stimuli, or a layer's activations are not finite numbers.
    """
    network, spec = load_network(weights)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network.to(device)
    paths = list_stimuli(stimuli)
    if len(paths) < 3:
        raise ValueError(f"{stimuli}: holds {len(paths)} stimuli; an RSM needs at least three")
    with write_hdf5(activations) as file, record_layers(network) as recorded, torch.inference_mode():
        file["stimuli"] = [path.stem for path in paths]
        file.attrs["network"] = spec.model_dump_json()
        for start in range(0, len(paths), BATCH):
            batch = paths[start : start + BATCH]
            recorded.clear()
            network(torch.stack([transform_stimulus(path, spec.preprocessing) for path in batch]).to(device))
            for layer, output in recorded.items():
                values = output.float().cpu().numpy()
                if not np.isfinite(values).all():
                    raise ValueError(
                        f"{weights}: layer {layer} gives non-finite activations to {batch[0].name} or after"
                    )
                if start == 0:
                    file.create_dataset(f"layers/{layer}", (len(paths), *values.shape[1:]), np.float32)
                file[f"layers/{layer}"][start : start + len(batch)] = values
        file.attrs["layers"] = list(recorded)
