"""
How fast encoding is, beside scikit-learn and himalaya. How time and memory grow with the stimuli: `scale.py`.

    OMP_NUM_THREADS=1 PYTHONPATH=. python benchmarks/encoding.py > benchmarks/encoding.md

The study: 27 layers, 3 regions, 10 participants, 72 stimuli, 1,000 voxels, 5 folds, 10 penalties; layers of random numbers as
wide as those of an AlexNet at 224 pixels, voxels that mix one of them in noise. The peers predict the same held-out responses
of all 30,000 voxels from the same activations, with the same penalties chosen by leave-one-out, in the first fold of N_LAYERS
layers; here, the same. Time is the process's. Everything is in double precision. himalaya adds 1e-10 times its logarithm to
the score of each penalty (`_select_best_alphas`), so that it takes the larger of two whose mean squared errors differ by less
than 2.3e-10 a decade; here, as in scikit-learn, the smaller error decides. Voxels with another penalty are counted, and the
largest difference is given with and without them.
"""

import datetime
import importlib.metadata
import os
import platform
import re
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from himalaya.kernel_ridge import KernelRidgeCV
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import PredefinedSplit

from ipcl_core.brains.folds import divide_stimuli
from ipcl_core.brains.store import Region, write_brain
from ipcl_core.config import Encoding
from ipcl_core.encoding.features import make_kernel
from ipcl_core.encoding.ridge import fit_fold
from ipcl_core.encoding.scores import correlate_columns
from ipcl_core.files import open_hdf5, write_hdf5
from ipcl_core.fits.fit_encoding import fit_encoding
from ipcl_core.rsa.similarity import compute_rsm, vectorize_rsm

WIDTHS = 2 * [290400] + 3 * [70000, 70000, 46000, 65000, 43000] + 3 * [43000, 9216] + 4 * [4096]
"""Units of the 27 layers, about."""
N_LAYERS, N_REGIONS, N_PARTICIPANTS, N_STIMULI, N_VOXELS = 3, 3, 10, 72, 1000
SETTINGS = Encoding().model_dump(exclude={"partitions"})


def write_study(folder: Path) -> tuple[Path, Path]:
    """Write activations and a brain; return their paths."""
    rng, stimuli = np.random.default_rng(0), [f"{i:02d}" for i in range(N_STIMULI)]
    activations, brain = folder / "activations.h5", folder / "brain.h5"
    names = [f"layer{i:02d}" for i in range(len(WIDTHS))]
    with write_hdf5(activations) as file:
        file["stimuli"], file.attrs["layers"], file.attrs["network"] = stimuli, names, "{}"
        for name, width in zip(names, WIDTHS, strict=True):
            file[f"layers/{name}"] = rng.standard_normal((N_STIMULI, width), np.float32)
    regions, participants = [], [f"{i:02d}" for i in range(N_PARTICIPANTS)]
    for region in range(N_REGIONS):
        with open_hdf5(activations) as file:
            x = file[f"layers/{names[-1 - region]}"][:].astype(float)
        patterns = []
        for _ in participants:
            signal = x @ rng.standard_normal((x.shape[1], N_VOXELS)) / np.sqrt(x.shape[1])
            patterns.append(signal + rng.standard_normal((2, N_STIMULI, N_VOXELS)))
        rsvs = np.stack([vectorize_rsm(compute_rsm(runs.mean(0))) for runs in patterns])
        regions.append(Region(f"region{region}", rsvs, participants, group=False, patterns=patterns))
    write_brain(brain, stimuli, regions)
    return activations, brain


def predict_here(file, layer: str, y: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return predictions, and the penalties as multiples of the training stimuli's mean squared length."""
    kernel = make_kernel(file[f"layers/{layer}"])
    masks = torch.from_numpy(~test), torch.from_numpy(test)
    fold = fit_fold(kernel, torch.from_numpy(y), *masks, SETTINGS["penalties"])
    return fold.predictions.numpy(), fold.penalties.numpy()


def make_peer(name: str):
    """Return a function as `predict_here`, by one of the peers."""

    def predict(file, layer: str, y: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        x = file[f"layers/{layer}"][:].astype(np.float64)
        unit = ((x[~test] - x[~test].mean(0)) ** 2).sum(1).mean()
        alphas = np.array(SETTINGS["penalties"]) * unit
        if name == "scikit-learn's RidgeCV":
            model = RidgeCV(alphas, alpha_per_target=True)
        else:
            cv = PredefinedSplit(np.arange((~test).sum())) if "leave-one-out" in name else 5
            model = KernelRidgeCV(alphas, kernel="linear", fit_intercept=True, cv=cv, warn=False)
        predictions = model.fit(x[~test], y[~test]).predict(x[test])
        return predictions, (model.alpha_ if isinstance(model, RidgeCV) else np.asarray(model.best_alphas_)) / unit

    return predict


PEERS = [
    "scikit-learn's RidgeCV",
    "himalaya's KernelRidgeCV, leave-one-out",
    "himalaya's KernelRidgeCV, its own 5 folds",
]


def main() -> None:
    torch.set_num_threads(1)
    lines, load = [], os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        activations, brain = write_study(Path(folder))
        start = time.process_time()
        made = Path(folder) / "scores.csv", Path(folder) / "predictions.h5"
        fit_encoding(activations, brain, *made, brain_name="b", model="m", folds=None, **SETTINGS)
        whole = time.process_time() - start
        test = divide_stimuli([f"{i:02d}" for i in range(N_STIMULI)], None, n_folds=5, seed=0)[0]
        with open_hdf5(brain) as file:
            y = np.concatenate(
                [file[f"patterns/{r}/{p}"][:].mean(0) for r in file.attrs["regions"] for p in file[f"patterns/{r}"]], 1
            )
        sides, times, r, penalties = {"here": predict_here} | {name: make_peer(name) for name in PEERS}, {}, {}, {}
        with open_hdf5(activations) as file:
            layers = list(file.attrs["layers"])[
                -N_LAYERS - 2 : -2
            ]  # 9216 to 4096 units: RidgeCV takes what is wide badly
            for name, predict in sides.items():
                times[name] = 0
                for layer in layers:
                    start = time.process_time()
                    p, penalties[name, layer] = predict(file, layer, y, test)
                    times[name] += time.process_time() - start
                    r[name, layer] = correlate_columns(torch.from_numpy(p), torch.from_numpy(y[test])).numpy()
        for name in sides:
            same = {layer: np.isclose(penalties[name, layer], penalties["here", layer], rtol=1e-6) for layer in layers}
            away = {layer: np.abs(r[name, layer] - r["here", layer]) for layer in layers}
            whole_difference = max(one.max() for one in away.values())
            difference = max(away[layer][same[layer]].max() for layer in layers)
            other = sum((~one).sum() for one in same.values())
            told = f"{whole_difference:.0e} | {other} of {N_LAYERS * y.shape[1]:,} | {difference:.0e}"
            told = " | | " if "own 5" in name else told
            lines.append(f"| {name} | {times[name]:.1f} | {times[name] / times['here']:.1f} | {told} |")
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())[1]
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("torch", "scikit-learn", "himalaya"))
    print(
        f"""# The speed of encoding

Made by `OMP_NUM_THREADS=1 PYTHONPATH=. python benchmarks/encoding.py > benchmarks/encoding.md` on {datetime.date.today()}:
{cpu}, load {load:.0f} on {os.cpu_count()} cores before; Python {platform.python_version()}, {versions}.

The whole job (`fit_encoding`; {len(WIDTHS)} layers, {N_REGIONS} regions, {N_PARTICIPANTS} participants, {N_STIMULI} stimuli,
{N_VOXELS} voxels, 5 folds, {len(SETTINGS["penalties"])} penalties, with noise ceilings and veRSA):
{whole:.0f} s of one core (time of the process: others were at work on the machine).

{N_LAYERS} layers, one fold, 30,000 voxels, one thread:

| | s of a core | ratio | largest difference of a voxel's r | voxels with another penalty | without them |
|---|---|---|---|---|---|
{chr(10).join(lines)}

himalaya takes the larger of two penalties whose mean squared leave-one-out errors differ by less than 2.3e-10 a decade, by
design; where it does, another r follows.
""",
        flush=True,
    )


if __name__ == "__main__":
    main()
