"""RSVs in tiles give the numbers of RSVs in memory, and a layer that is read in blocks never stands in memory whole."""

import tracemalloc

import h5py
import numpy as np
import pytest
from numpy.testing import assert_allclose

from ipcl_core.rsa import tiles
from ipcl_core.rsa.dimensionality import measure_dimensionality
from ipcl_core.rsa.inference import (
    bootstrap_similarity,
    draw_permutations,
    draw_resamples,
    hold_out_participants,
    hold_out_stimuli,
    permute_similarity,
)
from ipcl_core.rsa.noise_ceiling import find_agreement, measure_leave_one_out, measure_noise_ceiling
from ipcl_core.rsa.similarity import BLOCK, compare_rsvs, compute_rsm, measure_distances
from ipcl_core.rsa.tiles import Tiled, average_rows, locate_pairs, mix_rows

N = 14
N_PAIRS = N * (N - 1) // 2


def draw() -> tuple[np.ndarray, np.ndarray]:
    """Four layers, the last constant, and five participants."""
    rng = np.random.default_rng(0)
    shared = rng.uniform(-1, 1, N_PAIRS)
    layers = np.clip(0.5 * shared + rng.uniform(-0.5, 0.5, (4, N_PAIRS)), -1, 1)
    layers[3] = 0.3
    return layers, np.clip(0.5 * shared + rng.uniform(-0.5, 0.5, (5, N_PAIRS)), -1, 1)


def leave(rsvs: np.ndarray) -> Tiled:
    """RSVs of which no more than a tile may be read at a time."""

    def read(pairs: slice) -> np.ndarray:
        assert pairs.stop - pairs.start <= tiles.TILE
        return rsvs[:, pairs]

    return Tiled(rsvs.shape, read)


def measure(layers, participants, comparator: str) -> dict[str, np.ndarray]:
    group = average_rows(participants)
    resamples = draw_resamples(5, N, n_resamples=30, seed=0)
    permutations = draw_permutations(N, n_permutations=20, seed=0)
    found = {"r": compare_rsvs(layers, participants, comparator)}
    found |= bootstrap_similarity(layers, participants, resamples, comparator)
    found["permuted"] = permute_similarity(layers, group, permutations, comparator)
    found["ceiling"] = measure_noise_ceiling(participants, n_splits=100, seed=0).r
    found["leave-one-out"] = measure_leave_one_out(participants) + find_agreement(participants)
    held_out = hold_out_participants(layers, participants), hold_out_stimuli(layers, group, n_splits=5, seed=0)
    for i, one in enumerate(held_out):
        found |= {f"{i} layers": one.layers, f"{i} r": one.r, f"{i} same": one.r_same}
    return found


@pytest.mark.parametrize("comparator", ["pearson", "cosine"])
def test_tiles_give_the_same_numbers(comparator, monkeypatch):
    layers, participants = draw()
    expected = measure(layers, participants, comparator)
    monkeypatch.setattr(tiles, "TILE", 10)
    found = measure(leave(layers), leave(participants), comparator)
    assert {"participants", "stimuli", "both"} < set(found) and found.keys() == expected.keys()
    for name, values in found.items():
        assert_allclose(values, expected[name], rtol=0, atol=1e-12, err_msg=name)


def test_pairs_are_those_of_the_triangle():
    n = 5000
    for diagonal in (False, True):
        rows, columns = np.tril_indices(n, 0 if diagonal else -1)
        for pairs in (slice(0, 40), slice(len(rows) - 12_000, len(rows))):
            found = locate_pairs(pairs, diagonal=diagonal)
            assert (found[0] == rows[pairs]).all() and (found[1] == columns[pairs]).all()


def test_mixed_rows_equal_their_product():
    rsvs, weights = draw()[1], np.random.default_rng(0).standard_normal((3, 5))
    assert_allclose(mix_rows(weights, leave(rsvs))[1:, :10], (weights @ rsvs / 5)[1:, :10], rtol=0, atol=1e-15)


def test_a_layer_in_a_file_is_read_in_blocks(tmp_path):
    """A layer of 25 MB: the same numbers to the bit, and a tenth of it in memory."""
    shape = (5, 40, 180, 180)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["layer"] = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
        whole = file["layer"][:]
        expected = compute_rsm(whole), measure_distances(whole), measure_dimensionality(whole)
        del whole
        tracemalloc.start()
        found = compute_rsm(file["layer"]), measure_distances(file["layer"]), measure_dimensionality(file["layer"])
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert np.prod(shape) > 100 * BLOCK and peak < np.prod(shape) * 4 / 10
    for one, other in zip(found, expected, strict=True):
        assert_allclose(one, other, rtol=0, atol=0)
