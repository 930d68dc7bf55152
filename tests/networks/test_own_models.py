"""Networks of the user's own and of libraries: found, built, tried, written, and refused with a reason."""

import hashlib
import re
import sys
from importlib.metadata import version
from pathlib import Path

import h5py
import pytest
import torch
import torchvision
import yaml
from configurations import change, explain
from conftest import make_spec
from own_models import BLOCK, describe, make
from safetensors.torch import save_file
from snakemake.utils import update_config
from torch.testing import assert_close

from ipcl_core.config import load_config
from ipcl_core.fits.activations import extract_activations
from ipcl_core.networks.architectures import initialize_network
from ipcl_core.networks.network_files import load_network
from ipcl_core.networks.own_builders import _build_timm, find_files
from ipcl_core.networks.own_models import make_own_model

ROOT = Path(__file__).parents[2]


def read_blocks(language: str) -> list[str]:
    """The blocks of code of docs/own_model.md in one language."""
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / "docs/own_model.md").read_text(), re.S)


# ---- the configuration -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("block", "message"),
    [
        (
            {"architecture": "alexnet_gm", "state_dict": "a"},
            r"'alexnet_gm' is none of .*\(did you mean alexnet_gn",
        ),
        ({"architecture": "alexnet_gn", "dim": 8}, "state_dict: give the path of the weights of alexnet_gn"),
        ({"architecture": "nets:"}, "'nets:' is no torchvision:NAME, timm:NAME or MODULE:FUNCTION"),
        ({"architecture": "my/nets:build"}, "'my/nets:build' is no torchvision:NAME"),
        ({"architecture": "nets:build", "dim": 8}, "dim: leave it out, nets:build itself says how many outputs"),
        (
            {"architecture": "nets:build", "weights": "IMAGENET1K_V1"},
            "weights: only torchvision and timm publish weights",
        ),
        (
            {"architecture": "nets:build", "sha256": 64 * "0"},
            "sha256: of the state dict's file; there is no state_dict",
        ),
        (
            {"architecture": "torchvision:vgg11", "weights": "V1", "state_dict": "a"},
            "weights and state_dict: give one of",
        ),
        ({"architecture": "alexnet_gn", "state_dict": "a", "arguments": {"a": 1}}, "arguments: alexnet_gn takes none"),
        ({"architecture": "nets:build", "width": 0.5}, "models.mine.width: leave it out"),
        ({"architecture": "nets:build", "head": "mlp"}, "models.mine.head: leave it out"),
        (
            {"architecture": "nets:build", "layers": "block"},
            "models.mine.layers: Input should be 'all', 'blocks' or 'released_code'",
        ),
        ({"architecture": "nets:build", "layers": []}, "models.mine.layers: "),
        ({"architecture": "nets:build", "preprocessing": {"interpolation": "cubic"}}, "'bilinear' or 'bicubic'"),
        ({"architecture": "nets:build", "preprocessing": {"center_crop": 0.0}}, "preprocessing.center_crop: "),
        ({"architecture": "nets:build", "recipe": "ipcl"}, "unknown key 'recipe'"),
    ],
)
def test_wrong_blocks_are_refused(block, message):
    said = explain(change("models.mine", BLOCK | block))
    assert re.search(message, said), said


def test_origins_are_honest():
    blocks = {
        "own code": {"architecture": "nets:build"},
        "untrained": {"architecture": "torchvision:resnet18"},
        "torchvision's weights": {"architecture": "torchvision:resnet18", "weights": "IMAGENET1K_V1"},
        "timm's weights": {"architecture": "timm:resnet18", "weights": "a1_in1k"},
        "own weights": {"architecture": "alexnet_gn", "dim": 8, "state_dict": "a.pth"},
        "unavailable": {"architecture": "timm:resnet18", "unavailable": "no internet"},
    }
    assert [describe(**block)["origin"] for block in blocks.values()] == list(blocks)
    assert describe(architecture="torchvision:resnet18", state_dict="a.pth")["origin"] == "own weights"


def test_blocks_of_the_page_are_accepted():
    study = yaml.safe_load((ROOT / "config/demo.yaml").read_text())
    for block in read_blocks("yaml"):
        update_config(study, yaml.safe_load(block))
    models = load_config(study).models
    assert [models[name].origin for name in ("mine", "their_resnet18", "their_transformer", "my_alexnet")] == [
        *("own code", "torchvision's weights", "timm's weights", "own weights")
    ]


# ---- files -----------------------------------------------------------------------------------------------------------


def find(**block) -> tuple[list[str], list[str]]:
    return find_files(load_config(change("models.mine", BLOCK | block)).models["mine"])


def test_files_are_found_without_importing_them(code):
    name = code("raise RuntimeError")
    assert find(architecture=f"{name}:build") == ([f"{name}.py"], [])
    for part in ("__init__", "nets", "deep.parts"):
        code("raise RuntimeError", f"pack.{part}")
    Path("a.pth").touch()
    files = ["a.pth", "pack/__init__.py", "pack/deep/parts.py", "pack/nets.py"]
    assert find(architecture="pack.nets:build", state_dict="a.pth") == (files, [])
    assert (
        find(architecture="pack.deep.parts:build")[0] == files[1:] and find(architecture="pack:build")[0] == files[1:]
    )
    assert find(architecture="torchvision:resnet18") == ([], [])
    assert find(architecture="torchvision.models.resnet:resnet18")[0] == [torchvision.models.resnet.__file__]


def test_files_that_are_not_there_are_named(code):
    code("", "my_networks")
    code("", "pack.networks")
    assert find(architecture="my_netwroks:build")[1] == [
        f"architecture: there is no module my_netwroks in {Path.cwd()}, and none is installed; did you mean my_networks?"
    ]
    assert find(architecture="pack.networsk:build")[1][0].endswith("did you mean pack.networks?")
    assert find(architecture="my_networks:build", code="nowhere")[1] == ["code: there is no folder nowhere"]
    expected = ["state_dict: set it to a file of weights (found: a.pth, which is not there)"]
    assert find(architecture="alexnet_gn", dim=8, state_dict="a.pth")[1] == expected


# ---- networks that work ----------------------------------------------------------------------------------------------


def test_example_of_the_page_runs(code, photo):
    """What the page says, short of the workflow: build, record blocks, and the same network again from its file."""
    Path("my_networks.py").write_text(read_blocks("python")[0])
    block = yaml.safe_load(read_blocks("yaml")[0])["models"]["mine"]
    block = describe(**block | {"dataset": "pictures", "code": str(Path.cwd())})
    spec, origin = make_own_model(
        block, "w.safetensors", layers=block["layers"], accuracy_layers=[block["embedding_layer"]]
    )
    assert spec.dim == 32 and origin["arguments"] == {"width": 24} and origin["sha256"] is None
    (Path.cwd() / "stimuli").mkdir()
    for i in range(4):
        photo.crop((20 * i, 0, 20 * i + 90, 90)).save(f"stimuli/{i}.png")
    extract_activations("w.safetensors", "stimuli", "a.h5", layers=block["layers"], model=block)
    with h5py.File("a.h5") as file:
        assert list(file.attrs["layers"]) == ["0", "1", "2", "3", "4", "5"]
        assert file["layers/2"].shape == (4, 96, 8, 8) and file["layers/5"].shape == (4, 32)
    del sys.modules["my_networks"]


def test_torchvisions_network_with_initial_weights(tmp_path):
    block = {"architecture": "torchvision:resnet18", "arguments": {"num_classes": 7}, "seed": 3}
    spec, origin = make(tmp_path, layers="blocks", accuracy_layers=["avgpool"], **block)
    network, stored = load_network(tmp_path / "weights.safetensors", describe(**block))
    torch.manual_seed(3)
    expected = torchvision.models.resnet18(num_classes=7).state_dict()
    assert spec == stored and spec.dim == 7 and origin["torchvision"] == version("torchvision")
    for name, tensor in network.state_dict().items():
        assert_close(tensor, expected[name], rtol=0, atol=0)


def publish(monkeypatch, folder: Path, digest: str | None = None) -> dict:
    """Put ResNet-18 weights at the address of torchvision's; return them."""
    state = torchvision.models.resnet18().state_dict()
    torch.save(state, folder / "made.pth")
    digest = digest or hashlib.sha256((folder / "made.pth").read_bytes()).hexdigest()
    file = (folder / "made.pth").rename(folder / f"resnet18-{digest[:8]}.pth")
    published = torchvision.models.ResNet18_Weights.IMAGENET1K_V1.value
    monkeypatch.setattr(published, "url", file.as_uri())
    monkeypatch.setenv("TORCH_HOME", str(folder / "hub"))
    return state


@pytest.mark.parametrize("center_crop", [None, 0.875, 1.0])
def test_torchvisions_published_weights_are_loaded_and_checked(tmp_path, monkeypatch, warnings_of, center_crop):
    expected = publish(monkeypatch, tmp_path)
    block = {"architecture": "torchvision:resnet18", "weights": "IMAGENET1K_V1"}
    block["preprocessing"] = {"image_size": 64, "center_crop": center_crop}
    spec, origin = make(tmp_path, layers=["fc"], **block)
    network = load_network(tmp_path / "weights.safetensors", describe(**block))[0]
    assert origin["weights"] == "IMAGENET1K_V1"
    assert origin["sha256"] == hashlib.sha256(next(tmp_path.glob("resnet18-*.pth")).read_bytes()).hexdigest()
    assert [warning.partition(": ")[2] for warning in warnings_of()] == [
        "preprocessing.image_size is 64; the weights were published with 224",
        *(["preprocessing.center_crop is 1.0; the weights were published with 0.875"] if center_crop == 1 else []),
    ]
    assert spec.preprocessing.center_crop is None, "it says how accuracy is measured, not what the network is"
    assert_close(network.fc.weight, expected["fc.weight"], rtol=0, atol=0)
    (kept,) = (tmp_path / "hub/hub/checkpoints").iterdir()
    torch.save(torchvision.models.resnet18().state_dict(), kept)
    with pytest.raises(ValueError, match=r"resnet18-\w{8}\.pth: its SHA-256 is \w{64}, which should begin with"):
        make(tmp_path, layers=["fc"], **block)


def test_torchvisions_weights_with_another_hash_or_out_of_reach_are_refused(tmp_path, monkeypatch):
    publish(monkeypatch, tmp_path, digest=64 * "0")
    with pytest.raises(ValueError, match=r'invalid hash value .expected "00000000"'):
        make(tmp_path, architecture="torchvision:resnet18", weights="IMAGENET1K_V1")
    next(tmp_path.glob("resnet18-*.pth")).unlink()
    with pytest.raises(OSError, match=r"torchvision:resnet18: its weights cannot be downloaded .*as state_dict"):
        make(tmp_path, architecture="torchvision:resnet18", weights="IMAGENET1K_V1")


@pytest.mark.parametrize("prefix", ["", "module.", "model.", "module._orig_mod."])
@pytest.mark.parametrize("suffix", ["safetensors", "pth"])
def test_state_dict_for_one_of_ours(tmp_path, prefix, suffix):
    """A supervised network has as many outputs as the file; the hash is recorded."""
    spec = make_spec(dim=5, l2norm=False)
    network = initialize_network(spec, 7)
    state = {prefix + name: tensor for name, tensor in network.state_dict().items()}
    file = tmp_path / f"mine.{suffix}"
    save_file(state, file) if suffix == "safetensors" else torch.save({"model": state, "epoch": 3}, file)
    block = {"architecture": "alexnet_gn", "width": 1 / 32, "state_dict": str(file)}
    found, origin = make(tmp_path, layers="blocks", **block)
    assert found == spec and origin["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    views = torch.rand(2, 3, 64, 64)
    assert_close(load_network(tmp_path / "weights.safetensors")[0](views), network.eval()(views), rtol=0, atol=1e-6)
    assert make(tmp_path, **block, dim=5)[0].l2norm
    with pytest.raises(ValueError, match=rf"mine\.{suffix}: its SHA-256 is {origin['sha256']}, not 0000"):
        make(tmp_path, **block, sha256=64 * "0")


def test_networks_of_timm(tmp_path):
    block = {"architecture": "timm:vit_tiny_patch16_224", "arguments": {"num_classes": 6, "depth": 2, "img_size": 64}}
    spec, _ = make(tmp_path, layers="blocks", **block)
    network, _ = load_network(tmp_path / "weights.safetensors", describe(**block))
    assert spec.dim == 6 and len(network.blocks) == 2
    for name, message in (
        ("timm:vit_tinny_patch16_224", "did you mean .*vit_tiny_patch16_224"),
        ("timm:resnet18", "a1_in1k"),
        ("timm:resnet18.a1_in1k", r"a1_in1k names weights; write timm:resnet18, and weights: a1_in1k if"),
    ):
        with pytest.raises(ValueError, match=message):
            make(tmp_path, architecture=name, weights="nobody's")


@pytest.mark.parametrize(
    ("arguments", "weights", "message"),
    [
        (
            {"num_classes": 10},
            "a1_in1k",
            r"a1_in1k: arguments\.num_classes: the weights have 1000 .* draw 10 at random",
        ),
        ({"checkpoint_path": "a.pth"}, None, r"resnet18: arguments\.checkpoint_path: leave it out and give state_dict"),
        ({"pretrained_cfg": "a1_in1k"}, None, r"resnet18: arguments\.pretrained_cfg: leave it out and give weights"),
    ],
)
def test_arguments_by_which_timm_would_draw_or_load_weights_are_refused(tmp_path, arguments, weights, message):
    """Before anything is downloaded."""
    with pytest.raises(ValueError, match=message):
        make(tmp_path, architecture="timm:resnet18", arguments=arguments, weights=weights)


def test_weights_that_the_hub_does_not_give_are_said_to_be(monkeypatch):
    """As torchvision's: huggingface_hub's own words name neither the network nor what to do."""
    timm, errors = pytest.importorskip("timm"), pytest.importorskip("huggingface_hub.errors")

    def fail(*_, **__):
        raise errors.LocalEntryNotFoundError("cannot find the requested files")

    monkeypatch.setattr(timm, "create_model", fail)
    with pytest.raises(
        OSError, match=r"timm:resnet18: its weights cannot be downloaded .*; give a copy of the file as state"
    ):
        _build_timm("resnet18", "a1_in1k", {})
