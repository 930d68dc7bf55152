"""
The rows of a training's log, and what they show: speed, time left, a loss that is no number, embeddings that collapse.
"""

import logging
import math
import time
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from .collapse import COLLAPSED_ROWS, CollapseError, describe_collapse, is_collapsed, measure_spread
from .state import Training

logger = logging.getLogger(__name__)

LOG_EVERY = 100
"""Minibatches between two rows of the log; the last minibatch of an epoch has one too."""


class Watch:
    """Adds rows to a training's log, by a clock that starts here, and stops a training that is good for nothing.

    Args:
        training: its `losses`, `seconds` and `rows` are kept up to date.
        say_kept: says what is left of a training that is stopped.
    """

    def __init__(self, training: Training, say_kept: Callable[[], str]):
        self.training, self.say_kept = training, say_kept
        self.last_row = time.monotonic()
        self.start = self.last_row - training.seconds
        self.row_step = training.step
        self.waited = 0.0  # seconds, for the loader, in this process, since the last row

    def time_waiting(self, batches: Iterator) -> Iterator:
        """Yield what an iterator yields; the time until each item is there counts as waiting."""
        while True:
            start = time.monotonic()
            batch = next(batches, None)
            self.waited += time.monotonic() - start
            if batch is None:
                return
            yield batch

    def add(self, loss: Tensor, output: Tensor) -> None:
        """Take a minibatch's () loss and (B, n, d) output; add a row to the log where one is due.

        Raises:
            FloatingPointError: the loss is not a finite number; found at the next row of the log, that is after at most
                `LOG_EVERY` minibatches.
            CollapseError: the embeddings have collapsed and have stayed so for `COLLAPSED_ROWS` rows of the log, that is at
                most COLLAPSED_ROWS * LOG_EVERY minibatches.
        """
        training = self.training
        training.losses.append(loss)
        training.seconds = time.monotonic() - self.start
        epoch, batch = divmod(training.step - 1, training.n_batches)
        if batch + 1 != training.n_batches and (batch + 1) % LOG_EVERY:
            return
        mean = torch.stack(training.losses).mean().item()  # waits for the device
        if not math.isfinite(mean):
            what = f"the loss is {mean} at minibatch {training.step} (epoch {epoch + 1}); lower the lr"
            raise FloatingPointError(f"{what}; {self.say_kept()}")
        now = time.monotonic()
        seconds = now - self.last_row
        self.add_row(mean, output[:, 0], rate=(training.step - self.row_step) / seconds, waiting=self.waited / seconds)
        training.losses, self.last_row, self.row_step, self.waited = [], now, training.step, 0.0
        if count_collapsed(training) >= COLLAPSED_ROWS:
            what = f"{describe_collapse(training.rows)}; lower the lr, warm it up or take more negatives"
            raise CollapseError(f"{what}; {self.say_kept()}")

    def add_row(self, loss: float, embeddings: Tensor, *, rate: float, waiting: float) -> None:
        """Add a row to the log, say it, and warn when the embeddings have collapsed.

        Args:
            loss: mean since the last row.
            embeddings: (B, d), one view of each image of the last minibatch.
            rate: minibatches a second since the last row.
            waiting: share of that time for which the step waited for the loader, 0 to 1.
        """
        training, recipe = self.training, self.training.recipe
        std, rank = measure_spread(embeddings)
        row = {
            "epoch": (training.step - 1) // training.n_batches + 1,
            "minibatch": training.step,
            "images": training.step * recipe.batch_size,
            "seconds": round(training.seconds, 2),
            "images_per_s": round(rate * recipe.batch_size, 1),
            "waiting": round(waiting, 3),
            "lr": training.optimizer.param_groups[0]["lr"],  # of the last minibatch
            "loss": loss,
            "collapsed_loss": training.objective.collapsed_loss,
            "embedding_std": std,
            "effective_rank": rank,
        }
        training.rows.append(row)
        logger.info(
            "epoch %d/%d  minibatch %d/%d  %.0f images/s  waiting for images %.0f%%  loss %.4f  embedding std %.3f  rank %.1f"
            "  lr %.2e  left %d:%02d",
            *(row["epoch"], recipe.epochs, training.step, training.n_steps, rate * recipe.batch_size, 100 * waiting),
            *(loss, std, rank, row["lr"]),
            *divmod(round((training.n_steps - training.step) / rate), 60),
        )
        if is_collapsed(row, batch_size=recipe.batch_size, dim=training.spec.dim):
            logger.warning(
                "the embeddings have collapsed (std %.3f, effective rank %.1f): the network no longer tells images apart",
                *(std, rank),
            )


def count_collapsed(training: Training) -> int:
    """Return for how many rows, up to the last, the embeddings of a training without labels have been collapsed.

    A network that starts with little spread has a tenth of the training to gain some: 0 until then.
    """
    limits = {"batch_size": training.recipe.batch_size, "dim": training.spec.dim}
    good = [i for i, row in enumerate(training.rows, 1) if not is_collapsed(row, **limits)]
    if training.recipe.objective.name == "supervised" or not (good or training.step > training.n_steps / 10):
        return 0
    return len(training.rows) - max(good, default=0)


def is_sound(training: Training) -> bool:
    """Whether every loss since the last row is a finite number, and the last row's embeddings have not collapsed."""
    return all(loss.isfinite() for loss in training.losses) and not count_collapsed(training)
