"""
A brain data set whose answer is known: voxels that are noisy random mixtures of one layer of an untrained network.

    ipcl simulate FOLDER

writes into the folder

    stimuli, order.txt                   crops of a photograph
    patterns/{participant}_{region}_{run}.npy   stimuli x voxels
    expected.csv                         region, its true layer, r, the noise ceiling and the voxels' ceiling to be expected
    study.yaml                           a configuration for them; docs/own_brain.md says what to run

Each stimulus' activations z_i (centred over units, of unit length) reach a voxel through random weights, and independent
noise of standard deviation sigma is added. Over voxels, the patterns of stimuli i and j then correlate by
rho_ij = z_i z_j / (1 + sigma^2), the layer's RSM but for a factor. A participant's RSM scatters around it, as the correlation
of n_voxels pairs of normal numbers does. From the signal's variance over pairs, and the scatter's, follow the correlation of
two halves of the participants and that of the true layer with their mean. The noise of each of the two runs is twice that of
their mean.
"""

import argparse
import itertools
import logging
import math
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import yaml
from matplotlib.cbook import get_sample_data
from numpy.typing import NDArray
from PIL import Image

from .config import Untrained
from .files import open_hdf5, write_csv, write_whole
from .fits.activations import extract_activations
from .networks.architectures import NetworkSpec, initialize_network
from .networks.network_files import save_network
from .rsa.similarity import vectorize_rsm

logger = logging.getLogger(__name__)

MODEL = {
    "source": "untrained",
    "framework": "Untrained",
    "architecture": "alexnet_gn",
    "dim": 128,
    "width": 0.25,
    "preprocessing": {"image_size": 64},
    "layers": ["conv_block_*", "fc6", "fc7", "fc8"],
    "dataset": None,
    "seed": 0,
}
TRUE_LAYERS = {"EarlyV": "conv_block_2", "IT": "conv_block_5"}
"""Region -> the layer that its voxels mix."""
PARTICIPANTS = [f"sub-{number:02d}" for number in range(1, 9)]
N_VOXELS = {"EarlyV": 100, "IT": 400}
RUNS = ["run-1", "run-2"]
N_STIMULI, SIGMA = 36, 1.0
"""Of the mean of the runs' noise."""

WRITTEN = ("stimuli", "patterns", "order.txt", "expected.csv", "study.yaml")
"""Into the folder."""
HEAD = """\
# Made by `ipcl simulate {folder}`. What to run, and what to expect: docs/own_brain.md.
"""


def simulate_study(folder: str | Path) -> None:
    """Write stimuli, patterns, what to expect, and the configuration (layout: see the module).

    Args:
        folder: to write into; made where it is not there.

    Raises:
        FileExistsError: there is something of one of these names already, as data of one's own.
    """
    if there := [name for name in WRITTEN if (Path(folder) / name).exists()]:
        raise FileExistsError(f"{Path(folder) / there[0]} is there already; give another folder, or remove it")
    folder, rng, between_runs = Path(folder), np.random.default_rng(0), np.random.default_rng([0, 1])
    names = _write_stimuli(folder / "stimuli", rng)
    (folder / "patterns").mkdir(exist_ok=True)
    expected, recorded = [], _record_layers(folder / "stimuli", names)
    for region, layer in TRUE_LAYERS.items():
        patterns = recorded[layer]
        signal = patterns - patterns.mean(1, keepdims=True)  # (n_stimuli, n_units)
        signal /= np.linalg.norm(signal, axis=1, keepdims=True)
        for participant in PARTICIPANTS:
            array = mix_units(signal, N_VOXELS[region], SIGMA, rng)
            half = SIGMA * between_runs.standard_normal(array.shape)  # of the runs' difference: they are independent
            for run, part in zip(RUNS, (array + half, array - half), strict=True):
                with write_whole(folder / f"patterns/{participant}_{region}_{run}.npy") as temporary:
                    np.save(temporary, part)
        ceiling, r = expect_ceiling(signal, N_VOXELS[region], SIGMA, len(PARTICIPANTS))
        expected.append((region, layer, r, ceiling, expect_explainable(signal, SIGMA)))
    columns = ["region", "layer", "r", "noise_ceiling", "voxel_ceiling"]
    write_csv(pd.DataFrame(expected, columns=columns), folder / "expected.csv")
    (folder / "order.txt").write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
    text = yaml.safe_dump(_make_study(folder), sort_keys=False, width=120)
    (folder / "study.yaml").write_text(HEAD.format(folder=folder) + text, encoding="utf-8")
    logger.info("%s: %d stimuli, %d participants", folder / "study.yaml", N_STIMULI, len(PARTICIPANTS))


def mix_units(signal: NDArray, n_voxels: int, sigma: float, rng: np.random.Generator) -> NDArray:
    """Return (n_stimuli, n_voxels): random mixtures of the units of (n_stimuli, n_units), and noise."""
    weights = rng.standard_normal((signal.shape[1], n_voxels))
    return signal @ weights + sigma * rng.standard_normal((len(signal), n_voxels))


def expect_ceiling(signal: NDArray, n_voxels: int, sigma: float, n_participants: int) -> tuple[float, float]:
    """Return the expected (split-half noise ceiling, r of the true layer with the group), to first order.

    With s the variance over pairs of the true correlations, and e that of a participant's errors, means over m participants
    have the variance s + e / m: two halves correlate by s / (s + e / (n / 2)), the layer with all n by sqrt(s / (s + e / n)).

    Args:
        signal: (n_stimuli, n_units), each stimulus centred and of unit length.
        n_participants: an even number.
    """
    rho = signal @ signal.T / (1 + sigma**2)
    np.fill_diagonal(rho, 1)
    covariance = estimate_covariance(rho, n_voxels)
    s = vectorize_rsm(rho).var()
    e = np.diag(covariance).mean() - covariance.mean()
    return s / (s + 2 * e / n_participants), math.sqrt(s / (s + e / n_participants))


def expect_explainable(signal: NDArray, sigma: float) -> float:
    """Return the share of a voxel's variance over stimuli that is signal, to first order.

    Args:
        signal: (n_stimuli, n_units).
    """
    variance = ((signal - signal.mean(0)) ** 2).sum() / (len(signal) - 1)
    return variance / (variance + sigma**2)


def estimate_covariance(rho: NDArray, n: int) -> NDArray:
    """Return the covariance of the sample correlations of n observations of normal variables, to first order in 1 / n.

    Args:
        rho: (k, k) true correlations.

    Returns:
        (n_pairs, n_pairs), pairs in the order of `similarity.vectorize_rsm`.

    Source: Olkin and Siotani 1976.
    """
    i, j = np.tril_indices(len(rho), -1)
    ij, kl = np.meshgrid(rho[i, j], rho[i, j], indexing="ij")
    ik, il, jk, jl = (rho[np.ix_(a, b)] for a, b in itertools.product((i, j), (i, j)))
    mixed = ij * ik * il + ij * jk * jl + kl * ik * jk + kl * il * jl
    return (ij * kl * (ik**2 + il**2 + jk**2 + jl**2) / 2 + ik * jl + il * jk - mixed) / (n - 1)


def _write_stimuli(folder: Path, rng: np.random.Generator) -> list[str]:
    """Write square crops of the photograph that matplotlib carries; return their names in a random order."""
    folder.mkdir(parents=True, exist_ok=True)
    with get_sample_data("grace_hopper.jpg") as file:
        photo = Image.open(file).convert("RGB")
    names = [f"crop{number:02d}.png" for number in rng.permutation(N_STIMULI)]
    for name in names:
        side = int(rng.integers(60, 200))
        left, top = int(rng.integers(photo.width - side)), int(rng.integers(photo.height - side))
        photo.crop((left, top, left + side, top + side)).resize((96, 96)).save(folder / name)
    return names


def _record_layers(folder: Path, names: list[str]) -> dict[str, NDArray]:
    """Return true layer -> (n_stimuli, n_units) activations of the model, stimuli in the order of their names."""
    model = Untrained.model_validate(MODEL).model_dump()
    spec = NetworkSpec.from_model(model)
    with TemporaryDirectory() as temporary:
        weights, activations = Path(temporary) / "weights.safetensors", Path(temporary) / "activations.h5"
        save_network(initialize_network(spec, model["seed"]), spec, weights)
        extract_activations(weights, folder, activations, layers=list(TRUE_LAYERS.values()))
        with open_hdf5(activations) as file:
            shown = list(file["stimuli"].asstr())
            order = [shown.index(Path(name).stem) for name in names]
            return {
                layer: file[f"layers/{layer}"][:].reshape(len(names), -1)[order].astype(np.float64)
                for layer in TRUE_LAYERS.values()
            }


def _make_study(folder: Path) -> dict:
    return {
        "title": "A simulated brain",
        "pathvars": {name: f"{name}/simulated" for name in ("results", "logs", "benchmarks")},
        "brains": {
            "simulated": {
                "source": "own",
                "title": "Simulated voxels",
                "stimuli": str(folder / "stimuli"),
                "order": str(folder / "order.txt"),
                "participants": PARTICIPANTS,
                "regions": list(TRUE_LAYERS),
                "kind": "patterns",
                "runs": RUNS,
                "files": str(folder / "patterns/{participant}_{region}_{run}.npy"),
            }
        },
        "models": {"untrained": MODEL},
        "figure2_models": ["untrained"],
        "noise_ceiling": {"n_splits": 1000, "seed": 0},
        "encoding": {"min_ceiling": 0.0},
    }


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return its exit code."""
    parser = argparse.ArgumentParser(
        prog="ipcl simulate", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        simulate_study(parser.parse_args(arguments).folder)
    except OSError as error:
        print(error, file=sys.stderr)
        return 2
    return 0
