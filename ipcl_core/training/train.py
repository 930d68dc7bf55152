"""
Training: a network, a recipe and a .beton file -> weights, a log and their provenance.

One loop serves the three objectives. What it needs to go on after an interruption is one checkpoint file: weights,
optimizer, the objective's buffers, the position within the epoch, the log so far; the one before it is kept too. Image
order, views and negatives are functions of the seed and the position, so that a resumed run ends with the same bits as an
undisturbed one (same machine, same number of threads and processes).

Several processes (`distributed`) run this loop alike, each on its part of every minibatch, and hold the same weights, queue
or bank, and log; the first one writes the files. A run may be resumed with another number of them.
"""

import logging
import math
import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pandas as pd
import torch
from pydantic import validate_call

from .. import config, distributed
from ..files import read_json, write_csv, write_json
from ..images.scratch import copy_to_scratch
from ..networks.architectures import NetworkSpec, initialize_network
from ..networks.network_files import save_network
from ..provenance import describe_run
from ..views.loader import ViewLoader
from .checkpoints import lock, name_previous, read_checkpoint, write_checkpoint
from .collapse import COLLAPSED_ROWS, CollapseError, describe_collapse, is_collapsed, measure_spread
from .objectives import build_objective
from .optimizers import build_optimizer, choose_precision, decide_step, set_rates

logger = logging.getLogger(__name__)

LOG_EVERY = 100
"""Minibatches between two rows of the log; the last minibatch of an epoch has one too."""
CHECKPOINT_KEYS = {"checkpoint_minutes", "checkpoint_steps"}
"""Of a recipe: no result depends on them."""


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
        network = initialize_network(spec, seed).to(self.device, memory_format=torch.channels_last).train()
        self.network = distributed.couple_layers(network)
        self.objective = build_objective(recipe.objective, n_images=loader.n_images, dim=spec.dim, seed=seed)
        self.objective.to(self.device)
        self.optimizer = build_optimizer(self.network, recipe.optimizer)
        self.forward = torch.compile(self.network) if recipe.compile and self.device.type == "cuda" else self.network
        self.autocast = self.device.type == "cuda" and choose_precision(recipe.precision)
        self.fingerprint = repr((spec, recipe.model_dump(exclude=CHECKPOINT_KEYS), seed, data_sha256))
        self.step, self.seconds, self.rows = 0, 0.0, []
        self.losses: list[torch.Tensor] = []  # since the last row of the log
        self.waited = 0.0  # seconds, for the loader, in this process
        self.saved_step: int | None = None  # of the checkpoint

    @property
    def can_be_saved(self) -> bool:
        """Whether the first of several processes holds all that a checkpoint needs: no gradient of its part alone."""
        return distributed.count_processes() == 1 or next(self.network.parameters()).grad is None

    @property
    def n_steps(self) -> int:
        """Minibatches of the whole training."""
        return self.recipe.epochs * self.n_batches

    def save_checkpoint(self, path: Path) -> None:
        """Write everything that the rest of the training depends on, gradients of an incomplete group included."""
        self.saved_step = self.step
        if distributed.get_rank() > 0:
            return
        state = {name: getattr(self, name).state_dict() for name in ("network", "objective", "optimizer")}
        state |= {name: getattr(self, name) for name in ("fingerprint", "step", "seconds", "rows", "losses")}
        state["gradients"] = [w.grad for w in self.network.parameters()]
        write_checkpoint(state, path)

    def resume(self, path: Path) -> None:
        """Go on from a checkpoint, or from the one before it where that is damaged; from the start where there is none.

        Raises:
            ValueError: there are only damaged ones.
        """
        kept = [file for file in (path, name_previous(path)) if file.exists()]
        for file in kept:
            try:
                return self.load_checkpoint(file)
            except ValueError as error:
                if file == kept[-1]:
                    raise
                logger.warning("%s; trying the one before", error)

    def load_checkpoint(self, path: Path) -> None:
        """Go on from a checkpoint, unless it belongs to another recipe, seed or data set.

        Raises:
            ValueError: the file is no checkpoint, or holds objects that could run code.
        """
        state = read_checkpoint(path, self.device)
        if state["fingerprint"] != self.fingerprint:
            logger.warning("%s belongs to another recipe, seed or data set: training starts anew", path)
            return
        for name in ("network", "objective", "optimizer"):
            getattr(self, name).load_state_dict(state[name])
        for name in ("step", "seconds", "rows", "losses"):
            setattr(self, name, state[name])
        for weights, gradient in zip(self.network.parameters(), state["gradients"], strict=True):
            weights.grad = gradient
        self.saved_step = self.step
        logger.info("going on from minibatch %d of %d (%s)", self.step, self.n_steps, path)

    def move(self, tensor: torch.Tensor, **keys) -> torch.Tensor:
        """Bring a tensor to the device, from pinned memory, so that the host need not wait for the copy."""
        pinned = tensor.pin_memory() if self.device.type == "cuda" and not tensor.is_cuda else tensor
        return pinned.to(self.device, non_blocking=True, **keys)

    def train_batch(self, batch) -> tuple[torch.Tensor, torch.Tensor]:
        """Take one minibatch; step the optimizer where `decide_step` says so.

        Args:
            batch: this process's part of the minibatch.

        Returns:
            () loss and (B, n, d) output of the whole minibatch, both without gradient. On a GPU nothing here waits for the
            device.
        """
        recipe = self.recipe
        set_rates(self.optimizer, recipe.schedule, step=self.step, epochs=recipe.epochs, n_batches=self.n_batches)
        views = batch.views.flatten(0, 1)  # (B, n, 3, S, S) -> (B n, 3, S, S)
        views = self.move(views, memory_format=torch.channels_last)
        labels, images = self.move(batch.labels), self.move(batch.images)
        torch.manual_seed(2**32 * self.seed + self.step)  # of dropout, which the original AlexNet alone has
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.autocast):
            output = self.forward(views)
        output = output.unflatten(0, batch.views.shape[:2])  # (B n, d) -> (B, n, d)
        output = output.float() if self.autocast else output
        loss = self.objective(output, labels, images, self.step)
        (loss / recipe.accumulate).backward()
        output, images = distributed.gather(output.detach()), distributed.gather(images)
        self.objective.remember(output, images)
        self.step += 1
        takes_step, ends_group = decide_step(recipe, step=self.step, n_batches=self.n_batches)
        if takes_step:
            distributed.average_gradients(self.network)
            self.optimizer.step()
        if ends_group:
            self.optimizer.zero_grad(set_to_none=True)
        return distributed.average(loss.detach()), output

    def iterate_epoch(self) -> Iterator:
        """Yield the minibatches that are left of the present epoch; the time until each one is there adds to `waited`."""
        epoch, first_batch = divmod(self.step, self.n_batches)
        batches = self.loader.iterate_random(
            n_views=getattr(self.recipe.objective, "n_views", 1),
            augmentation=self.recipe.augmentation,
            seed=self.seed,
            epoch=epoch,
            first_batch=first_batch,
        )
        while True:
            start = time.monotonic()
            batch = next(batches, None)
            self.waited += time.monotonic() - start
            if batch is None:
                return
            yield batch

    def run(self, checkpoint: Path) -> None:
        """Train to the end, writing a checkpoint every `checkpoint_minutes` and every `checkpoint_steps` minibatches.

        When the process, or one of several, receives SIGTERM, write a checkpoint behind the present minibatch and return;
        several processes do so behind the present group of accumulated minibatches.

        Raises:
            FloatingPointError: the loss is not a finite number; found at the next row of the log, that is after at most
                `LOG_EVERY` minibatches. No checkpoint is written from the first such minibatch on.
            CollapseError: the embeddings have collapsed and have stayed so for `COLLAPSED_ROWS` rows of the log, that is at
                most COLLAPSED_ROWS * LOG_EVERY minibatches, in which no checkpoint is written either.
        """
        last_save = last_row = time.monotonic()
        start, row_step, row_waited = last_save - self.seconds, self.step, self.waited
        due = False
        with distributed.catch_sigterm() as terminated:
            while self.step < self.n_steps:
                epoch = self.step // self.n_batches
                for batch in self.iterate_epoch():
                    loss, output = self.train_batch(batch)
                    self.losses.append(loss)
                    now = time.monotonic()
                    self.seconds = now - start
                    if self.step % self.n_batches == 0 or self.step % self.n_batches % LOG_EVERY == 0:
                        mean = torch.stack(self.losses).mean().item()
                        if not math.isfinite(mean):
                            what = f"the loss is {mean} at minibatch {self.step} (epoch {epoch + 1}); lower the lr"
                            raise FloatingPointError(f"{what}; {self.say_kept(checkpoint)}")
                        now = time.monotonic()  # the device has caught up
                        seconds = now - last_row
                        rate, waiting = (self.step - row_step) / seconds, (self.waited - row_waited) / seconds
                        self.log_row(epoch, mean, output[:, 0], rate=rate, waiting=waiting)
                        self.losses, last_row, row_step, row_waited = [], now, self.step, self.waited
                        if self.count_collapsed() >= COLLAPSED_ROWS:
                            what = f"{describe_collapse(self.rows)}; lower the lr, warm it up or take more negatives"
                            raise CollapseError(f"{what}; {self.say_kept(checkpoint)}")
                    (stop,) = distributed.agree(terminated.is_set())
                    due |= stop or now - last_save > 60 * self.recipe.checkpoint_minutes
                    due |= self.recipe.checkpoint_steps is not None and self.step % self.recipe.checkpoint_steps == 0
                    if due and self.can_be_saved:
                        if all(loss.isfinite() for loss in self.losses) and not self.count_collapsed():
                            self.save_checkpoint(checkpoint)
                            last_save = now
                        if stop:
                            return
                        due = False

    def count_collapsed(self) -> int:
        """Return for how many rows, up to the last, the embeddings of a training without labels have been collapsed.

        A network that starts with little spread has a tenth of the training to gain some: 0 until then.
        """
        limits = {"batch_size": self.recipe.batch_size, "dim": self.spec.dim}
        good = [i for i, row in enumerate(self.rows, 1) if not is_collapsed(row, **limits)]
        if self.recipe.objective.name == "supervised" or not (good or self.step > self.n_steps / 10):
            return 0
        return len(self.rows) - max(good, default=0)

    def say_kept(self, checkpoint: Path) -> str:
        """Say what is left of a training that failed."""
        if self.saved_step is None:
            return "there is no checkpoint"
        return f"the last good checkpoint, of minibatch {self.saved_step}, is kept ({checkpoint})"

    def log_row(self, epoch: int, loss: float, embeddings: torch.Tensor, *, rate: float, waiting: float) -> None:
        """Add a row to the log, say it, and warn when the embeddings have collapsed.

        Args:
            epoch: from 0.
            loss: mean since the last row.
            embeddings: (B, d), one view of each image of the last minibatch.
            rate: minibatches a second since the last row.
            waiting: share of that time for which the step waited for the loader, 0 to 1.
        """
        learning_rate = self.optimizer.param_groups[0]["lr"]  # of the last minibatch
        std, rank = measure_spread(embeddings)
        images_per_s = rate * self.recipe.batch_size
        self.rows.append(
            {
                "epoch": epoch + 1,
                "minibatch": self.step,
                "images": self.step * self.recipe.batch_size,
                "seconds": round(self.seconds, 2),
                "images_per_s": round(images_per_s, 1),
                "waiting": round(waiting, 3),
                "lr": learning_rate,
                "loss": loss,
                "collapsed_loss": self.objective.collapsed_loss,
                "embedding_std": std,
                "effective_rank": rank,
            }
        )
        left = (self.n_steps - self.step) / rate
        logger.info(
            "epoch %d/%d  minibatch %d/%d  %.0f images/s  waiting for images %.0f%%  loss %.4f  embedding std %.3f  rank %.1f"
            "  lr %.2e  left %d:%02d",
            *(epoch + 1, self.recipe.epochs, self.step, self.n_steps, images_per_s, 100 * waiting),
            *(loss, std, rank, learning_rate),
            *divmod(round(left), 60),
        )
        if is_collapsed(self.rows[-1], batch_size=self.recipe.batch_size, dim=self.spec.dim):
            logger.warning(
                "the embeddings have collapsed (std %.3f, effective rank %.1f): the network no longer tells images apart",
                *(std, rank),
            )


@validate_call  # among several processes the arguments come as JSON
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
    scratch: str | Path | None = None,
) -> None:
    """Train a network and write its weights, its log and its provenance.

    The checkpoint stands beside the weights as checkpoint.pt, the one before it as checkpoint.previous.pt, which is removed at
    the end. The last one is kept: of a job that is killed behind its training, Snakemake removes the weights. Once the jobs
    have succeeded, the Snakefile removes it.

    Args:
        spec: network to build; its dim is the number of classes for a supervised one.
        recipe: how to train it.
        seed: see `Training`.
        beton: training images.
        data_sha256: of the .beton file, from its summary.
        weights: safetensors file to write.
        log: CSV to write: epoch, minibatch, images, seconds, images_per_s, waiting (share of the time for which the step
            waited for the loader), lr, loss, collapsed_loss, embedding_std, effective_rank.
        provenance: JSON to write: network, recipe, seed, data, precision, commit, versions, hardware, seconds.
        n_threads: processor threads of loading and of training on the CPU, of each process.
        scratch: folder on each node's disk to which the training images are copied (`copy_to_scratch`).

    Raises:
        ValueError: the batch is larger than the data set, or cannot be divided among the processes.
        FloatingPointError: the loss is not a finite number; or was not in an earlier call with the same recipe, seed and
            data, which failure.json beside the weights recalls, so that a retry costs nothing.
        CollapseError: the embeddings have collapsed; an earlier call's collapse is recalled too, as a FloatingPointError.
        BlockingIOError: another process trains this model.
        SystemExit: with `TRY_AGAIN`, when SIGTERM ended the training early.
    """
    torch.set_num_threads(n_threads)
    checkpoint = Path(weights).parent / "checkpoint.pt"
    beton = copy_to_scratch(beton, scratch)
    logger.info("preparing the loader of %s (compiling takes some seconds)", beton)
    loader = ViewLoader(
        beton,
        batch_size=recipe.batch_size,
        part=distributed.get_rank(),
        n_parts=distributed.count_processes(),
        preprocessing=spec.preprocessing,
        n_threads=n_threads,
        device=torch.device("cuda") if torch.cuda.is_available() else None,
    )
    training = Training(spec, recipe, seed=seed, loader=loader, data_sha256=data_sha256)
    logger.info(
        "%s, %d parameters, on %d x %s: %d epochs of %d minibatches of %d images",
        *(spec.architecture, sum(p.numel() for p in training.network.parameters())),
        *(distributed.count_processes(), training.device),
        *(recipe.epochs, training.n_batches, recipe.batch_size),
    )
    failure = checkpoint.with_name("failure.json")
    if failure.exists() and read_json(failure)["fingerprint"] == training.fingerprint:
        raise FloatingPointError(f"{read_json(failure)['message']}; to try the same again, remove {failure}")
    writes = distributed.get_rank() == 0
    with lock(checkpoint.with_name("training.lock")) if writes else nullcontext():
        training.resume(checkpoint)
        distributed.check_same(training.step, "the minibatch at which they go on")
        try:
            training.run(checkpoint)
        except (FloatingPointError, CollapseError) as error:
            if writes:
                write_json({"fingerprint": training.fingerprint, "message": str(error)}, failure)
            raise
    if training.step < training.n_steps:
        logger.warning("stopped by SIGTERM behind minibatch %d; the same job goes on from there", training.step)
        raise SystemExit(distributed.TRY_AGAIN)
    if not writes:
        return
    write_csv(pd.DataFrame(training.rows), log)
    save_network(training.network, spec, weights)
    write_json(
        {
            "network": spec.model_dump(),
            "recipe": recipe.model_dump(),
            "seed": seed,
            "data": {"sha256": data_sha256, "n_images": loader.n_images},
            "seconds": round(training.seconds, 1),
            "precision": recipe.precision if training.device.type == "cuda" else "float32",
            "n_processes": distributed.count_processes(),
            **describe_run(),
        },
        provenance,
    )
    for leftover in (name_previous(checkpoint), failure, *checkpoint.parent.glob(".checkpoint.*.pt")):
        leftover.unlink(missing_ok=True)
