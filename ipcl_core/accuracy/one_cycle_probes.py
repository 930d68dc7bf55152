"""
The one-cycle probe: a linear classifier that trains for ten epochs on augmented views, as the authors' released script does;
the frozen network runs again for every view.
"""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from ..config import OneCycleProbe
from ..files import read_json, write_hdf5
from ..networks.network_files import load_network
from ..networks.trials import place_network
from ..training.optimizers import build_optimizer, set_rates
from .embedding import record_features

if TYPE_CHECKING:
    from ..views.loader import ViewLoader

logger = logging.getLogger(__name__)


def train_one_cycle_probes(
    weights: str | Path,
    betons: dict[str, str | Path],
    summary: str | Path,
    probes: str | Path,
    *,
    layers: list[str],
    center_crop: float,
    max_dim: int | None,
    settings: OneCycleProbe,
    n_threads: int,
    model: dict | None = None,
) -> None:
    """Train one linear classifier a layer on augmented views, all in the same passes, and write their logits.

    The network stays as it is, in evaluation mode. Nothing is saved on the way: an interrupted training begins anew.

    Args:
        weights: safetensors file of `network_files.save_network`.
        betons: .beton files of the splits train and val.
        summary: JSON of the training split, for the number of classes.
        probes: HDF5 file to write: `label` (n,) and `layers/<layer>` (n, n_classes) float32 for the validation split's
            central views; attribute `layers`, that of Table 1 first.
        layers, max_dim: see `embedding.record_features`.
        center_crop: of the validation images, side of the central square as a share of the shortest side.
        settings: `probes.one_cycle` of the configuration.
        n_threads: processor threads.
        model: its block of the configuration, see `network_files.load_network`.

    Raises:
        ValueError: the batch is larger than the data set; the network has no such layer.
        FloatingPointError: a loss is not a finite number.

    Source: the released code (open_ipcl, main_lincls_onecycle.py); docs/deviations.md.
    """
    from ..views.loader import ViewLoader  # here, because it needs FFCV

    torch.set_num_threads(n_threads)
    network, spec = load_network(weights, model)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    side = spec.preprocessing.image_size
    memory_format = place_network(network, device, side)
    network.requires_grad_(False)
    shared = {"batch_size": settings.batch_size, "preprocessing": spec.preprocessing, "n_threads": n_threads}
    loader = ViewLoader(betons["train"], **shared, device=device if device.type == "cuda" else None)
    if settings.batch_size > loader.n_images:
        raise ValueError(
            f"probes.one_cycle.batch_size: {settings.batch_size} is more than the {loader.n_images} training images"
        )
    n_classes = len(read_json(summary)["classes"])
    with record_features(network, layers, max_dim, side=side) as record, torch.no_grad():

        def compute(views: Tensor) -> dict[str, Tensor]:
            return record(views[:, 0].to(device, memory_format=memory_format))  # (B, 1, 3, S, S) -> (B, d) each

        dims = {layer: found.shape[1] for layer, found in compute(torch.zeros(2, 1, 3, side, side)).items()}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            classifiers = nn.ModuleList(nn.Linear(dim, n_classes) for dim in dims.values()).to(device)
        _train_classifiers(classifiers, compute, loader, settings)
        loader = ViewLoader(betons["val"], **shared)
        logits: dict[str, list[np.ndarray]] = {layer: [] for layer in dims}
        for batch in loader.iterate_center(fraction=center_crop):
            for classifier, (layer, features) in zip(classifiers, compute(batch.views).items(), strict=True):
                logits[layer].append(classifier(features).cpu().numpy())
    with write_hdf5(probes) as file:
        file["label"] = loader.labels
        for layer, parts in logits.items():
            file[f"layers/{layer}"] = np.concatenate(parts)
        file.attrs["layers"] = list(logits)


def _train_classifiers(
    classifiers: nn.ModuleList,
    compute: Callable[[Tensor], dict[str, Tensor]],
    loader: "ViewLoader",
    settings: OneCycleProbe,
) -> None:
    """Train one classifier a layer, all on the same views.

    Args:
        classifiers: in the order of the layers that `compute` returns.
        compute: (B, 1, 3, S, S) views -> layer -> (B, d) features.
        loader: of the training images.
        settings: see `train_one_cycle_probes`.

    Raises:
        FloatingPointError: a loss is not a finite number.
    """
    optimizer, n_batches = build_optimizer(classifiers, settings.optimizer), loader.n_images // settings.batch_size
    for epoch in range(settings.epochs):
        batches = loader.iterate_random(n_views=1, augmentation=settings.augmentation, seed=settings.seed, epoch=epoch)
        name = f"probes, epoch {epoch + 1}/{settings.epochs}"
        progress = tqdm(batches, total=n_batches, desc=name, unit="batch", mininterval=10)
        for step, batch in enumerate(progress, start=epoch * n_batches):
            set_rates(optimizer, settings.schedule, step=step, epochs=settings.epochs, n_batches=n_batches)
            found = compute(batch.views)
            labels = batch.labels.to(next(classifiers.parameters()).device)
            with torch.enable_grad():
                losses = [F.cross_entropy(c(x), labels) for c, x in zip(classifiers, found.values(), strict=True)]
                sum(losses).backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        for layer, loss in zip(found, losses, strict=True):
            if not loss.isfinite():
                raise FloatingPointError(f"{layer}: the probe's loss is {loss:g} in epoch {epoch + 1}; lower its lr")
            logger.info("probe of %s, epoch %d/%d: last loss %.4f", layer, epoch + 1, settings.epochs, loss)
