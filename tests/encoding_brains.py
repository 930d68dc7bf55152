"""A small brain whose voxels are noisy mixtures of known layers, and the activations of these layers."""

import numpy as np

from ipcl_core.brains.store import Region, write_brain
from ipcl_core.config import Encoding
from ipcl_core.files import write_hdf5
from ipcl_core.rsa.similarity import compute_rsm, vectorize_rsm

N, RUNS, SHARE = 48, 3, 0.5
LAYERS = {"first": (30, 2, 2), "second": (6,), "third": (40,)}
STIMULI = [f"{i + 1:02d}_object" for i in range(N)]
PARTICIPANTS = ["sub-01", "sub-02", "sub-03"]
TRUE = {"V1": "first", "IT": "second"}
SETTINGS = Encoding(n_folds=4, min_ceiling=0.2).model_dump(exclude={"partitions"})


def draw_features() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {name: rng.standard_normal((N, *shape)).astype(np.float32) for name, shape in LAYERS.items()}


def write_activations(path, features=None, stimuli=STIMULI, model: str = "") -> str:
    features = features or draw_features()
    with write_hdf5(path) as file:
        file.attrs["brain"], file.attrs["model"] = "objects", model
        file["stimuli"], file.attrs["network"] = stimuli, "{}"
        for name, values in features.items():
            file[f"layers/{name}"] = values
        file.attrs["layers"] = list(features)
    return path


def draw_brain(path, n_runs: int = RUNS, n_voxels: int = 50, share: float = SHARE) -> str:
    """Voxels of IT: mixtures of the second layer's six units, half of the variance of the mean of the runs; ten of noise
    alone. V1: of the first layer."""
    rng, features, regions = np.random.default_rng(1), draw_features(), []
    for region, layer in TRUE.items():
        x, patterns = features[layer].reshape(N, -1).astype(float), []
        for _ in PARTICIPANTS:
            signal = (x - x.mean(0)) @ rng.standard_normal((x.shape[1], n_voxels))
            signal *= np.sqrt(share * (N - 1) / (signal**2).sum(0))
            signal[:, :10] = 0
            patterns.append(signal + 4 + np.sqrt((1 - share) * n_runs) * rng.standard_normal((n_runs, N, n_voxels)))
        rsvs = np.stack([vectorize_rsm(compute_rsm(runs.mean(0))) for runs in patterns])
        regions.append(Region(region, rsvs, PARTICIPANTS, group=False, patterns=patterns))
    write_brain(path, STIMULI, regions)
    return path


def draw_mixed(path, amplitude: float) -> dict[str, np.ndarray]:
    """Write a brain of one region, and return two layers of four units. 30 voxels are of both, the layer "few" more than
    "all"; 20 of "all" alone, and vary by `amplitude` as much. "few" has the higher median R2, "all" the higher mean; whose
    RSM is more alike depends on the amplitude."""
    rng, patterns = np.random.default_rng(4), []
    layers = {name: rng.standard_normal((N, 4)).astype(np.float32) for name in ("few", "all")}
    for _ in PARTICIPANTS:
        few, every = (x.astype(float) @ rng.standard_normal((4, 50)) for x in layers.values())
        few, every = few / few.std(0), every / every.std(0)
        signal = np.sqrt(0.7) * few + np.sqrt(0.3) * every
        signal[:, 30:] = amplitude * every[:, 30:]
        patterns.append(signal + 0.2 * signal.std(0) * rng.standard_normal((RUNS, N, 50)))
    rsvs = np.stack([vectorize_rsm(compute_rsm(runs.mean(0))) for runs in patterns])
    write_brain(path, STIMULI, [Region("IT", rsvs, PARTICIPANTS, group=False, patterns=patterns)])
    return layers
