"""Held-out numbers with the stimuli resampled: loops; and tests of their mean over participants: what they find by chance."""

import numpy as np
import pytest
import scipy.stats

from ipcl_core.encoding.resampling import infer_mean, resample_r, resample_r2
from ipcl_core.rsa.inference import draw_resamples

HELD_OUT = np.array([0, 1] * 6 + [-1, -1])


def draw_counts(rng: np.random.Generator) -> np.ndarray:
    counts = np.stack([np.bincount(rng.integers(14, size=14), minlength=14) for _ in range(6)] + [np.ones(14, int)])
    counts[0, HELD_OUT == 1] = [0, 3, 0, 1, 0, 1]  # three different stimuli
    counts[1, HELD_OUT == 1] = [0, 3, 0, 1, 0, 0]  # two
    return counts


@pytest.mark.parametrize("partial", [False, True])
def test_resampled_r_equals_loop(partial):
    """Stimuli as often as they were drawn, in the fold that holds them out; what is left of both when others are fitted. One
    fold holds none out of the last two; where a resample has too few stimuli of a fold, it is left out."""
    rng = np.random.default_rng(0)
    p, y, q = rng.standard_normal((3, 14, 5))
    p[:, 4] = 2 * q[:, 4] + 1 if partial else 3  # adds nothing
    found = {}
    for name, average in (("mean", np.mean), ("median", np.median)):
        options = {"others": q if partial else None, "average": average}
        found[name] = resample_r(p, y, HELD_OUT, draw_counts(np.random.default_rng(1)).astype(float), **options)
    for i, resample in enumerate(draw_counts(np.random.default_rng(1))):
        each = []
        for fold in range(2):
            test, r = np.flatnonzero(fold == HELD_OUT), []
            drawn = np.repeat(test, resample[test])
            if len(set(drawn)) <= 2 + partial:
                continue
            for v in range(4):
                known = np.stack([np.ones(len(drawn)), q[drawn, v]][: 1 + partial], 1)
                rest = [one[drawn, v] - known @ np.linalg.lstsq(known, one[drawn, v])[0] for one in (p, y)]
                r.append(rest[0] @ rest[1] / np.sqrt((rest[0] @ rest[0]) * (rest[1] @ rest[1])))
            each.append([*r, 0])
        r = np.mean(each, axis=0)
        assert (found["mean"][i], found["median"][i]) == pytest.approx((r.mean(), np.median(r)), abs=1e-12)


def test_resampled_r2_equals_loop():
    rng = np.random.default_rng(0)
    p, y, means = rng.standard_normal((3, 14, 5))
    y[:, 3] = means[:, 3] = 2
    counts = draw_counts(rng)
    for resample, value in zip(counts, resample_r2(p, y, means, counts.astype(float)), strict=True):
        drawn = np.repeat(np.arange(14), resample)
        errors, baseline = (((one - y)[drawn] ** 2).sum(0) for one in (p, means))
        assert value == pytest.approx(np.mean([1 - errors[v] / baseline[v] for v in (0, 1, 2, 4)]), abs=1e-12)


def test_over_participants_is_students_and_over_both_is_wider():
    rng = np.random.default_rng(0)
    values, drawn = rng.standard_normal(6) / 10 + 0.1, draw_resamples(6, 12, n_resamples=500, seed=0)
    resampled = values[:, None] + rng.standard_normal((6, 500)) / 20
    found = infer_mean(values, resampled, drawn.participants, 12, one_sided=True)
    assert list(found) == ["participants", "both"]
    one = scipy.stats.ttest_1samp(values, 0, alternative="greater")
    assert found["participants"]["p"] == pytest.approx(one.pvalue, rel=1e-9)
    assert (found["participants"]["low"], found["participants"]["high"]) == pytest.approx(
        scipy.stats.t.interval(0.95, 5, values.mean(), scipy.stats.sem(values)), rel=1e-9
    )
    two = infer_mean(values, resampled, drawn.participants, 12)
    assert two["participants"]["p"] == pytest.approx(scipy.stats.ttest_1samp(values, 0).pvalue, rel=1e-9)
    assert found["both"]["low"] < found["participants"]["low"] and found["both"]["p"] > found["participants"]["p"]


def test_too_few_participants_or_stimuli_have_no_interval():
    values, drawn = np.arange(3.0), draw_resamples(3, 9, n_resamples=20, seed=0)
    found = infer_mean(values, np.zeros((3, 20)), drawn.participants, 9)
    assert found["participants"]["p"] > 0 and found["both"] == {"note": "9 stimuli, fewer than 10: nothing over them"}
    few = {"note": "2 participant(s), fewer than 3: nothing over participants"}
    assert infer_mean(values[:2], np.zeros((2, 20)), None, 20) == {"participants": few, "both": few}
    assert infer_mean(values[:2], None, None, 20) == {"participants": few}


def test_what_all_participants_share_by_chance_is_found_over_participants_and_not_over_both():
    """Predictions and responses of 40 stimuli, each its own pattern that is that of all participants, and noise: nothing is
    predicted, but in these stimuli the two patterns are a little alike in every participant."""
    rng, folds, p = np.random.default_rng(0), np.arange(40) % 5, []
    for study in range(150):
        drawn = draw_resamples(6, 40, n_resamples=100, seed=study)
        pair = rng.standard_normal((2, 40, 1)) + rng.standard_normal((2, 40, 24))  # six participants of four voxels
        stimuli = np.concatenate([np.ones((1, 40)), drawn.stimuli])
        r = resample_r(*pair, folds, stimuli, average=lambda r, axis: r.reshape(len(r), 6, 4).mean(2)).T
        found = infer_mean(r[:, 0], r[:, 1:], drawn.participants, 40, one_sided=True)
        p.append([found[kind]["p"] for kind in ("participants", "both")])
    participants, both = np.mean(np.array(p) < 0.05, axis=0)
    assert participants > 0.2 and both < 0.06, (participants, both)
