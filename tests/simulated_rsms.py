"""What tests of statistics share: files of simulated RSMs, and how they are measured."""

import numpy as np

from ipcl_core.files import write_hdf5
from ipcl_core.rsa.similarity import compute_rsm

N_STIMULI = 30
SETTINGS = {"comparators": ["pearson"], "n_bootstrap": 200, "n_permutations": 500, "seed": 0}


def mix(patterns: np.ndarray, noise: float, rng: np.random.Generator) -> np.ndarray:
    """RSM of patterns with noise of some standard deviation, that of the patterns being one."""
    return compute_rsm(patterns + noise * rng.standard_normal(patterns.shape))


def write_rsms(path, rsms: list[np.ndarray], n_stimuli: int = N_STIMULI):
    with write_hdf5(path) as file:
        file.attrs["brain"], file.attrs["model"] = "sim", path.stem
        file["stimuli"] = [f"{i:02d}" for i in range(n_stimuli)]
        for i, rsm in enumerate(rsms):
            file[f"layers/layer{i}"] = rsm
            file[f"layers/layer{i}"].attrs.update(participation_ratio=2.5, power_law_exponent=0.5)
        file.attrs["layers"] = [f"layer{i}" for i in range(len(rsms))]
    return path
