"""Noise ceilings: split halves, leave one out, Spearman and Brown."""

import itertools
import math

import numpy as np
import pandas as pd
import pytest
import rsatoolbox
import scipy.stats
from numpy.testing import assert_allclose
from test_similarity import draw, draw_rsvs

from ipcl_core.brains.store import Region, write_brain
from ipcl_core.files import read_csv
from ipcl_core.fits.statistics import measure_noise_ceilings
from ipcl_core.report.table1 import choose_ceilings
from ipcl_core.rsa.noise_ceiling import correct_length, find_agreement, measure_leave_one_out, measure_noise_ceiling
from ipcl_core.rsa.similarity import fill_rsms


def test_leave_one_out_ceilings_equal_rsatoolbox():
    rsvs = np.stack([draw(45) + draw(45, seed=seed) for seed in range(1, 6)])
    rdms = rsatoolbox.rdm.RDMs(1 - fill_rsms(rsvs))
    expected = rsatoolbox.inference.noise_ceiling.boot_noise_ceiling(rdms, method="corr")
    assert_allclose(measure_leave_one_out(rsvs), expected, rtol=0, atol=1e-12)
    assert 0.3 < expected[0] < expected[1] < 0.9


def test_leave_one_out_needs_two_participants():
    assert np.isnan(measure_leave_one_out(draw(1, 45))).all()


def test_participants_that_cancel_out_have_no_upper_ceiling():
    rsvs = draw(1, 45)
    lower, upper = measure_leave_one_out(np.concatenate([rsvs, -rsvs]))
    assert lower == pytest.approx(-1) and math.isnan(upper)


def test_spearman_brown_by_hand():
    # half the participants share a variance of 1 with a noise of 1: r = 1/2; all: 1 / (1 + 1/2)
    assert correct_length(0.5, 10) == pytest.approx(2 / 3)
    # of three, one against two: r = 1 / sqrt(2 * 3/2); all: 1 / (1 + 1/3)
    assert correct_length(1 / math.sqrt(3), 3) == pytest.approx(3 / 4)
    assert np.isnan(correct_length([0, -0.5, -1, math.nan], 4)).all(), "halves that do not agree"


def test_agreement_equals_the_interval_of_a_t_test():
    rsvs = np.stack([draw(45) + draw(45, seed=seed) for seed in range(1, 6)])
    r = [np.corrcoef(rsvs[i], sum(scipy.stats.zscore(np.delete(rsvs, i, 0), axis=1)))[0, 1] for i in range(5)]
    expected = scipy.stats.ttest_1samp(r, 0).confidence_interval(0.95)
    assert_allclose(find_agreement(rsvs), expected, rtol=0, atol=1e-12)
    assert np.isnan(find_agreement(rsvs[:2])).all()
    assert find_agreement(np.stack([draw(3, seed=seed) for seed in (1, 2, 3)])) == (-1, 1), (
        "as intervals of r elsewhere"
    )


def test_ceiling_that_may_be_0_is_said(tmp_path, warnings_of):
    """One region is signal and noise, the other noise alone, in which the split halves still have some r."""
    signal, noise = np.tanh(draw_rsvs(6, noise=0.5) / 3), np.tanh(np.random.default_rng(3).standard_normal((6, 45)) / 3)
    names = [str(i) for i in range(6)]
    regions = [Region("IT", signal, names, group=False), Region("blank", noise, names, group=False)]
    write_brain(tmp_path / "brain.h5", list("abcdefghij"), regions)
    measure_noise_ceilings(tmp_path / "brain.h5", tmp_path / "c.csv", name="b", n_splits=10, seed=0)
    table = pd.read_csv(tmp_path / "c.csv", index_col="region", keep_default_na=False)
    low, high = find_agreement(noise)
    assert low < 0 < high and set(table.loc["IT", "note"]) == {""}
    expected = f"participants may not agree at all: r of each with the others {low:.2f} to {high:.2f}"
    assert expected in table.loc["blank", "note"].tolist() and expected in "".join(warnings_of())


def loop_splits(rsvs: np.ndarray) -> list[float]:
    """Correlation of each distinct split's halves, by going through every set of participants and its rest."""
    n, seen, correlations = len(rsvs), set(), []
    for members in itertools.product([False, True], repeat=n):
        first = frozenset(i for i in range(n) if members[i])
        second = frozenset(range(n)) - first
        if len(first) != n // 2 or frozenset([first, second]) in seen:
            continue
        seen.add(frozenset([first, second]))
        means = [sum(rsvs[i] for i in half) / len(half) for half in (first, second)]
        correlations.append(scipy.stats.pearsonr(*means).statistic)
    return correlations


@pytest.mark.parametrize("n,n_splits", [(2, 1), (3, 3), (4, 3), (5, 10), (10, 126)])
def test_exhaustive_ceiling_equals_loop(n, n_splits):
    rsvs = draw_rsvs(n)
    ceiling = measure_noise_ceiling(rsvs, n_splits=1000, seed=0)
    expected = loop_splits(rsvs)
    assert (ceiling.n_splits, ceiling.exhaustive) == (len(expected), True) == (n_splits, True)
    assert_allclose(ceiling.r, np.mean(expected), rtol=0, atol=1e-12)


def test_ceiling_by_hand():
    # two participants: the correlation of the two
    ceiling = measure_noise_ceiling([[1, 2, 3], [0, 3, 3]], n_splits=1000, seed=0)
    assert_allclose(ceiling.r, 3 / math.sqrt(12), rtol=1e-14, atol=0)


def test_as_many_splits_as_asked_for_are_all_used():
    ceiling = measure_noise_ceiling(draw_rsvs(10), n_splits=126, seed=0)
    assert (ceiling.n_splits, ceiling.exhaustive) == (126, True)


@pytest.mark.parametrize("n", [10, 11])
def test_random_splits(n):
    """With fewer splits than there are: seeded, and close to the mean over all of them."""
    rsvs = draw_rsvs(n)
    every = measure_noise_ceiling(rsvs, n_splits=1000, seed=0)
    some = measure_noise_ceiling(rsvs, n_splits=100, seed=0)
    assert (some.n_splits, some.exhaustive) == (100, False)
    assert some == measure_noise_ceiling(rsvs, n_splits=100, seed=0)
    assert some.r != measure_noise_ceiling(rsvs, n_splits=100, seed=1).r
    # the correlation of one split varies by about .03 around a mean of .8
    assert 0.7 < every.r < 0.9
    assert_allclose(some.r, every.r, rtol=0, atol=0.015)
    assert some.r != every.r


@pytest.mark.parametrize("n", [8, 9])
def test_a_random_split_is_one_of_the_distinct_splits(n):
    """Each participant is in one half, once."""
    rsvs = draw_rsvs(n)
    every = loop_splits(rsvs)
    drawn = np.array([measure_noise_ceiling(rsvs, n_splits=1, seed=seed).r for seed in range(20)])
    assert np.abs(drawn[:, None] - every).min(1).max() < 1e-12
    assert len(np.unique(drawn.round(12))) > 5


def test_ceiling_of_identical_participants_is_one():
    assert_allclose(measure_noise_ceiling(draw_rsvs(6, noise=0), n_splits=1000, seed=0).r, 1, rtol=1e-12, atol=0)


def test_one_participant_has_no_ceiling():
    ceiling = measure_noise_ceiling(draw_rsvs(1), n_splits=1000, seed=0)
    assert math.isnan(ceiling.r)
    assert ceiling.n_splits == 0


def test_noise_ceiling_of_table_1_by_hand(tmp_path):
    rng = np.random.default_rng(0)
    a, b, c = rsvs = rng.uniform(-1, 1, (3, 28))
    regions = [Region("V1", rsvs, ["x", "y", "z"], group=False), Region("EVA", rsvs[:1], ["all"], group=True)]
    write_brain(tmp_path / "brain.h5", list("abcdefgh"), regions)
    measure_noise_ceilings(
        tmp_path / "brain.h5", tmp_path / "c.csv", name="b", n_splits=1000, seed=0, distances=["euclidean"]
    )
    first, second = choose_ceilings(read_csv(tmp_path / "c.csv")).reset_index().to_dict("records")
    splits = [np.corrcoef(x, (y + z) / 2)[0, 1] for x, y, z in ((a, b, c), (b, a, c), (c, a, b))]
    assert first["r"] == pytest.approx(np.mean(splits), abs=1e-12)
    assert (first["region"], first["n_splits"], first["exhaustive"], first["n_participants"]) == ("V1", 3, True, 3)
    assert np.isnan(second["r"]) and (second["region"], second["n_participants"]) == ("EVA", 0)
    assert second["note"] == "one group average"
