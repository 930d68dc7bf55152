import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close
from views_in_torch import POLICIES, make_both, make_views


@pytest.mark.parametrize("augmentation", POLICIES)
@pytest.mark.parametrize("side", [32, 41])
def test_views_on_the_device_equal_those_of_the_processor(photo, side, augmentation):
    found, expected = make_both(make_views, photo, "cpu", side=side, **augmentation)
    assert found.flatten(0, 1).is_contiguous(memory_format=torch.channels_last)
    # on the normalised scale, 1 / .22 times that of pixels
    assert_close(found, expected, rtol=0, atol=1e-4)


# ---- CUDA kernels ----------------------------------------------------------------------------------------------------

INTERPRET = """
import numpy as np
import torch
import views_in_torch
from ipcl_core.config import Augmentation
from ipcl_core.views import on_cuda
from ipcl_core.views.draws import draw_views, pack_policy

on_cuda.TILE = 256  # two tiles a view
rng = np.random.default_rng(0)
pixels = torch.from_numpy(rng.integers(0, 256, 3 * (50 * 40 + 11 * 30) + 100).astype(np.uint8))
sizes = np.array([50, 11]), np.array([40, 30])
drawn = draw_views(*sizes, np.array([5, 0]), 2, 2, 1, pack_policy(Augmentation(grayscale=0.3)))
drawn[0, 0, 4:6], drawn[0, 1, 4:6], drawn[0, :, 10:14] = (1, 0), (0, 1), ((0, 3, 1, 2), (2, 1, 3, 0))
statistics = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
found, expected = (module.make_views(pixels, *sizes, drawn, 20, *statistics) for module in (on_cuda, views_in_torch))
torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)
"""

COMPILE = """
from triton import compile
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from ipcl_core.views.on_cuda import _crop_views, _finish_views

floats = dict.fromkeys(("work", "sums", "drawn", "mean", "std", "views"), "*fp32")
crop = {"pixels": "*u8", "starts": "*i64", "widths": "*i64"} | floats
for kernel, types, numbers in (
    (_crop_views, crop, {"SIDE": 224, "N_VIEWS": 5, "TILE": 1024}),
    (_finish_views, floats, {"SIDE": 224, "TILE": 1024, "N_SUMS": 64}),
):
    types = {name: types[name] for name in kernel.arg_names if name in types} | dict.fromkeys(numbers, "constexpr")
    for capability in (80, 90, 100):  # A100, H100, B200
        compiled = compile(ASTSource(kernel, types, numbers), target=GPUTarget("cuda", capability, 32))
        assert compiled.asm["cubin"]
"""


@pytest.mark.parametrize("code,interpret", [(INTERPRET, "1"), (COMPILE, "0")], ids=["interpreted", "compiled"])
def test_kernels_without_a_gpu(code, interpret):
    """In Triton's interpreter they give the views of plain torch; and they compile."""
    environment = os.environ | {"TRITON_INTERPRET": interpret, "PYTHONPATH": str(Path(__file__).parents[1])}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, timeout=600)
