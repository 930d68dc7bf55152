import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose
from test_knn import draw
from torch.testing import assert_close

from ipcl_core.accuracy.knn import vote_weighted_knn
from ipcl_core.accuracy.measure import measure_accuracies, measure_accuracy
from ipcl_core.accuracy.probes import fit_probe
from ipcl_core.config import LBFGSProbe
from ipcl_core.files import write_hdf5, write_json


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


def test_equally_likely_classes_share_their_places():
    """As many hits as with ties broken at random, all ways to break them; whatever the order of the classes."""
    generator = torch.Generator().manual_seed(0)
    scores = torch.randint(4, (300, 9), generator=generator).float() * (torch.rand(300, 1, generator=generator) < 0.7)
    labels = torch.randint(9, (300,), generator=generator)
    top1, top5 = [], []
    for row, label in zip(scores.tolist(), labels.tolist(), strict=True):
        higher, equal = sum(score > row[label] for score in row), row.count(row[label])
        places = range(higher, higher + equal)  # that the true class can have
        top1.append(sum(place < 1 for place in places) / equal)
        top5.append(sum(place < 5 for place in places) / equal)
    expected = (100 * np.mean(top1), 100 * np.mean(top5))
    order = torch.randperm(9, generator=generator)
    assert_close(measure_accuracy(scores, labels), expected, rtol=1e-6, atol=0)
    assert measure_accuracy(scores[:, order], order.argsort()[labels]) == measure_accuracy(scores, labels)
    assert_close(measure_accuracy(torch.zeros(5, 10), torch.arange(5)), (10.0, 50.0), rtol=1e-6, atol=0)


def test_accuracy_refuses_different_numbers_of_labels():
    with pytest.raises(RuntimeError):
        measure_accuracy(draw(4, 3), torch.zeros(3, dtype=torch.long))


def test_scores_that_are_no_numbers_have_no_accuracy():
    scores = torch.eye(3)
    scores[1, 2] = torch.nan
    with pytest.raises(ValueError, match="1 of 3 images"):
        measure_accuracy(scores, torch.zeros(3, dtype=torch.long))


@pytest.fixture
def measure(tmp_path):
    """Return a function that measures the accuracies of random embeddings, and those embeddings."""
    rng = np.random.default_rng(0)
    bank, queries = rng.standard_normal((30, 4)), rng.standard_normal((12, 4))
    bank_labels, labels, logits = np.arange(30) % 3, np.arange(12) % 3, rng.standard_normal((12, 3))
    with write_hdf5(tmp_path / "e.h5") as file:
        for split, values in (("train", bank), ("val", queries)):
            file[f"{split}/layers/fc7"], file[f"{split}/layers/conv"] = values, values[:, ::-1] ** 3
        file["train/label"], file["val/label"], file["val/layers/output"] = bank_labels, labels, logits
        file.attrs["layers"] = ["fc7", "conv"]

    with write_hdf5(tmp_path / "probes.h5") as file:
        file["layers/fc7"], file["layers/conv"] = np.eye(3)[labels], np.eye(3)[(labels + (labels == 2)) % 3]
        file.attrs["layers"] = ["fc7", "conv"]

    def measure(protocols: list[str], classes: str = "abc") -> pd.DataFrame:
        write_json({"classes": list(classes)}, tmp_path / "summary.json")
        paths = (tmp_path / name for name in ("e.h5", "summary.json", "accuracy.csv"))
        settings = {"k": 5, "tau": 0.5, "l_bfgs": LBFGSProbe(l2=[0.01], held_out=0.2), "n_threads": 1}
        measure_accuracies(
            *paths, probes=tmp_path / "probes.h5", protocols=protocols, dataset="d", model="m", **settings
        )
        return pd.read_csv(tmp_path / "accuracy.csv")

    return measure, (bank, bank_labels, queries, labels, logits)


@pytest.mark.parametrize("protocols", [["weighted kNN"], ["softmax", "weighted kNN"], ["softmax"]])
def test_accuracies(measure, protocols):
    measure, (bank, bank_labels, queries, labels, logits) = measure
    found = measure(protocols)
    columns = ["protocol", "layer", "top1", "top5", "k", "tau", "n_bank", "n_query", "headline"]
    assert list(found.columns) == ["dataset", "model", *columns]
    assert set(found.pop("dataset")) == {"d"} and set(found.pop("model")) == {"m"}
    assert list(found.loc[found["headline"], "protocol"]) == protocols[:1]
    for i, (layer, change) in enumerate({"fc7": lambda x: x, "conv": lambda x: x.flip(1) ** 3}.items()):
        arrays = (change(torch.from_numpy(bank)), torch.from_numpy(bank_labels), change(torch.from_numpy(queries)))
        votes = vote_weighted_knn(*arrays, n_classes=3, k=5, tau=0.5).argmax(1).numpy()
        row = found.iloc[i]
        assert (row["protocol"], row["layer"]) == ("weighted kNN", layer)
        expected = [100 * (votes == labels).mean(), 100, 5, 0.5, 30, 12]
        assert_allclose(row[2:8].astype(float), expected, rtol=1e-6, atol=0)
    assert len(found) == 2 + ("softmax" in protocols)
    if "softmax" in protocols:
        row = found.iloc[2]
        assert (row["protocol"], row["layer"], row["n_query"]) == ("softmax", "output", 12)
        assert_allclose(row["top1"], 100 * (logits.argmax(1) == labels).mean(), rtol=1e-6, atol=0)
        assert row[["k", "tau", "n_bank"]].isna().all()


def test_softmax_needs_one_output_a_class(measure):
    with pytest.raises(ValueError, match="one output a class: 3 for 4 classes"):
        measure[0](["softmax"], classes="abcd")


def test_probes_have_a_row_a_layer(measure):
    measure, (bank, bank_labels, queries, labels, _) = measure
    found = measure(["linear probe (one-cycle)", "linear probe (L-BFGS)", "weighted kNN"])
    names = ["weighted kNN", "linear probe (one-cycle)", "linear probe (L-BFGS)"]
    assert list(found["protocol"]) == [name for name in names for _ in range(2)]
    assert list(found["layer"]) == ["fc7", "conv"] * 3
    assert list(found["headline"]) == [False, False, True, False, False, False]
    assert_allclose(found["top1"][2:4], [100, 200 / 3], rtol=1e-6)  # every third label was made wrong
    arrays = (torch.from_numpy(array) for array in (bank.copy(), bank_labels, queries))
    logits = fit_probe(*arrays, n_classes=3, settings=LBFGSProbe(l2=[0.01], held_out=0.2))
    assert_allclose(found["top1"][4], 100 * (logits.argmax(1).numpy() == labels).mean(), rtol=1e-6)
