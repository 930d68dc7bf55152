"""
Linear probes: how well a linear classifier tells the categories from frozen features.

Two protocols. The one-cycle probe trains for ten epochs on augmented views, as the authors' released script does; the
network runs again for every view. The L-BFGS probe is fitted to the stored features of the central views.
"""

import logging
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from ..config import LBFGSProbe, OneCycleProbe, count_held_out
from ..files import read_json, write_hdf5
from ..networks.network_files import load_network
from ..networks.trials import place_network
from ..training.optimizers import build_optimizer, set_rates
from ..views.loader import ViewLoader
from .embedding import record_features

logger = logging.getLogger(__name__)

ROWS = 16384
"""Images whose logits are in memory at once."""


def fit_logistic(
    features: Tensor, labels: Tensor, rows: Tensor, *, n_classes: int, l2: float, max_iter: int
) -> tuple[Tensor, Tensor]:
    """Fit a multinomial logistic regression by L-BFGS, in float32.

    Minimises the mean cross entropy + l2 / 2 * the sum of the squared weights (not the biases), beginning at zero;
    scikit-learn's C is 1 / (n l2). Where l2 > 0 there is one minimum.

    Args:
        features: (n, d) float32.
        labels: (n,) int64 in [0, n_classes).
        rows: (m,) int64, the images that count.
        l2: strength of the penalty, >= 0.
        max_iter: iterations of L-BFGS at most.

    Returns:
        (d, n_classes) weights and (n_classes,) biases.
    """
    weight = features.new_zeros(features.shape[1], n_classes, requires_grad=True)
    bias = features.new_zeros(n_classes, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [weight, bias], max_iter=max_iter, max_eval=2 * max_iter, tolerance_grad=1e-6, line_search_fn="strong_wolfe"
    )

    def compute_loss() -> Tensor:
        optimizer.zero_grad()
        loss = l2 / 2 * weight.square().sum()
        loss.backward()
        total = loss.detach()
        for part in rows.split(ROWS):
            logits = features[part] @ weight + bias  # (ROWS, d) -> (ROWS, n_classes)
            loss = F.cross_entropy(logits, labels[part], reduction="sum") / len(rows)
            loss.backward()
            total = total + loss.detach()
        return total

    optimizer.step(compute_loss)
    return weight.detach(), bias.detach()


def fit_probe(features: Tensor, labels: Tensor, queries: Tensor, *, n_classes: int, settings: LBFGSProbe) -> Tensor:
    """Fit the L-BFGS probe to the features of the training images; return the logits of the test images.

    Each feature is brought to mean 0 and standard deviation 1 over the training images (one that is constant counts for
    nothing). Of the penalties `l2`, the one with the best top-1 accuracy on a held-out part of the training images is
    taken, the largest among equally good ones; the probe is then fitted to all training images.

    Args:
        features: (n, d) float32; overwritten.
        labels: (n,) int64 in [0, n_classes).
        queries: (m, d) float32, on the same device.
        n_classes: number of columns of the result.
        settings: `probes.l_bfgs` of the configuration.

    Returns:
        (m, n_classes) float32.

    Raises:
        ValueError: a feature is not a finite number, or there are too few images to hold some out.
    """
    n_held_out = count_held_out(settings.held_out, n := len(features))
    mean, std = features.mean(0), features.std(0, correction=0)
    if not (mean.isfinite().all() and std.isfinite().all()):
        raise ValueError("the training features hold non-finite values")
    std = torch.where(std > 1e-6 * mean.abs(), std, torch.inf)
    features.sub_(mean).div_(std)
    order = torch.randperm(n, generator=torch.Generator().manual_seed(settings.seed)).to(features.device)
    held_out, others = order[:n_held_out], order[n_held_out:]
    fit = {"n_classes": n_classes, "max_iter": settings.max_iter}
    scores = {}
    for l2 in sorted(settings.l2, reverse=True):
        weight, bias = fit_logistic(features, labels, others, l2=l2, **fit)
        hits = [(features[i] @ weight + bias).argmax(1) == labels[i] for i in held_out.split(ROWS)]
        scores[l2] = torch.cat(hits).float().mean().item()
        logger.info("L-BFGS probe, l2 %g: %.2f %% of %d held-out images", l2, 100 * scores[l2], n_held_out)
    weight, bias = fit_logistic(features, labels, order, l2=max(scores, key=scores.get), **fit)
    return (queries - mean) / std @ weight + bias


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
    torch.set_num_threads(n_threads)
    network, spec = load_network(weights, model)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    side = spec.preprocessing.image_size
    memory_format = place_network(network, device, side)
    network.requires_grad_(False)
    shared = {"batch_size": settings.batch_size, "preprocessing": spec.preprocessing, "n_threads": n_threads}
    loader = ViewLoader(betons["train"], **shared, device=device if device.type == "cuda" else None)
    n_batches = loader.n_images // settings.batch_size
    if n_batches == 0:
        raise ValueError(
            f"probes.one_cycle.batch_size: {settings.batch_size} is more than the {loader.n_images} training images"
        )
    n_classes = len(read_json(summary)["classes"])
    with record_features(network, layers, max_dim, side=side) as compute:
        with torch.no_grad():
            dims = {
                layer: found.shape[1] for layer, found in compute(torch.zeros(2, 3, side, side, device=device)).items()
            }
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            classifiers = nn.ModuleList(nn.Linear(dim, n_classes) for dim in dims.values()).to(device)
        optimizer = build_optimizer(classifiers, settings.optimizer)
        for epoch in range(settings.epochs):
            batches = loader.iterate_random(
                n_views=1, augmentation=settings.augmentation, seed=settings.seed, epoch=epoch
            )
            name = f"probes, epoch {epoch + 1}/{settings.epochs}"
            progress = tqdm(batches, total=n_batches, desc=name, unit="batch", mininterval=10)
            for step, batch in enumerate(progress, start=epoch * n_batches):
                set_rates(optimizer, settings.schedule, step=step, epochs=settings.epochs, n_batches=n_batches)
                with torch.no_grad():
                    views = batch.views[:, 0].to(device, memory_format=memory_format)  # (B, 1, 3, S, S) -> (B, 3, S, S)
                    found = compute(views)
                labels = batch.labels.to(device)
                losses = [F.cross_entropy(c(x), labels) for c, x in zip(classifiers, found.values(), strict=True)]
                sum(losses).backward()
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
            for layer, loss in zip(dims, losses, strict=True):
                if not loss.isfinite():
                    raise FloatingPointError(
                        f"{layer}: the probe's loss is {loss:g} in epoch {epoch + 1}; lower its lr"
                    )
                logger.info("probe of %s, epoch %d/%d: last loss %.4f", layer, epoch + 1, settings.epochs, loss)
        loader = ViewLoader(betons["val"], **shared)
        logits: dict[str, list[np.ndarray]] = {layer: [] for layer in dims}
        with torch.no_grad():
            for batch in loader.iterate_center(fraction=center_crop):
                found = compute(batch.views[:, 0].to(device, memory_format=memory_format))
                for classifier, (layer, features) in zip(classifiers, found.items(), strict=True):
                    logits[layer].append(classifier(features).cpu().numpy())
    with write_hdf5(probes) as file:
        file["label"] = loader.labels
        for layer, parts in logits.items():
            file[f"layers/{layer}"] = np.concatenate(parts)
        file.attrs["layers"] = list(logits)
