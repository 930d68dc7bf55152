import math

import h5py
import pandas as pd
import pytest
import torch
from conftest import N_PICTURES, make_spec
from numpy.testing import assert_allclose

from ipcl_core.accuracy import embedding
from ipcl_core.accuracy.embedding import embed_dataset, pool_maps
from ipcl_core.networks.architectures import initialize_network
from ipcl_core.networks.network_files import load_network, save_network


@pytest.fixture
def weights(tmp_path):
    save_network(initialize_network(make_spec(), 0), make_spec(), tmp_path / "weights.safetensors")
    return tmp_path / "weights.safetensors"


@pytest.mark.parametrize("layer", [None, "fc7.2", "conv_block_2"])
def test_embeddings_equal_direct_forward(weights, raw_split, loader, tmp_path, monkeypatch, layer):
    monkeypatch.setattr(embedding, "BATCH", 10)  # two whole batches and a part of one
    betons = {"train": raw_split.beton, "val": raw_split.beton}
    layers = [layer or "output"]
    embed_dataset(weights, betons, tmp_path / "e.h5", layers=layers, center_crop=0.875, max_dim=None, n_threads=1)
    network = initialize_network(make_spec(), 0).eval()
    views = torch.cat([batch.views[:, 0] for batch in loader.iterate_center(fraction=0.875)])
    with torch.inference_mode():
        x = views
        for name in ("conv_block_1", "conv_block_2"):
            x = getattr(network, name)(x)
        second = x
        for name in ("conv_block_3", "conv_block_4", "conv_block_5", "ave_pool"):
            x = getattr(network, name)(x)
        seventh = network.fc7(network.fc6(x.flatten(1)))
        output = network(views)
    expected = {None: output, "fc7.2": seventh, "conv_block_2": second.flatten(1)}[layer]
    with h5py.File(tmp_path / "e.h5") as file:
        assert list(file.attrs["layers"]) == layers
        for split in ("train", "val"):
            assert_allclose(file[f"{split}/layers/{layers[0]}"], expected, rtol=0, atol=1e-5)
            assert_allclose(file[f"{split}/layers/output"], output, rtol=0, atol=1e-5)
            labels = pd.read_csv(raw_split.manifest)["label"][:N_PICTURES]
            assert file[f"{split}/label"][:].tolist() == labels.tolist()


def test_several_layers_in_one_pass(weights, raw_split, tmp_path):
    settings = {"center_crop": 0.875, "max_dim": 50, "n_threads": 1}
    layers = ["fc7.2", "conv_block_*", "fc8"]
    embed_dataset(weights, {"val": raw_split.beton}, tmp_path / "all.h5", layers=layers, **settings)
    with h5py.File(tmp_path / "all.h5") as file:
        found = {layer: file[f"val/layers/{layer}"][:] for layer in file.attrs["layers"]}
    assert list(found) == ["fc7.2", *(f"conv_block_{i}" for i in range(1, 6)), "fc8"]
    for layer, features in found.items():
        embed_dataset(weights, {"val": raw_split.beton}, tmp_path / "one.h5", layers=[layer], **settings)
        with h5py.File(tmp_path / "one.h5") as file:
            assert_allclose(features, file[f"val/layers/{layer}"], rtol=0, atol=1e-6)
    assert found["conv_block_2"].shape == (N_PICTURES, 32)  # 8 channels of 3 x 3: averaged to 2 x 2
    assert found["fc7.2"].shape == (N_PICTURES, 128)  # no map: kept whole


@pytest.mark.parametrize(
    "shape,max_dim,expected",
    [
        ((2, 3, 8, 8), None, 192),
        ((2, 3, 8, 8), 192, 192),
        ((2, 3, 8, 8), 191, 147),  # 7 x 7
        ((2, 3, 8, 8), 12, 12),  # 2 x 2
        ((2, 3, 8, 8), 2, 3),  # no channel is left out
        ((2, 300), 12, 300),
    ],
)
def test_maps_are_pooled_to_a_bounded_size(shape, max_dim, expected):
    maps = torch.arange(2.0 * math.prod(shape[1:])).reshape(shape)
    pooled = pool_maps(maps, max_dim)
    assert pooled.shape == (2, expected) and pooled.dtype == torch.float32
    if expected == 12:  # each quarter of each map
        quarters = maps.reshape(2, 3, 2, 4, 2, 4).mean((3, 5)).flatten(1)
        assert_allclose(pooled, quarters, rtol=1e-6)
    if expected in (192, 300):
        assert torch.equal(pooled, maps.flatten(1))


def test_unknown_layer_is_refused(weights, raw_split, tmp_path):
    settings = {"layers": ["fc9"], "center_crop": 1.0, "max_dim": None, "n_threads": 1}
    with pytest.raises(ValueError, match=r"no layer 'fc9' in AlexNet; there are, for example, .*fc8"):
        embed_dataset(weights, {"val": raw_split.beton}, tmp_path / "e.h5", **settings)
    assert not (tmp_path / "e.h5").exists()


def test_image_that_depends_on_the_others_in_its_batch_is_refused(weights, raw_split, tmp_path, monkeypatch):
    """Which the few pictures of the network's trial do not show: a GPU's batches are larger."""
    network, spec = load_network(weights)
    forward = network.fc6.forward
    monkeypatch.setattr(network.fc6, "forward", lambda x: forward(x - x.mean(0) if len(x) > 16 else x))
    monkeypatch.setattr(embedding, "load_network", lambda *_: (network, spec))
    monkeypatch.setattr(embedding, "BATCH", 64)
    with pytest.raises(ValueError, match="layer fc7 answers the same picture differently"):
        embed_dataset(
            weights,
            {"val": raw_split.beton},
            tmp_path / "e.h5",
            layers=["fc7"],
            center_crop=1,
            max_dim=None,
            n_threads=1,
        )
    assert not (tmp_path / "e.h5").exists()
