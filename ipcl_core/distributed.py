"""
Several processes, one a GPU, that compute together what a single one would.

Of every minibatch of B images, process r of W takes the r-th part of B / W. No loss couples images: each is a mean over
samples, whose prototype comes from their own image and whose negatives from a queue or bank that every process holds whole.
So the loss of the minibatch is the mean of the parts' losses, and its gradient the mean of their gradients. What does need
the whole minibatch has it: batch norm its statistics, Z its estimate, queue and bank their new entries, dropout its numbers.

In a single process every function here is the identity.
"""

import json
import logging
import os
import signal
import subprocess  # nosec B404
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from importlib import import_module
from pathlib import Path

import torch
from torch import Tensor, distributed, nn
from torch.nn import functional as F

from .cards import reserve_cards
from .logs import start_log

TRY_AGAIN = 75
"""Exit code of a job that a signal stopped: EX_TEMPFAIL of sysexits.h. For Snakemake it is a failure like any other, so that
`retries` starts the rule again."""
ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
SHUTDOWN_SECONDS = 300
"""Time for the processes to end by themselves once torchrun has passed a signal on to them."""
PATIENCE = timedelta(hours=1)
"""For which processes wait for each other: longer than the first one may need for a checkpoint on a slow disk (NCCL's own ten
minutes are not), and than a loader waits for a batch."""


def get_rank() -> int:
    """Return the number of this process, from 0."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def count_processes() -> int:
    """Return the number of processes that work together."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


# ---- what is exchanged -----------------------------------------------------------------------------------------------


def gather(part: Tensor) -> Tensor:
    """Return the parts (b, ...) of all processes one behind the other, (W b, ...), without gradient."""
    if count_processes() == 1:
        return part
    whole = part.new_empty(count_processes() * len(part), *part.shape[1:])
    distributed.all_gather(list(whole.chunk(count_processes())), part.detach().contiguous())
    return whole


def take_part(whole: Tensor) -> Tensor:
    """Return this process's part (b, ...) of a tensor (W b, ...)."""
    return whole.chunk(count_processes())[get_rank()]


def share(rows: Tensor) -> Tensor:
    """Return this process's equal part of rows (n, ...); where they cannot be divided evenly, the first come again."""
    if count_processes() == 1:
        return rows
    n_filled = -(-len(rows) // count_processes()) * count_processes()
    return rows[take_part(torch.arange(n_filled, device=rows.device) % len(rows))]


def average(value: Tensor) -> Tensor:
    """Return the mean of a tensor over all processes, without gradient."""
    if count_processes() == 1:
        return value
    total = value.detach().clone()
    distributed.all_reduce(total)
    return total / count_processes()


def average_gradients(network: nn.Module) -> None:
    """Replace each gradient by its mean over all processes, all in one exchange."""
    if count_processes() == 1:
        return
    gradients = [w.grad for w in network.parameters() if w.grad is not None]  # the same weights in every process
    means = average(torch.cat([gradient.flatten() for gradient in gradients]))
    for gradient, mean in zip(gradients, means.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(mean.view_as(gradient))


def agree(*said: bool) -> list[bool]:
    """Return, for each question, whether any process says yes; by the processors, so that nothing waits for a GPU."""
    if count_processes() == 1:
        return list(said)
    answers = torch.tensor(said, dtype=torch.uint8)
    distributed.all_reduce(answers, distributed.ReduceOp.MAX)
    return answers.bool().tolist()


def check_same(number: int, what: str) -> None:
    """Stop where a number, named by `what`, is not the same in every process.

    Raises:
        RuntimeError: it is not.
    """
    numbers = gather(torch.tensor([number])).tolist()
    if len(set(numbers)) > 1:
        raise RuntimeError(f"the processes differ in {what}: {numbers}; do all nodes see the same files?")


# ---- layers that need the whole minibatch ----------------------------------------------------------------------------


def couple_layers(network: nn.Module) -> nn.Module:
    """Let batch norm and dropout do to a part of a minibatch what they would do to it within the whole.

    Batch norm is computed by `_normalize_batch`: torch's SyncBatchNorm has no implementation for processors, and on a GPU it
    makes the host wait. Names, weights and buffers stay as they are. A layer of another source that draws random numbers by
    itself does not do so here as it would in one process.

    Raises:
        ValueError: the network has another kind of batch norm or dropout.
    """
    if count_processes() == 1:
        return network
    kinds = nn.modules.batchnorm._BatchNorm, nn.modules.dropout._DropoutNd
    for name, module in network.named_modules():
        is_plain = type(module) is nn.Dropout or (
            type(module) in (nn.BatchNorm1d, nn.BatchNorm2d)
            and module.affine
            and module.track_running_stats
            and module.momentum is not None
        )
        if isinstance(module, kinds) and not is_plain:
            raise ValueError(f"{name}, {module}: not known to give the same result on several GPUs; train on one")
    for module in network.modules():
        if type(module) in (nn.BatchNorm1d, nn.BatchNorm2d):
            module.forward = partial(_normalize_batch, module)
        elif type(module) is nn.Dropout:
            module.forward = partial(_drop_out, module)
    return network


class _Sum(torch.autograd.Function):
    """The sum of a tensor over all processes; the gradient of every process's loss reaches every process's tensor."""

    @staticmethod
    def forward(ctx, value: Tensor) -> Tensor:
        total = value.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        total = gradient.clone()
        distributed.all_reduce(total)
        return total


def _normalize_batch(module: nn.BatchNorm1d | nn.BatchNorm2d, x: Tensor) -> Tensor:
    """Normalise the part (b, c, ...) of a minibatch by the mean and variance of the whole, as torch does in training.

    In single precision at least, whatever the type of x, which the result has too.
    """
    kind = x.dtype
    x = x.float() if kind.itemsize < 4 else x
    over = [0, *range(2, x.ndim)]
    shape = [1, -1, *[1] * (x.ndim - 2)]
    n = count_processes() * x.numel() // x.shape[1]
    mean = _Sum.apply(x.sum(over)) / n  # (c,)
    centered = x - mean.view(shape)
    variance = _Sum.apply(centered.square().sum(over)) / n  # (c,)
    with torch.no_grad():
        module.num_batches_tracked += 1
        module.running_mean.lerp_(mean, module.momentum)
        module.running_var.lerp_(variance * (n / (n - 1)), module.momentum)
    scale = module.weight * (variance + module.eps).rsqrt()  # (c,)
    return (centered * scale.view(shape) + module.bias.view(shape)).to(kind)


def _drop_out(module: nn.Dropout, x: Tensor) -> Tensor:
    """Drop of the part (b, ...) of a minibatch what dropout of the whole would drop, by the same random numbers."""
    whole = x.new_ones(count_processes() * len(x), *x.shape[1:])
    return x * take_part(F.dropout(whole, module.p))


# ---- processes -------------------------------------------------------------------------------------------------------


@contextmanager
def catch_signals(pass_on: Callable[[int], None] | None = None) -> Iterator[threading.Event]:
    """While the block runs, signals that ask the process to end only set the event that the block is given. Main thread alone.

    They are SIGTERM, which is passed on, and what a terminal sends to torchrun and srun too: SIGINT (Ctrl-C), and SIGHUP when
    it is closed. What the process ignores it still does, as SIGHUP behind nohup.
    """
    terminated = threading.Event()

    def catch(number: int, frame) -> None:
        terminated.set()
        if pass_on is not None and number == signal.SIGTERM:
            pass_on(number)

    heeded = [number for number in ENDING if signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, catch) for number in heeded}
    try:
        yield terminated
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def launch(
    function: Callable, arguments: dict, *, n_processes: int, n_threads: int, log: str | Path, n_nodes: int = 1
) -> None:
    """Call a function in several processes that work together, and wait for them; in this one if one is enough.

    They are started by torchrun, on several nodes by one torchrun a node, which `srun` starts within the job that this
    process runs in. Each process sees one GPU; without any GPU they work on the processor. When one of them fails, the others
    are ended. SIGTERM is passed on to all.

    Args:
        function: of a module, by keywords; it is also given `n_threads`, its share of this node's.
        arguments: that can be written as JSON.
        n_processes: on all nodes together.
        n_threads: processor threads on each node.
        log: file of `start_log`; all processes write into it.
        n_nodes: that they are spread over evenly.

    Raises:
        ValueError: the processes cannot be spread evenly, or this node has fewer GPUs.
        SystemExit: a process failed (1), or a signal ended them early (`TRY_AGAIN`).
    """
    if n_processes == 1:
        return function(**arguments, n_threads=n_threads)
    here, left = divmod(n_processes, n_nodes)
    n_gpus = torch.cuda.device_count()
    if left or here == 0:
        raise ValueError(f"{n_processes} GPUs cannot be spread evenly over {n_nodes} nodes")
    if n_gpus and n_gpus < here:
        raise ValueError(f"{here} GPUs a node were asked for, and this node shows {n_gpus}")
    command = [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={here}"]
    command += [f"--shutdown-timeout={SHUTDOWN_SECONDS}", *(["--virtual-local-rank"] if n_gpus else [])]
    if n_nodes == 1:
        command += ["--standalone"]
    else:
        job = os.environ["SLURM_JOB_ID"]
        meeting = f"{os.uname().nodename}:{20000 + int(job) % 10000}"  # this node, a port of the job's own
        command += [f"--nnodes={n_nodes}", "--rdzv-backend=c10d", f"--rdzv-endpoint={meeting}", f"--rdzv-id={job}"]
        spread = [f"--nodes={n_nodes}", f"--ntasks={n_nodes}", "--ntasks-per-node=1", f"--cpus-per-task={n_threads}"]
        command = ["srun", *spread, "--kill-on-bad-exit=1", *command]
    arguments = arguments | {"n_threads": max(1, n_threads // here)}
    name = f"{function.__module__}:{function.__qualname__}"
    command += ["--module", __spec__.name, name, json.dumps(arguments), str(log)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}  # torchrun would say that it sets it
    with (
        subprocess.Popen(command, env=environment) as torchrun,  # nosec B603
        catch_signals(torchrun.send_signal) as terminated,
    ):
        code = torchrun.wait()
    if code:
        logging.getLogger(__name__).error("one of %d processes ended early; what it said stands above", n_processes)
        raise SystemExit(TRY_AGAIN if terminated.is_set() else 1)


def launch_job(job, function: Callable, **arguments) -> None:
    """Call a function in as many processes as a job of the workflow has GPUs: its resources gpu and nodes, see `launch`."""
    counts = {"n_processes": job.resources.get("gpu") or 1, "n_nodes": job.resources.get("nodes", 1)}
    reserve_cards(counts["n_processes"] // counts["n_nodes"])
    launch(function, arguments, **counts, n_threads=job.threads, log=job.log[0])


@contextmanager
def join_processes(backend: str | None = None) -> Iterator[None]:
    """Meet the other processes that torchrun started, and part from them when the block ends well.

    Args:
        backend: None: NCCL between GPUs, gloo between processors.
    """
    backend = backend or ("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")
    distributed.init_process_group(backend, timeout=PATIENCE)
    yield
    distributed.destroy_process_group()


def main() -> None:
    """Call a function in one of several processes: `python -m ipcl_core.distributed module:function arguments log`."""
    name, arguments, log = sys.argv[1:]
    module, function = name.split(":")
    start_log(log, part=(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])))
    with join_processes():
        getattr(import_module(module), function)(**json.loads(arguments))


if __name__ == "__main__":
    main()
