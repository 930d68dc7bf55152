"""
The L-BFGS probe: a linear classifier, fitted to the stored features of the central views.
"""

import logging

import torch
from torch import Tensor
from torch.nn import functional as F

from ..config import LBFGSProbe, count_held_out

logger = logging.getLogger(__name__)

ROWS = 16384
"""Images whose logits are in memory at once."""
NOT_COUNTED = -1
"""Label of images that a fit leaves out."""


def fit_logistic(
    features: Tensor, labels: Tensor, *, n_classes: int, l2: float, max_iter: int
) -> tuple[Tensor, Tensor]:
    """Fit a multinomial logistic regression by L-BFGS, in float32.

    Minimises the mean cross entropy + l2 / 2 * the sum of the squared weights (not the biases), beginning at zero;
    scikit-learn's C is 1 / (m l2) for m images. Where l2 > 0 there is one minimum.

    Args:
        features: (n, d) float32.
        labels: (n,) int64 in [0, n_classes), or NOT_COUNTED.
        l2: strength of the penalty, >= 0.
        max_iter: iterations of L-BFGS at most.

    Returns:
        (n_classes, d) weights and (n_classes,) biases.
    """
    n_counted = (labels != NOT_COUNTED).sum()
    weight = features.new_zeros(n_classes, features.shape[1], requires_grad=True)
    bias = features.new_zeros(n_classes, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [weight, bias], max_iter=max_iter, max_eval=2 * max_iter, tolerance_grad=1e-6, line_search_fn="strong_wolfe"
    )

    def compute_loss() -> Tensor:
        optimizer.zero_grad()
        loss = l2 / 2 * weight.square().sum()
        loss.backward()
        total = loss.detach()
        for part, targets in zip(features.split(ROWS), labels.split(ROWS), strict=True):
            logits = F.linear(part, weight, bias)  # (ROWS, d) -> (ROWS, n_classes)
            loss = F.cross_entropy(logits, targets, reduction="sum", ignore_index=NOT_COUNTED) / n_counted
            loss.backward()
            total = total + loss.detach()
        return total

    optimizer.step(compute_loss)
    return weight.detach(), bias.detach()


def fit_probe(features: Tensor, labels: Tensor, queries: Tensor, *, n_classes: int, settings: LBFGSProbe) -> Tensor:
    """Fit the L-BFGS probe to the features of the training images; return the logits of the test images.

    Each feature is brought to mean 0 and standard deviation 1 over the training images (one that is constant counts for
    nothing). Of the penalties `l2`, the one with the best top-1 accuracy on a held-out part of the training images is
    taken, the largest among equally good ones; the probe is then fitted to all training images.

    Args:
        features: (n, d) float32; overwritten.
        labels: (n,) int64 in [0, n_classes).
        queries: (m, d) float32, on the same device.
        n_classes: number of columns of the result.
        settings: `probes.l_bfgs` of the configuration.

    Returns:
        (m, n_classes) float32.

    Raises:
        ValueError: a feature is not a finite number, or there are too few images to hold some out.
    """
    n_held_out = count_held_out(settings.held_out, n := len(features))
    mean, std = features.mean(0), features.std(0, correction=0)
    if not (mean.isfinite().all() and std.isfinite().all()):
        raise ValueError("the training features hold non-finite values")
    std = torch.where(std > 1e-6 * mean.abs(), std, torch.inf)
    features.sub_(mean).div_(std)
    order = torch.randperm(n, generator=torch.Generator().manual_seed(settings.seed)).to(features.device)
    held_out = order[:n_held_out]
    counted = labels.index_fill(0, held_out, NOT_COUNTED)
    fit = {"n_classes": n_classes, "max_iter": settings.max_iter}
    scores = {}
    for l2 in sorted(settings.l2, reverse=True):
        weight, bias = fit_logistic(features, counted, l2=l2, **fit)
        hits = [F.linear(features[i], weight, bias).argmax(1) == labels[i] for i in held_out.split(ROWS)]
        scores[l2] = torch.cat(hits).float().mean().item()
        logger.info("L-BFGS probe, l2 %g: %.2f %% of %d held-out images", l2, 100 * scores[l2], n_held_out)
    weight, bias = fit_logistic(features, labels, l2=max(scores, key=scores.get), **fit)
    return F.linear((queries - mean) / std, weight, bias)
