import math

import h5py
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from ipcl_core.accuracy import knn
from ipcl_core.accuracy.knn import find_nearest_on_cpu, find_nearest_on_gpu, take_largest, vote_weighted_knn


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def loop_votes(bank, labels, queries, *, n_classes, k, tau):
    """Appendix B.3, equation 4, one query and one neighbour at a time, float64; of the nearest one exp(s / tau) is 1."""
    votes = []
    for query in queries.double().tolist():
        similarities = []
        for item, label in zip(bank.double().tolist(), labels.tolist(), strict=True):
            dot = sum(a * b for a, b in zip(query, item, strict=True))
            similarities.append((dot / math.hypot(*query) / math.hypot(*item), label))
        row = [0.0] * n_classes
        nearest = sorted(similarities, reverse=True)[:k]
        for similarity, label in nearest:
            row[label] += math.exp((similarity - nearest[0][0]) / tau)
        votes.append(row)
    return torch.tensor(votes)


@pytest.mark.parametrize("k,tau", [(1, 0.07), (7, 0.07), (30, 0.5), (7, 0.005)])
def test_votes_equal_loop(k, tau):
    bank, queries = 3 * draw(30, 5), 0.2 * draw(11, 5, seed=1)
    labels = torch.arange(30) % 4
    expected = loop_votes(bank, labels, queries, n_classes=4, k=k, tau=tau)
    found = vote_weighted_knn(bank, labels, queries, n_classes=4, k=k, tau=tau)
    # float32: a similarity is off by about 1e-7, and so exp(s / .07) by 2e-6 of itself
    assert_close(found, expected, rtol=1e-5 if tau > 0.01 else 1e-4, atol=1e-6)


def test_a_low_temperature_takes_the_nearest():
    """exp(1 / .005) is no float32: votes of several classes would be equal, and the first of them the prediction."""
    bank = torch.tensor([[0.99, 0.1], [1.0, 0.0], [0.98, 0.2]])
    votes = vote_weighted_knn(bank, torch.arange(3), torch.tensor([[1.0, 0.0]]), n_classes=3, k=3, tau=0.005)
    assert votes.argmax(1).tolist() == [1] and votes.isfinite().all()


@settings(deadline=None, max_examples=40, derandomize=True)
@given(st.data(), st.integers(1, 40), st.integers(1, 6), st.floats(0.05, 10), st.integers(0, 2**32 - 1))
def test_votes_of_any_bank_equal_loop(data, n, d, tau, seed):
    """Whatever the sizes; and they depend neither on scale nor on the queries' company or order."""
    k, n_classes = data.draw(st.integers(1, n)), data.draw(st.integers(1, 5))
    bank, queries = draw(n, d, seed=seed), draw(7, d, seed=seed + 1)
    labels = torch.randint(n_classes, (n,), generator=torch.Generator().manual_seed(seed))
    if d == 1:  # every similarity is 1 or -1: the first ones of the bank are nearer, which the loop does not know
        k = n
    expected = loop_votes(bank, labels, queries, n_classes=n_classes, k=k, tau=tau)
    found = vote_weighted_knn(bank, labels, queries, n_classes=n_classes, k=k, tau=tau)
    assert_close(found, expected, rtol=2e-5, atol=1e-6)
    assert ((found >= 0).all(1) & (found.sum(1) <= k * 1.0001)).all()
    order = torch.randperm(7, generator=torch.Generator().manual_seed(seed))[:5]
    again = vote_weighted_knn(3 * bank, labels, queries[order] / 7, n_classes=n_classes, k=k, tau=tau)
    assert_close(again, found[order], rtol=2e-5, atol=1e-6)


def test_votes_by_hand():
    # similarities to the query (1, 0): 1 (class 1), .6 (class 0), 0 (class 0), -1 (class 1)
    bank = torch.tensor([[5.0, 0.0], [0.3, 0.4], [0.0, 2.0], [-1.0, 0.0]])
    labels, query = torch.tensor([1, 0, 0, 1]), torch.tensor([[10.0, 0.0]])
    found = vote_weighted_knn(bank, labels, query, n_classes=3, k=3, tau=0.5)
    assert_close(found, torch.tensor([[math.exp(-0.8) + math.exp(-2.0), 1.0, 0.0]]), rtol=1e-6, atol=0)
    # the nearest two: exp(1.2) against exp(2)
    found = vote_weighted_knn(bank, labels, query, n_classes=3, k=2, tau=0.5)
    assert_close(found, torch.tensor([[math.exp(-0.8), 1.0, 0.0]]), rtol=1e-6, atol=0)


def test_votes_do_not_depend_on_scale():
    bank, queries, labels = draw(20, 5), draw(3, 5, seed=1), torch.arange(20) % 2
    scale = torch.linspace(0.01, 100, 20)[:, None]
    found = vote_weighted_knn(bank * scale, labels, queries * 7, n_classes=2, k=5, tau=0.07)
    assert_close(found, vote_weighted_knn(bank, labels, queries, n_classes=2, k=5, tau=0.07), rtol=1e-4, atol=0)


def test_more_queries_than_a_chunk(monkeypatch):
    monkeypatch.setattr(knn, "CHUNK", 8)
    n = 2 * knn.CHUNK + 5
    bank, queries, labels = draw(50, 8), draw(n, 8, seed=1), torch.arange(50) % 3
    whole = vote_weighted_knn(bank, labels, queries, n_classes=3, k=9, tau=0.07)
    assert whole.shape == (n, 3)
    for start in (0, knn.CHUNK - 3, knn.CHUNK, 2 * knn.CHUNK - 1):
        part = vote_weighted_knn(bank, labels, queries[start : start + 6], n_classes=3, k=9, tau=0.07)
        assert_close(whole[start : start + 6], part, rtol=1e-5, atol=0)


@pytest.mark.parametrize("k", [0, -1, 21])
def test_k_out_of_range_is_refused(k):
    with pytest.raises(ValueError, match=f"knn.k: {k} neighbours; .* 20 images"):
        vote_weighted_knn(draw(20, 3), torch.zeros(20, dtype=torch.long), draw(2, 3), n_classes=2, k=k, tau=0.07)


@pytest.mark.parametrize("tau", [0.0, -1.0, math.nan])
def test_tau_out_of_range_is_refused(tau):
    with pytest.raises(ValueError, match="temperature must be above 0"):
        vote_weighted_knn(draw(20, 3), torch.zeros(20, dtype=torch.long), draw(2, 3), n_classes=2, k=1, tau=tau)


@pytest.mark.parametrize("name", ["bank", "queries"])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_non_finite_embeddings_are_refused(name, value):
    arguments = {"bank": draw(20, 3), "queries": draw(2, 3)}
    arguments[name][1, 1] = value
    with pytest.raises(ValueError, match=f"the {name} embeddings hold non-finite values"):
        vote_weighted_knn(**arguments, labels=torch.zeros(20, dtype=torch.long), n_classes=2, k=1, tau=0.07)


def sort_nearest(queries, bank, k):
    """Similarities (q, n) of every pair in float64; positions of each query's k most similar, earlier first among equals."""
    similarities = [[sum(a * b for a, b in zip(x, y, strict=True)) for y in bank.tolist()] for x in queries.tolist()]
    nearest = [sorted(sorted(range(len(bank)), key=lambda j: -row[j])[:k]) for row in similarities]
    return torch.tensor(similarities), torch.tensor(nearest)


@pytest.mark.parametrize("find_nearest", [find_nearest_on_cpu, find_nearest_on_gpu])
@pytest.mark.parametrize("k", [1, 3, 40, 97])
@pytest.mark.parametrize("order", ["random", "nearest last", "nearest first"])
def test_neighbours_equal_sorting(monkeypatch, find_nearest, k, order):
    monkeypatch.setattr(knn, "CHUNK", 4)
    monkeypatch.setattr(knn, "TILE", 5)  # two and a part of one in each block
    # quarters: every product is exact, and many are equal
    bank, queries = (draw(97, 3) * 4).round() / 4, (draw(11, 3, seed=1) * 4).round() / 4
    bank[50:60] = bank[20:30]
    if order != "random":
        bank = bank[(bank @ queries[0]).argsort(descending=order == "nearest first")]
    similarities, expected = sort_nearest(queries, bank, k)
    similarity, position = find_nearest(queries, iter(bank.split(13)), k)
    assert torch.equal(position, expected)
    assert torch.equal(similarity, similarities.gather(1, expected).float())


@pytest.mark.parametrize("n_threads", [1, 2, 3])
def test_number_of_threads_changes_nothing(n_threads):
    bank, queries, labels = draw(500, 8), draw(23, 8, seed=1), torch.arange(500) % 3
    expected = vote_weighted_knn(bank, labels, queries, n_classes=3, k=9, tau=0.07)
    torch.set_num_threads(n_threads)
    found = vote_weighted_knn(bank, labels, queries, n_classes=3, k=9, tau=0.07)
    assert_close(found, expected, rtol=1e-5, atol=0)
    assert torch.get_num_threads() == n_threads


def test_bank_is_read_from_a_file(tmp_path, monkeypatch):
    monkeypatch.setattr(knn, "BLOCK", 7)
    bank, queries, labels = draw(50, 8), draw(6, 8, seed=1), torch.arange(50) % 3
    with h5py.File(tmp_path / "bank.h5", "w") as file:
        file["bank"] = bank.numpy().astype(np.float64)
        found = vote_weighted_knn(file["bank"], labels, queries, n_classes=3, k=9, tau=0.07)
    assert_close(found, vote_weighted_knn(bank, labels, queries, n_classes=3, k=9, tau=0.07), rtol=1e-5, atol=0)


def test_equal_embeddings_vote_in_the_order_of_the_bank():
    bank, labels = torch.ones(40, 4), torch.arange(40) // 10
    votes = vote_weighted_knn(bank, labels, torch.ones(2, 4), n_classes=4, k=15, tau=1.0)
    assert_close(votes, torch.tensor([[10.0, 5, 0, 0]]).expand(2, 4), rtol=1e-6, atol=0)


@pytest.mark.parametrize("n_values", [2, 4, 1000])
def test_largest_values_are_the_first_of_equal_ones(n_values):
    """Against sorting, in which equal values keep their order; with many and few equal ones."""
    values = torch.randint(n_values, (50, 40), generator=torch.Generator().manual_seed(0)).float()
    for k in (1, 7, 39, 40):
        expected = values.sort(dim=1, descending=True, stable=True).indices[:, :k].sort(dim=1).values
        assert torch.equal(take_largest(values, k), expected)


def test_votes_are_sums_in_the_order_of_the_bank():
    """Bit by bit those of a single sum over all neighbours, as the processor takes it."""
    bank, queries, labels = draw(300, 8), draw(40, 8, seed=1), torch.arange(300) % 3
    normalized = [torch.nn.functional.normalize(x, dim=1) for x in (queries, bank)]
    similarity, position = find_nearest_on_cpu(normalized[0], iter([normalized[1]]), 50)
    expected = torch.zeros(40, 3).scatter_add_(
        1, labels[position], torch.exp((similarity - similarity.amax(1, keepdim=True)) / 0.07)
    )
    found = vote_weighted_knn(bank, labels, queries, n_classes=3, k=50, tau=0.07)
    assert torch.equal(found, expected)
