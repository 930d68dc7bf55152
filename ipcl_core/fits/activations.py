"""
Every layer's activations to a set of stimuli, in one forward pass an image, as an HDF5 file.

The file: dataset `stimuli` (n names of pictures, in order: the stimulus's, or `<stimulus>/<picture>` where it has several);
for each layer, in the order of the forward pass, dataset `layers/<layer>` (n, ...) float32; attributes `layers` (their
order), `network` (the specification, JSON), `brain` and `model` (their names in the study).
"""

import logging
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ..config import Preprocessing
from ..files import write_hdf5
from ..images.decoding import list_stimuli, read_image
from ..memory import keep_freed_memory
from ..networks.layers import Layers, record_layers
from ..networks.network_files import load_network
from ..networks.trials import ALIKE, BATCH, refuse_difference
from ..views.on_cpu import make_center_views
from ..views.resizing import RADII

logger = logging.getLogger(__name__)


def transform_stimulus(path: str | Path, preprocessing: Preprocessing) -> Tensor:
    """Read one stimulus as the network sees it: its central square, resized to the input's side and normalised.

    Returns:
        (3, S, S) float32.

    Source: `docs/deviations.md`, stimuli are not cropped further, so that whole objects are shown.
    """
    image = read_image(path)
    height, width = (np.array([side]) for side in image.shape[:2])
    mean, std = (np.array(values, np.float32) for values in (preprocessing.mean, preprocessing.std))
    views = np.empty((1, preprocessing.image_size, preprocessing.image_size, 3), np.float32)
    radius = RADII[preprocessing.interpolation]
    make_center_views(image.reshape(-1), height, width, 1.0, mean, std, views, radius)
    return torch.from_numpy(views[0]).movedim(2, 0)  # (S, S, 3) -> (3, S, S)


def extract_activations(
    weights: str | Path,
    stimuli: str | Path,
    activations: str | Path,
    *,
    layers: Layers = "all",
    model: dict | None = None,
    brain_name: str = "",
    model_name: str = "",
) -> None:
    """Write the layers' activations of a network in a file; see `record_activations`.

    Args:
        weights: safetensors file of `network_files.save_network`.
        stimuli, activations, layers: see `record_activations`.
        model: its block of the configuration, see `network_files.load_network`.
        brain_name, model_name: of the study, by which the file is paired with others.
    """
    keep_freed_memory()
    network, spec = load_network(weights, model)
    attributes = {"network": spec.model_dump_json(), "brain": brain_name, "model": model_name}
    record_activations(
        network, spec.preprocessing, stimuli, activations, layers=layers, name=weights, attributes=attributes
    )


def record_activations(
    network: nn.Module,
    preprocessing: Preprocessing,
    stimuli: str | Path,
    activations: str | Path,
    *,
    layers: Layers = "all",
    name: str | Path,
    attributes: dict[str, str],
) -> None:
    """Write the layers' activations to every stimulus (layout: see the module).

    At most BATCH stimuli are in memory at once. A layer of one unit, for which no RSM is defined, is left out with a warning.

    Args:
        network: in evaluation mode.
        preprocessing: how a stimulus enters it.
        stimuli: folder of `list_stimuli`.
        activations: HDF5 file to write.
        layers: which ones, see `choose_layers`.
        name: of the network, in errors.
        attributes: of the file, beside `layers`.

    Raises:
        ValueError: there are fewer than three stimuli, no layer has two units, a layer's activations are not finite numbers or
            depend on other pictures or chance (those to the first picture are looked at); or `record_layers`.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network.to(device)
    names, paths = _list_pictures(stimuli)
    side = preprocessing.image_size
    with (
        write_hdf5(activations) as file,
        record_layers(network, layers, shape=(3, side, side)) as compute,
        torch.no_grad(),
    ):
        file["stimuli"] = names
        file.attrs.update(attributes)
        for start in range(0, len(paths), BATCH):
            batch = paths[start : start + BATCH]
            views = torch.stack([transform_stimulus(path, preprocessing) for path in batch])
            views = views.to(device, memory_format=torch.contiguous_format)
            one = views[:1].clone()  # a network may write into its input
            outputs = compute(views)
            found = {layer: output.float().cpu().numpy() for layer, output in outputs.items() if output[0].numel() > 1}
            for layer, values in found.items():
                finite = np.isfinite(values.reshape(len(batch), -1)).all(1)
                if not finite.all():
                    picture = batch[finite.argmin()].name
                    raise ValueError(f"{name}: layer {layer} gives non-finite activations to {picture}")
                if start == 0:
                    file.create_dataset(f"layers/{layer}", (len(paths), *values.shape[1:]), np.float32)
                file[f"layers/{layer}"][start : start + len(batch)] = values
            if start == 0:  # a network of the library's users was not tried before
                alone = compute(one)
                refuse_difference(network, name, {layer: output[:1] for layer, output in outputs.items()}, alone, ALIKE)
        if single := ", ".join(layer for layer in outputs if layer not in found):
            logger.warning("%s: %s: one unit an image, for which no RSM is defined; left out", name, single)
        if not found:
            raise ValueError(f"{name}: none of the layers has two or more units, which an RSM needs")
        file.attrs["layers"] = list(found)


def _list_pictures(stimuli: str | Path) -> tuple[list[str], list[Path]]:
    """Return the names of the pictures (see the module), and the pictures."""
    found = list_stimuli(stimuli)
    if len(found) < 3:
        raise ValueError(f"{stimuli}: holds {len(found)} stimuli; an RSM needs at least three")
    named = [
        (f"{name}/{path.stem}" if len(paths) > 1 else name, path) for name, paths in found.items() for path in paths
    ]
    names, paths = zip(*named, strict=True)
    return list(names), list(paths)
