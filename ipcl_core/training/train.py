"""
Training: a network, a recipe and a .beton file -> weights, a log and their provenance.

One loop, `train`, serves the three objectives. What it needs to go on after an interruption is one checkpoint file: weights,
optimizer, the objective's buffers, the position within the epoch, the log so far; the one before it is kept too. Image
order, views and negatives are functions of the seed and the position, so that on processors a resumed run ends with the same
bits as an undisturbed one (same machine, same number of threads and processes). A GPU adds some sums in any order, so that
its runs agree within rounding; `make gpu` says whether torch's deterministic algorithms mend that, and what they cost.

Several processes (`distributed`) run this loop alike, each on its part of every minibatch, and hold the same weights, queue
or bank, and log; the first one writes the files. A run may be resumed with another number of them.
"""

import hashlib
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import torch
from pydantic import validate_call
from torch import Tensor

from .. import config, distributed
from ..code import hash_code
from ..files import read_json, write_csv, write_json
from ..memory import keep_freed_memory
from ..networks.architectures import NetworkSpec
from ..networks.network_files import save_network
from ..records import describe_run
from ..views.batch import Batch
from .checkpoints import Saver, lock
from .collapse import CollapseError
from .optimizers import decide_step, set_rates
from .state import Training
from .watch import Watch

if TYPE_CHECKING:
    from ..views.loader import ViewLoader

logger = logging.getLogger(__name__)


def train(training: Training, saver: Saver) -> None:
    """Train to the end, or until the process, or one of several, receives a signal to end.

    Raises:
        FloatingPointError: the loss is not a finite number; no checkpoint is written from the first such minibatch on.
        CollapseError: the embeddings have collapsed and stayed so; no checkpoint is written of such embeddings either.
        OutOfMemoryError: of torch, where the GPU's memory is too small; the message names the recipe's key.
    """
    watch = Watch(training, saver.say_kept)
    with distributed.catch_signals() as saver.signalled:
        for batch in watch.time_waiting(read_batches(training)):
            with _name_memory(training):
                loss, output = take_step(training, batch)
            watch.add(loss, output)  # a row of the log, where one is due; raises
            saver.save_if_due()
            if saver.told_to_end:
                break


@contextmanager
def _name_memory(training: Training) -> Iterator[None]:
    """Say of a GPU whose memory is full which key of the recipe fills it."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        recipe, side = training.recipe, training.spec.preprocessing.image_size
        n_views, n = recipe.objective.n_views, distributed.count_processes()
        raise torch.OutOfMemoryError(
            f"the GPU's memory is too small for the recipe's batch_size: {recipe.batch_size // n} images x {n_views} views of "
            f"{side} x {side} pixels at once. Train on more GPUs (docs/cluster.md), which share a minibatch and change no "
            f"result; or lower batch_size, which does. {str(error).splitlines()[0]}"
        ) from error


def read_batches(training: Training) -> Iterator[Batch]:
    """Yield this process's part of the minibatches that are left, epoch after epoch."""
    recipe = training.recipe
    first_epoch, first_batch = divmod(training.step, training.n_batches)
    for epoch in range(first_epoch, recipe.epochs):
        yield from training.loader.iterate_random(
            n_views=recipe.objective.n_views,
            augmentation=recipe.augmentation,
            seed=training.seed,
            epoch=epoch,
            first_batch=first_batch if epoch == first_epoch else 0,
        )


def take_step(training: Training, batch: Batch) -> tuple[Tensor, Tensor]:
    """Take one minibatch; step the optimizer where `decide_step` says so.

    Args:
        training: its network, objective, optimizer and step move on.
        batch: this process's part of the minibatch.

    Returns:
        () loss and (B, n, d) output of the whole minibatch, both without gradient. On a GPU nothing here waits for the
        device.
    """
    recipe, step, n_batches = training.recipe, training.step, training.n_batches
    set_rates(training.optimizer, recipe.schedule, step=step, epochs=recipe.epochs, n_batches=n_batches)
    views = batch.views.flatten(0, 1)  # (B, n, 3, S, S) -> (B n, 3, S, S)
    views = training.move(views, memory_format=torch.channels_last)
    labels, images = training.move(batch.labels), training.move(batch.images)
    torch.manual_seed(2**32 * training.seed + step)  # of dropout, which the original AlexNet alone has
    with torch.autocast(training.device.type, torch.bfloat16, enabled=training.autocast):
        output = training.forward(views)
    output = output.unflatten(0, batch.views.shape[:2])  # (B n, d) -> (B, n, d)
    output = output.float() if training.autocast else output
    loss = training.objective(output, labels, images, step)
    (loss / recipe.accumulate).backward()
    output, images = distributed.gather(output.detach()), distributed.gather(images)
    training.objective.remember(output, images)
    training.step += 1
    update_weights(training)
    return distributed.average(loss.detach()), output


def update_weights(training: Training) -> None:
    """Step the optimizer and forget the gradients, each where `decide_step` says so behind the present minibatch."""
    takes_step, ends_group = decide_step(training.recipe, step=training.step, n_batches=training.n_batches)
    if takes_step:
        distributed.average_gradients(training.network)
        training.optimizer.step()
    if ends_group:
        training.optimizer.zero_grad(set_to_none=True)


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
    device: str | None = None,
) -> None:
    """Train a network and write its weights, its log and its provenance.

    The checkpoint stands beside the weights (see `checkpoints`). The last one is kept: of a job that is killed behind its
    training, Snakemake removes the weights. Once the jobs have succeeded, the Snakefile removes it.

    Args:
        spec: network to build; its dim is the number of classes for a supervised one.
        recipe: how to train it.
        seed: see `Training`.
        beton: training images.
        data_sha256: of the .beton file, from its summary.
        weights: safetensors file to write.
        log: CSV to write: epoch, minibatch, images, seconds, images_per_s, waiting (share of the time for which the step
            waited for the loader), lr, loss (mean since the last row), collapsed_loss, embedding_std and
            effective_rank (of one view of each image of the row's last minibatch; of a supervised network's output).
        provenance: JSON to write: network, recipe, seed, data, seconds, precision, number of processes, and the jobs that
            trained it in turn (`note_job`); the job's record (`records`) is that of the last one.
        n_threads: processor threads of loading and of training on the CPU, of each process.
        scratch: folder on each node's disk to which the training images are copied (`copy_to_scratch`).
        device: cuda or cpu; None: a GPU where there is one.

    Raises:
        ValueError: the batch is larger than the data set, or cannot be divided among the processes.
        FloatingPointError: the loss is not a finite number; or was not in an earlier call with the same recipe, seed and
            data, which failure.json beside the weights recalls, so that a retry costs nothing.
        CollapseError: the embeddings have collapsed; an earlier call's collapse is recalled too, as a FloatingPointError.
        BlockingIOError: another process trains this model.
        SystemExit: with `TRY_AGAIN`, when a signal ended the training early.
    """
    torch.set_num_threads(n_threads)
    keep_freed_memory()
    device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    loader = _open_loader(beton, scratch, spec, recipe, n_threads, device)
    training = Training(spec, recipe, seed=seed, loader=loader, data_sha256=data_sha256, device=device)
    saver = Saver(training, Path(weights).parent / "checkpoint.pt")
    _train_or_recall(training, saver)
    if training.step < training.n_steps:
        logger.warning("told to end by a signal, behind minibatch %d; the same job goes on from there", training.step)
        raise SystemExit(distributed.TRY_AGAIN)
    if distributed.get_rank() == 0:
        write_csv(pd.DataFrame(training.rows), log)
        save_network(training.network, spec, weights)
        write_json(_describe(training, data_sha256), provenance)
        saver.remove_leftovers()


def _open_loader(
    beton: str | Path,
    scratch: str | Path | None,
    spec: NetworkSpec,
    recipe: config.Recipe,
    n_threads: int,
    device: torch.device,
) -> "ViewLoader":
    """Open the training images, this process's part of each minibatch."""
    from ..images.scratch import copy_to_scratch  # here, because both need FFCV
    from ..views.loader import ViewLoader

    beton = copy_to_scratch(beton, scratch)
    logger.info("preparing the loader of %s (compiling takes some seconds)", beton)
    return ViewLoader(
        beton,
        batch_size=recipe.batch_size,
        part=distributed.get_rank(),
        n_parts=distributed.count_processes(),
        preprocessing=spec.preprocessing,
        n_threads=n_threads,
        device=device if device.type == "cuda" else None,
    )


def _train_or_recall(training: Training, saver: Saver) -> None:
    """Train from the last checkpoint on, alone in the folder; or recall, from failure.json, why that has failed before."""
    logger.info(
        "%s, %d parameters, on %d x %s: %d epochs of %d minibatches of %d images",
        *(training.spec.architecture, sum(p.numel() for p in training.network.parameters())),
        *(distributed.count_processes(), training.device),
        *(training.recipe.epochs, training.n_batches, training.recipe.batch_size),
    )
    failure, is_first = saver.path.with_name("failure.json"), distributed.get_rank() == 0
    if failure.exists() and read_json(failure)["fingerprint"] == training.fingerprint:
        raise FloatingPointError(f"{read_json(failure)['message']}; to try the same again, remove {failure}")
    with lock(saver.path.with_name("training.lock")) if is_first else nullcontext():
        saver.resume()
        distributed.check_same(training.step, "the minibatch at which they go on")
        if is_first:
            note_job(training)
        try:
            train(training, saver)
        except (FloatingPointError, CollapseError) as error:
            if is_first:
                write_json({"fingerprint": training.fingerprint, "message": str(error)}, failure)
            raise
    if is_first and training.step == training.n_steps:
        failure.unlink(missing_ok=True)  # of another recipe


def note_job(training: Training) -> None:
    """Add this job to those that worked on a training, where its code, versions or hardware are not those of the last one."""
    run = describe_run()
    hardware = {key: value for key, value in run["hardware"].items() if key != "host"}
    code = hashlib.sha256(json.dumps(hash_code(__file__)).encode()).hexdigest()[:16]
    job = {"commit": run["commit"], "code": code, "versions": run["versions"], "hardware": hardware}
    if training.jobs and training.jobs[-1]["code"] != code:
        before = training.jobs[-1]["commit"]
        logger.warning("the minibatches before were trained by other code (commit %s; now %s)", before, run["commit"])
    if not training.jobs or any(training.jobs[-1][key] != value for key, value in job.items()):
        training.jobs.append({"minibatch": training.step, "time": run["time"], **job})


def _describe(training: Training, data_sha256: str) -> dict:
    """Return what is kept beside the weights: network, recipe, seed, data, duration, precision, jobs."""
    return {
        "network": training.spec.model_dump(),
        "recipe": training.recipe.model_dump(),
        "seed": training.seed,
        "data": {"sha256": data_sha256, "n_images": training.loader.n_images},
        "seconds": round(training.seconds, 1),
        "precision": training.recipe.precision if training.device.type == "cuda" else "float32",
        "n_processes": distributed.count_processes(),
        "jobs": training.jobs,
    }
