import itertools
import math

import numpy as np
import pandas as pd
import pytest
import rsatoolbox
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from ipcl_core.rsa.resampled import compare_resampled
from ipcl_core.rsa.similarity import (
    BLOCK,
    compare_rsvs,
    compute_rsm,
    correlate,
    fill_rsms,
    find_best,
    measure_distances,
    vectorize_rsm,
)


def draw(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def draw_rsvs(n_participants: int, n_pairs: int = 45, noise: float = 1.0) -> np.ndarray:
    """Participants' vectors that share a signal."""
    return draw(n_pairs) + noise * draw(n_participants, n_pairs, seed=1)


# ---- RSM -------------------------------------------------------------------------------------------------------------


def test_rsm_equals_corrcoef():
    patterns = 3 + 20 * draw(12, 40)
    assert_allclose(compute_rsm(patterns), np.corrcoef(patterns), rtol=0, atol=1e-13)


def test_rsm_equals_loop():
    patterns = draw(5, 7)
    expected = np.empty((5, 5))
    for i, j in itertools.product(range(5), repeat=2):
        a = [x - sum(patterns[i]) / 7 for x in patterns[i]]
        b = [x - sum(patterns[j]) / 7 for x in patterns[j]]
        product = sum(x * y for x, y in zip(a, b, strict=True))
        expected[i, j] = product / math.sqrt(sum(x * x for x in a) * sum(y * y for y in b))
    assert_allclose(compute_rsm(patterns), expected, rtol=0, atol=1e-14)


def test_rsm_by_hand():
    # centred: (-1, 0, 1), (-2, 0, 2), (1, 0, -1), (-1, 2, -1)
    rsm = compute_rsm([[1, 2, 3], [10, 12, 14], [3, 2, 1], [0, 3, 0]])
    assert_allclose(rsm, [[1, 1, -1, 0], [1, 1, -1, 0], [-1, -1, 1, 0], [0, 0, 0, 1]], rtol=0, atol=1e-15)


@settings(deadline=None, max_examples=100, derandomize=True)
@given(
    n=st.integers(2, 12),
    units=st.integers(2, 60),
    dtype=st.sampled_from([np.float32, np.float64]),
    seed=st.integers(0, 2**32 - 1),
)
def test_properties_of_an_rsm(n, units, dtype, seed):
    """Symmetric, 1 on the diagonal, within [-1, 1], positive semidefinite; it follows the order of the stimuli and depends
    neither on that of the units nor on any stimulus's offset and positive scale."""
    rng = np.random.default_rng(seed)
    patterns = rng.standard_normal((n, units)).astype(dtype)
    rsm, order = compute_rsm(patterns), rng.permutation(n)
    assert rsm.shape == (n, n) and (rsm == rsm.T).all() and (np.diag(rsm) == 1).all() and (np.abs(rsm) <= 1).all()
    assert np.linalg.eigvalsh(rsm).min() > -1e-12
    assert_allclose(compute_rsm(patterns[order]), rsm[np.ix_(order, order)], rtol=0, atol=1e-12)
    assert_allclose(compute_rsm(patterns[:, ::-1]), rsm, rtol=0, atol=1e-12)
    other = rng.uniform(0.1, 10, (n, 1)) * patterns.astype(float) + rng.uniform(-5, 5, (n, 1))
    assert_allclose(compute_rsm(other), rsm, rtol=0, atol=1e-9)
    assert_allclose(fill_rsms(vectorize_rsm(rsm)[None])[0], rsm, rtol=0, atol=0)


def test_rsm_flattens_feature_maps():
    patterns = draw(6, 4, 3, 2)
    assert_allclose(compute_rsm(patterns), np.corrcoef(patterns.reshape(6, -1)), rtol=0, atol=1e-13)


def test_rsm_is_within_bounds():
    rsm = compute_rsm(np.repeat(draw(3, 1000), 4, axis=0).astype(np.float32))
    assert np.abs(rsm).max() == 1.0
    assert (np.diag(rsm) == 1.0).all()
    assert_allclose(rsm, rsm.T, rtol=0, atol=0)


@pytest.mark.parametrize("value", [0.0, 0.1, 1e6 / 3, -1e-30])
def test_constant_pattern_has_no_similarities(value):
    patterns = draw(5, 1000)
    patterns[2] = value
    rsm, others = compute_rsm(patterns), [0, 1, 3, 4]
    assert np.isnan(rsm[2]).all()
    assert np.isnan(rsm[:, 2]).all()
    assert_allclose(rsm[np.ix_(others, others)], np.corrcoef(patterns[others]), rtol=0, atol=1e-13)


def test_nearly_constant_pattern_has_similarities():
    patterns = draw(3, 50)
    patterns[1] = 1000 + 1e-6 * patterns[1]
    assert_allclose(compute_rsm(patterns), np.corrcoef(patterns), rtol=0, atol=1e-6)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_non_finite_pattern_is_refused(value):
    patterns = draw(5, 4)
    patterns[3, 1] = value
    with pytest.raises(ValueError, match=r"stimulus 3 \(from 0\) holds non-finite values"):
        compute_rsm(patterns)


def test_one_unit_is_refused():
    with pytest.raises(ValueError, match=r"patterns of 1 unit\(s\): a correlation needs at least two"):
        compute_rsm(draw(5, 1))


# ---- RSM of wide float32 patterns, in blocks --------------------------------------------------------------------------


def draw_wide(n: int = 24, units: int = 5 * BLOCK + 17) -> np.ndarray:
    """Patterns like those of a layer after ReLU that share a signal, each unit with its own mean."""
    signal = draw(n, 4, seed=2) @ draw(4, units, seed=3)
    return np.maximum(signal + draw(n, units) + 1 + np.arange(units) / units, 0).astype(np.float32)


def test_wide_float32_rsm_equals_corrcoef():
    patterns = draw_wide()
    assert_allclose(compute_rsm(patterns), np.corrcoef(patterns), rtol=0, atol=2e-6)


def test_wide_float64_rsm_equals_corrcoef():
    patterns = draw_wide().astype(np.float64)
    assert_allclose(compute_rsm(patterns), np.corrcoef(patterns), rtol=0, atol=1e-12)


@pytest.mark.parametrize("offset,scale", [(1e4, 1.0), (0, 1e25), (0, 1e-25)])
def test_float32_that_would_lose_precision_is_summed_in_float64(offset, scale):
    patterns = (scale * (draw_wide() + np.float32(offset))).astype(np.float32)
    assert_allclose(compute_rsm(patterns), np.corrcoef(patterns), rtol=0, atol=2e-6)


def test_narrow_float32_is_summed_in_float64():
    patterns = draw_wide(units=4096)
    assert_allclose(compute_rsm(patterns), np.corrcoef(patterns), rtol=0, atol=1e-12)


@pytest.mark.parametrize("value", [0.0, 0.1, 3e4])
def test_constant_wide_pattern_has_no_similarities(value):
    patterns = draw_wide()
    patterns[2] = value
    rsm, others = compute_rsm(patterns), [i for i in range(24) if i != 2]
    assert np.isnan(rsm[2]).all() and np.isnan(rsm[:, 2]).all()
    assert_allclose(rsm[np.ix_(others, others)], np.corrcoef(patterns[others]), rtol=0, atol=2e-6)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_non_finite_wide_pattern_is_refused(value):
    patterns = draw_wide()
    patterns[3, 2 * BLOCK] = value
    with pytest.raises(ValueError, match=r"stimulus 3 \(from 0\) holds non-finite values"):
        compute_rsm(patterns)


def test_vectorize_takes_the_lower_triangle_row_by_row():
    matrix = np.tril(np.arange(16).reshape(4, 4))
    matrix += np.tril(matrix, -1).T
    assert vectorize_rsm(matrix).tolist() == [4, 8, 9, 12, 13, 14]
    assert len(vectorize_rsm(np.eye(72))) == 2556


# ---- correlation of two vectors --------------------------------------------------------------------------------------


def test_correlate_equals_scipy():
    a, b = draw(2556), draw(2556, seed=1) + 5
    assert_allclose(correlate(a, b), scipy.stats.pearsonr(a, b).statistic, rtol=0, atol=1e-14)


def test_correlate_by_hand():
    # centred (-1, 0, 1) and (-2, 1, 1): 3 / sqrt(2 * 6)
    assert_allclose(correlate([1, 2, 3], [0, 3, 3]), 3 / math.sqrt(12), rtol=1e-14, atol=0)


@settings(deadline=None, max_examples=50, derandomize=True)
@given(
    scale=st.floats(1e-3, 1e3),
    offset=st.floats(-1e3, 1e3),
    seed=st.integers(0, 2**32 - 1),
)
def test_correlate_ignores_scale_and_offset(scale, offset, seed):
    a, b = draw(2, 30, seed=seed)
    assert_allclose(correlate(scale * a + offset, b), correlate(a, b), rtol=0, atol=1e-7)
    assert_allclose(correlate(-scale * a, b), -correlate(a, b), rtol=0, atol=1e-12)


@pytest.mark.parametrize("value", [0.0, 0.1, 0.3, 1 / 3, 1e6 / 3, -1e-30])
@pytest.mark.parametrize("n", [3, 6, 10, 45, 2556])
def test_correlate_of_a_constant_is_undefined(n, value):
    """Also where the mean of n equal numbers is not that number, in floating point."""
    constant = np.full(n, value)
    assert math.isnan(correlate(constant, draw(n)))
    assert math.isnan(correlate(draw(n), constant))


def test_correlate_of_a_nearly_constant_vector_is_defined():
    a, b = draw(45), draw(45, seed=1)
    assert_allclose(correlate(1000 + 1e-6 * a, b), correlate(a, b), rtol=0, atol=1e-6)


def test_correlate_with_nan_is_undefined():
    assert math.isnan(correlate([1.0, 2.0, math.nan], [3.0, 1.0, 2.0]))


def test_correlate_refuses_different_lengths():
    with pytest.raises(ValueError, match="mismatch"):
        correlate(draw(3), draw(4))


def test_best_layer_is_the_first_of_equal_ones():
    """Equal but for rounding, in either direction."""
    r = np.array([[0.1, 0.5, 0.5 + 1e-15, 0.3], [0.1, 0.5 + 1e-15, 0.5, 0.3], [math.nan, -0.5, -0.4, math.nan]])
    assert find_best(r).tolist() == [1, 1, 2] and find_best(r[2]) == 2
    assert find_best([0.5, 0.5 + 1e-8]) == 1


# ---- against rsatoolbox ----------------------------------------------------------------------------------------------


def calc_rdm(patterns: np.ndarray):
    return rsatoolbox.rdm.calc_rdm(rsatoolbox.data.Dataset(patterns), method="correlation")


def test_rsm_equals_rsatoolbox():
    """Compared as square matrices: rsatoolbox's vectors hold the upper triangle row by row."""
    patterns = draw(12, 40)
    (distances,) = calc_rdm(patterns).get_matrices()
    assert_allclose(1 - compute_rsm(patterns), distances, rtol=0, atol=1e-12)


def test_correlate_equals_rsatoolbox():
    patterns, others = draw(12, 40), draw(12, 25, seed=1)
    expected = rsatoolbox.rdm.compare(calc_rdm(patterns), calc_rdm(others), method="corr").item()
    found = correlate(vectorize_rsm(compute_rsm(patterns)), vectorize_rsm(compute_rsm(others)))
    assert abs(expected) > 0.01
    assert_allclose(found, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "comparator,method",
    [
        ("pearson", "corr"),
        ("spearman", "spearman"),
        ("kendall", "tau-a"),
        ("cosine", "cosine"),
        ("whitened_pearson", "corr_cov"),
        ("whitened_cosine", "cosine_cov"),
    ],
)
@pytest.mark.parametrize("ties", [False, True])
def test_comparators_equal_rsatoolbox(comparator, method, ties):
    """Of distances: rsatoolbox gets the upper triangles of 1 - RSM."""
    a, b = (
        np.stack([vectorize_rsm(np.corrcoef(draw(12, 40, seed=seed))) for seed in seeds]) for seeds in ([0, 1], [2])
    )
    if ties:
        a, b = a.round(1), b.round(1)
    others = [rsatoolbox.rdm.RDMs(1 - fill_rsms(rsvs)) for rsvs in (a, b)]
    expected = rsatoolbox.rdm.compare(*others, method=method)
    assert expected.shape == (2, 1) and abs(expected).min() > 1e-3
    assert_allclose(compare_rsvs(a, b, comparator), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("comparator", ["spearman", "kendall"])
@pytest.mark.parametrize("scale", [1, 1e-20])
def test_means_of_the_same_ratings_are_tied(comparator, scale):
    """Seven raters' numbers from 1 to 7, in sevenths: their mean has as many values as their sum."""
    ratings = np.random.default_rng(0).integers(1, 8, (7, 66))
    layers, group = draw_rsvs(3, 66), scale * (ratings / 7).mean(0)
    assert len(set(group)) > len(set(ratings.sum(0)))
    expected = compare_rsvs(ratings.sum(0)[None], layers, comparator)
    assert_allclose(compare_rsvs(group[None], layers, comparator), expected, rtol=0, atol=1e-12)
    if comparator == "spearman":
        drawn = np.random.default_rng(1).integers(0, 3, (5, 12)).astype(float)
        found = [compare_resampled(layers, target[None], drawn, comparator) for target in (group, ratings.sum(0))]
        assert_allclose(*found, rtol=0, atol=1e-12)


def test_cka_equals_that_of_standardised_patterns():
    """Linear CKA by its definition: |Yc' Xc|^2 / (|Xc' Xc| |Yc' Yc|), columns centred over stimuli."""
    patterns = [draw(12, 40), draw(12, 25, seed=1)]
    rsvs = [vectorize_rsm(compute_rsm(p))[None] for p in patterns]
    x, y = ((p - p.mean(1, keepdims=True)) / p.std(1, keepdims=True) for p in patterns)
    x, y = x - x.mean(0), y - y.mean(0)
    expected = np.linalg.norm(y.T @ x) ** 2 / (np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y))
    assert_allclose(compare_rsvs(*rsvs, "cka").item(), expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("comparator", ["pearson", "spearman", "cosine", "whitened_pearson", "whitened_cosine", "cka"])
def test_comparators_of_undefined_vectors_are_undefined(comparator):
    rsvs = draw(3, 45)
    rsvs[1, 7] = math.nan
    found = compare_rsvs(rsvs, rsvs[:1], comparator)[:, 0]
    assert np.isnan(found).tolist() == [False, True, False] and found[0] == pytest.approx(1, abs=1e-12)
    if comparator in ("pearson", "spearman", "whitened_pearson"):
        assert np.isnan(compare_rsvs(np.full((1, 45), 0.1), rsvs[:1], comparator)).all()


@pytest.mark.parametrize("dtype,atol", [(np.float64, 1e-12), (np.float32, 1e-6)])
def test_distances_equal_rsatoolbox(dtype, atol):
    patterns = (5 + draw(6, 2, BLOCK + 3)).astype(dtype)
    patterns[4] = patterns[2]
    flat = patterns.reshape(6, -1).astype(np.float64)
    expected = rsatoolbox.rdm.calc_rdm(rsatoolbox.data.Dataset(flat), method="euclidean").get_matrices()[0]
    found = measure_distances(patterns)
    assert_allclose(found, expected, rtol=0, atol=atol)
    assert found[4, 2] <= 1e-12 and (np.diag(found) == 0).all() and (found == found.T).all()


def test_distances_by_hand():
    assert_allclose(
        measure_distances([[0, 0], [3, 4], [0, 2]]), [[0, 12.5, 2], [12.5, 0, 6.5], [2, 6.5, 0]], atol=1e-14
    )
    with pytest.raises(ValueError, match="non-finite"):
        measure_distances([[0, math.nan], [1, 2]])


def test_cka_of_distances_equals_that_of_raw_patterns():
    """Of 1 - squared Euclidean distances: |Yc' Xc|^2 / (|Xc' Xc| |Yc' Yc|) of the patterns as they are."""
    patterns = [draw(12, 40), draw(12, 25, seed=1)]
    rsvs = [vectorize_rsm(1 - measure_distances(p))[None] for p in patterns]
    x, y = (p - p.mean(0) for p in patterns)
    expected = np.linalg.norm(y.T @ x) ** 2 / (np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y))
    assert_allclose(compare_rsvs(*rsvs, "cka").item(), expected, rtol=1e-12, atol=0)


def test_masked_numbers_are_missing_and_other_types_are_refused():
    patterns = np.random.default_rng(0).standard_normal((5, 9))
    with pytest.raises(ValueError, match=r"the pattern of stimulus 2 .* non-finite"):
        compute_rsm(np.ma.array(patterns, mask=np.arange(5)[:, None] + np.zeros(9) == 2))
    assert_allclose(compute_rsm(pd.DataFrame(patterns)), compute_rsm(patterns), rtol=0, atol=1e-15)
    assert np.isnan(vectorize_rsm(np.ma.array(np.eye(3), mask=1 - np.eye(3)))).all()
    for wrong in (patterns + 0j, patterns.astype(str), patterns.astype(object)):
        with pytest.raises(ValueError, match=r"patterns of type .*: needs real numbers"):
            compute_rsm(wrong)


@pytest.mark.parametrize("comparator", ["pearson", "spearman", "kendall", "cka"])
@pytest.mark.parametrize(("a", "b"), [((6,), (6,)), ((1, 6), (1, 10)), ((1, 6), (6,))])
def test_rsvs_of_other_shapes_are_refused(comparator, a, b):
    with pytest.raises(ValueError, match=r"RSVs of shapes \(.*: needs \(k, n_pairs\) and \(l, n_pairs\)"):
        compare_rsvs(np.ones(a), np.ones(b), comparator)
