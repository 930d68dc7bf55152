"""
What a loader gives and a training takes. It stands apart from the loader, which needs FFCV: training does not, until a .beton
file is read.
"""

from dataclasses import dataclass

import torch


@dataclass
class Batch:
    """Some images of a data set."""

    views: torch.Tensor
    """(B, n, 3, S, S) float32, normalised; channels last in memory; on the loader's device."""
    labels: torch.Tensor
    """(B,) int64."""
    images: torch.Tensor
    """(B,) int64, positions in the data set."""
