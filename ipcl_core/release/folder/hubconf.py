"""
The networks of this folder for torch.hub.

    network = torch.hub.load(FOLDER, NAME, source="local")

returns a torch.nn.Module in evaluation mode with its weights; NAME is that of a folder in `models/`. The code lies in `code/`;
where a package ipcl_core has been imported from elsewhere before, that one is used. ResNets need torchvision besides.
"""

import sys
from functools import partial
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
dependencies = ["torch", "h5py", "pandas", "pydantic", "safetensors", "yaml"]
sys.path.insert(0, str(FOLDER / "code"))


def _load(name):
    from ipcl_core.networks.network_files import load_network

    return load_network(FOLDER / "models" / name / "weights.safetensors")


def _make_network(name):
    """Return a network of this folder, in evaluation mode."""
    return _load(name)[0]


def read_pictures(name, *paths):
    """Return pictures as the study showed them to a network: their central square, resized and normalised.

    Args:
        name: of the network.
        paths: of the pictures' files.

    Returns:
        (n, 3, S, S) float32. Needs numba and pillow.
    """
    import torch

    from ipcl_core.fits.activations import transform_stimulus

    preprocessing = _load(name)[1].preprocessing
    return torch.stack([transform_stimulus(path, preprocessing) for path in paths])


NAMES = sorted(path.parent.name for path in FOLDER.glob("models/*/weights.safetensors"))
globals().update({name: partial(_make_network, name) for name in NAMES})
