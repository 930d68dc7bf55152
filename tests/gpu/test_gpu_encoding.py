"""Voxels predicted from layers on a GPU against the processor."""

import pandas as pd
import pytest
import torch
from encoding_brains import SETTINGS, draw_brain, write_activations
from numpy.testing import assert_allclose

from ipcl_core.encoding.bands import fit_bands
from ipcl_core.encoding.ridge import sum_kernel
from ipcl_core.encoding.scores import compare_fold
from ipcl_core.files import read_csv
from ipcl_core.fits.fit_encoding import fit_encoding

pytestmark = pytest.mark.gpu


def test_predictions_and_scores_are_those_of_the_processor(device):
    generator = torch.Generator().manual_seed(0)
    bands = [torch.randn(60, units, generator=generator) for units in (40, 200)]
    y = sum(band.double() @ torch.randn(band.shape[1], 300, generator=generator).double() for band in bands)
    y = y + 10 * torch.randn(60, 300, generator=generator).double() + 5
    test = torch.arange(60) % 5 == 0
    found = {}
    for place in ("cpu", device):
        kernels, responses = {i: sum_kernel([band.to(place)]) for i, band in zip("ab", bands, strict=True)}, y.to(place)
        masks = (~test).to(place), test.to(place)
        fold = fit_bands(kernels, responses, *masks, [1e-2, 1.0, 1e2])["a", "b"]
        found[place] = fold, compare_fold(fold.predictions, responses[masks[1]], responses[masks[0]].mean(0))
    other = found[device]
    assert_allclose(other[0].predictions.cpu(), found["cpu"][0].predictions, rtol=0, atol=1e-4)
    assert_allclose(other[0].penalties.cpu(), found["cpu"][0].penalties)
    assert_allclose(other[1], found["cpu"][1], rtol=1e-4, atol=1e-4)


def test_the_whole_job_gives_the_tables_of_the_processor(device, tmp_path, monkeypatch):
    """Kernels of standardised units, ridge regressions, scores, veRSA: every number of every layer."""
    activations, brain = write_activations(tmp_path / "a.h5", model="net"), draw_brain(tmp_path / "brain.h5")
    tables = {}
    for place in ("cpu", device):
        for module in ("encoding.features", "fits.fit_encoding"):
            monkeypatch.setattr(f"ipcl_core.{module}.choose_device", lambda place=place: torch.device(place))
        scores = tmp_path / f"{len(tables)}.csv"
        settings = SETTINGS | {"standardize": True}
        fit_encoding(activations, brain, scores, tmp_path / "p.h5", brain_name="b", model="net", folds=None, **settings)
        tables[place] = read_csv(scores)
    pd.testing.assert_frame_equal(tables[device], tables["cpu"], rtol=0, atol=1e-4)
