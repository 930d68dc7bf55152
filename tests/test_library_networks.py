"""Networks given to the library: which are found, how they are shown pictures, and what is refused."""

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from torch import nn

import ipcl_core as ipcl
from ipcl_core.networks.architectures import NetworkSpec, initialize_network
from ipcl_core.networks.network_files import save_network
from ipcl_core.new_study import write_study

N_PICTURES = 12


@pytest.fixture
def pictures(tmp_path, photo) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for i in range(N_PICTURES):
        photo.crop((20 * i, 20 * i, 20 * i + 64, 20 * i + 64)).save(folder / f"{i:02d}.png")
    return folder


def test_network_of_a_folder_of_the_workflow(tmp_path, pictures):
    spec = NetworkSpec.from_model(
        {"architecture": "pixels", "dim": 12, "width": 1.0, "head": "linear", "preprocessing": {"image_size": 64}}
    )
    save_network(initialize_network(spec, 0), spec, tmp_path / "models/mine/weights.safetensors")
    for path in (tmp_path / "models/mine", str(tmp_path / "models/mine/weights.safetensors")):
        network = ipcl.load_network(path)
        assert (network.name, network.preprocessing.image_size) == ("mine", 64) and not network.module.training
    found = ipcl.extract_activations(network, pictures, layers=["pool"])
    assert {layer: values.shape for layer, values in found.items()} == {"pool": (N_PICTURES, 3, 2, 2)}


def test_any_module_is_shown_the_pictures_as_it_says(pictures):
    class Mean(nn.Module):
        def forward(self, x):
            assert not self.training
            return x.mean((2, 3))

    network = ipcl.load_network(
        nn.Sequential(Mean()), name="mean", preprocessing={"image_size": 64, "mean": [0, 0, 0], "std": [1, 1, 1]}
    )
    (found,) = ipcl.extract_activations(network, pictures).values()
    expected = [np.asarray(Image.open(path)).mean((0, 1)) / 255 for path in sorted(pictures.glob("*.png"))]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


class Drops(nn.Module):
    def forward(self, x):
        return nn.functional.dropout(x, 0.5)


@pytest.mark.parametrize("part", [nn.BatchNorm2d(8, track_running_stats=False), Drops()])
def test_answers_that_depend_on_other_pictures_or_chance_are_refused(pictures, part):
    """No rule has tried a network that is given so."""
    network = ipcl.load_network(nn.Sequential(nn.Conv2d(3, 8, 5, 4), part), preprocessing={"image_size": 64})
    with pytest.raises(ValueError, match="Sequential: layer 1 answers the same picture differently"):
        ipcl.extract_activations(network, pictures)


def test_network_is_in_evaluation_mode_whenever_it_is_shown_pictures(pictures):
    """Also where it was trained on in between."""
    module = nn.Sequential(nn.Conv2d(3, 8, 5, 4), nn.BatchNorm2d(8))
    network = ipcl.load_network(module, preprocessing={"image_size": 64})
    expected = ipcl.extract_activations(network, pictures)
    module.train()
    found = ipcl.extract_activations(network, pictures)
    assert all(np.array_equal(found[layer], expected[layer]) for layer in expected)


def test_types_of_python_are_taken_in_blocks(pictures, tmp_path):
    """Paths, tuples and numpy's numbers, as timm's resolve_model_data_config has them."""
    torch.save(nn.Linear(3, 2).state_dict(), tmp_path / "w.pth")
    given = {"image_size": np.int64(64), "mean": (0.5, 0.5, 0.5), "std": np.full(3, 0.5)}
    network = ipcl.load_network(
        "torch.nn:Linear",
        arguments={"in_features": 3, "out_features": 2},
        state_dict=tmp_path / "w.pth",
        preprocessing=given,
    )
    assert network.preprocessing.mean == network.preprocessing.std == [0.5] * 3
    found = ipcl.extract_activations(ipcl.load_network("pixels", dim=12), pictures, layers=np.array(["pool", "image"]))
    assert set(found) == {"pool", "image"}
    with pytest.raises(ValueError, match="there is no folder /nowhere"):
        ipcl.load_network("my_networks:build", code=Path("/nowhere"))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (nn.Conv2d, "source: found an object of class type; give a torch.nn.Module .not its class, nor its state dict"),
        ({"weight": torch.ones(1)}, "source: found an object of class dict; give a torch.nn.Module"),
        (None, "source: found an object of class NoneType"),
        (nn.Conv2d(3, 4, 5, device="meta"), "Conv2d: weight is on the device meta and holds no numbers"),
    ],
)
def test_what_is_no_network_is_refused(source, message):
    with pytest.raises(ValueError, match=message):
        ipcl.load_network(source)


def test_weights_without_their_network_are_refused(tmp_path):
    torch.save(nn.Conv2d(3, 4, 5).state_dict(), tmp_path / "a.pth")
    with pytest.raises(
        ValueError, match=r"a\.pth: does not say of which network .* name that, with state_dict='.*a\.pth'"
    ):
        ipcl.load_network(tmp_path / "a.pth")


def test_keys_beside_a_network_that_has_its_own_are_refused(tmp_path, monkeypatch):
    """They were passed over: the module kept its initial weights, and every seed gave the same network."""
    monkeypatch.chdir(tmp_path)
    file = write_study("mine", model=False)
    with pytest.raises(ValueError, match=r"state_dict: a module is taken as it is; .* by load_state_dict"):
        ipcl.load_network(nn.Conv2d(3, 4, 5), state_dict="weights.pth")
    with pytest.raises(ValueError, match=r"seed, width: what is in mine.config.yaml is taken as it is; leave it out"):
        ipcl.load_network("untrained_alexnet_gn", config=file, seed=5, width=0.5)
    spec = NetworkSpec.from_model(
        {"architecture": "pixels", "dim": 12, "width": 1.0, "head": "linear", "preprocessing": {"image_size": 64}}
    )
    save_network(initialize_network(spec, 0), spec, Path("models/other/weights.safetensors"))
    with pytest.raises(ValueError, match="dim: what is there is taken as it is"):
        ipcl.load_network("models/other", dim=3)
    assert ipcl.load_network("models/other", config=file).name == "other"
    with pytest.raises(ValueError, match=r"config.yaml: there is no model resnet18, but .*pixels"):
        ipcl.load_network("resnet18", config=file)  # its initial weights are not what was asked for


def test_preprocessing_that_is_left_out_stays_the_networks_own(tmp_path, monkeypatch):
    """Another size does not bring ImageNet's mean and standard deviation along."""
    monkeypatch.chdir(tmp_path)
    own = {"image_size": 64, "mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6], "interpolation": "bicubic"}
    spec = NetworkSpec.from_model(
        {"architecture": "pixels", "dim": 12, "width": 1.0, "head": "linear", "preprocessing": own}
    )
    save_network(initialize_network(spec, 0), spec, Path("models/mine/weights.safetensors"))
    study = yaml.safe_load(write_study("mine", model=False).read_text())
    study["models"]["pixels"]["preprocessing"] = own
    Path("study.yaml").write_text(yaml.safe_dump(study))
    monkeypatch.setattr("ipcl_core.networks.own_builders.read_published_preprocessing", lambda *_: own)
    found = (
        ipcl.load_network("models/mine", preprocessing={"image_size": 96}),
        ipcl.load_network("pixels", config="study.yaml", preprocessing={"image_size": 96}),
        ipcl.load_network("torch.nn:Identity", preprocessing={"image_size": 96}),
    )
    expected = ipcl.Preprocessing.model_validate(own | {"image_size": 96})
    assert [network.preprocessing for network in found] == [expected] * 3
    whole = ipcl.Preprocessing(image_size=96)
    assert ipcl.load_network("models/mine", preprocessing=whole).preprocessing == whole


def test_state_dict_is_taken_as_the_workflow_takes_it(tmp_path):
    """With the outputs that it has, where dim leaves them open, and the hash that it should have."""
    spec = NetworkSpec.from_model(
        {"architecture": "cornet_z", "dim": None, "width": 1.0, "head": "linear", "preprocessing": {}}, n_classes=7
    )
    saved = initialize_network(spec, 0)
    torch.save(saved.state_dict(), tmp_path / "labelled.pth")
    keys = {"state_dict": tmp_path / "labelled.pth", "dim": None}
    found = ipcl.load_network("cornet_z", **keys).module.state_dict()
    assert all(torch.equal(found[name], tensor) for name, tensor in saved.state_dict().items())
    with pytest.raises(ValueError, match=r"labelled\.pth: its SHA-256 is .*, not 0000"):
        ipcl.load_network("cornet_z", **keys, sha256="0" * 64)


def test_initial_weights_are_those_of_the_seed():
    first, again, other = (ipcl.load_network("cornet_z", dim=4, seed=seed).module.state_dict() for seed in (1, 1, 2))
    assert torch.equal(first["fc.weight"], again["fc.weight"])
    assert not torch.equal(first["fc.weight"], other["fc.weight"])


@pytest.mark.parametrize(
    ("source", "block", "message"),
    [
        ("nowhere/models/x", {}, "there is no such folder"),
        ("alexnet", {"width": -1}, "greater than 0"),
        ("alexnett", {}, "alexnet"),
        ("torchvision:resnet17", {}, "did you mean"),
        ("efficientnet_lite0", {}, "fetched"),
    ],
)
def test_network_that_there_is_not(source, block, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        ipcl.load_network(source, **block)


def test_network_by_its_name_in_a_configuration(tmp_path, monkeypatch):
    """From the block; where the workflow has made it, from its results; where it must be trained first, that is said."""
    monkeypatch.chdir(tmp_path)
    study = yaml.safe_load(write_study("mine", model=False).read_text())
    trained = {"framework": "IPCL", "architecture": "alexnet_gn", "dim": 8, "dataset": "set", "recipe": "r"}
    study["models"] |= {"trained": trained, "left": trained | {"unavailable": "lost"}}
    study["recipes"] = {
        "r": {
            "objective": {"name": "ipcl", "queue_size": 10},
            "epochs": 1,
            "batch_size": 2,
            "optimizer": {"name": "adamw", "lr": 0.1},
            "schedule": {"name": "one_cycle"},
        }
    }
    study["datasets"] = {"set": {"train": None, "val": None}}
    Path("study.yaml").write_text(yaml.safe_dump(study))
    pixels = ipcl.load_network("pixels", config="study.yaml")
    assert pixels.name == "pixels" and pixels.module.pool.output_size == 32
    for name, message in (("trained", "not trained yet.*models/trained"), ("left", "lost")):
        with pytest.raises(ValueError, match=message):
            ipcl.load_network(name, config="study.yaml")
    spec = NetworkSpec.model_validate_json(pixels.described).model_copy(update={"dim": 12})
    save_network(initialize_network(spec, 0), spec, Path("mine/results/models/pixels/weights.safetensors"))
    assert ipcl.load_network("pixels", config="study.yaml").module.pool.output_size == 2


def test_folder_of_pictures(pictures, caplog):
    pixels = ipcl.load_network("pixels", dim=12)
    for name in ("Thumbs.db", "desktop.ini", ".DS_Store"):
        (pictures / name).write_bytes(b"x")
    assert len(ipcl.extract_activations(pixels, pictures)["pool"]) == N_PICTURES and caplog.text == ""
    (pictures / "00.png").rename(pictures / "100.png")
    ipcl.extract_activations(pixels, pictures)
    assert "sorted by name, 100 stands before 11; by number behind it" in caplog.text
    (pictures / "100.png").rename(pictures / "01.jpg")
    with pytest.raises(ValueError, match=r"01\.png: another file or folder there is of the stimulus 01 too"):
        ipcl.extract_activations(pixels, pictures)
    (pictures / "01.jpg").unlink()
    (pictures / "readme.txt").write_text("no picture")
    with pytest.raises(OSError, match=r"readme\.txt: 10 bytes that are no JPEG, PNG"):
        ipcl.extract_activations(pixels, pictures)
    for wrong, said in (
        (pictures / "gone", "gone"),
        ([pictures / "01.png"], "list"),
        (np.zeros((3, 8, 8, 3)), "ndarray"),
    ):
        with pytest.raises(ValueError, match=f"stimuli: found .*{said}; give a folder"):
            ipcl.extract_activations(pixels, wrong)
