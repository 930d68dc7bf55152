"""The paper's own configuration, every row of Table 1, on a folder of few small pictures laid out like ImageNet."""

import hashlib
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.io
import torch
import torchvision
import yaml
from test_simclr_weights import draw_simclr
from test_tf_checkpoint import write_checkpoint
from torch import nn

REPOSITORY = Path(__file__).parents[1]
pytestmark = pytest.mark.paper
N_CLASSES, N_TRAIN, N_VAL, N_STIMULI, N_PARTICIPANTS = 3, 8, 4, 72, 3
SIDE = 64
FIGURES = [f"results/figures/objects72/{name}.svg" for name in ("figure2", "figure3", "stimuli", "layers")]
FIGURES += ["results/figures/figure1/ipcl_alexnet_gn_d128_run1.svg"]


def cut_pictures(photo, folder: Path, n: int, rng: np.random.Generator) -> None:
    """Write crops of the photograph, 70 to 100 pixels a side, as JPEG."""
    folder.mkdir(parents=True)
    for i in range(n):
        width, height = (int(side) for side in rng.integers(70, 101, 2))
        left, top = int(rng.integers(photo.width - width)), int(rng.integers(photo.height - height))
        photo.crop((left, top, left + width, top + height)).save(folder / f"picture_{i:02d}.jpg", quality=90)


def write_betas(path: Path, sectors: list[str], rng: np.random.Generator) -> None:
    """Write voxel patterns of three participants that share half of their variance, in the layout of the public file."""
    cells = {}
    for sector in sectors:
        shared = rng.standard_normal((60, N_STIMULI))
        cells[sector] = np.empty(N_PARTICIPANTS, object)
        for participant in range(N_PARTICIPANTS):
            cells[sector][participant] = shared + rng.standard_normal(shared.shape)
    conditions = np.array([f"picture_{i:02d}.jpg" for i in range(N_STIMULI)], object)
    scipy.io.savemat(path, {"SECTORS": {"Betas": cells, "conditions": conditions[:, None]}})


def save_moco(path: Path) -> None:
    """Write random weights as MoCo v2's authors publish theirs."""
    network = torchvision.models.resnet50(num_classes=128)
    network.fc = nn.Sequential(nn.Linear(2048, 2048), nn.ReLU(), network.fc)
    torch.save({"state_dict": {f"module.encoder_q.{name}": w for name, w in network.state_dict().items()}}, path)


def save_simclr(path: Path, folder: Path) -> None:
    """Write random weights of a ResNet-50 x1 as SimCLR's authors publish theirs."""
    write_checkpoint(folder / "model.ckpt-225206", draw_simclr(), per_block=40)
    with zipfile.ZipFile(path, "w") as file:
        for part in sorted(folder.glob("model.ckpt-225206.*")):
            file.write(part, f"ResNet50_1x/{part.name}")


@pytest.fixture(scope="module")
def study(tmp_path_factory, photo):
    """A folder with data, weights and config.yaml: one epoch of 64-pixel views, the published rows and three controls."""
    folder = tmp_path_factory.mktemp("paper")
    rng = np.random.default_rng(0)
    for i in range(N_CLASSES):
        cut_pictures(photo, folder / f"imagenet/train/n0000000{i}", N_TRAIN, rng)
        cut_pictures(photo, folder / f"imagenet/val/n0000000{i}", N_VAL, rng)
    for split in ("train", "val"):
        (folder / f"imagenet/{split}/n00000000/broken.jpg").write_bytes(b"\xff\xd8 no picture")
    cut_pictures(photo, folder / "stimuli", N_STIMULI, rng)
    config = yaml.safe_load((REPOSITORY / "config.yaml").read_text())
    config["datasets"]["imagenet"] |= {
        "train": "imagenet/train",
        "val": "imagenet/val",
        "n_shards": 2,
        "on_corrupt": "skip",
    }
    config["brains"]["objects72"] |= {"betas": "betas.mat", "stimuli": "stimuli"}
    write_betas(folder / "betas.mat", list(config["brains"]["objects72"]["regions"].values()), rng)
    config["knn"]["k"] = 5
    config["probes"] = {"one_cycle": {"epochs": 1, "batch_size": 8}}
    for recipe in config["recipes"].values():
        recipe |= {"epochs": 1, "batch_size": 8, "accumulate": 2}
        if recipe["schedule"]["name"] == "multi_step":
            recipe["schedule"]["milestones"] = []
    published = pd.read_csv(REPOSITORY / "ipcl_core/data/published_table1.csv")["model"]
    controls = ["supervised_alexnet", "untrained_alexnet_gn_run1", "pixels"]
    config["models"] = {name: config["models"][name] for name in [*published, *controls]}
    for name, block in config["models"].items():
        block["preprocessing"] = block.get("preprocessing", {}) | {"image_size": SIDE}
        if block.get("source") == "fetched":
            path = folder / f"{name}.weights"
            if name.startswith("moco"):
                save_moco(path)
            elif name == "simclr_resnet50x1":
                save_simclr(path, folder)
            else:
                block["unavailable"] = "its size does not suit a test"
                continue
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            block["weights"] |= {"url": path.name, "hash": f"sha256:{digest}"}
    (folder / "study.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    heavy = ["train_model", "embed_images", "measure_accuracy", "extract_activations", "encode_shard", "join_shards"]
    command = [
        sys.executable,
        "-m",
        "snakemake",
        "--snakefile",
        str(REPOSITORY / "Snakefile"),
        "--cores",
        "3",
    ]  # two, and one that waits for the disk
    command += ["--configfile", "study.yaml", "--set-threads", *(f"{rule}=1" for rule in heavy), "--"]
    command += ["results/table1.csv", "results/table1.html", "results/claims.md"]
    command += FIGURES
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=1800)
    assert done.returncode == 0, re.sub(r"\n +resources:.*", "", done.stderr)[-6000:]
    return folder


def test_every_row_of_table_1_is_filled(study):
    published = pd.read_csv(REPOSITORY / "ipcl_core/data/published_table1.csv")
    table = pd.read_csv(study / "results/table1.csv")
    assert list(table["model"][: len(published)]) == list(published["model"])
    missing = table[table["origin"] == "unavailable"]
    assert list(missing["model"]) == ["simclr_resnet50x2", "simclr_resnet50x4"]
    assert (missing["reason"] == "its size does not suit a test").all()
    there = table.drop(missing.index)
    assert (there["origin"].value_counts()[["trained here", "authors' weights"]] == [24, 3]).all()
    for region in ("EarlyV", "pOTC", "aOTC"):
        assert there[f"{region}_r"].between(-1, 1).all() and there[f"{region}_layer"].notna().all()
        np.testing.assert_allclose(table[f"{region}_r_published"][: len(published)], published[region])
    assert there["top1"].between(0, 100).all() and (there["n_test"] == N_CLASSES * N_VAL).all()


def test_damaged_images_are_left_out_and_listed(study):
    for split, n in (("train", N_TRAIN), ("val", N_VAL)):
        manifest = pd.read_csv(study / f"results/data/imagenet/{split}.csv")
        refused = manifest[manifest["refused"].notna()]
        assert list(refused["path"]) == ["n00000000/broken.jpg"] and len(manifest) == N_CLASSES * n + 1
    table = pd.read_csv(study / "results/table1.csv")
    assert (table["n_test"].dropna() == N_CLASSES * N_VAL).all()


def test_figures_and_claims_are_there(study):
    for figure in FIGURES:
        assert (study / figure).read_text().rstrip().endswith("</svg>"), figure
    claims = pd.read_csv(study / "results/claims.csv")
    assert len(claims) > 10 and claims["verdict"].notna().all()
