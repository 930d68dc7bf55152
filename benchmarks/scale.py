"""
How time and memory of RSA and encoding grow with the number of stimuli, and with the width of a layer.

    OMP_NUM_THREADS=2 PYTHONPATH=. python benchmarks/scale.py > benchmarks/scale.md

Random numbers: N_LAYERS layers of N_UNITS units, one region of N_PARTICIPANTS participants of N_VOXELS voxels; one RSM is
made, and stands in the file for each layer. There are N_RESAMPLES resamples and permutations; the time of statistics is in
proportion. Each row is a process of its own; its time is the process's, of all threads, its memory the largest that it held.
"""

import datetime
import multiprocessing
import os
import platform
import re
import resource
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import h5py
import numpy as np
import torch
from PIL import Image

from ipcl_core.brains.own import import_own_brain
from ipcl_core.brains.stimuli import name_stimuli
from ipcl_core.config import Encoding, OwnData
from ipcl_core.encoding.features import make_kernel
from ipcl_core.encoding.ridge import fit_fold
from ipcl_core.files import open_hdf5, write_hdf5
from ipcl_core.fits.fit_layers import fit_layers
from ipcl_core.fits.rsms import make_rsms
from ipcl_core.fits.statistics import measure_layers, measure_noise_ceilings

N_LAYERS, N_UNITS, N_PARTICIPANTS, N_VOXELS, N_RESAMPLES = 5, 2000, 5, 1000, 20
GROWTH = [100, 1000, 10_000]
WIDE = 25_000_000
"""Units of a layer that is wider than memory: 10 GB for 100 stimuli."""


def write_layer(path: Path, n: int, units: int) -> None:
    """Write activations of one layer; of a wide one the same 100,000 units again and again, which takes no disk."""
    rng, once = np.random.default_rng(0), min(units, 100_000)
    with write_hdf5(path.with_name("units.h5")) as file:
        dataset = file.create_dataset("units", (n, once), np.float32)
        for start in range(0, n, 1000):
            dataset[start : start + 1000] = rng.standard_normal((min(1000, n - start), once), np.float32)
    with write_hdf5(path) as file:
        layout = h5py.VirtualLayout((n, units), np.float32)
        for start in range(0, units, once):
            layout[:, start : start + once] = h5py.VirtualSource(path.with_name("units.h5"), "units", (n, once))
        file.create_virtual_dataset("layers/layer0", layout)
        file["stimuli"] = name_stimuli([f"{i:05d}" for i in range(n)])
        file.attrs["layers"], file.attrs["network"] = ["layer0"], "{}"


def write_participants(folder: Path, n: int) -> OwnData:
    """Write a picture of each stimulus and each participant's random patterns; return the block that names them."""
    rng, images = np.random.default_rng(1), folder / "images"
    images.mkdir()
    for i in range(n):
        Image.new("RGB", (64, 64), (i % 256, i // 256, 0)).save(images / f"{i:05d}.png")
    for participant in range(N_PARTICIPANTS):
        np.save(folder / f"{participant}.npy", rng.standard_normal((n, N_VOXELS), dtype=np.float32))
    return OwnData(
        source="own",
        kind="patterns",
        axes="stimuli x voxels",
        files=f"{folder}/{{participant}}.npy",
        participants=[str(i) for i in range(N_PARTICIPANTS)],
        regions=["region"],
        stimuli=str(images),
    )


def repeat_layer(path: Path) -> None:
    """Let the one RSM of a file stand for N_LAYERS layers."""
    with h5py.File(path, "r+") as file:
        names = [f"layer{i}" for i in range(N_LAYERS)]
        for name in names[1:]:
            file[f"layers/{name}"] = file["layers/layer0"]
        file.attrs["layers"] = names


def encode(activations: Path, n: int) -> None:
    """One fold, a fifth held out."""
    y = torch.from_numpy(np.random.default_rng(2).standard_normal((n, N_VOXELS)))
    test = torch.arange(n) % 5 == 0
    with open_hdf5(activations) as file:
        fit_fold(make_kernel(file["layers/layer0"]), y, ~test, test, Encoding().penalties)


def run(call: Callable, *arguments) -> tuple[float, float]:
    """Return the seconds of a call and the largest memory of the process (MB)."""
    torch.set_num_threads(2)
    start = time.process_time()
    call(*arguments)
    return time.process_time() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(call: Callable, *arguments) -> str:
    with ProcessPoolExecutor(1, multiprocessing.get_context("fork")) as pool:
        seconds, memory = pool.submit(run, call, *arguments).result()
    return f"{seconds:,.1f} | {memory:,.0f}"


def make(activations: Path, rsms: Path) -> None:
    make_rsms(activations, rsms, brain="b", model="m")


def infer(rsms: Path, brain: Path, layers: Path) -> None:
    measure_layers(
        rsms, brain, layers, comparators=["pearson"], n_bootstrap=N_RESAMPLES, n_permutations=N_RESAMPLES, seed=0
    )


def find_ceilings(brain: Path, ceilings: Path) -> None:
    measure_noise_ceilings(brain, ceilings, name="b", n_splits=1000, seed=0)


def list_rows(n: int):
    """Yield what is done with n stimuli, and its seconds and MB."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        activations, rsms, brain = folder / "activations.h5", folder / "rsms.h5", folder / "brain.h5"
        write_layer(activations, n, N_UNITS)
        yield "RSM and dimensionality of one layer", measure(make, activations, rsms)
        repeat_layer(rsms)
        layout = write_participants(folder, n)
        yield "import of one's own brain data", measure(import_own_brain, layout, folder / "stimuli", brain)
        yield "r of all layers", measure(fit_layers, rsms, brain, folder / "fits.csv")
        yield "noise ceilings", measure(find_ceilings, brain, folder / "ceilings.csv")
        yield "intervals and p of all layers", measure(infer, rsms, brain, folder / "layers.csv")
        yield "encoding, one layer, one fold", measure(encode, activations, n)


def print_wide() -> None:
    with tempfile.TemporaryDirectory() as temporary:
        activations, rsms = Path(temporary) / "activations.h5", Path(temporary) / "rsms.h5"
        write_layer(activations, 100, WIDE)
        print(
            f"| 100, of {WIDE:,} units | RSM and dimensionality of one layer | {measure(make, activations, rsms)} |",
            flush=True,
        )
        print(
            f"| 100, of {WIDE:,} units | encoding, one layer, one fold | {measure(encode, activations, 100)} |",
            flush=True,
        )


def main() -> None:
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())[1]
    print(
        f"""# Time and memory of many stimuli and of wide layers

Made by `OMP_NUM_THREADS=2 PYTHONPATH=. python benchmarks/scale.py > benchmarks/scale.md` on {datetime.date.today()}:
{cpu}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.0f} before; Python {platform.python_version()},
numpy {np.__version__}, torch {torch.__version__.split("+")[0]}.
{N_LAYERS} layers of {N_UNITS:,} units, one region of {N_PARTICIPANTS} participants, {N_VOXELS:,} voxels,
{N_RESAMPLES} resamples and permutations. Seconds are those of a core, of all threads of the process.

| stimuli | what | s | largest memory of the process (MB) |
|---|---|---|---|""",
        flush=True,
    )
    print_wide()
    for n in GROWTH:
        for what, found in list_rows(n):
            print(f"| {n:,} | {what} | {found} |", flush=True)


if __name__ == "__main__":
    main()
