"""Odd-one-out judgments predicted from similarities: by hand, by loops, and of observers whose answers are simulated."""

import itertools
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from ipcl_core.files import write_hdf5
from ipcl_core.fits.score_triplets import score_triplets
from ipcl_core.rsa.similarity import compute_rsm
from ipcl_core.rsa.triplets import (
    count_hits,
    estimate_accuracy,
    group_answers,
    hold_out_triplets,
    measure_ceilings,
    predict_odd,
)

N = 9
RSM = np.array([[1, 0.9, 0.2, 0.2], [0.9, 1, 0.2, 0.5], [0.2, 0.2, 1, 0.1], [0.2, 0.5, 0.1, 1]])


def draw_rsm(seed: int = 0) -> np.ndarray:
    return np.corrcoef(np.random.default_rng(seed).standard_normal((N, 12)))


def draw_answers(rsm: np.ndarray, n_observers: int, noise: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Every observer answers every triplet by similarities with noise of a standard deviation."""
    rng, answers, observers = np.random.default_rng(seed), [], []
    for observer in range(n_observers):
        for a, b, c in itertools.combinations(range(N), 3):
            sides = np.array([rsm[b, c], rsm[a, c], rsm[a, b]]) + noise * rng.standard_normal(3)
            odd = (a, b, c)[sides.argmax()]
            answers.append([*(i for i in (a, b, c) if i != odd), odd])
            observers.append(f"{observer}")
    return np.array(answers), np.array(observers)


def test_by_hand():
    """0 and 1 are alike: 2 or 3 is odd beside them. Of 0, 2, 3 the pairs 0-2 and 0-3 are equal: 3 and 2 are odd by halves."""
    answers = np.array([[0, 1, 2], [0, 1, 2], [1, 0, 2], [1, 2, 0], [0, 2, 3], [1, 3, 2]])
    grouped = group_answers(answers)
    assert grouped.triplets.tolist() == [[0, 1, 2], [0, 2, 3], [1, 2, 3]]
    assert grouped.counts.tolist() == [[1, 0, 3], [0, 0, 1], [0, 1, 0]]
    shares = predict_odd(RSM, grouped.triplets)
    assert shares.tolist() == [[0, 0, 1], [0, 0.5, 0.5], [0, 1, 0]]
    hits = count_hits(shares, grouped.counts)
    assert hits.tolist() == [3, 0.5, 1]
    assert estimate_accuracy(hits, grouped.counts.sum(1))[0] == pytest.approx(4.5 / 6)
    # four answers to one triplet: the most frequent is 3 of 4; each of the three is what most others said, the fourth is not
    assert measure_ceilings(grouped.counts) == pytest.approx((3 / 4, 3 / 4))
    # two answers that differ: neither is what the other said
    assert measure_ceilings(np.array([[1, 1, 0]])) == (0, 0.5)
    assert np.isnan(measure_ceilings(np.array([[1, 0, 0]]))).all()


def test_pairs_that_differ_by_rounding_are_equally_similar():
    """Patterns of 0 and 1, as of categories or units that saturate: r is that of counts, and many pairs have the same one."""
    patterns = np.random.default_rng(0).integers(0, 2, (N, 12)).astype(float)
    triplets = np.array(list(itertools.combinations(range(N), 3)))
    n, counts = patterns.shape[1], patterns.astype(int)

    def square(i: int, j: int) -> Fraction:
        """r with its sign, squared, without rounding."""
        (a, b), both = counts[[i, j]].sum(1), (counts[i] & counts[j]).sum()
        product = int(n * both - a * b)
        return Fraction(product * abs(product), int(a * (n - a) * b * (n - b)))

    expected = []
    for a, b, c in triplets:
        outside = [square(b, c), square(a, c), square(a, b)]
        most = [value == max(outside) for value in outside]
        expected.append([one / sum(most) for one in most])
    assert_allclose(predict_odd(compute_rsm(patterns), triplets), expected, rtol=0, atol=1e-12)


def test_accuracy_and_ceilings_equal_loops():
    rsm, (answers, _) = draw_rsm(), draw_answers(draw_rsm(1), 4, 0.3)
    grouped = group_answers(answers)
    hits = count_hits(predict_odd(rsm, grouped.triplets), grouped.counts)
    right = []
    for a, b, c in answers:
        sides = {c: rsm[a, b], b: rsm[a, c], a: rsm[b, c]}
        right.append(max(sides, key=sides.get) == c)
    assert hits.sum() == sum(right)
    keys = [tuple(sorted(answer)) for answer in answers.tolist()]
    given = {key: [odd for k, (*_, odd) in zip(keys, answers.tolist(), strict=True) if k == key] for key in keys}
    lower = upper = 0
    for odds in given.values():
        upper += max(odds.count(odd) for odd in odds)
        for i, odd in enumerate(odds):
            others = odds[:i] + odds[i + 1 :]
            most = [one for one in key_of(odds, given) if others.count(one) == max(map(others.count, others))]
            lower += (odd in most) / len(most)
    assert_allclose(measure_ceilings(grouped.counts), (lower / len(answers), upper / len(answers)), rtol=0, atol=1e-12)


def key_of(odds: list[int], given: dict) -> tuple[int, ...]:
    return next(key for key, values in given.items() if values is odds)


def test_interval_holds_the_truth_and_chance_is_not_significant():
    """Answers that are right with probability .45, by triplets of different numbers of answers; and by chance."""
    rng, n_answers = np.random.default_rng(0), np.random.default_rng(1).integers(1, 6, 200).astype(float)
    held, significant = [], []
    for _ in range(1000):
        _, low, high, _ = estimate_accuracy(rng.binomial(n_answers.astype(int), 0.45), n_answers)
        held.append(low <= 0.45 <= high)
        significant.append(estimate_accuracy(rng.binomial(n_answers.astype(int), 1 / 3), n_answers)[3] < 0.05)
    assert np.mean(held) == pytest.approx(0.95, abs=0.02) and np.mean(significant) == pytest.approx(0.05, abs=0.02)


def test_answers_that_are_all_right_or_all_wrong():
    """By hand: three right guesses of 1 / 3 each are 1 / 27; the least share that is not refused at 2.5%, and its mirror."""
    n = np.array([1.0, 4, 2])
    assert estimate_accuracy(n, n) == pytest.approx((1, 0.025 ** (1 / 3), 1, 1 / 27))
    assert estimate_accuracy(0 * n, n) == pytest.approx((0, 0, 1 - 0.025 ** (1 / 3), 1))
    assert estimate_accuracy(n / 3, n) == pytest.approx((1 / 3, np.nan, np.nan, np.nan), nan_ok=True)


def test_held_out_layer_has_not_seen_the_triplet():
    """Layers of chance: the best of 50 is above chance on what chose it, not on the other half."""
    rng, n_answers = np.random.default_rng(0), np.ones(300)
    hits = (rng.random((50, 300)) < 1 / 3).astype(float)
    layers, judged = hold_out_triplets(hits, n_answers, seed=0)
    first = np.random.default_rng([0, 3]).permutation(300) < 150
    assert layers.tolist() == [hits[:, half].sum(1).argmax() for half in (first, ~first)]
    assert judged.sum() == hits[layers[0], ~first].sum() + hits[layers[1], first].sum()
    assert hits.sum(1).max() / 300 > 0.39 and judged.mean() < 0.37


def test_tables_of_simulated_observers(tmp_path):
    """Of three layers the one that observers answer by is best, near the ceiling; one that is constant has no accuracy."""
    rsm = draw_rsm()
    answers, observers = draw_answers(rsm, 8, 0.15)
    names = [f"{i + 1:02d}_object" for i in range(N)]
    constant = rsm.copy()
    constant[0] = constant[:, 0] = np.nan
    with write_hdf5(tmp_path / "rsms.h5") as file:
        file.attrs["brain"], file.attrs["model"] = "things", "net"
        file["stimuli"], file.attrs["layers"] = names, ["other", "true", "constant"]
        for layer, values in (("other", draw_rsm(1)), ("true", rsm), ("constant", constant)):
            file[f"layers/{layer}"] = values
    table = pd.DataFrame([[names[i] for i in (c, a, b, c)] for a, b, c in answers])
    table.columns = ["stimulus_1", "stimulus_2", "stimulus_3", "odd"]
    table.assign(observer=observers).to_csv(tmp_path / "t.csv", index=False)
    score_triplets(tmp_path / "rsms.h5", tmp_path / "t.csv", tmp_path / "scores.csv", seed=0)
    found = pd.read_csv(tmp_path / "scores.csv").set_index(["choice", "layer"])
    true, other, constant = (found.loc["each", layer] for layer in ("true", "other", "constant"))
    assert (true["n_triplets"], true["n_answers"], true["n_observers"], true["chance"]) == (
        84,
        672,
        8,
        pytest.approx(1 / 3),
    )
    assert true["ceiling_low"] - 0.02 < true["accuracy"] <= true["ceiling_high"] and true["p"] < 1e-6
    assert (
        true["observers_low"] < true["accuracy"] < true["observers_high"] and other["accuracy"] < true["triplets_low"]
    )
    assert other["p"] > 0.01 and np.isnan(constant["accuracy"]) and constant["note"].startswith("constant")
    # of the two layers with an accuracy: Bonferroni; Benjamini and Hochberg
    assert (
        true["p_max"] == pytest.approx(2 * true["p"]) == true["q"]
        and np.isnan([constant["p_max"], constant["q"]]).all()
    )
    assert other["p_max"] == min(1, 2 * other["p"]) and other["q"] == pytest.approx(other["p"])
    held_out = found.loc["held out"].iloc[0]
    assert np.isnan([held_out["p_max"], held_out["q"]]).all() and held_out["p"] < 1e-6
    assert found.loc["held out"].index[0] == "true" and held_out["accuracy"] == pytest.approx(true["accuracy"])
