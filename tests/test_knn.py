import math

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose
from torch.testing import assert_close

from ipcl_core import knn
from ipcl_core.files import write_hdf5, write_json
from ipcl_core.knn import measure_accuracies, measure_accuracy, vote_weighted_knn


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def loop_votes(bank, labels, queries, *, n_classes, k, tau):
    """Appendix B.3, equation 4, one query and one neighbour at a time, float64."""
    votes = []
    for query in queries.double().tolist():
        similarities = []
        for item, label in zip(bank.double().tolist(), labels.tolist(), strict=True):
            dot = sum(a * b for a, b in zip(query, item, strict=True))
            similarities.append((dot / math.hypot(*query) / math.hypot(*item), label))
        row = [0.0] * n_classes
        for similarity, label in sorted(similarities, reverse=True)[:k]:
            row[label] += math.exp(similarity / tau)
        votes.append(row)
    return torch.tensor(votes)


@pytest.mark.parametrize("k,tau", [(1, 0.07), (7, 0.07), (30, 0.5)])
def test_votes_equal_loop(k, tau):
    bank, queries = 3 * draw(30, 5), 0.2 * draw(11, 5, seed=1)
    labels = torch.arange(30) % 4
    expected = loop_votes(bank, labels, queries, n_classes=4, k=k, tau=tau)
    found = vote_weighted_knn(bank, labels, queries, n_classes=4, k=k, tau=tau)
    # float32: a similarity is off by about 1e-7, and so exp(s / .07) by 2e-6 of itself
    assert_close(found, expected, rtol=1e-5, atol=1e-6)


def test_votes_by_hand():
    # similarities to the query (1, 0): 1 (class 1), .6 (class 0), 0 (class 0), -1 (class 1)
    bank = torch.tensor([[5.0, 0.0], [0.3, 0.4], [0.0, 2.0], [-1.0, 0.0]])
    labels, query = torch.tensor([1, 0, 0, 1]), torch.tensor([[10.0, 0.0]])
    found = vote_weighted_knn(bank, labels, query, n_classes=3, k=3, tau=0.5)
    assert_close(found, torch.tensor([[math.exp(1.2) + 1.0, math.exp(2.0), 0.0]]), rtol=1e-6, atol=0)
    # the nearest two: exp(1.2) against exp(2)
    found = vote_weighted_knn(bank, labels, query, n_classes=3, k=2, tau=0.5)
    assert_close(found, torch.tensor([[math.exp(1.2), math.exp(2.0), 0.0]]), rtol=1e-6, atol=0)


def test_votes_do_not_depend_on_scale():
    bank, queries, labels = draw(20, 5), draw(3, 5, seed=1), torch.arange(20) % 2
    scale = torch.linspace(0.01, 100, 20)[:, None]
    found = vote_weighted_knn(bank * scale, labels, queries * 7, n_classes=2, k=5, tau=0.07)
    assert_close(found, vote_weighted_knn(bank, labels, queries, n_classes=2, k=5, tau=0.07), rtol=1e-4, atol=0)


def test_more_queries_than_a_chunk():
    n = 2 * knn.CHUNK + 5
    bank, queries, labels = draw(50, 8), draw(n, 8, seed=1), torch.arange(50) % 3
    whole = vote_weighted_knn(bank, labels, queries, n_classes=3, k=9, tau=0.07)
    assert whole.shape == (n, 3)
    for start in (0, knn.CHUNK - 3, knn.CHUNK, 2 * knn.CHUNK - 1):
        part = vote_weighted_knn(bank, labels, queries[start : start + 6], n_classes=3, k=9, tau=0.07)
        assert_close(whole[start : start + 6], part, rtol=1e-5, atol=0)


@pytest.mark.parametrize("k", [0, -1, 21])
def test_k_out_of_range_is_refused(k):
    with pytest.raises(ValueError, match=f"k = {k} neighbours: .* 20 images"):
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


def test_accuracy_by_hand():
    # the true class is ranked 1st, 2nd, 5th and 6th of six
    scores = torch.tensor(
        [
            [9.0, 1, 2, 3, 4, 5],
            [8.0, 9, 2, 3, 4, 5],
            [1.0, 0, 9, 8, 7, 6],
            [0.0, 1, 2, 3, 4, 5],
        ]
    )
    assert_close(measure_accuracy(scores, torch.zeros(4, dtype=torch.long)), (25.0, 75.0), rtol=1e-6, atol=0)


def test_accuracy_with_fewer_than_five_classes():
    scores, labels = torch.tensor([[3.0, 2, 1], [3.0, 2, 1], [1.0, 2, 3], [1.0, 2, 3]]), torch.tensor([0, 2, 0, 2])
    assert_close(measure_accuracy(scores, labels), (50.0, 100.0), rtol=1e-6, atol=0)


def test_accuracy_equals_loop():
    scores, labels = draw(200, 9), torch.arange(200) % 9
    ranks = []
    for row, label in zip(scores.tolist(), labels.tolist(), strict=True):
        ranks.append(sum(score > row[label] for score in row))
    expected = (100 * sum(rank == 0 for rank in ranks) / 200, 100 * sum(rank < 5 for rank in ranks) / 200)
    assert_close(measure_accuracy(scores, labels), expected, rtol=1e-6, atol=0)


def test_accuracy_refuses_different_numbers_of_labels():
    with pytest.raises(RuntimeError):
        measure_accuracy(draw(4, 3), torch.zeros(3, dtype=torch.long))


@pytest.fixture
def measure(tmp_path):
    """Return a function that measures the accuracies of random embeddings, and those embeddings."""
    rng = np.random.default_rng(0)
    bank, queries = rng.standard_normal((30, 4)), rng.standard_normal((12, 4))
    bank_labels, labels, logits = np.arange(30) % 3, np.arange(12) % 3, rng.standard_normal((12, 3))
    with write_hdf5(tmp_path / "e.h5") as file:
        file["train/embedding"], file["train/label"] = bank, bank_labels
        file["val/embedding"], file["val/label"], file["val/output"] = queries, labels, logits
        file.attrs["layer"] = "fc7"

    def measure(protocols: list[str], classes: str = "abc") -> pd.DataFrame:
        write_json({"classes": list(classes)}, tmp_path / "summary.json")
        paths = (tmp_path / name for name in ("e.h5", "summary.json", "accuracy.csv"))
        measure_accuracies(*paths, k=5, tau=0.5, protocols=protocols)
        return pd.read_csv(tmp_path / "accuracy.csv")

    return measure, (bank, bank_labels, queries, labels, logits)


@pytest.mark.parametrize("protocols", [["weighted kNN"], ["softmax", "weighted kNN"], ["softmax"]])
def test_accuracies(measure, protocols):
    measure, (bank, bank_labels, queries, labels, logits) = measure
    found = measure(protocols)
    assert list(found.columns) == ["protocol", "layer", "top1", "top5", "k", "tau", "n_bank", "n_query", "headline"]
    assert list(found.loc[found["headline"], "protocol"]) == protocols[:1]
    arrays = (torch.from_numpy(array) for array in (bank, bank_labels, queries))
    votes = vote_weighted_knn(*arrays, n_classes=3, k=5, tau=0.5).argmax(1).numpy()
    row = found.iloc[0]
    assert (row["protocol"], row["layer"]) == ("weighted kNN", "fc7")
    assert_allclose(row[2:8].astype(float), [100 * (votes == labels).mean(), 100, 5, 0.5, 30, 12], rtol=1e-6, atol=0)
    assert len(found) == 1 + ("softmax" in protocols)
    if "softmax" in protocols:
        row = found.iloc[1]
        assert (row["protocol"], row["layer"], row["n_query"]) == ("softmax", "output", 12)
        assert_allclose(row["top1"], 100 * (logits.argmax(1) == labels).mean(), rtol=1e-6, atol=0)
        assert row[["k", "tau", "n_bank"]].isna().all()


def test_softmax_needs_one_output_a_class(measure):
    with pytest.raises(ValueError, match="one output a class: 3 for 4 classes"):
        measure[0](["softmax"], classes="abcd")
