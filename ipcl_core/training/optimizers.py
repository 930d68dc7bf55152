"""
Optimizers, and the learning rate and momentum of every minibatch.
"""

import math

import torch
from torch import nn

from .. import config


def build_optimizer(network: nn.Module, settings: config.SGD | config.AdamW | config.Ranger) -> torch.optim.Optimizer:
    """Build the optimizer that a recipe names, at its peak learning rate; one kernel updates all weights."""
    weights = list(network.parameters())
    shared = {"lr": settings.lr, "weight_decay": settings.weight_decay}
    match settings:
        case config.SGD():
            return torch.optim.SGD(weights, momentum=settings.momentum, fused=True, **shared)
        case config.AdamW():
            return torch.optim.AdamW(weights, fused=True, **shared)
        case config.Ranger():
            from pytorch_optimizer import Ranger  # here, because few recipes need it

            # as in September 2019: no gradient centralisation, momentum alone until the variance can be rectified
            return Ranger(weights, use_gc=False, degenerated_to_sgd=True, **shared)


def compute_rates(
    settings: config.OneCycle | config.MultiStep, *, step: int, epochs: int, n_batches: int
) -> tuple[float, float | None]:
    """Return the learning rate of a minibatch, as a share of the peak, and its momentum, None where that is constant.

    Args:
        settings: of the schedule.
        step: the minibatch, from 0, counted over the whole training; the rate changes after every one, also where
            gradients are accumulated.
        epochs: of the whole training.
        n_batches: minibatches an epoch.

    Source: appendix B.1 (one cycle; the first and the last minibatch and the peak lie as in torch's OneCycleLR), B.2 (steps).
    """
    match settings:
        case config.OneCycle():
            last = epochs * n_batches - 1
            peak = settings.pct_start * (last + 1) - 1  # a minibatch, or between two
            low, high = settings.momentum_range or (None, None)
            if step <= peak:
                start, end = (1 / settings.div_factor, high), (1.0, low)
                way = step / peak if peak > 0 else 1.0
            else:
                start, end = (1.0, low), (1 / (settings.div_factor * settings.final_div_factor), high)
                way = (step - peak) / (last - peak)
            weight = (1 + math.cos(math.pi * way)) / 2  # of the start: 1 to 0
            rate = end[0] + (start[0] - end[0]) * weight
            return rate, None if low is None else end[1] + (start[1] - end[1]) * weight
        case config.MultiStep():
            passed = sum(step >= milestone * n_batches for milestone in settings.milestones)
            return settings.gamma**passed, None


def set_rates(
    optimizer: torch.optim.Optimizer,
    settings: config.OneCycle | config.MultiStep,
    *,
    step: int,
    epochs: int,
    n_batches: int,
) -> float:
    """Give an optimizer the learning rate and the momentum (beta 1 of AdamW and Ranger) of a minibatch.

    Returns:
        The learning rate. The arguments are those of `compute_rates`.
    """
    share, momentum = compute_rates(settings, step=step, epochs=epochs, n_batches=n_batches)
    for group in optimizer.param_groups:
        group["lr"] = optimizer.defaults["lr"] * share
        if momentum is not None and "betas" in group:
            group["betas"] = (momentum, *group["betas"][1:])
        elif momentum is not None:
            group["momentum"] = momentum
    return optimizer.param_groups[0]["lr"]


def decide_step(settings: config.Recipe, *, step: int, n_batches: int) -> tuple[bool, bool]:
    """Return whether the optimizer takes a step behind a minibatch, and whether the gradients end there.

    Args:
        settings: `accumulate`, `leftover_gradients` and `epochs` of a recipe.
        step: the minibatch, from 1, counted over the whole training.
        n_batches: minibatches an epoch.
    """
    in_epoch = (step - 1) % n_batches + 1
    epoch_ends, training_ends = in_epoch == n_batches, step == settings.epochs * n_batches
    match settings.leftover_gradients:
        case "step":
            takes = in_epoch % settings.accumulate == 0 or (epoch_ends and not training_ends)
        case "carry":
            takes = step % settings.accumulate == 0 or training_ends
        case "drop":
            takes = step % settings.accumulate == 0
    return takes, takes or (epoch_ends and settings.leftover_gradients != "carry")


def choose_precision(precision: str) -> bool:
    """Set in what precision CUDA takes products of single-precision tensors; return whether networks run in bfloat16."""
    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    torch.backends.cudnn.allow_tf32 = precision != "float32"
    return precision == "bfloat16"
