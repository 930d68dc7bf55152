"""Effective dimensionality of a layer against scikit-learn's principal components, and cases with a known answer."""

import numpy as np
import pytest
from sklearn.decomposition import PCA

from ipcl_core.rsa.dimensionality import measure_dimensionality


@pytest.mark.parametrize("shape", [(40, 3, 50, 60), (40, 200), (40, 12)])
def test_equals_principal_components(shape):
    """Wider than one block, and fewer units than stimuli; whatever the scale and the mean."""
    rng = np.random.default_rng(0)
    patterns = (rng.standard_normal(shape) * rng.exponential(size=shape[1:]) + 3).astype(np.float32)
    variances = PCA().fit(patterns.reshape(40, -1).astype(float)).explained_variance_[: min(39, np.prod(shape[1:]))]
    found = measure_dimensionality(patterns)
    assert found.participation_ratio == pytest.approx(variances.sum() ** 2 / (variances**2).sum(), rel=1e-10)
    n = len(variances) // 2
    ranks, x = np.log(variances[:n]), np.log(np.arange(1, n + 1))
    slope = ((x - x.mean()) * (ranks - ranks.mean())).sum() / ((x - x.mean()) ** 2).sum()
    assert found.power_law_exponent == pytest.approx(-slope, rel=1e-9)
    assert measure_dimensionality(patterns * 64) == pytest.approx(found, rel=1e-9)


def test_known_spectra():
    """Orthogonal patterns of equal length are spread over all dimensions; on a line they have one; a power law is found."""
    found = measure_dimensionality(np.eye(9))
    assert found == pytest.approx((8, 0), abs=1e-9)
    assert measure_dimensionality(np.arange(9.0)[:, None] * [1, 2, 3]).participation_ratio == pytest.approx(1)
    left = np.linalg.qr(np.column_stack([np.ones(41), np.random.default_rng(0).standard_normal((41, 40))]))[0][:, 1:]
    spectrum = np.arange(1, 41) ** -1.3  # of 40 directions over stimuli, each of mean 0
    assert measure_dimensionality(left * np.sqrt(spectrum)).power_law_exponent == pytest.approx(1.3)


def test_few_stimuli_make_the_exponent_too_small():
    """docs/statistics.md says how much: independent units, variances 1, 1/2, 1/3, ..."""
    rng, deviations = np.random.default_rng(0), np.arange(1, 4001) ** -0.5
    found = [measure_dimensionality(rng.standard_normal((72, 4000)) * deviations) for _ in range(10)]
    assert np.mean([each.power_law_exponent for each in found]) == pytest.approx(0.7, abs=0.02)


def test_no_number_where_none_is_defined():
    assert np.isnan(measure_dimensionality(np.full((5, 4), 0.1, np.float32))).all()
    assert np.isnan(measure_dimensionality(np.full((9, 40), 0.37))).all()
    rounded = np.full((9, 20000), 0.37)
    rounded[3, 9000:] = np.nextafter(0.37, 1)
    assert np.isnan(measure_dimensionality(rounded)).all()
    rounded[3, 19999] = 1  # in the last block
    assert measure_dimensionality(rounded).participation_ratio == pytest.approx(1)
    few = measure_dimensionality(np.eye(6))
    assert few.participation_ratio == pytest.approx(5) and np.isnan(few.power_law_exponent)
    with pytest.raises(ValueError, match="patterns hold non-finite values"):
        measure_dimensionality([[1, 2], [np.nan, 3], [4, 5]])
