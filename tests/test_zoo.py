"""The paper's 28 rows and the models besides: their configuration, the sizes of all networks, the networks of others."""

import shutil
from pathlib import Path

import pandas as pd
import pytest
import torch
import torchvision
import yaml
from conftest import make_spec
from snakemake.utils import update_config
from snakemake_runs import run_snakemake
from torch import nn
from torch.nn import functional
from torch.testing import assert_close

from ipcl_core.config import load_config
from ipcl_core.networks.architectures import MaxPoolSame, NetworkSpec, build_network, initialize_network
from ipcl_core.networks.layers import choose_layers

ROOT = Path(__file__).parents[1]


def load_study(*overlays: str) -> dict:
    study = yaml.safe_load((ROOT / "config.yaml").read_text())
    for name in overlays:
        update_config(study, yaml.safe_load((ROOT / "config" / name).read_text()))
    return study


def build(**changes) -> nn.Module:
    """A network without memory for its weights."""
    with torch.device("meta"):
        return build_network(make_spec(width=1.0, **changes))


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def draw_images(n: int, side: int) -> torch.Tensor:
    return torch.rand(n, 3, side, side, generator=torch.Generator().manual_seed(0))


# ---- the configuration -----------------------------------------------------------------------------------------------


def test_the_28_rows_of_table_1_come_first_and_in_its_order():
    published = pd.read_csv(ROOT / "ipcl_core/data/published_table1.csv")
    models = load_config(load_study()).models
    assert list(models)[:28] == list(published["model"])
    for row in published.itertuples():
        model = models[row.model]
        assert (model.framework, model.architecture) == (row.framework, row.architecture)
        expected = "trained here" if row.source == "trained" else "authors' weights"
        assert model.origin == expected
        if row.framework in ("IPCL", "Wusnet", "MoCo2"):
            assert model.dim == row.dim


def test_models_besides_table_1():
    study = load_config(load_study())
    besides = dict(list(study.models.items())[28:])
    assert besides["supervised_alexnet"].origin == "trained here"
    assert besides["pixels"].origin == "untrained"
    untrained = [model for model in besides.values() if model.framework == "Untrained"]
    seeds = pd.Series([model.seed for model in untrained]).groupby([m.architecture for m in untrained]).agg(sorted)
    of_table = {model.architecture for name, model in list(study.models.items())[:28]}
    assert set(seeds.index) == of_table - {"resnet50x2", "resnet50x4"} | {"alexnet"}
    assert all(found == [1, 2, 3] for found in seeds)
    assert (
        len({(m.recipe, m.architecture, m.dim, m.seed) for m in study.models.values() if m.source == "trained"}) == 24
    )


def test_authors_weights_replace_the_training_of_alexnet_gn():
    before, after = load_config(load_study()).models, load_config(load_study("authors_weights.yaml")).models
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {f"ipcl_alexnet_gn_d128_run{i}" for i in range(1, 6)} | {"supervised_alexnet_gn"}
    added = after.keys() - before.keys()
    assert all(after[name].origin == "authors' weights" for name in changed | added)
    weights = [after[name].weights for name in changed | added]
    assert len({w.url for w in weights}) == len({w.hash for w in weights}) == 8
    assert {w.format for w in weights} == {"open_ipcl"}
    assert [after[name].preprocessing.std for name in sorted(added)] == [[0.2, 0.2, 0.2], [0.229, 0.224, 0.225]]


def test_proxies_say_so():
    models = load_config(load_study("proxy_weights.yaml")).models
    proxies = [name for name, model in models.items() if model.origin == "proxy"]
    supervised = {"supervised_cornet_z_bn", "supervised_resnet18", "supervised_resnet50"}
    assert set(proxies) == supervised | {"wusnet_resnet18_d128", "wusnet_resnet50_d128"}
    assert {models[name].weights.format for name in set(proxies) - supervised} == {"lemniscate"}
    assert models["supervised_cornet_z_bn"].architecture == "cornet_z"


def test_what_is_only_fetched_needs_no_images():
    """Every row of published weights, and what is untrained; the others stay and say why they are empty."""
    study = load_config(load_study("authors_weights.yaml", "proxy_weights.yaml", "only_fetched.yaml"))
    before = load_config(load_study("authors_weights.yaml", "proxy_weights.yaml"))
    trained = [name for name, model in before.models.items() if model.origin == "trained here"]
    assert len(trained) == 13 and not study.measured and before.measured
    assert [name for name, model in study.models.items() if model.unavailable] == trained
    assert set(study.models[trained[0]].unavailable.split(": ")) == {
        "it would be trained here, and the configuration says train",
        "false",
    }
    assert {name: model for name, model in before.models.items() if name not in trained} == study.available


# ---- sizes -----------------------------------------------------------------------------------------------------------

CORNET = (64 * 3 * 49 + 64) + (128 * 64 * 9 + 128) + (256 * 128 * 9 + 256) + (512 * 256 * 9 + 512)
RESNET18, RESNET50 = 11_689_512 - 513_000, 25_557_032 - 2_049_000  # torchvision's figures without their last layers


def count_simclr(w: int) -> int:
    """Convolutions without bias, two numbers a channel for BatchNorm; by the table of He et al. 2016, w times as wide."""
    total, c_in = 49 * 3 * 64 * w + 2 * 64 * w, 64 * w
    for c, n_blocks in ((64 * w, 3), (128 * w, 4), (256 * w, 6), (512 * w, 3)):
        total += c_in * 4 * c + 8 * c
        for _ in range(n_blocks):
            total += c_in * c + 9 * c * c + 4 * c * c + 2 * c + 2 * c + 8 * c
            c_in = 4 * c
    return total


@pytest.mark.parametrize(
    "architecture,dim,head,expected",
    [
        ("alexnet_gn", 128, "linear", 58_823_520),  # by hand in test_architectures
        ("alexnet_bn", 256, "linear", 58_823_520 + 128 * 4097),
        ("alexnet", 1000, "linear", 60_965_224),  # Krizhevsky et al. 2012: 60 million; the sum of its layers
        ("cornet_z_bn", 1000, "linear", CORNET + 2 * 960 + 513_000),
        ("cornet_z", 1000, "linear", CORNET + 513_000),
        ("resnet18", 128, "linear", RESNET18 + 513 * 128),
        ("resnet18", 1000, "linear", 11_689_512),
        ("resnet50", 128, "linear", RESNET50 + 2049 * 128),
        ("resnet50", 1000, "linear", 25_557_032),
        ("resnet50", 128, "mlp", RESNET50 + 2049 * 2048 + 2049 * 128),
        ("resnet50x1", 2048, "linear", RESNET50),
        ("resnet50x2", 4096, "linear", count_simclr(2)),
        ("resnet50x4", 8192, "linear", count_simclr(4)),
        ("efficientnet_lite0", 1000, "linear", 4_652_008),
        ("pixels", 3072, "linear", 0),
    ],
)
def test_parameters_of_every_architecture(architecture, dim, head, expected):
    assert count(build(architecture=architecture, dim=dim, head=head)) == expected


def test_published_sizes_of_simclr():
    """24, 94 and 375 million (Chen et al. 2020, figure 1)."""
    assert [round(count_simclr(w) / 1e6) for w in (1, 2, 4)] == [24, 94, 375]


# ---- the original AlexNet --------------------------------------------------------------------------------------------


def test_original_alexnet_by_its_equations():
    """Two-group convolutions as two convolutions; response normalisation by the sum of section 3.3 of Krizhevsky et al."""
    network = initialize_network(make_spec(architecture="alexnet", width=1 / 16, l2norm=False), 0).eval()
    for parameter in network.parameters():  # larger than the initial ones, so that normalisation matters
        nn.init.normal_(parameter, std=0.3, generator=torch.Generator().manual_seed(parameter.numel()))
    w = dict(network.named_parameters())
    images = draw_images(2, 96)

    def normalize(x: torch.Tensor) -> torch.Tensor:
        y = torch.empty_like(x)
        for i in range(x.shape[1]):
            near = x[:, max(0, i - 2) : i + 3]
            y[:, i] = x[:, i] / (2 + 1e-4 * near.square().sum(1)) ** 0.75
        return y

    x = images * 50
    for i, (stride, padding, groups) in enumerate([(4, 2, 1), (1, 2, 2), (1, 1, 1), (1, 1, 2), (1, 1, 2)], 1):
        weight, bias = w[f"conv_block_{i}.0.weight"], w[f"conv_block_{i}.0.bias"]
        halves = zip(x.chunk(groups, 1), weight.chunk(groups), bias.chunk(groups), strict=True)
        x = torch.cat([functional.conv2d(part, *weights, stride, padding) for part, *weights in halves], 1).clamp(min=0)
        x = normalize(x) if i <= 2 else x
        x = functional.max_pool2d(x, 3, 2) if i in (1, 2, 5) else x
    x = functional.adaptive_avg_pool2d(x, 6).flatten(1)
    for name in ("fc6", "fc7", "fc8"):
        x = x @ w[f"{name}.0.weight"].T + w[f"{name}.0.bias"]
        x = x.clamp(min=0) if name != "fc8" else x
    with torch.inference_mode():
        assert_close(network(images * 50), x, rtol=1e-4, atol=1e-4 * x.abs().max().item())


def test_original_alexnet_starts_as_published():
    state = initialize_network(make_spec(architecture="alexnet", width=1 / 4), 0).state_dict()
    biases = {name: tensor.unique().tolist() for name, tensor in state.items() if name.endswith("bias")}
    ones = {f"conv_block_{i}.0.bias" for i in (2, 4, 5)} | {"fc6.0.bias", "fc7.0.bias"}
    assert biases == {name: [1.0 if name in ones else 0.0] for name in biases}
    for name in ("conv_block_3.0.weight", "fc7.0.weight"):
        assert_close(state[name].std().item(), 0.01, rtol=0.02, atol=0)


def test_original_alexnet_at_224_pixels():
    network, shapes = build(architecture="alexnet", dim=1000), {}
    for name, module in network.named_children():
        module.register_forward_hook(lambda m, args, y, name=name: shapes.update({name: tuple(y.shape[1:])}))
    network(torch.empty(1, 3, 224, 224, device="meta"))
    assert shapes["conv_block_1"] == (96, 27, 27) and shapes["conv_block_2"] == (256, 13, 13)
    assert shapes["conv_block_5"] == shapes["ave_pool"] == (256, 6, 6)


# ---- ResNets ---------------------------------------------------------------------------------------------------------


def test_simclr_x1_equals_torchvision_where_both_pool_alike():
    """At an odd side SAME padding is (1, 1), as in torchvision; at an even one (0, 1), which gives other features."""
    theirs = torchvision.models.resnet50().eval()
    theirs.fc = nn.Identity()
    ours = build_network(make_spec(architecture="resnet50x1", dim=2048, l2norm=False)).eval()
    ours.load_state_dict(theirs.state_dict())
    with torch.inference_mode():
        odd, even = draw_images(1, 65), draw_images(1, 64)  # the stem gives 33 and 32 pixels
        assert_close(ours(odd), theirs(odd), rtol=0, atol=0)
        assert not torch.allclose(ours(even), theirs(even), rtol=0.01)


@pytest.mark.parametrize("side", [5, 6, 7, 8])
def test_max_pool_same_by_hand(side):
    """The i-th window begins at 2 i - padding before, which is 0 at even sides and 1 at odd ones."""
    x = draw_images(1, side)
    before = side % 2
    rows = [slice(max(2 * i - before, 0), 2 * i - before + 3) for i in range((side + 1) // 2)]
    expected = torch.stack([torch.stack([x[0, :, a, b].amax((1, 2)) for b in rows], 1) for a in rows], 1)
    assert_close(MaxPoolSame(3, 2)(x)[0], expected, rtol=0, atol=0)


def test_mlp_head_has_a_hidden_layer():
    network = build_network(make_spec(architecture="resnet18", dim=8, head="mlp")).eval()
    fc, images = network.resnet.fc, draw_images(2, 64)
    seen = {}
    network.resnet.avgpool.register_forward_hook(lambda m, args, y: seen.update(x=y.flatten(1)))
    with torch.inference_mode():
        output = network(images)
        hidden = (seen["x"] @ fc[0].weight.T + fc[0].bias).clamp(min=0)
        assert_close(output, functional.normalize(hidden @ fc[2].weight.T + fc[2].bias), rtol=1e-5, atol=1e-6)


# ---- pixels ----------------------------------------------------------------------------------------------------------


def test_pixels_are_the_image_and_its_average():
    network, images = build_network(make_spec(architecture="pixels", dim=12)), draw_images(2, 8)
    expected = images.reshape(2, 3, 2, 4, 2, 4).mean((3, 5)).flatten(1)
    assert_close(network(images), expected, rtol=1e-6, atol=1e-7)
    assert list(choose_layers(network)) == ["image", "pool"]


def test_specification_says_whether_the_output_is_normalised():
    def spec(name: str) -> NetworkSpec:
        return NetworkSpec.from_model(load_config(load_study()).model_dump()["models"][name], n_classes=1000)

    assert not spec("simclr_resnet50x2").l2norm and spec("simclr_resnet50x2").dim == 4096
    assert spec("mocov2_resnet50_ep800").l2norm and spec("mocov2_resnet50_ep800").head == "mlp"
    assert not spec("pixels").l2norm and not spec("supervised_alexnet").l2norm
    assert spec("untrained_cornet_z_bn_run1").l2norm


# ---- the workflow ----------------------------------------------------------------------------------------------------


@pytest.fixture
def study(tmp_path):
    """A copy of the workflow with the demo's data, one model from a file and one that is unavailable."""
    network = initialize_network(make_spec(), 0)
    torch.save(
        {"state_dict": {f"module.{name}": w for name, w in network.state_dict().items()}}, tmp_path / "released.pth.tar"
    )
    config = yaml.safe_load((ROOT / "config/demo.yaml").read_text())
    config["pathvars"] = {"results": "results", "logs": "logs", "benchmarks": "benchmarks"}
    base = {"framework": "IPCL", "architecture": "alexnet_gn", "dim": 8, "width": 1 / 32, "dataset": "twemoji"}
    base |= {"recipe": "ipcl", "preprocessing": {"image_size": 64}}
    weights = {"url": "released.pth.tar", "format": "open_ipcl", "origin": "authors' weights"}
    config["models"] = {"released": base | {"weights": weights}, "lost": base | {"unavailable": "no copy is left"}}
    config["figure2_models"] = ["released", "lost"]
    for part in ("rules", "workflow_scripts", "ipcl_core", "envs"):
        shutil.copytree(ROOT / part, tmp_path / "workflow" / part)
    shutil.copy2(ROOT / "Snakefile", tmp_path / "workflow")
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(config))
    return tmp_path


def run(folder: Path, *arguments: str, ok: bool = True) -> str:
    configs = sorted((path.name for path in folder.glob("*.yaml")), reverse=True)
    command = ["--snakefile", "workflow/Snakefile", "--cores", "1", *arguments, "--configfile", *configs]
    code, said = run_snakemake(folder, *command)
    assert (code == 0) == ok, said[-4000:]
    return said


@pytest.mark.workflow
def test_weights_of_others_in_the_workflow(study):
    """Without a hash the file is kept and its SHA-256 told; with it the kept file is taken; an unavailable row has no jobs."""
    said = run(study, "--dry-run", "results/table1.csv")
    assert "results/models/released/weights.safetensors" in said and "models/lost/" not in said
    weights = "results/models/released/weights.safetensors"
    said = run(study, weights, ok=False)
    sha256 = said.split("hash: sha256:")[1][:64]
    (study / "released.pth.tar").write_bytes(b"changed")  # it is not read again
    pinned = {"models": {"released": {"weights": {"hash": f"sha256:{sha256}"}}}}
    (study / "pinned.yaml").write_text(yaml.safe_dump(pinned))
    run(study, weights)
    provenance = yaml.safe_load((study / "results/models/released/provenance.json").read_text())
    assert provenance["origin"]["sha256"] == sha256 and provenance["network"]["dim"] == 8
