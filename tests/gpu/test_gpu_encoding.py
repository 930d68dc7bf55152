"""Voxels predicted from layers on a GPU against the processor."""

import pytest
import torch
from numpy.testing import assert_allclose

from ipcl_core.encoding.bands import fit_bands
from ipcl_core.encoding.ridge import sum_kernel
from ipcl_core.encoding.scores import compare_fold

pytestmark = pytest.mark.gpu


def test_predictions_and_scores_are_those_of_the_processor(device):
    generator = torch.Generator().manual_seed(0)
    bands = [torch.randn(60, units, generator=generator) for units in (40, 200)]
    y = sum(band.double() @ torch.randn(band.shape[1], 300, generator=generator).double() for band in bands)
    y = y + 10 * torch.randn(60, 300, generator=generator).double() + 5
    test = torch.arange(60) % 5 == 0
    found = {}
    for place in ("cpu", device):
        kernels, responses = [sum_kernel([band.to(place)]) for band in bands], y.to(place)
        masks = (~test).to(place), test.to(place)
        fold = fit_bands(kernels, responses, *masks, [1e-2, 1.0, 1e2])
        found[place] = fold, compare_fold(fold.predictions, responses[masks[1]], responses[masks[0]].mean(0))
    other = found[device]
    assert_allclose(other[0].predictions.cpu(), found["cpu"][0].predictions, rtol=0, atol=1e-4)
    assert_allclose(other[0].penalties.cpu(), found["cpu"][0].penalties)
    assert_allclose(other[1], found["cpu"][1], rtol=1e-4, atol=1e-4)
