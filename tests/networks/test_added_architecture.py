"""An architecture is added by one entry: the configuration takes it, it is trained, and Table 1 prints it."""

import inspect
import pkgutil

import pytest
import torch
import yaml
from configurations import change, explain
from torch import nn
from torch.testing import assert_close

from ipcl_core.config import load_config
from ipcl_core.config.architectures import ARCHITECTURES, FORMATS, Architecture
from ipcl_core.costs import main
from ipcl_core.networks.architectures import NetworkSpec, Normalize, initialize_network
from ipcl_core.networks.network_files import load_network
from ipcl_core.networks.published_weights import RENAMES
from ipcl_core.report.table1 import make_table1, print_table1
from ipcl_core.rsa.noise_ceiling import SPLIT_HALF
from ipcl_core.training.train import train_network


class OneConvolution(nn.Module):
    """A convolution, its mean over the picture, a linear layer."""

    def __init__(self, dim: int, *, l2norm: bool, width: float, kernel: int):
        super().__init__()
        channels = round(8 * width)
        self.conv = nn.Conv2d(3, channels, kernel, stride=4)
        self.fc = nn.Linear(channels, dim)
        self.norm = Normalize() if l2norm else nn.Identity()

    def forward(self, x):
        return self.norm(self.fc(self.conv(x).relu().mean((2, 3))))


@pytest.fixture
def one_convolution(monkeypatch):
    entry = Architecture(
        printed="OneConv-7",
        builder=f"{__name__}:OneConvolution",
        arguments={"kernel": 7},
        takes=("dim", "l2norm", "width"),
        smallest=20,
        family="alexnet_gn",
        speed=100.0,
    )
    monkeypatch.setitem(ARCHITECTURES, "one_convolution", entry)


def test_added_architecture_is_trained_and_printed(one_convolution, raw_split, tmp_path):
    raw = change("models.first.architecture", "one_convolution")
    raw["models"]["first"] |= {"width": 0.5, "dim": 6}
    raw["recipes"]["ipcl"] |= {"epochs": 1, "batch_size": 4, "accumulate": 1}
    raw["recipes"]["ipcl"]["objective"] |= {"n_views": 2, "queue_size": 8}
    study = load_config(raw)
    model = study.model_dump()["models"]["first"]
    spec = NetworkSpec.from_model(model)
    expected = initialize_network(spec, model["seed"])
    assert expected.conv.weight.shape == (4, 3, 7, 7) and expected.fc.out_features == 6
    files = {name: tmp_path / name for name in ("weights", "log", "provenance")}
    recipe = study.recipes["ipcl"]
    train_network(spec, recipe, seed=0, beton=raw_split.beton, data_sha256="x", n_threads=1, **files)
    network, found = load_network(files["weights"], model)
    assert found == spec and isinstance(network, OneConvolution)
    assert not torch.equal(network.conv.weight, expected.conv.weight)
    output = network.eval()(torch.randn(2, 3, 64, 64))
    assert_close(output.norm(dim=1), torch.ones(2), rtol=1e-5, atol=0)

    accuracy, fits, ceilings = tmp_path / "accuracy.csv", tmp_path / "fits.csv", tmp_path / "ceilings.csv"
    accuracy.write_text(
        "dataset,model,protocol,layer,top1,top5,k,tau,n_bank,n_query,headline\n"
        "pictures,first,weighted kNN,output,40,80,5,0.07,90,9,True\n"
    )
    fits.write_text("brain,model,region,layer,layer_index,participant,r,n_pairs\none,first,IT,conv,0,group,0.25,28\n")
    ceilings.write_text(f"brain,distance,region,kind,r,n_participants,note\none,correlation,IT,{SPLIT_HALF},0.5,4,\n")
    make_table1(
        {"first": study.models["first"]},
        {"one": study.brains["objects92"]},
        tmp_path / "table1.csv",
        accuracies=[accuracy],
        fits=[fits],
        ceilings=[ceilings],
    )
    print_table1(tmp_path / "table1.csv", {"one": "One"}, tex=tmp_path / "a.tex", page=tmp_path / "a.html")
    assert (
        "OneConv-7 x0.5" in (tmp_path / "a.html").read_text() and "OneConv-7 x0.5" in (tmp_path / "a.tex").read_text()
    )


def test_added_architecture_is_checked_and_counted(one_convolution, tmp_path, capsys):
    study = change("models.first.architecture", "one_convolution")
    study["models"]["first"]["preprocessing"] = {"image_size": 19}
    assert "image_size: one_convolution needs 20 pixels or more, not 19" in explain(study)
    study["models"]["first"] |= {"preprocessing": {"image_size": 224}, "head": "mlp"}
    assert "models.first.head: leave it out" in explain(study)
    study["models"]["first"] |= {"head": "linear"}
    study["models"] = {"first": study["models"]["first"]}
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(study))
    main([str(tmp_path / "study.yaml"), "--images", "1000", "100"])
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| first")]
    hours = 1000 * 100 * 5 / 100 / 3600  # images, epochs, views, views a second
    assert f"| {hours:.1f} |" in line and line.endswith("stated, one_convolution |")


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_entry_says_what_its_builder_takes(name):
    entry = ARCHITECTURES[name]
    parameters = inspect.signature(pkgutil.resolve_name(entry.builder)).parameters
    configured = {"dim", "l2norm", "width", "head"} & set(parameters)
    assert set(entry.arguments) | set(entry.takes) == set(entry.arguments) | configured == set(parameters)
    assert not set(entry.arguments) & set(entry.takes)
    assert entry.family is None or entry.family in ARCHITECTURES
    assert isinstance(entry.speed, (int, float)) or entry.speed in ARCHITECTURES


def test_formats_are_those_that_are_converted():
    assert set(FORMATS) == {*RENAMES, "simclr_tf"}
