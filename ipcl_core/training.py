"""
Training: a network, a recipe and a .beton file -> weights, a log and their provenance.

One loop serves the three objectives. What it needs to go on after an interruption is one checkpoint file: weights,
optimizer, schedule, the objective's buffers, the position within the epoch, the log so far. Image order, views and
negatives are functions of the seed and the position, so that a resumed run ends with the same bits as an undisturbed
one (same machine, same number of threads).
"""

import logging
import math
import pickle
import time
from pathlib import Path

import pandas as pd
import torch
from torch import nn

from . import config
from .architectures import NetworkSpec, initialize_network, save_network
from .files import write_csv, write_json, write_whole
from .loading import ViewLoader
from .objectives import build_objective, measure_spread
from .provenance import describe_run

logger = logging.getLogger(__name__)

LOG_EVERY = 100
"""Minibatches between two rows of the log; the last minibatch of an epoch has one too."""
COLLAPSED_STD = 0.1
COLLAPSED_RANK = 2.0
"""Embeddings less spread than either, one of each image in a minibatch, count as collapsed (see `measure_spread`)."""


def build_optimizer(network: nn.Module, settings: config.SGD | config.AdamW | config.Ranger) -> torch.optim.Optimizer:
    """Build the optimizer that a recipe names, at its peak learning rate."""
    match settings:
        case config.SGD():
            return torch.optim.SGD(
                network.parameters(), lr=settings.lr, momentum=settings.momentum, weight_decay=settings.weight_decay
            )
        case config.AdamW():
            return torch.optim.AdamW(network.parameters(), lr=settings.lr, weight_decay=settings.weight_decay)
        case config.Ranger():
            from pytorch_optimizer import Ranger  # here, because few recipes need it

            # as first released: no gradient centralisation, momentum alone until the variance can be rectified
            return Ranger(
                network.parameters(),
                lr=settings.lr,
                weight_decay=settings.weight_decay,
                use_gc=False,
                degenerated_to_sgd=True,
            )
    raise TypeError(f"unknown optimizer {settings!r}")


def build_schedule(
    optimizer: torch.optim.Optimizer, settings: config.OneCycle | config.MultiStep, *, epochs: int, n_batches: int
) -> torch.optim.lr_scheduler.LRScheduler:
    """Build the learning-rate schedule that a recipe names; it is stepped after every minibatch.

    Args:
        optimizer: at its peak learning rate.
        settings: of the schedule.
        epochs: of the whole training.
        n_batches: minibatches an epoch.

    Source: appendix B.1 (one cycle), B.2 (steps).
    """
    match settings:
        case config.OneCycle():
            low, high = settings.momentum_range or (0, 0)
            return torch.optim.lr_scheduler.OneCycleLR(
                optimizer,
                max_lr=optimizer.param_groups[0]["lr"],
                total_steps=epochs * n_batches,
                pct_start=settings.pct_start,
                div_factor=settings.div_factor,
                final_div_factor=settings.final_div_factor,
                cycle_momentum=settings.momentum_range is not None,
                base_momentum=low,
                max_momentum=high,
            )
        case config.MultiStep():
            milestones = [epoch * n_batches for epoch in settings.milestones]
            return torch.optim.lr_scheduler.MultiStepLR(optimizer, milestones, settings.gamma)
    raise TypeError(f"unknown schedule {settings!r}")


class Training:
    """The state of one training, and how it is saved and restored.

    Args:
        spec: network to build.
        recipe: how to train it.
        seed: of the initial weights, the order, the views, the objective's start.
        loader: of the training images.
        data_sha256: of the .beton file; a checkpoint made from other data is not used.
    """

    def __init__(self, spec: NetworkSpec, recipe: config.Recipe, *, seed: int, loader: ViewLoader, data_sha256: str):
        self.spec, self.recipe, self.seed, self.loader = spec, recipe, seed, loader
        self.n_batches = loader.n_images // recipe.batch_size
        if self.n_batches == 0:
            raise ValueError(f"batch_size {recipe.batch_size} is larger than the {loader.n_images} training images")
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.network = initialize_network(spec, seed).to(self.device, memory_format=torch.channels_last).train()
        self.objective = build_objective(recipe.objective, n_images=loader.n_images, dim=spec.dim, seed=seed)
        self.objective.to(self.device)
        self.optimizer = build_optimizer(self.network, recipe.optimizer)
        self.schedule = build_schedule(self.optimizer, recipe.schedule, epochs=recipe.epochs, n_batches=self.n_batches)
        self.forward = torch.compile(self.network) if recipe.compile and self.device.type == "cuda" else self.network
        self.fingerprint = repr((spec, recipe.model_dump(exclude={"checkpoint_minutes"}), seed, data_sha256))
        self.step, self.seconds, self.rows = 0, 0.0, []
        self.losses: list[torch.Tensor] = []  # since the last row of the log

    @property
    def n_steps(self) -> int:
        """Minibatches of the whole training."""
        return self.recipe.epochs * self.n_batches

    def save_checkpoint(self, path: Path) -> None:
        """Write everything that the rest of the training depends on."""
        state = {name: getattr(self, name).state_dict() for name in ("network", "objective", "optimizer", "schedule")}
        state |= {name: getattr(self, name) for name in ("fingerprint", "step", "seconds", "rows", "losses")}
        with write_whole(path) as temporary:
            torch.save(state, temporary)

    def load_checkpoint(self, path: Path) -> None:
        """Go on from a checkpoint, unless it belongs to another recipe, seed or data set.

        Raises:
            ValueError: the file is no checkpoint, or holds objects that could run code.
        """
        try:
            state = torch.load(path, map_location=self.device, weights_only=True)
        except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            raise ValueError(f"{path}: is no whole checkpoint; remove it to train from the start ({reason})") from None
        if state["fingerprint"] != self.fingerprint:
            logger.warning("%s belongs to another recipe, seed or data set: training starts anew", path)
            return
        for name in ("network", "objective", "optimizer", "schedule"):
            getattr(self, name).load_state_dict(state[name])
        for name in ("step", "seconds", "rows", "losses"):
            setattr(self, name, state[name])
        logger.info("going on from minibatch %d of %d (%s)", self.step, self.n_steps, path)

    def train_batch(self, batch) -> tuple[torch.Tensor, torch.Tensor]:
        """Take one minibatch; step the optimizer where `accumulate` of them are complete or, unless such gradients are to be
        dropped, none is left.

        Returns:
            () loss and (B, n, d) output, both without gradient.
        """
        views = batch.views.flatten(0, 1)  # (B, n, 3, S, S) -> (B n, 3, S, S)
        views = views.to(self.device, memory_format=torch.channels_last, non_blocking=True)
        labels, images = batch.labels.to(self.device), batch.images.to(self.device)
        torch.manual_seed(2**32 * self.seed + self.step)  # of dropout, which the original AlexNet alone has
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
            output = self.forward(views)
        output = output.float().unflatten(0, batch.views.shape[:2])  # (B n, d) -> (B, n, d)
        loss = self.objective(output, labels, images, self.step)
        (loss / self.recipe.accumulate).backward()
        self.objective.remember(output, images)
        self.step += 1
        drop = self.recipe.leftover_gradients == "drop"
        is_complete = self.step % self.recipe.accumulate == 0
        if is_complete or (self.step == self.n_steps and not drop):
            self.optimizer.step()
        if is_complete or (self.step % self.n_batches == 0 and drop):
            self.optimizer.zero_grad(set_to_none=True)
        self.schedule.step()
        return loss.detach(), output.detach()

    def run(self, checkpoint: Path) -> None:
        """Train to the end, writing a checkpoint at most every `checkpoint_minutes`, behind a step of the optimizer."""
        last_save = time.monotonic()
        n_views = getattr(self.recipe.objective, "n_views", 1)
        start = time.monotonic() - self.seconds
        first_step, first_time = self.step, time.monotonic()
        while self.step < self.n_steps:
            epoch, first_batch = divmod(self.step, self.n_batches)
            batches = self.loader.iterate_random(
                n_views=n_views,
                augmentation=self.recipe.augmentation,
                seed=self.seed,
                epoch=epoch,
                first_batch=first_batch,
            )
            for batch in batches:
                learning_rate = self.schedule.get_last_lr()[0]
                loss, output = self.train_batch(batch)
                self.losses.append(loss)
                now = time.monotonic()
                self.seconds = now - start
                if self.step % self.n_batches == 0 or self.step % self.n_batches % LOG_EVERY == 0:
                    rate = (self.step - first_step) / (now - first_time)
                    self.log_row(epoch, torch.stack(self.losses).mean().item(), learning_rate, output[:, 0], rate)
                    self.losses = []
                due = now - last_save > 60 * self.recipe.checkpoint_minutes
                if due and self.step % self.recipe.accumulate == 0 and all(loss.isfinite() for loss in self.losses):
                    self.save_checkpoint(checkpoint)
                    last_save = now

    def log_row(self, epoch: int, loss: float, learning_rate: float, embeddings: torch.Tensor, rate: float) -> None:
        """Add a row to the log, say it, and warn when the embeddings have collapsed.

        Args:
            epoch: from 0.
            loss: mean since the last row.
            learning_rate: of the last minibatch.
            embeddings: (B, d), one view of each image of the last minibatch.
            rate: minibatches a second.

        Raises:
            FloatingPointError: the loss is not a finite number.
        """
        if not math.isfinite(loss):
            raise FloatingPointError(f"the loss is {loss} at minibatch {self.step} (epoch {epoch + 1}); lower the lr")
        std, rank = measure_spread(embeddings)
        images_per_s = rate * self.recipe.batch_size
        self.rows.append(
            {
                "epoch": epoch + 1,
                "minibatch": self.step,
                "images": self.step * self.recipe.batch_size,
                "seconds": round(self.seconds, 2),
                "images_per_s": round(images_per_s, 1),
                "lr": learning_rate,
                "loss": loss,
                "collapsed_loss": self.objective.collapsed_loss,
                "embedding_std": std,
                "effective_rank": rank,
            }
        )
        left = (self.n_steps - self.step) / rate
        logger.info(
            "epoch %d/%d  minibatch %d/%d  %.0f images/s  loss %.4f  embedding std %.3f  rank %.1f  lr %.2e  left %d:%02d",
            *(epoch + 1, self.recipe.epochs, self.step, self.n_steps, images_per_s, loss, std, rank, learning_rate),
            *divmod(round(left), 60),
        )
        if std < COLLAPSED_STD or rank < COLLAPSED_RANK:
            logger.warning(
                "the embeddings have collapsed (std %.3f, effective rank %.1f): the network no longer tells images apart",
                *(std, rank),
            )


def train_network(
    spec: NetworkSpec,
    recipe: config.Recipe,
    *,
    seed: int,
    beton: str | Path,
    data_sha256: str,
    weights: str | Path,
    log: str | Path,
    provenance: str | Path,
    n_threads: int,
) -> None:
    """Train a network and write its weights, its log and its provenance.

    The checkpoint stands beside the weights as checkpoint.pt and is removed at the end.

    Args:
        spec: network to build; its dim is the number of classes for a supervised one.
        recipe: how to train it.
        seed: see `Training`.
        beton: training images.
        data_sha256: of the .beton file, from its summary.
        weights: safetensors file to write.
        log: CSV to write: epoch, minibatch, images, seconds, images_per_s, lr, loss, collapsed_loss, embedding_std,
            effective_rank.
        provenance: JSON to write: network, recipe, seed, data, commit, versions, hardware, seconds.
        n_threads: processor threads of loading and of training on the CPU.

    Raises:
        ValueError: the batch is larger than the data set.
        FloatingPointError: the loss is not a finite number.
    """
    torch.set_num_threads(n_threads)
    checkpoint = Path(weights).parent / "checkpoint.pt"
    logger.info("preparing the loader of %s (compiling takes some seconds)", beton)
    loader = ViewLoader(
        beton,
        batch_size=recipe.batch_size,
        preprocessing=spec.preprocessing,
        n_threads=n_threads,
        device=torch.device("cuda") if torch.cuda.is_available() else None,
    )
    training = Training(spec, recipe, seed=seed, loader=loader, data_sha256=data_sha256)
    logger.info(
        "%s, %d parameters, on %s: %d epochs of %d minibatches of %d images",
        *(spec.architecture, sum(p.numel() for p in training.network.parameters()), training.device),
        *(recipe.epochs, training.n_batches, recipe.batch_size),
    )
    if checkpoint.exists():
        training.load_checkpoint(checkpoint)
    training.run(checkpoint)
    write_csv(pd.DataFrame(training.rows), log)
    save_network(training.network, spec, weights)
    write_json(
        {
            "network": spec.model_dump(),
            "recipe": recipe.model_dump(),
            "seed": seed,
            "data": {"beton": str(beton), "sha256": data_sha256, "n_images": loader.n_images},
            "seconds": round(training.seconds, 1),
            **describe_run(),
        },
        provenance,
    )
    checkpoint.unlink(missing_ok=True)
