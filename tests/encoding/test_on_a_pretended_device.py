"""
Encoding on tensors without numbers (torch's FakeTensorMode), as on a GPU: an operation on tensors of two devices, or one that
reads a number and makes the host wait, is an error.
"""

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from ipcl_core.encoding.bands import fit_bands
from ipcl_core.encoding.ridge import sum_kernel
from ipcl_core.encoding.scores import correlate_columns


@pytest.mark.parametrize("n_bands", [1, 2])
def test_all_tensors_are_on_the_device(n_bands):
    """Stimuli are given by their numbers: how many a mask has is a number that is read, once a fold."""
    with FakeTensorMode():
        bands = [torch.empty(60, units, dtype=torch.float32, device="cuda") for units in (40, 200)[:n_bands]]
        kernels = [sum_kernel([band, band]) for band in bands]
        responses = torch.empty(60, 5000, dtype=torch.float64, device="cuda")
        train, test = (torch.zeros(n, dtype=torch.long, device="cuda") for n in (48, 12))
        named = dict(zip("ab", kernels, strict=False))
        fold = fit_bands(named, responses, train, test, [1e-2, 1.0, 1e2])[tuple(named)]
        r = correlate_columns(fold.predictions, responses[test])
    found = [*kernels, fold.predictions, fold.penalties, fold.scores, r]
    assert {tensor.device.type for tensor in found} == {"cuda"} and {tensor.dtype for tensor in found} == {
        torch.float64
    }
    assert fold.predictions.shape == (12, 5000) and r.shape == fold.scores.shape == fold.penalties.shape == (5000,)


def test_two_devices_are_an_error():
    """What the test above relies on."""
    with FakeTensorMode(), pytest.raises(RuntimeError, match="device"):
        fit_bands(
            {"a": torch.empty(60, 60, dtype=torch.float64, device="cuda")}, torch.empty(60, 9, dtype=torch.float64),
            torch.zeros(48, dtype=torch.long), torch.zeros(12, dtype=torch.long), [1.0],
        )  # fmt: skip
