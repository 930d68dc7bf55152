"""
Instance-prototype contrastive learning and its comparison with human visual cortex.

Konkle and Alvarez 2020, "Instance-level contrastive learning yields human brain-like representation without
category-supervision". One module per stage, in data-flow order:

    config             what may stand in a configuration file
    files, logs        files that appear whole or not at all; one log a job
    provenance, crate  what every artifact was made from, and whether it is still what was made
    downloads          packages and weights from elsewhere, by hash
    datasets, images   labelled images in folders; image files of any kind -> RGB pixels
    conversion, beton  image folders -> encoded shards -> .beton, and whether it is whole
    brains, own_brain  published brain data, and one's own -> stimuli and participants' similarity vectors
    architectures      the networks (network_files: their weights in files)
    draws, views       random crops and colours as numbers; the views themselves, in compiled code (resizing, colors)
    device_views       the same on the device that trains (triton_views: as CUDA kernels)
    loading            .beton -> batches of views
    objectives         IPCL, indexed memory, cross entropy
    training           objective + recipe -> weights (optimizers, checkpoints, collapse, distributed)
    weights            weights that others trained -> weights (tf_checkpoint)
    own_models         the user's own networks -> weights (own_networks)
    embedding          weights -> features of a labelled data set
    accuracy           features -> accuracy by every protocol (knn, probes)
    activations        weights + stimuli -> every layer's activations (layers)
    rsa                activations -> RSMs; RSMs + brain -> r, noise ceiling
    tables, table1     r of every layer and participant; Table 1
    claims             Table 1 + r of every layer -> verdicts (claim_measures)
    statistics         intervals, tests, held-out best layers, noise ceilings (inference, weighting)
    figures, explorer  figures 1 to 3 and S1 to S3; the page
    costs, nodes       what a study costs; whether a cluster's nodes can do it
    simulation         a brain whose answer is known
"""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

__version__ = "0.1.0"


def _place_caches() -> None:
    """Give compiled code a temporary folder where its own cannot be written, as on a node without home directories.

    numba keeps it beside the source, else under the user's caches, and stops where it can do neither; Triton keeps it in
    the home directory. The processes that this one starts use the same folder.
    """
    home = Path(os.path.expanduser(os.environ.get("XDG_CACHE_HOME") or "~/.cache"))  # noqa: PTH111, which may raise
    has_home = home.is_absolute() and _can_be_written(home)
    lacking = [] if has_home or _can_be_written(Path(__file__).parent / "views/__pycache__") else ["NUMBA_CACHE_DIR"]
    lacking += [] if has_home else ["TRITON_CACHE_DIR"]
    if lacking := [name for name in lacking if name not in os.environ]:
        folder = tempfile.mkdtemp(prefix="ipcl_core_")  # not one of a known name: what lies in it is run
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        os.environ.update(dict.fromkeys(lacking, folder))


def _can_be_written(folder: Path) -> bool:
    """Whether a folder is there or can be made, and takes files."""
    there = next(path for path in (folder, *folder.parents) if os.path.exists(path))  # noqa: PTH110, which may raise
    return os.access(there, os.W_OK | os.X_OK)


_place_caches()
