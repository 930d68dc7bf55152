"""
Embeddings that no longer tell images apart, as the rows of a training's log show it.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

COLLAPSED_STD = 0.1
COLLAPSED_RANK = 2.0
"""Embeddings less spread than either, one of each image in a minibatch, count as collapsed (see `measure_spread`)."""
COLLAPSED_ROWS = 10
"""So many rows of the log with collapsed embeddings, one behind the other, end a training without labels."""


class CollapseError(RuntimeError):
    """The embeddings have collapsed and stayed so."""


def is_collapsed(row: dict, *, batch_size: int, dim: int) -> bool:
    """Whether a row of the log has embeddings less spread than its minibatch and dimension would allow."""
    most = min(batch_size - 1, dim)  # effective rank
    return row["embedding_std"] < COLLAPSED_STD or row["effective_rank"] < min(COLLAPSED_RANK, most / 2)


def describe_collapse(rows: list[dict]) -> str:
    """Say that the embeddings of the last rows have collapsed, and since when."""
    row = rows[-1]
    return (
        f"the embeddings have collapsed (std {row['embedding_std']:.3f}, effective rank {row['effective_rank']:.1f} at "
        f"minibatch {row['minibatch']}, epoch {row['epoch']}; since minibatch {rows[-COLLAPSED_ROWS]['minibatch']} or before)"
    )


def measure_spread(embeddings: Tensor) -> tuple[float, float]:
    """Measure whether embeddings still differ between images.

    Args:
        embeddings: (M, d), one of each image.

    Returns:
        Standard deviation: root mean square distance of the unit vectors from their mean, 0 when collapsed, near 1 when
        spread over the sphere. Effective rank: exponential of the entropy of the normalised singular values of the
        centred unit vectors, 1 to min(M - 1, d).

    Source: effective rank: Roy and Vetterli 2007.
    """
    unit = F.normalize(embeddings.detach().float(), dim=1)
    centered = unit - unit.mean(0)
    std = centered.square().sum(1).mean().sqrt().item()
    singular = torch.linalg.svdvals(centered)
    share = singular / singular.sum().clamp(min=1e-12)
    rank = torch.exp(-(share * torch.log(share.clamp(min=1e-12))).sum()).item()
    return std, rank
