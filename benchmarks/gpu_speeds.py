"""
What benchmarks/gpu.py measures: a function a part, whose rows are (what, found, to reach, remarks).

Steps: the paper's sizes, views resident on the device; the median of three stretches. The share of the peak is that of a
step's FLOPs, counted by torch, in a measured product of bfloat16 matrices; the share of the bandwidth that of the bytes that
its operations read and write when each runs by itself, in a measured copy (compiled steps touch fewer, and have no share).
"""

import itertools
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
import yaml
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import knn, objectives
from ipcl_core.accuracy.knn import vote_weighted_knn
from ipcl_core.config import Augmentation, Preprocessing, Recipe
from ipcl_core.networks.architectures import NetworkSpec
from ipcl_core.training.state import Training
from ipcl_core.training.train import read_batches, take_step
from ipcl_core.views.batch import Batch
from ipcl_core.views.draws import draw_views, pack_policy
from ipcl_core.views.on_cpu import make_random_views

ROOT = Path(__file__).parents[1]
GPU = torch.cuda.is_available()
DEVICE = torch.device("cuda" if GPU else "cpu")
SIDE, WIDTH, N_IMAGENET = (224, 1.0, 1_281_167) if GPU else (64, 1 / 32, 2000)
N_STRETCHES, N_STEPS, SECONDS = (3, 10, 1.0) if GPU else (1, 2, 0.0)
"""Stretches of a measurement, of so many seconds at least; steps whose bits are compared."""
STEPS = {  # architecture, recipe of config.yaml -> views/s to reach
    ("alexnet_gn", "ipcl"): 30_000,
    ("resnet18", "wusnet"): 11_000,
    ("cornet_z_bn", "wusnet"): 25_000,
    ("resnet50", "wusnet"): 3_200,
    ("alexnet_gn", "wusnet"): None,
    ("alexnet_bn", "wusnet"): None,
    ("alexnet_gn", "supervised_alexnet"): None,
}


def synchronize() -> None:
    if GPU:
        torch.cuda.synchronize()


def measure_seconds(run: Callable[[], object]) -> float:
    """Seconds of a call, the median of some stretches of calls, each ended by a synchronisation."""
    run()
    synchronize()
    stretches = []
    for _ in range(N_STRETCHES):
        n, start = 0, time.perf_counter()
        while n == 0 or time.perf_counter() - start < SECONDS:
            run()
            n += 1
            if n % 10 == 0:
                synchronize()  # else the host runs ahead of the clock
        synchronize()
        stretches.append((time.perf_counter() - start) / n)
    return statistics.median(stretches)


LIMITS: dict[str, float] = {}
"""FLOP/s of a bfloat16 product, bytes/s of a copy; set by `measure_limits`."""


def measure_limits() -> Iterator[tuple]:
    """The peaks that the shares are of."""
    n = 8192 if GPU else 256
    a, b = (torch.randn(n, n, device=DEVICE, dtype=torch.bfloat16) for _ in range(2))
    LIMITS["flops"] = 2 * n**3 / measure_seconds(lambda: a @ b)
    yield f"product of {n} x {n} bfloat16 matrices", f"{LIMITS['flops'] / 1e12:.3g} TFLOP/s", "", ""
    source = torch.empty(2**30 if GPU else 2**22, device=DEVICE, dtype=torch.uint8)
    target = torch.empty_like(source)
    LIMITS["bytes"] = 2 * source.numel() / measure_seconds(lambda: target.copy_(source))
    yield f"copy of {source.numel() >> 20} MiB, read and written", f"{LIMITS['bytes'] / 1e12:.3g} TB/s", "", ""


class Traffic(TorchDispatchMode):
    """Adds up the bytes that operations read and write, each by itself."""

    n_bytes = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        if not function.is_view:
            tensors = torch.utils._pytree.tree_leaves((args, kwargs, result))
            self.n_bytes += sum(t.nbytes for t in tensors if isinstance(t, torch.Tensor))
        return result


def build_training(architecture: str, recipe: str, *, compiled: bool, loader=None) -> Training:
    """A training of config.yaml at full size, or a tiny one on the processor."""
    values = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))["recipes"][recipe] | {
        "compile": compiled
    }
    if not GPU:
        values |= {"batch_size": 4}
    settings = Recipe.model_validate(values)
    supervised = settings.objective.name == "supervised"
    spec = NetworkSpec(
        architecture=architecture,
        dim=1000 if supervised else 128,
        l2norm=not supervised,
        width=WIDTH if architecture.startswith("alexnet") else 1.0,
        preprocessing=Preprocessing(image_size=SIDE),
    )
    loader = loader or SimpleNamespace(n_images=N_IMAGENET)
    return Training(spec, settings, seed=1, loader=loader, data_sha256="", device=DEVICE)


def make_batch(training: Training) -> Batch:
    """Noise in the form of a minibatch, as the loader makes it on the device."""
    n, n_views = training.recipe.batch_size, getattr(training.recipe.objective, "n_views", 1)
    views = torch.randn(n, n_views, SIDE, SIDE, 3, device=DEVICE).movedim(4, 2)
    return Batch(views, torch.arange(n) % 1000, torch.arange(n))


def measure_steps(architecture: str, recipe: str) -> Iterator[tuple]:
    """Views a second of a training's step, as it is and compiled."""
    for compiled in (False, True) if GPU else (False,):
        training = build_training(architecture, recipe, compiled=compiled)
        batch = make_batch(training)
        start = time.perf_counter()
        with FlopCounterMode(display=False) as flops, Traffic() as traffic:
            if not compiled:
                take_step(training, batch)
        for _ in range(3 if compiled else 1):
            take_step(training, batch)
        synchronize()
        first = time.perf_counter() - start
        if not compiled:
            n_flops, n_bytes = flops.get_total_flops(), traffic.n_bytes
        if GPU:
            torch.cuda.reset_peak_memory_stats()
        seconds = measure_seconds(lambda training=training, batch=batch: take_step(training, batch))
        memory = f"{torch.cuda.max_memory_allocated() / 2**30:.1f} GiB, " if GPU else ""
        share = f"{100 * n_flops / seconds / LIMITS['flops']:.0f}% of the peak" if LIMITS else ""
        if LIMITS and not compiled:
            share += f", {100 * n_bytes / seconds / LIMITS['bytes']:.0f}% of the bandwidth ({n_bytes / 1e9:.3g} GB)"
        views = batch.views.shape[0] * batch.views.shape[1]
        RESIDENT[architecture, recipe, compiled] = views / seconds
        yield (
            f"step, {architecture}, {recipe}, {'compiled' if compiled else 'eager'}",
            f"{views / seconds:,.0f} views/s",
            f"{STEPS[architecture, recipe] or '':,}" if STEPS[architecture, recipe] else "",
            f"{1000 * seconds:.1f} ms; {share}; {memory}the first steps {first:.1f} s",
        )
        del training


RESIDENT: dict[tuple, float] = {}
"""Views/s of `measure_steps`."""


def compare_objectives() -> Iterator[tuple]:
    """The losses alone against the released formulation, by benchmarks/objectives.py."""
    if not GPU:
        objectives.ROUNDS, objectives.N_MINIBATCHES, objectives.BANK = 1, 2, 2000
    for name, n_images, n_views in (("IPCL", 128 if GPU else 2, 5), ("Wusnet", 256 if GPU else 2, 1)):
        ours, theirs, ratio, *_ = objectives.compare(name, objectives.draw_minibatches(n_images, n_views)).split(" | ")
        yield f"loss alone, {name}, {n_images} images", f"{ours} ms", "", f"released {theirs} ms, {ratio} times"


def list_kernels(architecture: str = "alexnet_gn", recipe: str = "ipcl") -> Iterator[tuple]:
    """The ten kernels that take most of a compiled step."""
    training = build_training(architecture, recipe, compiled=True)
    batch = make_batch(training)
    for _ in range(3):
        take_step(training, batch)
    activities = [torch.profiler.ProfilerActivity.CUDA if GPU else torch.profiler.ProfilerActivity.CPU]
    with torch.profiler.profile(activities=activities) as profile:
        for _ in range(3):
            take_step(training, batch)
        synchronize()
    kind = "self_device_time_total" if GPU else "self_cpu_time_total"
    kernels = sorted(profile.key_averages(), key=lambda kernel: -getattr(kernel, kind))
    total = sum(getattr(kernel, kind) for kernel in kernels)
    for i, kernel in enumerate(kernels[:10], 1):
        time_of = getattr(kernel, kind)
        name = kernel.key.replace("|", "/")[:90]
        yield (
            f"kernel {i} of {architecture}, {recipe}",
            f"{100 * time_of / total:.1f}%",
            "",
            f"{time_of / 3000:.2f} ms, {name}",
        )


def compare_bits(architecture: str = "alexnet_gn", recipe: str = "ipcl") -> Iterator[tuple]:
    """Whether two runs of some steps end with the same bits, and what it costs where torch is told to see to it."""

    def run(compiled: bool) -> list[torch.Tensor]:
        torch.manual_seed(0)
        training = build_training(architecture, recipe, compiled=compiled)
        batch = make_batch(training)
        start = time.perf_counter()
        for _ in range(N_STEPS):
            take_step(training, batch)
        synchronize()
        run.seconds = time.perf_counter() - start
        return [w.detach() for w in training.network.parameters()]

    for compiled, told in itertools.product((False, True) if GPU else (False,), (False, True)):
        torch.use_deterministic_algorithms(told, warn_only=True)
        torch.backends.cudnn.deterministic = told
        try:
            same = all(torch.equal(a, b) for a, b in zip(run(compiled), run(compiled), strict=True))
        finally:
            torch.use_deterministic_algorithms(False)
            torch.backends.cudnn.deterministic = False
        how = f"{'compiled' if compiled else 'eager'}, {'deterministic algorithms' if told else 'as it is'}"
        yield (
            f"{N_STEPS} steps twice, {how}",
            "same bits" if same else "other bits",
            "",
            f"{run.seconds:.2f} s the second time",
        )


def measure_views() -> Iterator[tuple]:
    """Augmented views alone, from decoded images."""
    n = 128 if GPU else 4
    heights, widths = np.full(n, 256), np.full(n, 341)
    pixels = np.random.default_rng(0).integers(0, 256, 3 * 256 * 341 * n, np.uint8)
    drawn = draw_views(heights, widths, np.arange(n), 5, 0, 0, pack_policy(Augmentation()))
    mean, std = np.full(3, 0.45, np.float32), np.full(3, 0.22, np.float32)
    if GPU:
        from ipcl_core.views.on_cuda import make_views

        source, *statistics = (torch.from_numpy(array).to(DEVICE) for array in (pixels, mean, std))
        seconds = measure_seconds(lambda: make_views(source, heights, widths, drawn, SIDE, *statistics))
    else:
        views = np.empty((n, 5, SIDE, SIDE, 3), np.float32)
        seconds = measure_seconds(lambda: make_random_views(pixels, heights, widths, drawn, mean, std, views))
    yield "augmentation of decoded images", f"{1e6 * seconds / n / 5:.2f} us a view", "3.3", f"{n} images, 5 views each"


def write_images(folder: Path, n: int) -> Path:
    """Photographs as a .beton file of shortest side 256, JPEG 90; `n` names for an eighth as many pictures."""
    from benchmarks.photographs import write_photographs
    from ipcl_core.files import write_csv
    from ipcl_core.images.beton import join_shards
    from ipcl_core.images.datasets import label_splits
    from ipcl_core.images.shards import encode_shard

    write_photographs(folder / "pictures", max(8, n // 8))
    for path in list((folder / "pictures").rglob("*.JPEG")):
        for copy in range(1, 8):
            os.link(path, path.with_stem(f"{path.stem}_{copy}"))
    storage = {"shortest_side": 256, "write_mode": "jpg", "jpeg_quality": 90}
    images, shard, beton = folder / "images.csv", folder / "0.bin", folder / "photographs.beton"
    write_csv(label_splits(folder / "pictures", folder / "pictures")["train"], images)
    options = {"shard": 0, "n_shards": 1, "on_corrupt": "error", "n_workers": len(os.sched_getaffinity(0))}
    encode_shard(folder / "pictures", images, shard, shard.with_suffix(".csv"), storage=storage, **options)
    files = [beton, beton.with_suffix(".csv"), beton.with_suffix(".json")]
    join_shards(images, [shard], *files, train_images=images, storage=storage)
    return beton


def measure_files(architecture: str = "alexnet_gn", recipe: str = "ipcl") -> Iterator[tuple]:
    """The loader alone, and loader and step together, from JPEG files; the embedding of the same files."""
    from ipcl_core.accuracy.embedding import embed_dataset
    from ipcl_core.networks.network_files import save_network
    from ipcl_core.views.loader import ViewLoader

    n_threads = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as folder:
        beton = write_images(Path(folder), 16_384 if GPU else 64)
        preprocessing = Preprocessing(image_size=SIDE)
        for compiled in (True, False) if GPU else (False,):
            training = build_training(architecture, recipe, compiled=compiled)
            batch_size = training.recipe.batch_size
            loader = training.loader = ViewLoader(
                beton,
                batch_size=batch_size,
                preprocessing=preprocessing,
                n_threads=n_threads,
                device=DEVICE if GPU else None,
            )
            training.n_batches = loader.n_images // batch_size
            n_views = training.recipe.objective.n_views
            for what, work in (
                ("loader alone", lambda batch: None),
                ("loader and step", lambda batch, training=training: take_step(training, batch)),
            ):
                if what == "loader alone" and not compiled and GPU:
                    continue
                batches, n, waited = read_batches(training), 0, 0.0
                for _ in range(4):
                    work(next(batches))
                synchronize()
                start = now = time.perf_counter()
                while n == 0 or now - start < 4 * SECONDS:
                    before = time.perf_counter()
                    batch = next(batches)
                    waited += time.perf_counter() - before
                    work(batch)
                    n += 1
                    now = time.perf_counter()
                synchronize()
                seconds = time.perf_counter() - start
                batches.close()
                speed = n * batch_size * n_views / seconds
                of_step = RESIDENT.get((architecture, recipe, compiled))
                share = (
                    f"{100 * speed / of_step:.0f}% of the step alone; " if of_step and what != "loader alone" else ""
                )
                name = f"{what}, {architecture}, {recipe}, {'compiled' if compiled else 'eager'}"
                target = "27,000" if compiled and what != "loader alone" else ""
                waiting = f"waited for images {100 * waited / seconds:.0f}% of the time; {n_threads} threads"
                yield name, f"{speed:,.0f} views/s", target, share + waiting
            training.step = 0
        weights = Path(folder) / "weights.safetensors"
        save_network(training.network, training.spec, weights)
        options = {"layers": ["output"], "center_crop": 0.875, "max_dim": None, "n_threads": n_threads}
        seconds = [0.0]
        for images in (write_images(Path(folder) / "few", 64), beton) if GPU else (beton,):
            start = time.perf_counter()
            embed_dataset(weights, {"train": images}, Path(folder) / "e.h5", **options)
            seconds.append(time.perf_counter() - start)
        speed = (loader.n_images - 64) / max(seconds[-1] - seconds[-2], 1e-9) if GPU else 64 / seconds[-1]
        minutes = f"ImageNet's training set in {N_IMAGENET / speed / 60:.1f} minutes; " if GPU else ""
        yield f"embedding, {architecture}", f"{speed:,.0f} images/s", "7,100", f"{minutes}{seconds[-2]:.1f} s to start"


def measure_knn() -> Iterator[tuple]:
    """The kNN of ImageNet's validation set; its first votes against a plain top-k."""
    n_bank, n_queries = (N_IMAGENET, 50_000) if GPU else (20_000, 1000)
    bank, labels, queries = knn.draw_embeddings(n_bank, n_queries)
    queries = queries.to(DEVICE)

    def vote(queries):
        return vote_weighted_knn(bank, labels, queries, n_classes=knn.N_CLASSES, k=knn.K, tau=knn.TAU)

    vote(queries[:100])
    synchronize()
    if GPU:
        torch.cuda.reset_peak_memory_stats()
    start = time.perf_counter()
    votes = vote(queries)
    synchronize()
    seconds = time.perf_counter() - start
    memory = f"{torch.cuda.max_memory_allocated() / 1e9:.2f} GB; " if GPU else ""
    similarity, nearest = (queries[:64] @ bank.to(DEVICE).T).topk(knn.K)
    expected = torch.zeros_like(votes[:64]).scatter_add_(1, labels.to(DEVICE)[nearest], (similarity / knn.TAU).exp())
    same = torch.allclose(votes[:64], expected, rtol=1e-3)
    what = f"kNN, {n_queries:,} queries, {n_bank:,} bank images x {knn.DIM}"
    yield what, f"{seconds:.2f} s", "5 s, 4 GB", f"{memory}votes {'as' if same else 'NOT AS'} by a plain top-k"
