"""What is fetched from addresses, through to Table 1: nothing is trained, and no labelled images are there."""

import hashlib
import io
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.io
import torch
import yaml
from conftest import make_spec
from snakemake.utils import update_config
from snakemake_runs import count_jobs

from ipcl_core.images.decoding import list_stimuli
from ipcl_core.networks.architectures import build_network

REPOSITORY = Path(__file__).parents[1]
GOLDEN = REPOSITORY / "tests/golden/litdata"
pytestmark = pytest.mark.workflow


def test_profile_needs_no_images_and_no_training():
    """The README's line, as it plans its jobs."""
    command = [sys.executable, "-m", "snakemake", "--dry-run", "--quiet", "rules", "--profile", "profiles/fetched"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    jobs = count_jobs(done.stdout + done.stderr)
    assert (jobs["fetch_weights"], jobs["fetch_betas"], jobs["fetch_stimuli"], jobs["explorer"]) == (18, 1, 1, 1)
    assert not {"list_images", "encode_shard", "train_model", "embed_images", "train_probes", "figure1"} & set(jobs)


def make_betas() -> bytes:
    """The struct SECTORS of three participants and the three pictures of the golden set."""
    rng = np.random.default_rng(0)
    cells = np.empty((1, 3), object)
    cells[0, :] = list(rng.standard_normal((3, 20, 3)))
    conditions = np.array([["mug"], ["bike (Red)"], ["Apple"]], object)  # other spellings, in another order
    file = io.BytesIO()
    scipy.io.savemat(file, {"SECTORS": {"Betas": {"EarlyV": cells}, "conditions": conditions}})
    return file.getvalue()


def make_weights() -> bytes:
    """A narrow AlexNet-gn as the authors release theirs."""
    network, file = build_network(make_spec()), io.BytesIO()
    torch.save({"state_dict": {f"module.{key}": value for key, value in network.state_dict().items()}}, file)
    return file.getvalue()


@pytest.fixture
def study(tmp_path, site) -> dict:
    """config.yaml cut down to three networks, with the overlay of the README, and all addresses on this machine."""
    site.files |= {"/betas.mat": make_betas(), "/weights.pth": make_weights()}
    config = yaml.safe_load((REPOSITORY / "config.yaml").read_text())
    update_config(config, yaml.safe_load((REPOSITORY / "config/only_fetched.yaml").read_text()))
    names = ("ipcl_alexnet_gn_d128_run3", "wusnet_alexnet_gn_d128", "pixels")
    config["models"] = {name: config["models"][name] for name in names}
    for block in config["models"].values():
        block["preprocessing"] = {"image_size": 64}
    weights = {"url": f"{site.url}/weights.pth", "hash": None, "format": "open_ipcl", "origin": "authors' weights"}
    config["models"]["ipcl_alexnet_gn_d128_run3"] |= {"weights": weights, "dim": 8, "width": 1 / 32}
    config["figure2_models"] = ["ipcl_alexnet_gn_d128_run3"]
    config["brains"]["objects72"] |= {
        "betas": f"{site.url}/betas.mat",
        "stimuli": site.serve(GOLDEN / "pil", "stimuli"),
        "regions": {"EarlyV": "EarlyV"},
    }
    return config


def run(folder: Path, config: dict, target: str, *options: str) -> subprocess.CompletedProcess:
    (folder / "study.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(REPOSITORY / "Snakefile"), "--cores", "2"]
    command += ["--keep-going", "--configfile", "study.yaml", *options, "--", target]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=900)


def test_study_fetches_itself(study, site, tmp_path):
    """First the downloads ask for their hashes, and one breaks; then all is made."""
    site.faults["/stimuli/chunk-0-1.bin"] = "cut"
    done = run(tmp_path, study, "fetch_all")
    assert done.returncode == 1
    hashes = dict(re.findall(r"write `(\w+): (sha256:\w{64})`", done.stderr))
    assert set(hashes) == {"betas_hash", "hash"} and "chunk-0-1.bin: the connection ended after" in done.stderr
    del site.faults["/stimuli/chunk-0-1.bin"]
    sums = "".join(
        f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in sorted((GOLDEN / "pil").iterdir())
    )
    study["brains"]["objects72"] |= {
        "betas_hash": hashes["betas_hash"],
        "stimuli_hash": f"sha256:{hashlib.sha256(sums.encode()).hexdigest()}",
    }
    study["models"]["ipcl_alexnet_gn_d128_run3"]["weights"]["hash"] = hashes["hash"]
    done = run(tmp_path, study, "results/fetched/table1.csv")
    assert done.returncode == 0, done.stderr[-6000:]
    assert site.asked.count(("/betas.mat", None)) == site.asked.count(("/weights.pth", None)) == 1

    results = tmp_path / "results/fetched"
    assert not (results / "data").exists()
    table = pd.read_csv(results / "table1.csv", index_col="model")
    assert list(table["origin"]) == ["authors' weights", "unavailable", "untrained"]
    assert table.at["wusnet_alexnet_gn_d128", "reason"].endswith("the configuration says train: false")
    there = table.drop("wusnet_alexnet_gn_d128")
    assert there["top1"].isna().all() and there["EarlyV_r"].between(-1, 1).all()
    assert (there["top1_protocol"] == "not measured (the configuration says accuracy: false)").all()
    assert table.loc[["ipcl_alexnet_gn_d128_run3"], ["top1_published", "EarlyV_r_published"]].notna().all(axis=None)
    assert list(list_stimuli(results / "brain/objects72/stimuli")) == ["01_mug", "02_bike_Red_", "03_Apple"]
    log = (tmp_path / "logs/fetched/brain/objects72.log").read_text()
    assert "condition bike (Red) is picture Bike (red)" in log and "condition Apple is picture apple" in log

    # of a file that is there: the largest size, and its hash in other words
    brain, weights = study["brains"]["objects72"], study["models"]["ipcl_alexnet_gn_d128_run3"]["weights"]
    brain["max_mb"], weights["max_mb"], weights["hash"] = 3, 4, hashes["hash"][:20]
    done = run(tmp_path, study, "results/fetched/rsa/objects72/ipcl_alexnet_gn_d128_run3.csv", "--dry-run")
    assert "Nothing to be done" in done.stdout + done.stderr
    brain["left_out"], weights["hash"] = [3], f"md5:{0:08}"
    done = run(tmp_path, study, "results/fetched/rsa/objects72/ipcl_alexnet_gn_d128_run3.csv", "--dry-run")
    jobs = count_jobs(done.stdout + done.stderr)
    assert jobs["import_magri_konkle_2019"] == jobs["fetch_weights"] == 1
    assert not {"fetch_betas", "fetch_stimuli"} & set(jobs)
