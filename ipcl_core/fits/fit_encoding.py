"""
Every layer's prediction of every voxel on held-out stimuli, and veRSA: docs/encoding.md.
"""

import logging
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..brains.folds import divide_stimuli
from ..brains.store import read_brain, read_folds, read_patterns
from ..encoding.ceilings import find_least_ceiling, measure_explainable, measure_split_half
from ..encoding.features import find_equal, make_kernel
from ..encoding.ridge import Fold, choose_device, fit_fold, measure_spread
from ..encoding.scores import compare_fold, find_constant, find_r2, make_rsv
from ..files import open_hdf5, write_csv
from ..rsa.similarity import correlate
from .held_out_layers import HeldOutLayers, Target
from .rsms import list_conditions

logger = logging.getLogger(__name__)

ENCODING_COLUMNS = [
    "brain", "model", "region", "layer", "layer_index", "participant", "median_r", "mean_r", "median_r2", "mean_r2",
    "median_r_share", "median_r2_share", "ceiling", "ceiling_split_half", "versa_r", "train_r2", "n_voxels", "n_left_out",
    "n_held_out", "note",
]  # fmt: skip
MIN_VOXELS = 3
"""Fewest voxels of a participant in a region: two patterns of two voxels correlate by 1 or -1."""
File = str | Path


def fit_encoding(
    activations: File, brain: File, scores: File, predictions: File, *, brain_name: str, model: str,
    folds: File | None, n_folds: int, penalties: list[float], min_ceiling: float, standardize: bool,
    projection: float | None, n_splits: int, seed: int,
) -> None:  # fmt: skip
    """Write how well every layer predicts the voxels of every region on held-out stimuli.

    Args:
        activations: HDF5 file of `extract_activations`.
        brain: HDF5 file of `store.write_brain` with voxel patterns.
        scores: CSV to write, one row a region, layer and participant, and one of their "group" (ENCODING_COLUMNS).
        predictions: HDF5 file to write, layout: `HeldOutLayers.write`.
        brain_name, model: names of the brain data set and of the model.
        folds: see `config.OwnBrain`; None: those of the brain, where it has some. The others: see `config.Encoding`.

    Raises:
        ValueError: the stimuli of the model and of the brain differ; the brain has no voxel patterns, or a participant no
            voxel that is kept; `divide_stimuli`; two stimuli that share a picture are not in the same fold.
    """
    stimuli, held_out, targets = prepare_brain(
        brain, folds, n_folds=n_folds, min_ceiling=min_ceiling, n_splits=n_splits, seed=seed
    )
    responses = torch.cat([target.responses for target in targets], 1)
    for target in targets:  # what they hold is held once
        target.responses = responses[:, target.columns]
    best, rows = HeldOutLayers(targets, held_out), []
    with open_hdf5(activations) as file:
        shown, options = list_conditions(file), {"standardize": standardize, "projection": projection, "seed": seed}
        if list(shown) != stimuli:
            raise ValueError(
                f"{activations}: made with {len(shown)} stimuli that are not the {len(stimuli)} of {brain}"
            )
        layers = list(file.attrs["layers"])
        refuse_repeats(file, held_out)
        for index, layer in enumerate(layers):
            fits = _fit_layer(file, layer, responses, held_out, penalties, options)
            table = _judge_layer(fits, responses, held_out, targets, best, layer)
            rows.append(table.assign(layer=layer, layer_index=index))
            logger.info("%s: layer %s done", model, layer)
    table = pd.concat(rows).assign(brain=brain_name, model=model, n_held_out=int(held_out.any(0).sum()))
    table["region"] = pd.Categorical(table["region"], list(best.regions))
    write_csv(table.sort_values("region", kind="stable").reindex(columns=ENCODING_COLUMNS), scores)
    best.write(predictions, brain_name, model, stimuli)


def prepare_brain(
    brain: File, folds: File | None, *, n_folds: int, min_ceiling: float, n_splits: int, seed: int
) -> tuple[list[str], NDArray, list[Target]]:
    """Return the stimuli, which each fold holds out, (n_folds, n_stimuli) bool, and the voxels that are kept.

    Arguments and errors are those of `fit_encoding`, but for what its activations can have.
    """
    stimuli, regions = read_brain(brain, tiled=True)
    held_out = divide_stimuli(stimuli, folds or read_folds(brain), n_folds=n_folds, seed=seed)
    names = [region.name for region in regions]
    return stimuli, held_out, _read_targets(brain, names, held_out, min_ceiling, n_splits, seed)


def refuse_repeats(activations: h5py.File, held_out: NDArray) -> None:
    """Stop where two stimuli share a picture and are not held out together: one would be learnt, and judge the other.

    Pictures are the same where their activations are, but for rounding, in every layer. Layers that are the same for all
    pictures say nothing.

    Args:
        activations: file of `extract_activations`.
        held_out: (n_folds, n_stimuli) bool.
    """
    pictures = activations["stimuli"].asstr()[:]
    folds = np.empty(len(pictures), int)
    for fold, rows in zip(
        np.where(held_out.any(0), held_out.argmax(0), -1), list_conditions(activations).values(), strict=True
    ):
        folds[rows] = fold
    kept, same = np.arange(len(pictures)), None
    for layer in activations.attrs["layers"]:
        equal = find_equal(activations[f"layers/{layer}"], kept)
        if same is None and equal.all():
            continue
        same = equal & (folds[kept][:, None] != folds[kept] if same is None else same)
        used = same.any(0)
        kept, same = kept[used], same[used][:, used]
        if not len(kept):
            return
    if same is not None:
        i, j = kept[np.argwhere(same)[0]]
        raise ValueError(
            f"{pictures[i]} and {pictures[j]} are the same picture to the network, and one would be learnt while the other is "
            "held out; give them one fold in a file (folds), or average their responses"
        )


def _read_targets(
    brain: File, regions: list[str], held_out: NDArray, min_ceiling: float, n_splits: int, seed: int
) -> list[Target]:
    """Return the participants' voxels in every region, but those with a ceiling below `min_ceiling` or what noise has, and
    those in which the stimuli of a fold have one response, so that no r is defined."""
    targets, start = [], 0
    for region in regions:
        patterns = read_patterns(brain, region)
        if not patterns:
            raise ValueError(f"{brain}: region {region} has no voxel patterns, which encoding needs")
        for participant, runs in patterns.items():
            ceilings = measure_explainable(runs)
            means, least = torch.from_numpy(runs.mean(0)), 0.0
            constant = np.any([find_constant(means[torch.from_numpy(test)]).numpy() for test in held_out], axis=0)
            kept = ~constant
            if len(runs) > 1 and min_ceiling > 0:
                least = max(min_ceiling, find_least_ceiling(*runs.shape[:2]))
                kept &= ceilings >= least
            if kept.sum() < MIN_VOXELS:
                told = _explain_few(kept, constant, ceilings, least, min_ceiling)
                raise ValueError(f"{brain}: region {region}, participant {participant}: {told}")
            runs, ceilings = runs[:, :, kept], ceilings[kept]
            halves = measure_split_half(runs, n_splits=n_splits, seed=seed)
            summary = {
                "ceiling": _median(ceilings), "ceiling_split_half": _median(halves), "n_voxels": int(kept.sum()),
                "n_left_out": int((~kept).sum()), "note": "" if len(runs) > 1 else "one run: no noise ceilings of voxels",
            }  # fmt: skip
            responses = means[:, torch.from_numpy(kept)].to(choose_device())
            columns = slice(start, start := start + len(ceilings))
            targets.append(Target(region, participant, responses, kept, ceilings, summary, columns))
    return targets


def _explain_few(kept: NDArray, constant: NDArray, ceilings: NDArray, least: float, min_ceiling: float) -> str:
    """Return why fewer than MIN_VOXELS of a participant's voxels are kept, and what can be done."""
    told = f"of {len(kept)} voxels {kept.sum()} can be used, and {MIN_VOXELS} are needed; "
    if constant.any():
        told += f"{constant.sum()} have one response to all stimuli of a fold; "
    if not least:
        return f"{told}leave the participant out"
    return (
        f"{told}{(~constant & ~kept).sum()} have a noise ceiling below {least:.2f}, the highest is {np.nanmax(ceilings):.2f}; "
        f"leave the participant out, or lower encoding.min_ceiling, which is {min_ceiling} (0 keeps all voxels; above 0, a "
        "voxel must also have what noise alone reaches in one of twenty)"
    )


def read_kernel(
    activations: h5py.File, layer: str, train: NDArray | None = None, *, standardize: bool = False,
    projection: float | None = None, seed: int = 0,
) -> Tensor:  # fmt: skip
    """Return the (n_stimuli, n_stimuli) kernel of a layer, of stimuli with several pictures that of their mean activations.

    Args:
        activations: file of `extract_activations`.
        train: (n_stimuli,) bool, by which units are standardised.
        standardize, projection, seed: see `config.Encoding`.
    """
    rows = list(list_conditions(activations).values())
    standardized = train if standardize else None
    return make_kernel(activations[f"layers/{layer}"], rows, projection=projection, standardize=standardized, seed=seed)


def _fit_layer(
    activations: h5py.File, layer: str, responses: Tensor, held_out: NDArray, penalties: list[float], options: dict
) -> Iterator[Fold | None]:
    """Yield each fold's predictions; None where all training stimuli have the same activations."""
    kernel = None
    for test in held_out:
        if kernel is None or options["standardize"]:
            kernel = read_kernel(activations, layer, ~test, **options)
        masks = [torch.from_numpy(mask).to(kernel.device) for mask in (~test, test)]
        known = measure_spread(kernel, masks[0]) > 0
        yield fit_fold(kernel, responses, *masks, penalties, leave_out=True) if known else None


def _judge_layer(
    fits: Iterator[Fold | None], responses: Tensor, held_out: NDArray, targets: list[Target], best: HeldOutLayers,
    layer: str,
) -> pd.DataFrame:  # fmt: skip
    """Return a layer's rows; keep its predictions where it is the best on training stimuli so far."""
    voxels, versa, groups, medians, scores, predictions = [], [], [], [], [], []
    regions = {region: [i for i, target in enumerate(targets) if target.region == region] for region in best.regions}
    for fold, test in zip(fits, held_out, strict=True):
        if fold is None:
            return _describe_constant(targets)
        index = torch.from_numpy(test).to(responses.device)
        measured, r2 = responses[index], fold.scores.cpu().numpy()
        voxels.append(compare_fold(fold.predictions, measured, responses[~index].mean(0)))
        rsvs = [[make_rsv(part[:, one.columns]) for part in (fold.predictions, measured)] for one in targets]
        versa.append([correlate(*pair) for pair in rsvs])
        groups.append([correlate(*np.mean([rsvs[i] for i in mine], axis=0)) for mine in regions.values()])
        medians.append([_median(r2[target.columns]) for target in targets])
        scores.append(best.score_training(fold, ~test))
        predictions.append(fold.predictions.cpu().numpy())
    best.take_better(layer, scores, predictions)
    group_versa = dict(zip(regions, np.mean(groups, axis=0), strict=True))
    return _tabulate(np.stack(voxels), np.mean(versa, axis=0), group_versa, np.mean(medians, axis=0), targets)


def _tabulate(
    folds: NDArray, versa: NDArray, group_versa: dict[str, float], train_r2: NDArray, targets: list[Target]
) -> pd.DataFrame:
    """Return one row a participant and region, and the means over participants, of veRSA the group's own."""
    rows = []
    for i, target in enumerate(targets):
        row = {"region": target.region, "participant": target.participant}
        row |= summarize_voxels(folds[:, :, target.columns], target.ceilings)
        rows.append(row | {"versa_r": versa[i], "train_r2": train_r2[i]} | target.summary)
    table = pd.DataFrame(rows)
    numbers = [name for name in table.columns if name not in ("region", "participant", "note")]
    groups = table.groupby("region", sort=False)[numbers].mean()
    groups = groups.assign(participant="group", versa_r=pd.Series(group_versa), note=targets[0].summary["note"])
    counts = table.groupby("region", sort=False)[["n_voxels", "n_left_out"]].sum()
    return pd.concat([groups.assign(**counts).reset_index(), table])


def summarize_voxels(folds: NDArray, ceilings: NDArray) -> dict[str, float]:
    """Return medians and means over voxels of r and R2, and their medians as shares of the noise ceiling.

    Args:
        folds: (n_folds, 3, n_voxels) of `scores.compare_fold`.
        ceilings: (n_voxels,) of `measure_explainable`; NaN: no shares.
    """
    r, r2 = folds[:, 0].mean(0), find_r2(folds)
    with np.errstate(invalid="ignore", divide="ignore"):
        shares = r / np.sqrt(ceilings), r2 / ceilings
    return {
        "median_r": _median(r), "mean_r": float(np.nanmean(r)), "median_r2": _median(r2), "mean_r2": float(np.nanmean(r2)),
        "median_r_share": _median(shares[0]), "median_r2_share": _median(shares[1]),
    }  # fmt: skip


def _median(values: NDArray) -> float:
    """Return the median of what is defined; NaN where nothing is."""
    known = values[np.isfinite(values)]
    return float(np.median(known)) if len(known) else float("nan")


def _describe_constant(targets: list[Target]) -> pd.DataFrame:
    rows = [{"region": target.region, "participant": target.participant} | target.summary for target in targets]
    table = pd.DataFrame(rows)
    group = (
        table.groupby("region", sort=False)[["n_voxels", "n_left_out"]].sum().reset_index().assign(participant="group")
    )
    return pd.concat([group, table]).assign(
        note="the same activations to all training stimuli of a fold: no prediction"
    )
