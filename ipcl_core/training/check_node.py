"""
Whether a node can do what the workflow will ask of it, in about a minute: a small training from pictures to weights.
"""

import logging
import shutil
import socket
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import torch
from PIL import Image

from ..config import Preprocessing, Recipe
from ..files import write_json
from ..images.beton import write_beton
from ..images.decoding import encode_images
from ..images.scratch import copy_to_scratch
from ..networks.architectures import NetworkSpec
from .train import train_network

log = logging.getLogger(__name__)
N_PICTURES, SIDE = 64, 96
RECIPE = {
    "objective": {"name": "ipcl", "n_views": 5, "queue_size": 256},
    "epochs": 2,
    "batch_size": 16,
    "optimizer": {"name": "sgd", "lr": 0.03},
    "schedule": {"name": "one_cycle"},
}


def check_node(token: str | Path, report: str | Path, *, gpu: bool, scratch: str | None, n_threads: int) -> None:
    """Convert noise to a .beton file, train a small network on it, and write what was found.

    Args:
        token: file that a job on another node wrote: that node's name.
        report: JSON to write: nodes, device, free disk space in GB, seconds and views a second.
        gpu: whether the job asked for a GPU.
        scratch: folder on the node's own disk, or None.
        n_threads: that load images.

    Raises:
        RuntimeError: the job asked for a GPU and PyTorch sees none, or is built without CUDA.
    """
    node, start = socket.gethostname(), time.monotonic()
    if gpu and torch.version.cuda is None:
        raise RuntimeError(
            f"{node}: the job asked for a GPU, and this PyTorch {torch.__version__} is built for processors alone: conda "
            "chose it on a machine without an NVIDIA driver. Remove the environment (snakemake --list-conda-envs) and make it "
            "again with CONDA_OVERRIDE_CUDA=12.9, or the version that nvidia-smi prints on the node (docs/cluster.md)"
        )
    if gpu and not torch.cuda.is_available():
        raise RuntimeError(
            f"{node}: the job asked for a GPU, and PyTorch {torch.__version__} sees none. Look at the partition in "
            "slurm/config.yaml and at nvidia-smi on the node"
        )
    with TemporaryDirectory(dir=Path(report).parent) as folder:
        beton, sha256 = _convert_noise(Path(folder))
        train_network(
            NetworkSpec(
                architecture="alexnet_gn", dim=128, l2norm=True, width=0.25, preprocessing=Preprocessing(image_size=64)
            ),
            Recipe.model_validate(RECIPE),
            seed=0,
            beton=copy_to_scratch(beton, scratch),
            data_sha256=sha256,
            weights=beton.with_name("weights.safetensors"),
            log=beton.with_name("log.csv"),
            provenance=beton.with_name("provenance.json"),
            n_threads=n_threads,
        )
        speed = float(pd.read_csv(beton.with_name("log.csv"))["images_per_s"].iloc[-1])
    found = {
        "token_written_on": Path(token).read_text(encoding="utf-8").strip(),
        "node": node,
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU",
        "results_free_gb": shutil.disk_usage(Path(report).parent).free / 1e9,
        "scratch_free_gb": shutil.disk_usage(scratch).free / 1e9 if scratch else None,
        "views_per_second": speed * RECIPE["objective"]["n_views"],
        "seconds": time.monotonic() - start,
    }
    log.info("%s", found)
    write_json(found, report)


def _convert_noise(folder: Path) -> tuple[Path, str]:
    """Write pictures of noise as a .beton file with its summary; return its path and SHA-256."""
    rng = np.random.default_rng(0)
    paths = [folder / f"{i}.png" for i in range(N_PICTURES)]
    for path in paths:
        Image.fromarray(rng.integers(0, 256, (SIDE, SIDE, 3), np.uint8)).save(path)
    encoded = encode_images(paths, shortest_side=None, write_mode="jpg", jpeg_quality=90)
    rows = [(i % 2, image.jpeg, image.height, image.width, len(image.stored)) for i, image in enumerate(encoded)]
    images = pd.DataFrame(rows, columns=["label", "jpeg", "height", "width", "n_bytes"])
    hashes = write_beton(folder / "noise.beton", images, (image.stored for image in encoded))
    write_json(hashes, folder / "noise.json")
    return folder / "noise.beton", hashes["sha256"]
