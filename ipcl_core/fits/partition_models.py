"""
What each of two or three models explains alone, shared and together, of voxels and of RSMs: docs/encoding.md.
"""

from collections.abc import Callable
from contextlib import ExitStack
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.stats
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..brains.categories import read_categories
from ..brains.store import read_brain, read_patterns
from ..config.data import CATEGORIES
from ..encoding.bands import fit_bands, list_subsets, partition_variance
from ..encoding.ridge import choose_device, sum_kernel
from ..encoding.scores import compare_fold, correlate_added, find_r2
from ..files import open_hdf5, write_csv
from ..rsa import inference
from ..rsa.similarity import compute_rsm, count_stimuli, vectorize_rsm
from .compare_encoding import read_division
from .fit_encoding import read_kernel
from .held_out_layers import read_layers
from .rsms import pair_named, read_rsvs
from .statistics import find_q, mark_significant
from .weighting import fit_weights

COLUMNS = [
    "brain", "region", "measure", "models", "explained", "by", "participant", "r2", "r2_share", "r", "low", "high", "p", "q",
    "significant", "n_participants", "note",
]  # fmt: skip
VOXELS, RSMS = "voxels", "rsm"
TOGETHER, ALONE = "together", "alone"
File = str | Path
Subset = tuple[str, ...]


def partition_models(
    activations: list[File], predictions: list[File], rsms: list[File], brain: File, partitions: File, *, name: str,
    sets: list[list[str]], penalties: list[float], standardize: bool, projection: float | None, seed: int, fdr: float,
    categories: dict | None = None,
) -> None:  # fmt: skip
    """Write what the models of each set explain of held-out responses, of each region's voxels and of its RSMs.

    A model's layer is, in each fold, the one that `fit_encoding` chose on the training stimuli: of voxels that of mean_r, of
    RSMs that of versa_r.

    Args:
        activations, predictions, rsms: HDF5 files of `extract_activations`, `fit_encoding` and `make_rsms` of each model of
            the sets, in any order.
        brain: HDF5 file of `store.write_brain` with voxel patterns.
        partitions: CSV to write (COLUMNS), one row a region, measure, set, participant (and their "group"), and what is
            explained: by a model or several together ("together"), or by exactly these and no other of the set ("alone").
        name: of the brain data set.
        sets: two or three models each; categories are one of them.
        categories: arguments of `read_categories` but the stimuli, where a set names them: a column for each category is then
            a model of one layer, the same in each fold.
        penalties, standardize, projection, seed: see `config.Encoding`; fdr: see `config.Statistics`.
    """
    models = list(dict.fromkeys(model for each in sets for model in each if model != CATEGORIES))
    wanted, options = (
        [(name, model) for model in models],
        {"standardize": standardize, "projection": projection, "seed": seed},
    )
    files = pair_named(predictions, wanted)
    rsvs = {model: dict(zip(*read_rsvs(path), strict=True)) for (_, model), path in pair_named(rsms, wanted).items()}
    held_out, rows, (stimuli, regions) = _list_held_out(files), [], read_brain(brain)
    known = {}
    if any(CATEGORIES in each for each in sets):
        features = read_categories(stimuli=stimuli, **categories)
        known[CATEGORIES] = sum_kernel([torch.from_numpy(features).to(choose_device())])
        rsvs[CATEGORIES] = {"": vectorize_rsm(compute_rsm(features))}
    with ExitStack() as stack:
        shown = pair_named(activations, wanted)
        opened = {model: stack.enter_context(open_hdf5(path)) for (_, model), path in shown.items()}

        @lru_cache(maxsize=3)  # those of a set: most folds have the layers of the one before
        def read(model: str, layer: str, fold: int | None) -> Tensor:
            return read_kernel(opened[model], layer, None if fold is None else ~held_out[fold], **options)

        def find_kernel(model: str, layer: str, fold: int) -> Tensor:
            return known[model] if model in known else read(model, layer, fold if standardize else None)

        for region in regions:
            voxel_layers, rsm_layers = (
                {model: read_layers(path, measure, region.name) for (_, model), path in files.items()}
                for measure in ("mean_r", "versa_r")
            )
            empty = {model for layers in (voxel_layers, rsm_layers) for model, each in layers.items() if "" in each}
            for layers in (voxel_layers, rsm_layers):
                layers |= {name: [""] * len(held_out) for name in known}
            voxels, ceilings = _read_voxels(brain, files, region.name)
            for each in sets:
                if empty & set(each):
                    raise ValueError(f"{brain}: region {region.name}: a model of {', '.join(each)} predicts nothing")
                r2, r = _explain_voxels(find_kernel, voxel_layers, each, voxels, held_out, penalties)
                shared = {"brain": name, "region": region.name, "models": ", ".join(each)}
                table = _tabulate(r2, ceilings, r)
                rows.append(table.assign(measure=VOXELS, **shared))
                r2 = _explain_rsms(
                    rsvs, rsm_layers, each, dict(zip(region.participants, region.rsvs, strict=True)), held_out
                )
                rows.append(_tabulate(r2, None, None).assign(measure=RSMS, **shared))
    table = pd.concat(rows).reindex(columns=COLUMNS).reset_index(drop=True)
    alone = table[table["explained"] == ALONE]
    table.loc[alone.index, "q"] = find_q(alone.astype({"p": float}), ["measure"])
    write_csv(mark_significant(table, fdr), partitions)


def _list_held_out(files: dict[tuple[str, str], File]) -> NDArray:
    """Return which stimuli each fold holds out, (n_folds, n_stimuli) bool."""
    folds = read_division(files)
    return folds == np.arange(folds.max() + 1)[:, None]


def _read_voxels(
    brain: File, files: dict[tuple[str, str], File], region: str
) -> tuple[dict[str, NDArray], dict[str, NDArray]]:
    """Return participant -> (n_stimuli, n_voxels) responses of the voxels that are kept, and -> their ceilings."""
    responses, ceilings = {}, {}
    with open_hdf5(next(iter(files.values()))) as file:
        for who, runs in read_patterns(brain, region).items():
            responses[who] = runs.mean(0)[:, file[f"kept/{region}/{who}"][:]]
            ceilings[who] = file[f"ceilings/{region}/{who}"][:]
    return responses, ceilings


def _explain_voxels(
    find_kernel: Callable[[str, str, int], Tensor], layers: dict[str, list[str]], models: list[str],
    responses: dict[str, NDArray], held_out: NDArray, penalties: list[float],
) -> tuple[dict[str, dict[Subset, NDArray]], dict[str, dict[tuple[str, Subset], NDArray]]]:  # fmt: skip
    """Return participant -> subset of the models -> R2 of each voxel, by banded ridge regression; and -> what is explained,
    by a subset together or by one model alone -> r of each voxel. `find_kernel` returns that of a model, layer and fold."""
    y = torch.from_numpy(np.concatenate(list(responses.values()), 1)).to(choose_device())
    folds, added = {subset: [] for subset in list_subsets(models)}, {model: [] for model in models}
    for number, test in enumerate(held_out):
        kernels = {model: find_kernel(model, layers[model][number], number) for model in models}
        masks = [torch.from_numpy(mask).to(y.device) for mask in (~test, test)]
        predicted = {s: fold.predictions for s, fold in fit_bands(kernels, y, *masks, penalties).items()}
        for subset, found in folds.items():
            found.append(compare_fold(predicted[subset], y[masks[1]], y[masks[0]].mean(0)))
        for model, found in added.items():
            others = tuple(other for other in models if other != model)
            r = correlate_added(predicted[tuple(models)], predicted[others], y[masks[1]])
            found.append(r.cpu().numpy())
    r = {(TOGETHER, subset): np.stack(found)[:, 0].mean(0) for subset, found in folds.items()}
    r |= {(ALONE, (model,)): np.mean(found, axis=0) for model, found in added.items()}
    borders = np.cumsum([part.shape[1] for part in responses.values()])[:-1]
    r2 = {subset: find_r2(np.stack(found)) for subset, found in folds.items()}
    return tuple(
        {who: {key: np.split(each, borders)[i] for key, each in parts.items()} for i, who in enumerate(responses)}
        for parts in (r2, r)
    )


def _explain_rsms(
    rsvs: dict[str, dict[str, NDArray]], layers: dict[str, list[str]], models: list[str], targets: dict[str, NDArray],
    held_out: NDArray,
) -> dict[str, dict[Subset, NDArray]]:  # fmt: skip
    """Return participant -> subset of the models -> R2 of the distances of stimuli that were held out together, (1,).

    Distances are non-negative sums of the models', with a constant, fitted on the pairs of training stimuli.
    """
    rows, columns = np.tril_indices(count_stimuli(len(next(iter(targets.values())))), -1)
    errors = {(who, subset): np.zeros(2) for who in targets for subset in list_subsets(models)}
    for number, stimuli in enumerate(held_out):
        test, train = stimuli[rows] & stimuli[columns], ~stimuli[rows] & ~stimuli[columns]
        distances = {model: 1 - rsvs[model][layers[model][number]] for model in models}
        for (who, subset), sums in errors.items():
            x, y = np.stack([distances[model] for model in subset]), 1 - targets[who]
            weights = fit_weights(x[:, train], y[train])
            predicted = y[train].mean() + weights @ (x[:, test] - x[:, train].mean(1, keepdims=True))
            sums += [((y[test] - predicted) ** 2).sum(), ((y[test] - y[train].mean()) ** 2).sum()]
    return {who: {s: np.array([1 - a / b]) for (w, s), (a, b) in errors.items() if w == who} for who in targets}


def _tabulate(
    r2: dict[str, dict[Subset, NDArray]], ceilings: dict[str, NDArray] | None,
    r: dict[str, dict[tuple[str, Subset], NDArray]] | None,
) -> pd.DataFrame:  # fmt: skip
    """Return the rows of one region and set: means over voxels; of the group means over participants, with intervals of R2,
    and tests of r where it is known, which noise does not bias, else of R2."""
    kinds: dict[str, Callable] = {TOGETHER: lambda explained: explained, ALONE: partition_variance}
    rows = []
    for who, explained in r2.items():
        for kind, divide in kinds.items():
            for subset, values in divide(explained).items():
                known = np.isfinite(values)
                share = values[known].mean() / ceilings[who][known].mean() if ceilings else np.nan
                row = {"explained": kind, "by": " + ".join(subset), "participant": who, "r2": values[known].mean()}
                mean_r = r[who][kind, subset][known].mean() if r and (kind, subset) in r[who] else np.nan
                rows.append(row | {"r2_share": share, "r": mean_r})
    table, n = pd.DataFrame(rows), len(r2)
    groups = []
    for (kind, by), part in table.groupby(["explained", "by"], sort=False):
        row = {"explained": kind, "by": by, "participant": "group", "n_participants": n}
        row |= part[["r2", "r2_share", "r"]].mean().to_dict()
        if n < inference.MIN_PARTICIPANTS:
            row["note"] = f"{n} participant(s), fewer than {inference.MIN_PARTICIPANTS}: nothing over participants"
        else:
            low, high = inference.find_interval(row["r2"], part["r2"].var(ddof=1) / n, n - 1)
            row |= {"low": low, "high": high}
            if kind == TOGETHER or len(by.split(" + ")) == 1:  # what is shared is not 0 where nothing is explained
                tested = part["r"] if r else part["r2"]
                row["p"] = scipy.stats.ttest_1samp(tested, 0, alternative="greater").pvalue
        groups.append(row)
    return pd.concat([pd.DataFrame(groups), table])
