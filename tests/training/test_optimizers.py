import math
import warnings
from pathlib import Path

import pytest
import torch
import yaml
from conftest import make_recipe
from torch.testing import assert_close
from trainings import finish, make_training, resume

from ipcl_core.config import MultiStep, OneCycle, Recipe
from ipcl_core.training import train
from ipcl_core.training.checkpoints import Saver
from ipcl_core.training.optimizers import build_optimizer, compute_rates, set_rates

PAPER = yaml.safe_load((Path(__file__).parents[2] / "config.yaml").read_text())["recipes"]


def follow(recipe: Recipe, n_batches: int) -> tuple[list[float], list[float]]:
    """Return the learning rate and the momentum of each minibatch of a training."""
    optimizer = build_optimizer(torch.nn.Linear(2, 2), recipe.optimizer)
    rates, momenta = [], []
    for step in range(recipe.epochs * n_batches):
        set_rates(optimizer, recipe.schedule, step=step, epochs=recipe.epochs, n_batches=n_batches)
        group = optimizer.param_groups[0]
        rates.append(group["lr"])
        momenta.append(group["betas"][0] if "betas" in group else group["momentum"])
    return rates, momenta


# ---- the paper's curves ----------------------------------------------------------------------------------------------


def test_one_cycle_of_the_paper():
    """.03 / 1000 -> .03 at 40 of 100 epochs -> .03 / (1000 * 1e4), cosine, every minibatch; momentum .95 -> .85 -> .95."""
    rates, momenta = follow(Recipe.model_validate(PAPER["ipcl"]), 10)
    low, high, end = 0.03 / 1000, 0.03, 0.03 / (1000 * 1e4)
    assert_close((rates[0], rates[399], rates[999]), (3e-5, 0.03, 3e-9), rtol=1e-9, atol=0)
    assert_close((momenta[0], momenta[399], momenta[999]), (0.95, 0.85, 0.95), rtol=1e-9, atol=0)
    assert max(rates) == rates[399]
    up = [low + (high - low) * (1 - math.cos(math.pi * i / 399)) / 2 for i in range(400)]
    down = [end + (high - end) * (1 + math.cos(math.pi * i / 600)) / 2 for i in range(1, 601)]
    assert_close(rates, up + down, rtol=1e-9, atol=1e-12)
    assert_close(momenta[:400], [0.95 - 0.1 * (r - low) / (high - low) for r in up], rtol=1e-9, atol=0)


def test_beta_of_ranger_is_cycled():
    """The released code's scheduler does so with every optimizer that has betas."""
    rates, momenta = follow(Recipe.model_validate(PAPER["ipcl_ranger"]), 3)
    assert_close((rates[0], rates[119], rates[-1]), (1e-6, 1e-3, 1e-10), rtol=1e-9, atol=0)
    assert_close((momenta[0], momenta[119], momenta[-1]), (0.95, 0.85, 0.95), rtol=1e-9, atol=0)


def test_steps_of_the_wusnets():
    """.03, a tenth of it from epoch 120 and a hundredth from epoch 160 on (appendix B.2)."""
    rates, momenta = follow(Recipe.model_validate(PAPER["wusnet"]), 7)
    assert_close(rates, [0.03] * 840 + [0.003] * 280 + [0.0003] * 280, rtol=1e-9, atol=0)
    assert set(momenta) == {0.9}


@pytest.mark.parametrize("n_batches", [1, 2, 3, 7, 40])
@pytest.mark.parametrize("pct_start", [0.1, 0.3, 0.4, 0.77])
@pytest.mark.parametrize("momentum_range", [None, [0.8, 0.9]])
def test_one_cycle_equals_torch(n_batches, pct_start, momentum_range):
    """Also where the peak lies between two minibatches, and for beta 1 of AdamW."""
    settings = OneCycle(
        name="one_cycle", pct_start=pct_start, div_factor=7.0, final_div_factor=30.0, momentum_range=momentum_range
    )
    recipe = make_recipe(optimizer={"name": "adamw", "lr": 0.2}, schedule=settings.model_dump(), epochs=3)
    found = follow(recipe, n_batches)
    optimizer = torch.optim.AdamW(torch.nn.Linear(2, 2).parameters(), 0.2)
    low, high = momentum_range or (0, 0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        0.2,
        3 * n_batches,
        pct_start=pct_start,
        div_factor=7.0,
        final_div_factor=30.0,
        cycle_momentum=momentum_range is not None,
        base_momentum=low,
        max_momentum=high,
    )
    for rate, momentum in zip(*found, strict=True):
        group = optimizer.param_groups[0]
        assert_close((rate, momentum), (group["lr"], group["betas"][0]), rtol=1e-9, atol=0)
        if schedule.last_epoch < 3 * n_batches - 1:
            optimizer.step()
            schedule.step()


def test_one_cycle_whose_peak_is_the_first_minibatch():
    settings = OneCycle(name="one_cycle", pct_start=0.5, div_factor=10.0, final_div_factor=10.0)
    rates = [compute_rates(settings, step=step, epochs=1, n_batches=2)[0] for step in range(2)]
    assert_close(rates, [1.0, 0.01], rtol=1e-9, atol=0)


def test_steps_equal_torch():
    settings = MultiStep(name="multi_step", milestones=[1, 3], gamma=0.5)
    optimizer = torch.optim.SGD(torch.nn.Linear(2, 2).parameters(), 1.0)
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, [4, 12], 0.5)
    for step in range(16):
        rate, momentum = compute_rates(settings, step=step, epochs=4, n_batches=4)
        assert (rate, momentum) == (optimizer.param_groups[0]["lr"], None)
        optimizer.step()
        schedule.step()


# ---- within a training -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("accumulate", [1, 4])
def test_rates_of_a_training(loader, tmp_path, monkeypatch, accumulate):
    """Every minibatch has the rate of its own position, whatever is accumulated; a step has that of its last minibatch.

    A training that goes on from a checkpoint has the same rates. Nothing is warned about.
    """
    changes = {
        "accumulate": accumulate,
        "schedule": {"name": "one_cycle", "pct_start": 0.5, "div_factor": 10.0, "momentum_range": [0.85, 0.95]},
    }
    expected = follow(make_recipe(**changes), 5)
    found: dict[int, tuple] = {}
    updates: dict[int, float] = {}

    take_step = train.take_step

    def record(run, batch):
        result = take_step(run, batch)
        group = run.optimizer.param_groups[0]
        found[run.step - 1] = group["lr"], group["momentum"]
        return result

    def watch(run):
        step = run.optimizer.step
        monkeypatch.setattr(
            run.optimizer, "step", lambda: updates.update({run.step - 1: run.optimizer.param_groups[0]["lr"]}) or step()
        )
        return run

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        monkeypatch.setattr(train, "take_step", record)
        finish(watch(make_training(loader, **changes)), tmp_path / "unused.pt")
        assert [found[i] for i in range(10)] == list(zip(*expected, strict=True))
        assert updates == {i: expected[0][i] for i in ([3, 4, 8] if accumulate == 4 else range(10))}
        resumed = make_training(loader, **changes)
        batches = resumed.loader.iterate_random(n_views=3, augmentation=resumed.recipe.augmentation, seed=0, epoch=0)
        for _, batch in zip(range(3), batches, strict=False):
            take_step(resumed, batch)
        batches.close()
        Saver(resumed, tmp_path / "checkpoint.pt").save()
        found.clear()
        fresh = watch(make_training(loader, **changes))
        resume(fresh, tmp_path / "checkpoint.pt")
        finish(fresh, tmp_path / "unused.pt")
        assert [found[i] for i in range(3, 10)] == list(zip(*expected, strict=True))[3:]


def test_temperature_is_constant(loader):
    """The same embeddings have the same loss at the first, the peak's and the last minibatch."""
    run = make_training(loader, "ipcl_infonce")
    embeddings = torch.nn.functional.normalize(torch.randn(4, 3, 8, generator=torch.Generator().manual_seed(0)), dim=2)
    losses = {run.objective(embeddings, None, None, step).item() for step in (0, 4, 9)}
    assert len(losses) == 1
    assert Recipe.model_validate(PAPER["ipcl"]).objective.tau == 0.07


# ---- optimizers ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings",
    [
        {"name": "sgd", "lr": 0.1, "momentum": 0.8, "weight_decay": 0.01},
        {"name": "adamw", "lr": 0.1, "weight_decay": 0.02},
        {"name": "ranger", "lr": 0.1, "weight_decay": 0.02},
    ],
)
def test_optimizer_takes_its_settings(settings):
    optimizer = build_optimizer(torch.nn.Linear(2, 2), make_recipe(optimizer=settings).optimizer)
    assert type(optimizer).__name__.lower() == settings["name"]
    assert {key: optimizer.defaults[key] for key in settings if key != "name"} == {
        k: v for k, v in settings.items() if k != "name"
    }
    assert len(optimizer.param_groups[0]["params"]) == 2


def test_ranger_equals_rectified_adam_with_lookahead():
    """Twenty steps of torch's RAdam; after every sixth, half the way from the weights six steps before."""
    networks = [torch.nn.Linear(3, 2, dtype=torch.float64) for _ in range(2)]
    networks[1].load_state_dict(networks[0].state_dict())
    settings = {"name": "ranger", "lr": 0.01, "weight_decay": 0.1}
    ranger = build_optimizer(networks[0], make_recipe(optimizer=settings).optimizer)
    fast = torch.optim.RAdam(
        networks[1].parameters(), 0.01, (0.95, 0.999), 1e-5, weight_decay=0.1, decoupled_weight_decay=True
    )
    slow = [w.detach().clone() for w in networks[1].parameters()]
    inputs = torch.randn(20, 5, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for step, x in enumerate(inputs, start=1):
        for network, optimizer in zip(networks, (ranger, fast), strict=True):
            optimizer.zero_grad()
            network(x).square().sum().backward()
            optimizer.step()
        if step % 6 == 0:
            with torch.no_grad():
                for old, w in zip(slow, networks[1].parameters(), strict=True):
                    old += (w - old) / 2
                    w.copy_(old)
        for found, expected in zip(networks[0].parameters(), networks[1].parameters(), strict=True):
            assert_close(found, expected, rtol=1e-6, atol=1e-9)
