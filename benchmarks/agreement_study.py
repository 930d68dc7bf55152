"""
The simulated study on which `agreement` compares measures, and a row of its table.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import rsatoolbox
from numpy.typing import ArrayLike, NDArray

from ipcl_core.rsa.similarity import fill_rsms, vectorize_rsm

N_STIMULI, N_LAYERS, N_PARTICIPANTS, N_RUNS, N_VOXELS = 20, 4, 5, 3, 30
LOOP = "loop"


class Row(NamedTuple):
    """One measure against one other computation of it."""

    measure: str
    against: str
    difference: float
    """Largest absolute difference of all numbers that were compared."""
    allowed: float


class Study(NamedTuple):
    """What is measured."""

    layers: NDArray
    """(N_LAYERS, N_STIMULI, 60)."""
    runs: NDArray
    """(N_PARTICIPANTS, N_RUNS, N_STIMULI, N_VOXELS)."""
    residuals: NDArray
    """(50, N_VOXELS), noise that is correlated over voxels."""
    rsvs: NDArray
    """(N_LAYERS, n_pairs) of the layers."""
    people: NDArray
    """(N_PARTICIPANTS, n_pairs) of the runs' means."""


def simulate_study() -> Study:
    rng = np.random.default_rng(0)
    layers = rng.standard_normal((N_LAYERS, N_STIMULI, 60)) * rng.exponential(size=60)
    signal = layers[1] @ rng.standard_normal((N_PARTICIPANTS, 1, 60, N_VOXELS))
    runs = signal / signal.std() + rng.standard_normal((N_PARTICIPANTS, N_RUNS, N_STIMULI, N_VOXELS))
    residuals = rng.standard_normal((50, N_VOXELS)) @ (
        np.eye(N_VOXELS) + 0.2 * rng.standard_normal((N_VOXELS, N_VOXELS))
    )
    rsvs, people = ([vectorize_rsm(np.corrcoef(one)) for one in each] for each in (layers, runs.mean(1)))
    return Study(layers, runs, residuals, np.stack(rsvs), np.stack(people))


def compare(measure: str, found: ArrayLike, others: dict[str, ArrayLike], allowed: float = 1e-10) -> Iterator[Row]:
    for against, expected in others.items():
        found, expected = np.asarray(found, float), np.asarray(expected, float)
        if found.shape != expected.shape:
            raise ValueError(f"{measure}: {found.shape} here, {expected.shape} by {against}")
        yield Row(measure, against, float(np.abs(found - expected).max()), allowed)


def make_rdms(rsvs: NDArray) -> rsatoolbox.rdm.RDMs:
    return rsatoolbox.rdm.RDMs(1 - fill_rsms(rsvs))
