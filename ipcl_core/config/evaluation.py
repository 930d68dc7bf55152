"""
How accuracy and similarity with the brain are measured.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from .base import Positive, Strict

Protocol = Literal["weighted kNN", "softmax"]


class KNN(Strict):
    """Weighted k-nearest-neighbour accuracy (appendix B.3)."""

    k: int = Field(200, ge=1)
    """Neighbours that vote."""
    tau: Positive = 0.07
    """Temperature of the votes."""
    center_crop: float = Field(0.875, gt=0, le=1)
    """Side of the central square as a share of the image's shortest side: .875 is resize 256, crop 224 (the standard); 1 is
    resize 224, crop 224 (`released_code` in docs/deviations.md). It is also what probes are tested on."""
    max_dim: int | None = Field(4096, ge=1)
    """Maps of a layer with more numbers than this are averaged to the largest square grid that has no more (but at least
    to one number a channel); null keeps every number. A layer then takes at most 4 * max_dim bytes an image on disk."""


class NoiseCeiling(Strict):
    """Split-half reliability over participants (appendix C.2)."""

    n_splits: int = Field(1000, ge=1)
    """Random splits; all distinct splits are used where there are no more than this."""
    seed: int = Field(0, ge=0)
