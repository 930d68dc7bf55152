"""
What each of two or three models explains alone, shared and together, of voxels and of RSMs: docs/encoding.md.
"""

import itertools
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..brains.categories import read_categories
from ..brains.store import read_brain, read_patterns
from ..config.data import CATEGORIES
from ..encoding.bands import fit_bands, list_subsets, partition_variance
from ..encoding.resampling import BOTH, PARTICIPANTS, infer_mean, resample_r, resample_r2
from ..encoding.ridge import choose_device, sum_kernel
from ..encoding.scores import compare_fold, correlate_added, find_r2
from ..files import open_hdf5, write_csv
from ..rsa.similarity import compute_rsm, count_stimuli, vectorize_rsm
from .compare_encoding import control_tests, draw_held_out, read_division
from .fit_encoding import read_kernel
from .held_out_layers import read_layers
from .rsms import pair_named, read_rsvs
from .weighting import fit_weights

COLUMNS = [
    "brain", "region", "measure", "models", "explained", "by", "participant", "r2", "r2_share", "r", "resampled", "low",
    "high", "r_low", "r_high", "p", "q", "significant", "n_participants", "note",
]  # fmt: skip
VOXELS, RSMS = "voxels", "rsm"
TOGETHER, ALONE = "together", "alone"
File = str | Path
Subset = tuple[str, ...]
KINDS: dict[str, Callable] = {TOGETHER: dict, ALONE: partition_variance}


@dataclass
class Explained:
    """What the models of a set explain of one participant; of RSMs R2 alone, (1,)."""

    r2: dict[Subset, NDArray]
    """Subset of the models -> (n_voxels,)."""
    r: dict[tuple[str, Subset], NDArray] = field(default_factory=dict)
    """What is explained, by a subset together or by one model alone -> (n_voxels,)."""
    resampled_r2: dict[Subset, NDArray] = field(default_factory=dict)
    """(n_resamples,) the mean over voxels, with the held-out stimuli resampled."""
    resampled_r: dict[tuple[str, Subset], NDArray] = field(default_factory=dict)


def partition_models(
    activations: list[File], predictions: list[File], rsms: list[File], brain: File, partitions: File, *, name: str,
    sets: list[list[str]], penalties: list[float], standardize: bool, projection: float | None, seed: int, fdr: float,
    n_bootstrap: int, categories: dict | None = None,
) -> None:  # fmt: skip
    """Write what the models of each set explain of held-out responses, of each region's voxels and of its RSMs.

    A model's layer is, in each fold, the one that `fit_encoding` chose on the training stimuli: of voxels that of mean_r, of
    RSMs that of versa_r.

    Args:
        activations, predictions, rsms: HDF5 files of `extract_activations`, `fit_encoding` and `make_rsms` of each model of
            the sets, in any order.
        brain: HDF5 file of `store.write_brain` with voxel patterns.
        partitions: CSV to write (COLUMNS), one row a region, measure, set, participant (and of their "group" one for each of
            what is resampled), and what is explained: by a model or several together ("together"), or by exactly these and
            no other of the set ("alone"); without numbers, and with a note, where a model's layer says nothing.
        name: of the brain data set.
        sets: two or three models each; categories are one of them.
        categories: arguments of `read_categories` but the stimuli, where a set names them: a column for each category is then
            a model of one layer, the same in each fold.
        penalties, standardize, projection, seed: see `config.Encoding`; fdr, n_bootstrap: see `config.Statistics`.
    """
    models = list(dict.fromkeys(model for each in sets for model in each if model != CATEGORIES))
    wanted, options = (
        [(name, model) for model in models],
        {"standardize": standardize, "projection": projection, "seed": seed},
    )
    files = pair_named(predictions, wanted)
    rsvs = {model: dict(zip(*read_rsvs(path), strict=True)) for (_, model), path in pair_named(rsms, wanted).items()}
    folds, rows, (stimuli, regions) = read_division(files), [], read_brain(brain)
    held_out, known = folds == np.arange(folds.max() + 1)[:, None], {}
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
            for layers in (voxel_layers, rsm_layers):
                layers |= {name: [""] * len(held_out) for name in known}
            voxels, ceilings = _read_voxels(brain, files, region.name)
            drawn = draw_held_out(len(voxels), folds, n_bootstrap, seed)
            sizes = drawn.participants, int((folds >= 0).sum())
            for each in sets:
                shared = {"brain": name, "region": region.name, "models": ", ".join(each)}
                if gap := _find_gap(each, voxel_layers):
                    found = _leave_empty(each, gap, (PARTICIPANTS, BOTH))
                else:
                    arguments = each, voxels, held_out, penalties, drawn.stimuli
                    found = _tabulate(_explain_voxels(find_kernel, voxel_layers, *arguments), ceilings, *sizes)
                rows.append(found.assign(measure=VOXELS, **shared))
                if gap := _find_gap(each, rsm_layers, rsvs):
                    found = _leave_empty(each, gap, (PARTICIPANTS,))
                else:
                    targets = dict(zip(region.participants, region.rsvs, strict=True))
                    found = _tabulate(_explain_rsms(rsvs, rsm_layers, each, targets, held_out), None, *sizes)
                rows.append(found.assign(measure=RSMS, **shared))
    table = pd.concat(rows).reindex(columns=COLUMNS).reset_index(drop=True).astype({"n_participants": "Int64"})
    write_csv(control_tests(table, fdr, ["measure"], table["explained"] == ALONE), partitions)


def _find_gap(
    models: list[str], layers: dict[str, list[str]], rsvs: dict[str, dict[str, NDArray]] | None = None
) -> str:
    """Return why nothing can be said of a set: a model has no layer, or one whose RSM is not defined; "" where all have."""
    for model, layer in [(name, layer) for name in models for layer in layers[name]]:
        if not layer and model != CATEGORIES:
            return f"{model}: no layer predicts anything"
        if rsvs and np.isnan(rsvs[model][layer]).any():
            return f"{model}: its layer {layer} has constant activations to some stimulus: no RSM"
    return ""


def _leave_empty(models: list[str], note: str, resampled: Sequence[str]) -> pd.DataFrame:
    """Return the group's rows of a set without numbers."""
    parts = itertools.product(KINDS, list_subsets(models), resampled)
    rows = [{"explained": kind, "by": " + ".join(subset), "resampled": each} for kind, subset, each in parts]
    return pd.DataFrame(rows).assign(participant="group", note=note)


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
    responses: dict[str, NDArray], held_out: NDArray, penalties: list[float], stimuli: NDArray,
) -> dict[str, Explained]:  # fmt: skip
    """Return what a set explains of each participant, by banded ridge regression.

    Args:
        find_kernel: returns the kernel of a model, layer and fold.
        stimuli: (n_resamples, n_stimuli), how often each was drawn.
    """
    y = torch.from_numpy(np.concatenate(list(responses.values()), 1)).to(choose_device())
    predicted = {subset: np.full(y.shape, np.nan) for subset in list_subsets(models)}
    means = np.full(y.shape, np.nan)
    for number, test in enumerate(held_out):
        kernels = {model: find_kernel(model, layers[model][number], number) for model in models}
        masks = [torch.from_numpy(mask).to(y.device) for mask in (~test, test)]
        for subset, fold in fit_bands(kernels, y, *masks, penalties).items():
            predicted[subset][test] = fold.predictions.cpu().numpy()
        means[test] = y[masks[0]].mean(0).cpu().numpy()
    known, borders = held_out.any(0), np.cumsum([part.shape[1] for part in responses.values()])[:-1]
    columns = {key: np.split(each[known], borders, 1) for key, each in (predicted | {"means": means}).items()}
    folds = held_out.argmax(0)[known]
    return {
        who: _judge_voxels(
            {key: each[i] for key, each in columns.items()}, measured[known], models, folds, stimuli[:, known]
        )
        for i, (who, measured) in enumerate(responses.items())
    }


def _judge_voxels(
    parts: dict[Subset | str, NDArray], measured: NDArray, models: list[str], folds: NDArray, stimuli: NDArray
) -> Explained:
    """Return what is explained of one participant's responses to held-out stimuli.

    Args:
        parts: subset of the models -> (n, n_voxels) predictions, and "means" of the training stimuli.
        measured: (n, n_voxels).
        folds: (n,) the number of the fold that holds a stimulus out.
    """
    means, y = parts.pop("means"), torch.from_numpy(measured)
    tests = [torch.from_numpy(folds == number) for number in np.unique(folds)]
    together = {(TOGETHER, subset): (predicted, None) for subset, predicted in parts.items()}
    others = {model: tuple(other for other in models if other != model) for model in models}
    alone = {(ALONE, (model,)): (parts[tuple(models)], parts[rest]) for model, rest in others.items()}
    r, r2 = {}, {}
    for (kind, subset), (predicted, known) in (together | alone).items():
        p, q = (None if one is None else torch.from_numpy(one) for one in (predicted, known))
        if kind == TOGETHER:
            compared = np.stack([compare_fold(p[test], y[test], torch.from_numpy(means)[test][0]) for test in tests])
            r2[subset], r[kind, subset] = find_r2(compared), compared[:, 0].mean(0)
        else:
            r[kind, subset] = np.mean([correlate_added(p[test], q[test], y[test]).numpy() for test in tests], axis=0)
    resampled = {key: resample_r(p, measured, folds, stimuli, others=q) for key, (p, q) in (together | alone).items()}
    return Explained(r2, r, {s: resample_r2(p, measured, means, stimuli) for s, p in parts.items()}, resampled)


def _explain_rsms(
    rsvs: dict[str, dict[str, NDArray]], layers: dict[str, list[str]], models: list[str], targets: dict[str, NDArray],
    held_out: NDArray,
) -> dict[str, Explained]:  # fmt: skip
    """Return R2 of each participant's distances of stimuli that were held out together.

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
    return {
        who: Explained({s: np.array([1 - a / b]) for (w, s), (a, b) in errors.items() if w == who}) for who in targets
    }


def _tabulate(
    explained: dict[str, Explained], ceilings: dict[str, NDArray] | None, participants: NDArray, n_stimuli: int
) -> pd.DataFrame:
    """Return the rows of one region and set: of each participant means over voxels, of the group means over participants, a
    row for each of what is resampled."""
    rows = []
    for who, one in explained.items():
        for kind, divide in KINDS.items():
            for subset, values in divide(one.r2).items():
                known = np.isfinite(values)
                share = values[known].mean() / ceilings[who][known].mean() if ceilings else np.nan
                row = {"explained": kind, "by": " + ".join(subset), "participant": who, "r2": values[known].mean()}
                mean_r = one.r[kind, subset][known].mean() if (kind, subset) in one.r else np.nan
                rows.append(row | {"r2_share": share, "r": mean_r})
    table, groups = pd.DataFrame(rows), []
    for (kind, by), part in table.groupby(["explained", "by"], sort=False):
        row = {"explained": kind, "by": by, "participant": "group", "n_participants": len(part)}
        row |= part[["r2", "r2_share", "r"]].mean().to_dict()
        found = _infer(kind, tuple(by.split(" + ")), part.set_index("participant"), explained, participants, n_stimuli)
        groups += [row | sure for sure in found]
    return pd.concat([pd.DataFrame(groups), table])


def _infer(
    kind: str, subset: Subset, part: pd.DataFrame, explained: dict[str, Explained], participants: NDArray, n_stimuli: int
) -> list[dict]:  # fmt: skip
    """Return how sure a part of R2 is, and of r where it is known: a row for each of what is resampled. p is of r, which noise
    does not bias, else of R2; none of what is shared, which is not 0 where nothing is explained.

    Args:
        part: participants' rows.
    """
    people, options = [explained[who] for who in part.index], {"participants": participants, "n_stimuli": n_stimuli}
    again = [KINDS[kind](one.resampled_r2)[subset] for one in people if one.resampled_r2]
    resampled_r2 = np.stack(again) if again else None
    found = infer_mean(part["r2"].to_numpy(), resampled_r2, largest=np.inf, one_sided=True, **options)
    tested = {}
    if (kind, subset) in people[0].r:
        again = np.stack([one.resampled_r[kind, subset] for one in people])
        tested = infer_mean(part["r"].to_numpy(), again, one_sided=True, **options)
    rows = []
    for resampled, sure in found.items():
        row = {"resampled": resampled} | sure
        if "p" in tested.get(resampled, ()):
            row |= {"r_low": tested[resampled]["low"], "r_high": tested[resampled]["high"], "p": tested[resampled]["p"]}
        elif kind == ALONE and len(subset) > 1:
            row.pop("p", None)
        rows.append(row)
    return rows
