import math

import h5py
import numpy as np
import pytest
import torch
from conftest import N_PICTURES, make_spec
from numpy.testing import assert_allclose
from sklearn.linear_model import LogisticRegression
from test_knn import draw

from ipcl_core.accuracy import probes
from ipcl_core.accuracy.one_cycle_probes import train_one_cycle_probes
from ipcl_core.accuracy.probes import NOT_COUNTED, fit_logistic, fit_probe
from ipcl_core.config import LBFGSProbe, OneCycleProbe
from ipcl_core.files import read_json
from ipcl_core.networks.architectures import initialize_network
from ipcl_core.networks.layers import record_layers
from ipcl_core.networks.network_files import load_network, save_network

ONE = {"l2": [1e-3]}


def draw_classes(n: int, distance: float, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """n points of 6 dimensions in 4 classes whose centres are `distance` apart."""
    labels = torch.arange(n) % 4
    centres = distance * torch.eye(4, 6) / 2**0.5
    return draw(n, 6, seed=seed) + centres[labels], labels


@pytest.mark.parametrize("l2", [1e-1, 1e-3])
def test_logistic_regression_equals_sklearns(l2, monkeypatch):
    monkeypatch.setattr(probes, "ROWS", 37)  # several parts
    features, labels = draw_classes(200, 2.0)
    rows = torch.arange(0, 200, 2) + torch.arange(100) % 4 // 2
    counted = torch.full_like(labels, NOT_COUNTED).index_copy(0, rows, labels[rows])
    weight, bias = fit_logistic(features, counted, n_classes=4, l2=l2, max_iter=500)
    theirs = LogisticRegression(C=1 / (100 * l2), tol=1e-10, max_iter=10_000)
    theirs.fit(features[rows].double(), labels[rows])
    assert_allclose(weight, theirs.coef_, rtol=0, atol=2e-3)
    assert_allclose(bias - bias.mean(), theirs.intercept_ - theirs.intercept_.mean(), rtol=0, atol=2e-3)


def test_separable_classes_are_told_apart():
    features, labels = draw_classes(200, 20.0)
    queries, expected = draw_classes(40, 20.0, seed=1)
    logits = fit_probe(features, labels, queries, n_classes=4, settings=LBFGSProbe())
    assert torch.equal(logits.argmax(1), expected)


def test_noise_stays_at_chance():
    features, queries, labels = draw(2000, 6), draw(2000, 6, seed=1), torch.arange(2000) % 4
    logits = fit_probe(features, labels, queries, n_classes=4, settings=LBFGSProbe())
    # 25 %, standard error about 1 %
    assert (logits.argmax(1) == torch.arange(2000) % 4).float().mean().item() == pytest.approx(0.25, abs=0.04)


def test_scale_and_shift_of_a_feature_do_not_matter():
    features, labels = draw_classes(200, 2.0)
    queries, _ = draw_classes(40, 2.0, seed=1)
    expected = fit_probe(features.clone(), labels, queries, n_classes=4, settings=LBFGSProbe(**ONE))
    scale, shift = torch.tensor([1e-3, 1, 5, 10, 100, 1e3]), torch.arange(6.0)
    found = fit_probe(
        features * scale + shift, labels, queries * scale + shift, n_classes=4, settings=LBFGSProbe(**ONE)
    )
    assert_allclose(found, expected, rtol=0, atol=1e-2)


def test_constant_feature_counts_for_nothing():
    features, labels = draw_classes(200, 2.0)
    queries, _ = draw_classes(40, 2.0, seed=1)
    features[:, 5], queries[:20, 5], queries[20:, 5] = 0.1, 0.1, 7.0
    found = fit_probe(features.clone(), labels, queries, n_classes=4, settings=LBFGSProbe(**ONE))
    expected = fit_probe(features[:, :5].clone(), labels, queries[:, :5], n_classes=4, settings=LBFGSProbe(**ONE))
    assert_allclose(found, expected, rtol=0, atol=5e-3)


def test_penalty_is_the_best_on_the_held_out_part(caplog):
    caplog.set_level("INFO")
    # few images of many noisy dimensions: a weak penalty overfits
    labels = torch.arange(60) % 2
    features, queries = draw(60, 100), draw(400, 100, seed=1)
    features[:, 0] += 3 * labels
    queries[:, 0] += 3 * (torch.arange(400) % 2)
    settings = LBFGSProbe(l2=[1e-6, 1.0], held_out=0.3, seed=3)
    found = fit_probe(features.clone(), labels, queries, n_classes=2, settings=settings)
    lines = {line.split()[3]: float(line.split()[4]) for line in caplog.messages}
    best = max((1.0, 1e-6), key=lambda l2: lines[f"{l2:g}:"])
    alone = {
        l2: fit_probe(features.clone(), labels, queries, n_classes=2, settings=LBFGSProbe(l2=[l2], seed=3))
        for l2 in (1e-6, 1.0)
    }
    assert lines["1:"] != lines["1e-06:"]
    assert torch.equal(found, alone[best]) and not torch.equal(alone[1e-6], alone[1.0])


def test_same_seed_same_bits():
    features, labels = draw_classes(200, 2.0)
    queries, _ = draw_classes(40, 2.0, seed=1)
    first, second = (
        fit_probe(features.clone(), labels, queries, n_classes=4, settings=LBFGSProbe(seed=1)) for _ in range(2)
    )
    assert torch.equal(first, second)


def test_features_that_cannot_be_used_are_refused():
    features, labels = draw_classes(8, 2.0)
    with pytest.raises(ValueError, match=r"held_out: 0\.01 of 8 training images"):
        fit_probe(features.clone(), labels, features, n_classes=4, settings=LBFGSProbe(held_out=0.01))
    features[2, 3] = torch.nan
    with pytest.raises(ValueError, match="non-finite"):
        fit_probe(features, labels, features, n_classes=4, settings=LBFGSProbe(held_out=0.3))


# ---- the one-cycle probe -------------------------------------------------------------------------------------------


@pytest.fixture
def train(raw_split, tmp_path):
    """Return a function that trains probes of a tiny network and returns their logits; and the network's file."""
    weights = tmp_path / "weights.safetensors"
    save_network(initialize_network(make_spec(), 0), make_spec(), weights)

    def train(layers: list[str], **settings) -> dict[str, np.ndarray]:
        train_one_cycle_probes(
            weights,
            {"train": raw_split.beton, "val": raw_split.beton},
            raw_split.summary,
            tmp_path / "probes.h5",
            layers=layers,
            center_crop=1.0,
            max_dim=64,
            settings=OneCycleProbe(**{"batch_size": 4, "epochs": 2} | settings),
            n_threads=1,
        )
        with h5py.File(tmp_path / "probes.h5") as file:
            return {layer: file[f"layers/{layer}"][:] for layer in file.attrs["layers"]} | {"label": file["label"][:]}

    return train, weights


def test_released_settings_are_the_defaults():
    settings = OneCycleProbe()
    assert (settings.epochs, settings.batch_size, settings.optimizer.lr) == (10, 256, 30)
    assert (settings.optimizer.momentum, settings.optimizer.weight_decay) == (0.9, 0)
    assert (settings.schedule.pct_start, settings.schedule.div_factor) == (0.3, 1e6)
    assert settings.augmentation.area == [0.08, 1] and settings.augmentation.flip == 0.5


def test_probes_learn_and_leave_the_network_alone(train, raw_split):
    train, weights = train
    before = {name: value.clone() for name, value in load_network(weights)[0].state_dict().items()}
    whole = OneCycleProbe().augmentation.model_dump() | {"area": [0.9, 1.0]}
    settings = {"epochs": 40, "optimizer": {"name": "sgd", "lr": 0.3}, "augmentation": whole}
    logits = train(["fc7.2", "output", "conv_block_2"], **settings)
    assert list(logits) == ["fc7.2", "conv_block_2", "output", "label"]
    n_classes = len(read_json(raw_split.summary)["classes"])
    for layer in ("fc7.2", "output", "conv_block_2"):
        assert logits[layer].shape == (N_PICTURES, n_classes)
    assert (logits["fc7.2"].argmax(1) == logits["label"]).mean() > 0.5  # chance is 1/3
    after = load_network(weights)[0].state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_training_of_a_probe_equals_loop(train, loader):
    """Softmax regression by hand: gradient (p - y) x / B, SGD with momentum, one cosine up and one down."""
    train, weights = train
    schedule = {
        "name": "one_cycle",
        "pct_start": 0.3,
        "div_factor": 10.0,
        "final_div_factor": 100.0,
        "momentum_range": None,
    }
    settings = OneCycleProbe(seed=5, optimizer={"name": "sgd", "lr": 2.0}, schedule=schedule)
    found = train(["fc7.2"], seed=5, optimizer={"name": "sgd", "lr": 2.0}, schedule=schedule)["fc7.2"]
    network = load_network(weights)[0]
    torch.manual_seed(5)
    linear = torch.nn.Linear(128, 3)
    parameters = torch.cat([linear.weight, linear.bias[:, None]], dim=1).detach().double()
    speed, step, turn, last = torch.zeros_like(parameters), 0, 0.3 * 10 - 1, 9
    with torch.no_grad(), record_layers(network, ["fc7.2"], shape=(3, 64, 64)) as record:

        def compute(views):
            return torch.cat([record(views)["fc7.2"], torch.ones(len(views), 1)], dim=1).double()

        for epoch in range(2):
            batches = loader.iterate_random(n_views=1, augmentation=settings.augmentation, seed=5, epoch=epoch)
            for batch in batches:
                x = compute(batch.views[:, 0])
                error = (x @ parameters.T).softmax(1) - torch.eye(3)[batch.labels]
                speed = 0.9 * speed + error.T @ x / len(x)
                if step <= turn:
                    lr = 0.2 + (2 - 0.2) * (1 - math.cos(math.pi * step / turn)) / 2
                else:
                    lr = 0.002 + (2 - 0.002) * (1 + math.cos(math.pi * (step - turn) / (last - turn))) / 2
                parameters -= lr * speed
                step += 1
        views = torch.cat([batch.views[:, 0] for batch in loader.iterate_center(fraction=1.0)])
        expected = compute(views) @ parameters.T
    assert step == 10
    assert_allclose(found, expected, rtol=0, atol=1e-3)


def test_probes_with_one_seed_have_the_same_bits(train):
    train, _ = train
    first, second, other = (train(["fc7.2"], seed=seed)["fc7.2"] for seed in (1, 1, 2))
    assert np.array_equal(first, second) and not np.array_equal(first, other)


def test_batch_larger_than_the_data_is_refused(train):
    with pytest.raises(ValueError, match="batch_size: 24 is more than the 23 training images"):
        train[0](["output"], batch_size=24)


def test_loss_that_is_not_finite_is_refused(train):
    with pytest.raises(FloatingPointError, match="lower its lr"):
        train[0](["conv_block_2"], optimizer={"name": "sgd", "lr": 1e38})
