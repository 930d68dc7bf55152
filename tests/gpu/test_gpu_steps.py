"""
Training steps on a GPU against the processor: from pictures in memory, so that FFCV is not needed.

What single precision and bfloat16 may differ by: tests/training/test_golden.py.
"""

import json

import pytest
import torch
from conftest import make_recipe, make_spec
from resident import Resident
from torch.testing import assert_close
from trainings import GOLDEN, OBJECTIVES, build_golden_training, list_golden_losses, list_losses

from ipcl_core.config import Preprocessing
from ipcl_core.training.state import Training
from ipcl_core.training.train import read_batches, take_step
from ipcl_core.views.batch import Batch

pytestmark = pytest.mark.gpu
CUDA, OTHERS = pytest.mark.cuda, [name for name in OBJECTIVES if name != "indexed_memory"]


@pytest.fixture
def batches(pixels) -> Resident:
    """Two minibatches of 11 pictures, as of the fixture `large_batches`."""
    return Resident(pixels, 11)


@pytest.mark.parametrize("objective", ["indexed_memory", *(pytest.param(name, marks=CUDA) for name in OTHERS)])
def test_twenty_steps_have_the_golden_losses(batches, device, objective):
    """In double precision: channels last, the fused optimizer, a GPU's kernels; written by the processor."""
    losses = list_golden_losses(batches, objective, device)
    assert_close(losses, json.loads(GOLDEN.read_text())[objective], rtol=1e-6, atol=0)


@pytest.mark.cuda
@pytest.mark.parametrize("precision,tolerance", [("float32", 1e-3), ("tf32", 1e-2), ("bfloat16", 3e-2)])
def test_precision(batches, precision, tolerance):
    """Four minibatches against single precision on the processor: near, and as far as the precision says."""
    found = list_losses(build_golden_training(batches, "ipcl", "cuda", precision=precision), 4)
    expected = list_losses(build_golden_training(batches, "ipcl"), 4)
    assert_close(found, expected, rtol=tolerance, atol=0)
    furthest = max(abs(a - b) / b for a, b in zip(found, expected, strict=True))
    assert furthest > {"float32": 0, "tf32": 1e-6, "bfloat16": 1e-4}[precision]


@pytest.mark.cuda
@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("objective", list(OBJECTIVES))
def test_bfloat16_agrees_with_the_processor(batches, objective, compiled):
    """Four minibatches, compiled or not, within 3% of single precision on the processor."""
    found = list_losses(build_golden_training(batches, objective, "cuda", compile=compiled), 4)
    assert_close(found, list_losses(build_golden_training(batches, objective), 4), rtol=0.03, atol=0)


@pytest.mark.cuda
@pytest.mark.parametrize("objective", list(OBJECTIVES))
def test_the_step_does_not_wait_for_the_gpu(batches, objective):
    """CUDA refuses every synchronisation from the third minibatch on; the first two set things up."""
    run = build_golden_training(batches, objective, "cuda")
    minibatches = read_batches(run)
    for _ in range(2):
        take_step(run, next(minibatches))
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(3):
            take_step(run, next(minibatches))
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.cuda
@pytest.mark.parametrize("architecture,n_images,n_views", [("alexnet_gn", 128, 5), ("resnet18", 256, 1)])
def test_compiled_at_the_papers_size(architecture, n_images, n_views):
    """One graph, compiled once; its losses are near those of the step that is not compiled."""
    objective = {"name": "ipcl", "n_views": n_views} if n_views > 1 else {"name": "indexed_memory"}
    views = torch.randn(n_images, n_views, 224, 224, 3, device="cuda").movedim(4, 2)
    batch = Batch(views, torch.zeros(n_images, dtype=torch.long), torch.arange(n_images))
    losses = {}
    for compiled in (False, True):
        recipe = make_recipe(objective=objective, batch_size=n_images, compile=compiled, epochs=100)
        spec = make_spec(architecture=architecture, dim=128, width=1.0, preprocessing=Preprocessing())
        loader = Resident([None] * (10 * n_images), n_images)
        run = Training(spec, recipe, seed=0, loader=loader, data_sha256="x", device=torch.device("cuda"))
        torch._dynamo.reset()
        torch._dynamo.utils.counters.clear()
        losses[compiled] = [take_step(run, batch)[0].item() for _ in range(3)]
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1
    assert not torch._dynamo.utils.counters["graph_break"]
    assert_close(losses[True], losses[False], rtol=0.03, atol=0)
