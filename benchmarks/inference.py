"""
What the statistics of a whole study cost: 30 models of 27 layers, 72 stimuli, three regions of ten participants.

    OMP_NUM_THREADS=1 PYTHONPATH=. python benchmarks/inference.py > benchmarks/inference.md

Simulated RSMs; the configuration's defaults: 1000 resamples of participants, of stimuli and of both, 10,000 permutations.
"""

import datetime
import platform
import re
import resource
import tempfile
import time
from pathlib import Path

import numpy as np

from ipcl_core.brains import Region, write_brain
from ipcl_core.config import Statistics
from ipcl_core.files import write_hdf5
from ipcl_core.rsa import compute_rsm, vectorize_rsm
from ipcl_core.statistics import compare_models, measure_layers

N_MODELS, N_LAYERS, N_STIMULI, N_REGIONS, N_PARTICIPANTS = 30, 27, 72, 3, 10


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
            file["stimuli"] = stimuli
            for layer in range(N_LAYERS):
                file[f"layers/{layer}"] = mix(layer % N_REGIONS, 2)
            file.attrs["layers"] = [str(layer) for layer in range(N_LAYERS)]
    return folder / "brain.h5", paths


def main() -> None:
    settings = Statistics().model_dump()
    own = {key: settings[key] for key in ("comparators", "n_bootstrap", "n_permutations", "seed")}
    shared = {key: settings[key] for key in ("n_bootstrap", "n_splits", "seed", "fdr")}
    with tempfile.TemporaryDirectory() as folder:
        brain, paths = simulate_study(Path(folder))
        start = time.process_time(), time.perf_counter()
        for path in paths:
            measure_layers(path, brain, path.with_suffix(".csv"), **own)
        middle = time.process_time(), time.perf_counter()
        tables = (Path(folder) / "best_layers.csv", Path(folder) / "pairs.csv")
        compare_models(paths, brain, *tables, models=[path.stem for path in paths], **shared)
        end = time.process_time(), time.perf_counter()
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())[1]
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"""# The statistics of a whole study

Made by `OMP_NUM_THREADS=1 PYTHONPATH=. python benchmarks/inference.py > benchmarks/inference.md` on {datetime.date.today()}:
{cpu}, one thread, other work on the machine; Python {platform.python_version()}, numpy {np.__version__}. {N_MODELS} models of
{N_LAYERS} layers, {N_STIMULI} stimuli, {N_REGIONS} regions of {N_PARTICIPANTS} participants; largest memory {memory:.0f} MB.

| what | core time (s) | wall time (s) |
|---|---|---|
| `measure_layers`, all models | {middle[0] - start[0]:.1f} | {middle[1] - start[1]:.1f} |
| `compare_models`, best layers and {N_MODELS * (N_MODELS - 1) // 2} pairs a region | \
{end[0] - middle[0]:.1f} | {end[1] - middle[1]:.1f} |""")


if __name__ == "__main__":
    main()
