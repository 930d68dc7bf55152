import numpy as np
import pytest
import rsatoolbox
import scipy.stats
from numpy.testing import assert_allclose
from rsatoolbox.util.inference_util import extract_variances

from ipcl_core.rsa.inference import (
    bootstrap_similarity,
    compare_resampled,
    control_false_discoveries,
    count_freedom,
    draw_permutations,
    draw_resamples,
    estimate_variances,
    find_interval,
    find_p_values,
    hold_out_participants,
    hold_out_stimuli,
    permute_similarity,
)
from ipcl_core.rsa.similarity import compare_rsvs, compute_rsm, fill_rsms, vectorize_rsm

METHODS = {
    "pearson": "corr",
    "spearman": "spearman",
    "cosine": "cosine",
    "whitened_pearson": "corr_cov",
    "whitened_cosine": "cosine_cov",
}


def draw_rsvs(k: int, n: int = 12, seed: int = 0, units: int = 20) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.stack([vectorize_rsm(compute_rsm(rng.standard_normal((n, units)))) for _ in range(k)])


def make_rdms(rsvs: np.ndarray) -> rsatoolbox.rdm.RDMs:
    return rsatoolbox.rdm.RDMs(1 - fill_rsms(rsvs))


# ---- resamples -------------------------------------------------------------------------------------------------------


def test_resamples_are_counts_with_a_seed():
    resamples = draw_resamples(4, 12, n_resamples=500, seed=3)
    assert (resamples.participants.sum(1) == 4).all() and (resamples.stimuli.sum(1) == 12).all()
    # each is drawn once on average, with the variance of a binomial count: n (1/n) (1 - 1/n)
    assert_allclose(resamples.stimuli.mean(0), 1, atol=0.2)
    assert_allclose(resamples.stimuli.var(), 11 / 12, atol=0.1)
    again = draw_resamples(9, 12, n_resamples=500, seed=3)
    assert (again.stimuli == resamples.stimuli).all(), "the stimuli do not depend on the number of participants"
    assert (draw_resamples(4, 12, n_resamples=500, seed=4).stimuli != resamples.stimuli).any()


def test_resamples_keep_three_different_stimuli():
    resamples = draw_resamples(4, 3, n_resamples=200, seed=0)
    assert (resamples.stimuli == 1).all()
    with pytest.raises(ValueError, match="2 stimuli: resampling needs at least three"):
        draw_resamples(4, 2, n_resamples=10, seed=0)


@pytest.mark.parametrize("comparator", METHODS)
@pytest.mark.parametrize("round_to", [16, 1])
def test_resampled_stimuli_equal_rsatoolbox(comparator, round_to):
    """On the same resamples; rsatoolbox leaves out the pairs of one stimulus. Rounded: with ties."""
    rsvs, targets = draw_rsvs(5).round(round_to), draw_rsvs(30, seed=1).round(round_to)
    stimuli = draw_resamples(1, 12, n_resamples=30, seed=0).stimuli
    found = compare_resampled(rsvs, targets, stimuli, comparator)
    fixed = compare_resampled(rsvs, targets[:1], stimuli, comparator)
    for i, counts in enumerate(stimuli):
        drawn = np.repeat(np.arange(12), counts.astype(int))
        models = make_rdms(rsvs).subsample_pattern("index", drawn)
        for values, target in ((found, targets[i]), (fixed, targets[0])):
            data = make_rdms(target[None]).subsample_pattern("index", drawn)
            expected = rsatoolbox.rdm.compare(models, data, method=METHODS[comparator])[:, 0]
            assert_allclose(values[i], expected, rtol=0, atol=1e-12)


def test_resampled_cka_equals_that_of_the_drawn_patterns():
    rsvs, target = draw_rsvs(3), draw_rsvs(1, seed=1)
    stimuli = draw_resamples(1, 12, n_resamples=10, seed=0).stimuli
    found = compare_resampled(rsvs, target, stimuli, "cka")
    for row, counts in zip(found, stimuli, strict=True):
        drawn = np.repeat(np.arange(12), counts.astype(int))
        center = np.eye(12) - 1 / 12
        x, y = (center @ fill_rsms(v)[:, drawn][:, :, drawn] @ center for v in (rsvs, target))
        expected = (x * y).sum((1, 2)) / np.sqrt((x**2).sum((1, 2)) * (y**2).sum((1, 2)))
        assert_allclose(row, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("comparator", [*METHODS, "cka"])
def test_resample_of_everything_once_is_the_whole(comparator):
    rsvs, target = draw_rsvs(5), draw_rsvs(1, seed=1)
    rsvs[2, 4] = np.nan
    found = compare_resampled(rsvs, target, np.ones((1, 12)), comparator)
    assert_allclose(found, compare_rsvs(target, rsvs, comparator), rtol=0, atol=1e-12)
    assert np.isnan(found).tolist() == [[False, False, True, False, False]]


def test_blocks_do_not_change_the_result(monkeypatch):
    rsvs, participants = draw_rsvs(5), draw_rsvs(4, seed=1)
    resamples = draw_resamples(4, 12, n_resamples=50, seed=0)
    permutations = draw_permutations(12, n_permutations=50, seed=0)

    def compute():
        for comparator in ("pearson", "spearman", "whitened_pearson", "cka"):
            yield from bootstrap_similarity(rsvs, participants, resamples, comparator).values()
            yield permute_similarity(rsvs, participants[0], permutations, comparator)

    whole = list(compute())
    monkeypatch.setattr("ipcl_core.rsa.inference.BLOCK_BYTES", 1 << 16)
    for a, b in zip(whole, compute(), strict=True):
        assert_allclose(a, b, rtol=0, atol=1e-14)


# ---- variances and intervals -----------------------------------------------------------------------------------------


def test_bootstrap_of_both_factors_equals_loop():
    rsvs, participants = draw_rsvs(3), draw_rsvs(4, seed=1)
    resamples = draw_resamples(4, 12, n_resamples=20, seed=0)
    samples = bootstrap_similarity(rsvs, participants, resamples)
    for i in range(20):
        people = np.repeat(np.arange(4), resamples.participants[i].astype(int))
        drawn = np.repeat(np.arange(12), resamples.stimuli[i].astype(int))
        group = participants[people].mean(0)
        different = np.array([(a, b) for a in range(12) for b in range(a) if drawn[a] != drawn[b]])
        pairs = [fill_rsms(v)[:, drawn[different[:, 0]], drawn[different[:, 1]]] for v in (rsvs, group[None])]
        assert_allclose(
            samples["participants"][i], [scipy.stats.pearsonr(x, group).statistic for x in rsvs], atol=1e-12
        )
        expected = [scipy.stats.pearsonr(x, pairs[1][0]).statistic for x in pairs[0]]
        assert_allclose(samples["both"][i], expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("n_participants,n_stimuli", [(4, 92), (10, 72), (30, 11)])
def test_variances_equal_rsatoolbox(n_participants, n_stimuli):
    rng = np.random.default_rng(0)
    effects = {key: rng.standard_normal((200, 3)) * scale for key, scale in (("participants", 1), ("stimuli", 2))}
    samples = effects | {"both": sum(effects.values()) + 0.8 * rng.standard_normal((200, 3))}
    variances = estimate_variances(samples, n_participants, n_stimuli)
    covariances = {key: np.cov(sample.T) for key, sample in samples.items()}
    stacked = np.stack([covariances[key] for key in ("both", "participants", "stimuli")])
    expected, difference, _ = extract_variances(stacked, nc_included=False, n_rdm=n_participants, n_pattern=n_stimuli)
    assert_allclose(variances["both"], expected, rtol=1e-12)
    assert (variances["both"] < samples["both"].var(0, ddof=1)).any()
    pair = estimate_variances(
        {key: sample[:, 0] - sample[:, 1] for key, sample in samples.items()}, n_participants, n_stimuli
    )
    assert_allclose(pair["both"], difference[0], rtol=1e-12)
    for key, n in (("participants", {"n_rdm": n_participants}), ("stimuli", {"n_pattern": n_stimuli})):
        expected, _, _ = extract_variances(covariances[key], nc_included=False, **n)
        assert_allclose(variances[key], expected, rtol=1e-12)


def test_few_participants_or_stimuli_get_no_intervals():
    def find_kinds(n_participants, n_stimuli):
        resamples = draw_resamples(n_participants, n_stimuli, n_resamples=5, seed=0)
        return set(bootstrap_similarity(draw_rsvs(2, n_stimuli), draw_rsvs(n_participants, n_stimuli, 1), resamples))

    assert find_kinds(3, 10) == {"participants", "stimuli", "both"}
    assert find_kinds(2, 10) == find_kinds(1, 10) == {"stimuli"}
    assert find_kinds(3, 9) == {"participants"}


def test_constant_resamples_are_left_out_of_the_variance():
    samples = {"stimuli": np.array([[1, 1, np.nan], [2, np.nan, np.nan], [3, 3, 3], [6, 6, 6.0]])}
    variance = estimate_variances(samples, 0, 12)["stimuli"]
    assert_allclose(variance, 12 / 11 * np.array([14 / 3, 19 / 3, 4.5]))
    samples["stimuli"][2, 2] = np.nan
    assert np.isnan(estimate_variances(samples, 0, 12)["stimuli"]).tolist() == [False, False, True]


def test_constant_halves_count_as_nothing():
    """A layer that tells one pair from all others is constant over most halves; it is neither chosen nor judged by NaN."""
    single = np.zeros((1, 66))
    single[0, 5] = 1
    held_out = hold_out_stimuli(single, draw_rsvs(1)[0], n_splits=20, seed=0)
    assert np.isfinite([held_out.r, held_out.r_same]).all() and (held_out.layers == 0).all()
    both = hold_out_stimuli(np.concatenate([single, draw_rsvs(1)]), draw_rsvs(1)[0], n_splits=20, seed=0)
    assert both.r > 0.8 and both.layers.mean() > 0.9


def test_interval_by_hand():
    # t of 95% with 9 degrees of freedom: 2.262157
    low, high = find_interval(np.array([0.5, 0.9]), np.array([0.01, 0.01]), count_freedom(10, 72)["both"])
    assert_allclose([low[0], high[0]], [0.5 - 0.2262157, 0.5 + 0.2262157], rtol=0, atol=1e-7)
    assert high[1] == 1


def simulate_participants(n_participants: int, n_stimuli: int, rng, noise: float = 3.0) -> np.ndarray:
    patterns = rng.standard_normal((n_stimuli, 30))
    noisy = (patterns + noise * rng.standard_normal((n_stimuli, 30)) for _ in range(n_participants))
    return patterns, np.stack([vectorize_rsm(compute_rsm(p)) for p in noisy])


def test_intervals_over_both_factors_cover_the_truth():
    """New participants and new stimuli every time: the standard error is near the spread over experiments."""
    rng = np.random.default_rng(1)
    found, errors = [], []
    for seed in range(60):
        patterns, participants = simulate_participants(8, 24, rng)
        rsvs = vectorize_rsm(compute_rsm(patterns))[None]
        resamples = draw_resamples(8, 24, n_resamples=200, seed=seed)
        variances = estimate_variances(bootstrap_similarity(rsvs, participants, resamples), 8, 24)
        found.append(compare_rsvs(participants.mean(0, keepdims=True), rsvs).item())
        errors.append(np.sqrt(variances["both"]).item())
    assert 0.75 < np.mean(errors) / np.std(found) < 1.5


# ---- permutations ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("comparator", [*METHODS, "cka"])
def test_permuted_stimuli_equal_loop(comparator):
    rsvs, target = draw_rsvs(3), draw_rsvs(1, seed=1)
    permutations = draw_permutations(12, n_permutations=20, seed=0)
    found = permute_similarity(rsvs, target[0], permutations, comparator)
    assert sorted(permutations[3]) == list(range(12)) and len(np.unique(permutations, axis=0)) == 20
    for row, order in zip(found, permutations, strict=True):
        permuted = vectorize_rsm(fill_rsms(target)[0][np.ix_(order, order)])
        assert_allclose(row, compare_rsvs(permuted[None], rsvs, comparator)[0], rtol=0, atol=1e-12)


def test_p_values_by_hand():
    permuted = np.array([[0.1, 0.4], [0.3, 0.2], [-0.2, 0.0]])
    p, p_max = find_p_values(np.array([0.3, 0.35, np.nan])[:2], permuted)
    assert_allclose(p, [2 / 4, 2 / 4])  # as high: one of three in both layers, and the observed itself
    assert_allclose(p_max, [3 / 4, 2 / 4])  # maxima .4, .3, 0
    p, p_max = find_p_values(np.array([0.3, np.nan]), np.array([[0.1, np.nan], [0.3, np.nan]]))
    assert p[0] == p_max[0] == pytest.approx(2 / 3) and np.isnan([p[1], p_max[1]]).all()


def test_p_values_are_uniform_without_an_effect():
    permutations = draw_permutations(12, n_permutations=199, seed=0)
    targets = draw_rsvs(200, seed=5)
    rsvs = draw_rsvs(1)
    p = [
        find_p_values(compare_rsvs(t[None], rsvs)[0], permute_similarity(rsvs, t, permutations))[0][0] for t in targets
    ]
    assert scipy.stats.kstest(p, "uniform").pvalue > 0.01


def test_false_discoveries_by_hand():
    # p n / rank = .04, .04, .04, .04 -> least from behind; NaN do not count
    assert_allclose(
        control_false_discoveries(np.array([0.01, 0.04, 0.03, np.nan, 0.02])), [0.04, 0.04, 0.04, np.nan, 0.04]
    )
    assert_allclose(control_false_discoveries(np.array([0.001, 0.5])), [0.002, 0.5])
    assert np.isnan(control_false_discoveries(np.full(2, np.nan))).all()


# ---- held-out choice of the layer ------------------------------------------------------------------------------------


def test_held_out_participants_equal_loop():
    rsvs, participants = draw_rsvs(6), draw_rsvs(5, seed=1)
    held_out = hold_out_participants(rsvs, participants)
    best = np.argmax([scipy.stats.pearsonr(x, participants.mean(0)).statistic for x in rsvs])
    chosen, judged, same = [], [], []
    for i in range(5):
        others = np.delete(participants, i, axis=0).mean(0)
        chosen.append(np.argmax([scipy.stats.pearsonr(x, others).statistic for x in rsvs]))
        judged.append(scipy.stats.pearsonr(rsvs[chosen[-1]], participants[i]).statistic)
        same.append(scipy.stats.pearsonr(rsvs[best], participants[i]).statistic)
    assert held_out.layers.tolist() == chosen
    assert_allclose([held_out.r, held_out.r_same], [np.mean(judged), np.mean(same)], rtol=0, atol=1e-12)
    assert held_out.shrinkage == pytest.approx(np.mean(same) - np.mean(judged))


def test_held_out_stimuli_equal_loop():
    rsvs, group = draw_rsvs(6), draw_rsvs(1, seed=1)[0]
    held_out = hold_out_stimuli(rsvs, group, n_splits=10, seed=0)
    rsms, brain = fill_rsms(rsvs), fill_rsms(group[None])[0]
    best, judged, same, chosen = compare_rsvs(group[None], rsvs).argmax(), [], [], []
    halves = [(o < 6, o >= 6) for o in draw_permutations(12, n_permutations=10, seed=0)]
    for here, there in halves + [half[::-1] for half in halves]:
        r = [
            [np.corrcoef(vectorize_rsm(x[np.ix_(h, h)]), vectorize_rsm(brain[np.ix_(h, h)]))[0, 1] for x in rsms]
            for h in (here, there)
        ]
        chosen.append(np.argmax(r[0]))
        judged.append(r[1][chosen[-1]])
        same.append(r[1][best])
    assert held_out.layers.tolist() == chosen
    assert_allclose([held_out.r, held_out.r_same], [np.mean(judged), np.mean(same)], rtol=0, atol=1e-12)


def test_choice_without_an_effect_shrinks_to_nothing():
    """The largest of many layers that have nothing to do with the brain: r is above zero, held out it is not."""
    shrinkage, r = [], []
    for seed in range(30):
        group = draw_rsvs(1, n=20, seed=100 + seed)[0]
        held_out = hold_out_stimuli(draw_rsvs(20, n=20, seed=seed), group, n_splits=20, seed=0)
        shrinkage.append(held_out.shrinkage)
        r.append(held_out.r)
    assert np.mean(shrinkage) > 0.05 and abs(np.mean(r)) < 0.03
