"""What tests of published weights share: a model's block of the configuration, pictures."""

import torch

from ipcl_core.config import Preprocessing


def make_model(architecture: str, format: str, **changes) -> dict:
    """A model's block of the configuration, as a dictionary."""
    model = {"architecture": architecture, "dim": None, "width": 1.0, "head": "linear", "source": "fetched"}
    model |= {"preprocessing": Preprocessing().model_dump(), "weights": {"format": format, "max_mb": 200}}
    return model | changes


def draw_images(n: int, side: int) -> torch.Tensor:
    return torch.rand(n, 3, side, side, generator=torch.Generator().manual_seed(0))
