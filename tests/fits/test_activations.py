import shutil
from functools import partial

import h5py
import numpy as np
import pytest
import torch
from conftest import make_spec
from numpy.testing import assert_allclose
from PIL import Image
from torch import nn
from torch.testing import assert_close
from torchvision.transforms.v2 import functional as F

from ipcl_core.config import Preprocessing
from ipcl_core.fits.activations import extract_activations, transform_stimulus
from ipcl_core.networks.architectures import AlexNet, NetworkSpec, initialize_network
from ipcl_core.networks.network_files import save_network

N_STIMULI = 20  # one whole batch of 16 and a part of one


@pytest.fixture(scope="module")
def stimuli(photo, tmp_path_factory):
    """20 crops of several shapes; written in another order than that of their names."""
    folder = tmp_path_factory.mktemp("stimuli")
    for i in reversed(range(N_STIMULI)):
        photo.crop((10 * i, 15 * i, 10 * i + 80 + i, 15 * i + 120 - 2 * i)).save(folder / f"{i + 1:02d}_thing.png")
    return folder


def write_weights(folder, network: nn.Module, spec: NetworkSpec):
    save_network(network, spec, folder / "weights.safetensors")
    return folder / "weights.safetensors"


# ---- stimuli ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(80, 120), (120, 80), (64, 64), (40, 40), (301, 97)])
def test_stimulus_is_shown_whole(tmp_path, photo, size):
    """Shortest side to the input's side, centre, normalised with the network's own numbers, as by torchvision."""
    picture = photo.resize(size)
    picture.save(tmp_path / "a.png")
    preprocessing = Preprocessing(image_size=64, mean=[0.5, 0.4, 0.3], std=[0.2, 0.25, 0.3])
    x = F.to_dtype(F.pil_to_tensor(picture), torch.float64, scale=True)
    x = F.center_crop(F.resize(x, [64], antialias=True), [64])
    found = transform_stimulus(tmp_path / "a.png", preprocessing)
    expected = F.normalize(x, preprocessing.mean, preprocessing.std).float()
    assert_close(found, expected, rtol=0, atol=1e-5)  # on the normalised scale


def test_stimulus_of_the_inputs_size_is_exact(tmp_path, photo):
    picture = photo.crop((100, 100, 164, 164))
    picture.save(tmp_path / "a.png")
    found = transform_stimulus(tmp_path / "a.png", Preprocessing(image_size=64, mean=[0, 0, 0], std=[1, 1, 1]))
    assert_allclose(found.permute(1, 2, 0), np.asarray(picture) / 255, rtol=0, atol=1e-7)


def test_transparent_stimulus_is_shown_on_white(tmp_path, photo):
    picture = photo.crop((0, 0, 64, 64))
    picture.putalpha(Image.fromarray(np.repeat([[0], [255]], 32, 0).astype(np.uint8).repeat(64, 1)))
    picture.save(tmp_path / "a.png")
    found = transform_stimulus(tmp_path / "a.png", Preprocessing(image_size=64, mean=[0, 0, 0], std=[1, 1, 1]))
    assert_close(found[:, :32], torch.ones(3, 32, 64), rtol=0, atol=1e-6)
    assert_allclose(found[:, 32:].permute(1, 2, 0), np.asarray(photo)[32:64, :64] / 255, rtol=0, atol=1e-6)


def test_grey_stimulus_has_three_equal_channels(tmp_path, photo):
    photo.convert("L").save(tmp_path / "a.png")
    found = transform_stimulus(tmp_path / "a.png", Preprocessing(image_size=32, mean=[0, 0, 0], std=[1, 1, 1]))
    assert_close(found[0], found[1], rtol=0, atol=0)
    assert_close(found[0], found[2], rtol=0, atol=0)


# ---- extraction ------------------------------------------------------------------------------------------------------


def test_extraction_equals_hooks_by_hand(tmp_path, stimuli):
    spec = make_spec()
    network = initialize_network(spec, 0).eval()
    expected, order = {}, []

    def hook(name, module, args, output):
        order.append(name)
        expected.setdefault(name, []).append(output.clone())

    for name, module in network.named_modules():
        if not list(module.children()):
            module.register_forward_hook(partial(hook, name))
    with torch.inference_mode():
        for i in range(N_STIMULI):
            network(transform_stimulus(stimuli / f"{i + 1:02d}_thing.png", spec.preprocessing)[None])

    extract_activations(write_weights(tmp_path, network, spec), stimuli, tmp_path / "activations.h5")
    with h5py.File(tmp_path / "activations.h5") as file:
        assert list(file["stimuli"].asstr()) == [f"{i + 1:02d}_thing" for i in range(N_STIMULI)]
        assert NetworkSpec.model_validate_json(file.attrs["network"]) == spec
        layers = list(file.attrs["layers"])
        assert layers == order[:27]
        for layer in layers:
            found = file[f"layers/{layer}"]
            assert found.dtype == np.float32
            assert found.shape == (N_STIMULI, *expected[layer][0].shape[1:])
            # one image at a time or 16: the same sums in another order
            assert_allclose(found, torch.cat(expected[layer]), rtol=0, atol=1e-5)


def test_every_picture_of_a_stimulus_is_shown(tmp_path, photo):
    spec, folder = make_spec(), tmp_path / "stimuli"
    weights = write_weights(tmp_path, initialize_network(spec, 0), spec)
    names = ["01_mug", "02_bike/01_side", "02_bike/02_front", "03_hat"]
    for flat in (False, True):
        for i, name in enumerate(names):
            path = folder / f"{name.replace('/', '_') if flat else name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            photo.crop((50 * i, 0, 50 * i + 70, 70)).save(path)
        extract_activations(weights, folder, tmp_path / f"{flat}.h5", layers=["fc7"])
        shutil.rmtree(folder)
    with h5py.File(tmp_path / "False.h5") as file, h5py.File(tmp_path / "True.h5") as single:
        assert list(file["stimuli"].asstr()) == names
        assert_allclose(file["layers/fc7"], single["layers/fc7"], rtol=0, atol=0)


def test_chosen_layers_alone_are_extracted(tmp_path, stimuli):
    spec = make_spec()
    weights = write_weights(tmp_path, initialize_network(spec, 0), spec)
    extract_activations(weights, stimuli, tmp_path / "activations.h5", layers=["conv_block_*", "fc8"])
    with h5py.File(tmp_path / "activations.h5") as file:
        assert list(file.attrs["layers"]) == [*(f"conv_block_{i}" for i in range(1, 6)), "fc8"]
        assert set(file["layers"]) == set(file.attrs["layers"])


def test_batches_have_at_most_sixteen_stimuli(tmp_path, stimuli, monkeypatch):
    seen, forward = [], AlexNet.forward
    monkeypatch.setattr(AlexNet, "forward", lambda self, x: seen.append(len(x)) or forward(self, x))
    spec = make_spec()
    extract_activations(write_weights(tmp_path, initialize_network(spec, 0), spec), stimuli, tmp_path / "a.h5")
    assert seen == [1, 2, 16, 1, 4]  # the first two find the layers' shapes, the fourth is the first picture alone


def test_non_finite_activations_name_the_layer(tmp_path, stimuli):
    spec = make_spec(architecture="alexnet_bn")
    network = initialize_network(spec, 0)
    with torch.no_grad():
        network.conv_block_3[1].weight.fill_(1e38)  # finite, the products are not
        network.conv_block_3[1].running_var.fill_(1e-10)
    weights = write_weights(tmp_path, network, spec)
    with pytest.raises(ValueError, match=r"layer conv_block_3.1 gives non-finite activations to 01_thing.png"):
        extract_activations(weights, stimuli, tmp_path / "activations.h5")
    assert not (tmp_path / "activations.h5").exists()


def test_fewer_than_three_stimuli_are_refused(tmp_path, photo):
    spec = make_spec()
    weights = write_weights(tmp_path, initialize_network(spec, 0), spec)
    (tmp_path / "stimuli").mkdir()
    for name in ("a.png", "b.png", ".hidden"):
        photo.crop((0, 0, 64, 64)).save(tmp_path / "stimuli" / name, "PNG")
    with pytest.raises(ValueError, match="holds 2 stimuli; an RSM needs at least three"):
        extract_activations(weights, tmp_path / "stimuli", tmp_path / "activations.h5")


def test_layer_of_one_unit_is_left_out(tmp_path, stimuli, warnings_of):
    spec = make_spec(dim=1, l2norm=False)
    weights = write_weights(tmp_path, initialize_network(spec, 0), spec)
    extract_activations(weights, stimuli, tmp_path / "activations.h5", layers=["fc7", "fc8"])
    with h5py.File(tmp_path / "activations.h5") as file:
        assert list(file.attrs["layers"]) == list(file["layers"]) == ["fc7"]
    assert any("fc8: one unit an image" in warning for warning in warnings_of())
    with pytest.raises(ValueError, match="none of the layers has two or more units"):
        extract_activations(weights, stimuli, tmp_path / "none.h5", layers=["fc8"])
    assert not (tmp_path / "none.h5").exists()
