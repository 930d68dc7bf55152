"""What is measured on a GPU (kNN, probes, embeddings, activations and their RSMs) against the processor."""

import h5py
import numpy as np
import pytest
import torch
from conftest import make_spec
from numpy.testing import assert_allclose
from PIL import Image
from torch.testing import assert_close

from ipcl_core.accuracy import knn
from ipcl_core.accuracy.embedding import embed_dataset
from ipcl_core.accuracy.probes import fit_probe
from ipcl_core.config import LBFGSProbe
from ipcl_core.fits.activations import extract_activations, transform_stimulus
from ipcl_core.networks.architectures import initialize_network
from ipcl_core.networks.layers import record_layers
from ipcl_core.networks.network_files import save_network
from ipcl_core.rsa.similarity import compute_rsm

pytestmark = pytest.mark.gpu
TOLERANCE = 2e-3
"""Of a number to the largest of its layer: cuDNN's convolutions round factors to 10 bits (TF32)."""


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def weights(tmp_path):
    """Of an untrained network, and the network itself on the processor."""
    network = initialize_network(make_spec(), 0).eval()
    save_network(network, make_spec(), tmp_path / "weights.safetensors")
    return tmp_path / "weights.safetensors", network


@pytest.mark.parametrize("k", [1, 7, 200])
def test_neighbours_are_those_of_the_processor(device, monkeypatch, k):
    """Products of quarters are exact, and many of them equal."""
    monkeypatch.setattr(knn, "CHUNK", 64)
    bank, queries = (draw(3000, 8) * 4).round() / 4, (draw(150, 8, seed=1) * 4).round() / 4
    expected = knn.find_nearest_on_cpu(queries, iter(bank.split(700)), k)
    found = knn.find_nearest_on_gpu(queries.to(device), iter(bank.to(device).split(700)), k)
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one.cpu(), other)


def test_votes_are_those_of_the_processor(device):
    bank, queries, labels = draw(5000, 16), draw(300, 16, seed=1), torch.arange(5000) % 10
    options = {"n_classes": 10, "k": 50, "tau": 0.07}
    expected = knn.vote_weighted_knn(bank, labels, queries, **options)
    found = knn.vote_weighted_knn(bank, labels, queries.to(device), **options)
    assert_close(found.cpu(), expected, rtol=1e-4, atol=1e-4)
    assert torch.equal(knn.vote_weighted_knn(bank, labels, queries.to(device), **options), found)


def test_probe_is_that_of_the_processor(device):
    labels = torch.arange(400) % 4
    features, queries = draw(400, 6) + 2 * torch.eye(4, 6)[labels], draw(80, 6, seed=1)
    settings = LBFGSProbe(l2=[1e-3])
    expected = fit_probe(features.clone(), labels, queries, n_classes=4, settings=settings)
    arguments = (tensor.to(device) for tensor in (features, labels, queries))
    assert_close(fit_probe(*arguments, n_classes=4, settings=settings).cpu(), expected, rtol=0, atol=2e-2)


def test_embeddings_are_those_of_the_processor(weights, raw_split, loader, tmp_path):
    path, network = weights
    options = {"layers": ["output"], "center_crop": 0.875, "max_dim": None, "n_threads": 1}
    embed_dataset(path, {"val": raw_split.beton}, tmp_path / "e.h5", **options)
    with torch.no_grad():
        views = [batch.views[:, 0] for batch in loader.iterate_center(fraction=0.875)]
        expected = network(torch.cat(views)).numpy()
    with h5py.File(tmp_path / "e.h5") as file:
        assert_allclose(file["val/layers/output"], expected, rtol=0, atol=TOLERANCE)


def test_layers_and_rsms_are_those_of_the_processor(weights, pixels, tmp_path):
    path, network = weights
    (tmp_path / "stimuli").mkdir()
    for i, picture in enumerate(pixels):
        Image.fromarray(picture).save(tmp_path / f"stimuli/{i:02d}.png")
    extract_activations(path, tmp_path / "stimuli", tmp_path / "a.h5")
    stimuli = sorted((tmp_path / "stimuli").iterdir())
    views = torch.stack([transform_stimulus(stimulus, make_spec().preprocessing) for stimulus in stimuli])
    with record_layers(network, shape=(3, 64, 64)) as compute, torch.no_grad(), h5py.File(tmp_path / "a.h5") as file:
        layers = compute(views)
        assert set(file.attrs["layers"]) == set(layers)
        for layer, values in layers.items():
            expected, found = values.numpy(), file[f"layers/{layer}"][:]
            assert_allclose(found, expected, rtol=0, atol=TOLERANCE * np.abs(expected).max(), err_msg=layer)
            assert_allclose(compute_rsm(found), compute_rsm(expected), rtol=0, atol=1e-3, err_msg=layer)
