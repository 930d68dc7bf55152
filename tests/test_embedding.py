import h5py
import pandas as pd
import pytest
import torch
from conftest import N_PICTURES, make_spec
from numpy.testing import assert_allclose

from ipcl_core import embedding
from ipcl_core.architectures import initialize_network, save_network
from ipcl_core.embedding import embed_dataset


@pytest.fixture
def weights(tmp_path):
    save_network(initialize_network(make_spec(), 0), make_spec(), tmp_path / "weights.safetensors")
    return tmp_path / "weights.safetensors"


@pytest.mark.parametrize("layer", [None, "fc7.2", "conv_block_2"])
def test_embeddings_equal_direct_forward(weights, raw_split, loader, tmp_path, monkeypatch, layer):
    monkeypatch.setattr(embedding, "BATCH", 10)  # two whole batches and a part of one
    betons = {"train": raw_split.beton, "val": raw_split.beton}
    embed_dataset(weights, betons, tmp_path / "e.h5", layer=layer, center_crop=0.875, n_threads=1)
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
        assert file.attrs["layer"] == (layer or "output")
        for split in ("train", "val"):
            assert_allclose(file[f"{split}/embedding"], expected, rtol=0, atol=1e-5)
            assert_allclose(file[f"{split}/output"], output, rtol=0, atol=1e-5)
            labels = pd.read_csv(raw_split.manifest)["label"][:N_PICTURES]
            assert file[f"{split}/label"][:].tolist() == labels.tolist()


def test_unknown_layer_is_refused(weights, raw_split, tmp_path):
    with pytest.raises(ValueError, match=r"no layer 'fc9' in AlexNet; there are, for example, .*fc8"):
        embed_dataset(weights, {"val": raw_split.beton}, tmp_path / "e.h5", layer="fc9", center_crop=1.0, n_threads=1)
    assert not (tmp_path / "e.h5").exists()
