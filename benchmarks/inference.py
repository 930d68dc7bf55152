"""
What the statistics of a whole study cost: 30 models of 27 layers, 72 stimuli, three regions of ten participants.

    OMP_NUM_THREADS=1 PYTHONPATH=. python benchmarks/inference.py > benchmarks/inference.md

Simulated RSMs; the configuration's defaults: 1000 resamples of participants, of stimuli and of both, 10,000 permutations.

Against rsatoolbox: the same three bootstraps (eval_bootstrap_rdm, eval_bootstrap_pattern, eval_bootstrap without their noise
ceilings) of one model's layers and one region, with N_FEW resamples. rsatoolbox averages r over participants; here it is r
with their mean. The resamples are drawn in the same way.
"""

import contextlib
import datetime
import importlib.metadata
import io
import os
import platform
import re
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import rsatoolbox
from rsatoolbox.inference import eval_bootstrap, eval_bootstrap_pattern, eval_bootstrap_rdm

from ipcl_core.brains.store import Region, read_brain, write_brain
from ipcl_core.config import Statistics
from ipcl_core.files import write_hdf5
from ipcl_core.fits.rsms import read_rsvs
from ipcl_core.fits.statistics import compare_models, measure_layers
from ipcl_core.rsa.inference import bootstrap_similarity, draw_resamples
from ipcl_core.rsa.similarity import compute_rsm, fill_rsms, vectorize_rsm

N_MODELS, N_LAYERS, N_STIMULI, N_REGIONS, N_PARTICIPANTS = 30, 27, 72, 3, 10
N_FEW, ROUNDS = 20, 3


def simulate_study(folder: Path) -> tuple[Path, list[Path]]:
    """Write a brain data set and the models' RSMs; return their paths."""
    rng, stimuli = np.random.default_rng(0), [f"{i:02d}" for i in range(N_STIMULI)]
    patterns = rng.standard_normal((N_REGIONS, N_STIMULI, 20))

    def mix(region: int, noise: float) -> np.ndarray:
        return compute_rsm(patterns[region] + noise * rng.standard_normal((N_STIMULI, 20)))

    participants = [f"{i:02d}" for i in range(N_PARTICIPANTS)]
    regions = [
        Region(str(region), np.stack([vectorize_rsm(mix(region, 2)) for _ in participants]), participants, group=False)
        for region in range(N_REGIONS)
    ]
    write_brain(folder / "brain.h5", stimuli, regions)
    paths = [folder / f"{model}.h5" for model in range(N_MODELS)]
    for path in paths:
        with write_hdf5(path) as file:
            file["stimuli"], file.attrs["brain"], file.attrs["model"] = stimuli, "simulated", path.stem
            for layer in range(N_LAYERS):
                file[f"layers/{layer}"] = mix(layer % N_REGIONS, 2)
                file[f"layers/{layer}"].attrs.update(participation_ratio=1, power_law_exponent=1)
            file.attrs["layers"] = [str(layer) for layer in range(N_LAYERS)]
    return folder / "brain.h5", paths


def bootstrap_here(rsvs: np.ndarray, participants: np.ndarray, n: int) -> None:
    resamples = draw_resamples(len(participants), N_STIMULI, n_resamples=n, seed=0)
    bootstrap_similarity(rsvs, participants, resamples)


def bootstrap_with_rsatoolbox(rsvs: np.ndarray, participants: np.ndarray, n: int) -> None:
    models = [rsatoolbox.model.ModelFixed(str(i), 1 - rsm) for i, rsm in enumerate(fill_rsms(rsvs))]
    data = rsatoolbox.rdm.RDMs(1 - fill_rsms(participants))
    with contextlib.redirect_stderr(io.StringIO()):
        for bootstrap in (eval_bootstrap_rdm, eval_bootstrap_pattern, eval_bootstrap):
            bootstrap(models, data, method="corr", N=n, boot_noise_ceil=False)


def take_time(bootstrap, rsvs: np.ndarray, participants: np.ndarray, n: int) -> float:
    """Core seconds a resample."""
    start = time.process_time()
    bootstrap(rsvs, participants, n)
    return (time.process_time() - start) / n


def main() -> None:
    settings = Statistics().model_dump()
    own = {key: settings[key] for key in ("distances", "comparators", "n_bootstrap", "n_permutations", "seed")}
    shared = {key: settings[key] for key in ("n_bootstrap", "n_splits", "seed", "fdr")} | {"name": "simulated"}
    with tempfile.TemporaryDirectory() as folder:
        brain, paths = simulate_study(Path(folder))
        start = time.process_time(), time.perf_counter()
        for path in paths:
            measure_layers(path, brain, path.with_suffix(".csv"), **own)
        middle = time.process_time(), time.perf_counter()
        tables = (Path(folder) / "best_layers.csv", Path(folder) / "pairs.csv")
        compare_models(paths, brain, *tables, models=[path.stem for path in paths], **shared)
        end = time.process_time(), time.perf_counter()
        rsvs, participants = read_rsvs(paths[0])[1], read_brain(brain)[1][0].rsvs
        n = settings["n_bootstrap"]
        times = np.array(
            [
                [take_time(bootstrap_here, rsvs, participants, n),
                 take_time(bootstrap_with_rsatoolbox, rsvs, participants, N_FEW)]
                for _ in range(ROUNDS)
            ]
        )  # fmt: skip
    ratios, (here, theirs) = times[:, 1] / times[:, 0], np.median(times, axis=0) * n
    every = N_MODELS * N_REGIONS / 3600
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())[1]
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"""# The statistics of a whole study

Made by `OMP_NUM_THREADS=1 PYTHONPATH=. python benchmarks/inference.py > benchmarks/inference.md` on {datetime.date.today()}:
{cpu}, one thread, load {os.getloadavg()[0]:.1f} before; Python {platform.python_version()}, numpy {np.__version__},
rsatoolbox {importlib.metadata.version("rsatoolbox")}. {N_MODELS} models of {N_LAYERS} layers, {N_STIMULI} stimuli, \
{N_REGIONS} regions of {N_PARTICIPANTS} participants; largest memory {memory:.0f} MB.

| what | core time (s) | wall time (s) |
|---|---|---|
| `measure_layers`, all models | {middle[0] - start[0]:.1f} | {middle[1] - start[1]:.1f} |
| `compare_models`, best layers and {N_MODELS * (N_MODELS - 1) // 2} pairs a region | \
{end[0] - middle[0]:.1f} | {end[1] - middle[1]:.1f} |

Half the core time, for two cores: {(end[0] - start[0]) / 120:.1f} minutes, without the start of a job for each model.

The bootstraps alone, {n} resamples each of participants, stimuli and both, {N_LAYERS} layers with one region: {here:.2f} s
here, {theirs:.0f} s by rsatoolbox (from {N_FEW} resamples, {ROUNDS} rounds): {np.median(ratios):.0f} times as much \
({ratios.min():.0f} to {ratios.max():.0f}).
For all models and regions rsatoolbox would take {every * theirs:.1f} hours.""")


if __name__ == "__main__":
    main()
