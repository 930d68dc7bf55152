"""
Best layers of encoding, chosen on all stimuli and held out, and every two models against each other: docs/encoding.md.
"""

import itertools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.stats
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..brains.store import read_brain, read_patterns
from ..encoding.resampling import resample_r
from ..encoding.scores import correlate_columns, make_rsv
from ..files import open_hdf5, read_named, write_csv
from ..rsa import inference
from ..rsa.similarity import correlate
from .held_out_layers import MEASURES, name_layer, read_layers
from .rsms import pair_named
from .statistics import PAIR_COLUMNS, find_q, mark_significant

BEST_COLUMNS = [
    "brain", "model", "region", "measure", "layer", "r", "held_out_layer", "r_held_out", "shrinkage", "low", "high", "p",
    "n_participants", "note",
]  # fmt: skip
File = str | Path


@dataclass
class HeldOut:
    """What a model's layers, for each measure chosen on training stimuli, make of a region's held-out ones."""

    layers: dict[str, str]
    """Measure -> the one that most folds chose."""
    values: dict[str, NDArray]
    """Measure -> (n_participants,)."""
    versa_group: float
    """veRSA of the mean RSMs."""
    resampled: NDArray
    """(n_participants, n_resamples) mean_r with the held-out stimuli resampled."""


def compare_encoding(
    scores: list[File], predictions: list[File], brain: File, best_layers: File, pairs: File, *, name: str,
    models: list[str], n_bootstrap: int, seed: int, fdr: float,
) -> None:  # fmt: skip
    """Write every model's best layers, and every two models' difference, of encoding and veRSA.

    Args:
        scores, predictions: files of `fit_encoding` of each of the models.
        brain: HDF5 file of `store.write_brain`.
        best_layers: CSV to write, one row a model, region and measure (BEST_COLUMNS).
        pairs: CSV to write, one row a region, two models and what is resampled (PAIR_COLUMNS): the difference of mean_r.
        name: of the brain data set.
        models: their names, in the order of the rows.
        n_bootstrap, seed, fdr: see `config.Statistics`.

    Raises:
        ValueError: a file is of another brain or model, or the models' stimuli were divided in different ways.
    """
    wanted = [(name, model) for model in models]
    tables = read_named(scores, ["brain", "model"], wanted)
    files = pair_named(predictions, wanted)
    folds, best, differences = read_division(files), [], []
    for region in [region.name for region in read_brain(brain)[1]]:
        responses = {who: runs.mean(0) for who, runs in read_patterns(brain, region).items()}
        resamples = inference.draw_resamples(len(responses), len(folds), n_resamples=n_bootstrap, seed=seed)
        held_out = {
            key[1]: _judge_held_out(path, region, responses, folds, resamples.stimuli) for key, path in files.items()
        }
        for key, one in held_out.items():
            group = tables[name, key].query("participant == 'group' and region == @region")
            best += [{"brain": name, "model": key, "region": region} | row for row in _describe_best(group, one)]
        differences += [
            {"brain": name, "region": region, "model_a": a, "model_b": b} | row
            for a, b in itertools.combinations(models, 2)
            for row in compare_held_out(held_out[a], held_out[b], resamples.participants, int((folds >= 0).sum()))
        ]
    write_csv(pd.DataFrame(best, columns=BEST_COLUMNS), best_layers)
    table = pd.DataFrame(differences, columns=PAIR_COLUMNS)
    table["q"] = find_q(table.astype({"p": float}), ["resampled"])
    write_csv(mark_significant(table, fdr), pairs)


def read_division(files: dict[tuple[str, str], File]) -> NDArray:
    """Return the number of the fold that holds each stimulus out, (n_stimuli,) int, -1 where none does.

    Args:
        files: (brain, model) -> file of `fit_encoding`.

    Raises:
        ValueError: two files were made with different folds.
    """
    first = None
    for path in files.values():
        with open_hdf5(path) as file:
            folds = file["folds"][:]
        if first is not None and (folds != first[1]).any():
            raise ValueError(f"{path}: its stimuli are divided otherwise than those of {first[0]}; make both again")
        first = first or (path, folds)
    return first[1]


def _judge_held_out(
    path: File, region: str, responses: dict[str, NDArray], folds: NDArray, resamples: NDArray
) -> HeldOut:
    tests = [torch.from_numpy(folds == number) for number in range(folds.max() + 1)]
    layers = {measure: name_layer(read_layers(path, measure, region)) for measure in MEASURES}
    values = {measure: np.full(len(responses), np.nan) for measure in MEASURES}
    resampled, rsvs = np.full((len(responses), len(resamples)), np.nan), []
    with open_hdf5(path) as file:
        for i, (who, measured) in enumerate(responses.items()):
            measured = measured[:, file[f"kept/{region}/{who}"][:]]
            for measure in (measure for measure, layer in layers.items() if layer):
                predicted = file[f"predictions/{measure}/{region}/{who}"][:]
                if measure == "versa_r":
                    values[measure][i], pairs = judge_rsms(predicted, measured, tests)
                    rsvs.append(pairs)
                else:
                    values[measure][i] = judge_voxels(measure, predicted, measured, tests)
                if measure == "mean_r":
                    resampled[i] = resample_r(predicted, measured, folds, resamples)
    pairs = [np.mean(pairs, axis=0) for pairs in zip(*rsvs, strict=True)]
    group = float(np.mean([correlate(*pair) for pair in pairs])) if pairs else np.nan
    return HeldOut(layers, values, group, resampled)


def judge_voxels(measure: str, predicted: NDArray, measured: NDArray, tests: list[Tensor]) -> float:
    """Return one participant's median_r or mean_r.

    Args:
        predicted, measured: (n_stimuli, n_voxels).
        tests: (n_stimuli,) bool of each fold, its held-out stimuli.
    """
    p, y = torch.from_numpy(predicted), torch.from_numpy(measured)
    r = torch.stack([correlate_columns(p[test], y[test]) for test in tests]).mean(0).numpy()
    return float({"median_r": np.nanmedian, "mean_r": np.nanmean}[measure](r))


def judge_rsms(predicted: NDArray, measured: NDArray, tests: list[Tensor]) -> tuple[float, list[list[NDArray]]]:
    """Return one participant's versa_r, and each fold's similarities of predicted and measured patterns; see
    `judge_voxels`."""
    pairs = [[make_rsv(torch.from_numpy(part)[test]) for part in (predicted, measured)] for test in tests]
    return float(np.mean([correlate(*pair) for pair in pairs])), pairs


def _describe_best(group: pd.DataFrame, held_out: HeldOut) -> list[dict]:
    """Return a row a measure: the highest of all layers, the held-out layer, and its interval and p over participants."""
    rows = []
    for name, values in held_out.values.items():
        r, n = group[name], len(values)
        row = {"measure": name, "held_out_layer": held_out.layers[name], "n_participants": n}
        row["r_held_out"] = held_out.versa_group if name == "versa_r" else values.mean()
        if r.notna().any():
            row |= {"layer": group.loc[r.idxmax(), "layer"], "r": r.max(), "shrinkage": r.max() - row["r_held_out"]}
        if not held_out.layers[name]:
            row["note"] = "no layer predicts anything"
        elif n < inference.MIN_PARTICIPANTS:
            row["note"] = f"{n} participant(s), fewer than {inference.MIN_PARTICIPANTS}: nothing over participants"
        elif name != "versa_r":  # of the group, whose RSM is not the mean of single ones
            test = scipy.stats.ttest_1samp(values, 0, alternative="greater")
            low, high = inference.find_interval(values.mean(), values.var(ddof=1) / n, n - 1)
            row |= {"low": low, "high": high, "p": test.pvalue}
        rows.append(row)
    return rows


def compare_held_out(a: HeldOut, b: HeldOut, participants: NDArray, n_stimuli: int) -> list[dict]:
    """Return the difference of two models' mean_r, a row for each of participants, stimuli and both.

    Args:
        participants: (n_resamples, n_participants), how often each was drawn.
        n_stimuli: that are held out.
    """
    single, resampled = a.values["mean_r"] - b.values["mean_r"], a.resampled - b.resampled
    n, difference = len(single), single.mean()
    samples = {"stimuli": resampled.mean(0)[:, None]}
    if n >= inference.MIN_PARTICIPANTS:
        samples["participants"] = (participants @ single / n)[:, None]
        samples["both"] = ((participants.T * resampled).sum(0) / n)[:, None]
    variances, freedom = inference.estimate_variances(samples, n, n_stimuli), inference.count_freedom(n, n_stimuli)
    rows = []
    for kind in ("participants", "stimuli", "both"):
        row = {
            "layer_a": a.layers["mean_r"], "layer_b": b.layers["mean_r"],
            "r_a": a.values["mean_r"].mean(), "r_b": b.values["mean_r"].mean(), "difference": difference,
            "resampled": kind,
        }  # fmt: skip
        if np.isnan(difference):
            row["note"] = "a model has no r"
        elif kind in variances:
            low, high = inference.find_interval(difference, variances[kind], freedom[kind], largest=2)
            row |= {"low": low[0], "high": high[0]}
            if kind != "stimuli":
                row["p"] = inference.find_p_of_differences(difference, variances[kind], freedom[kind])[0]
        else:
            row["note"] = f"{n} participant(s), fewer than {inference.MIN_PARTICIPANTS}: nothing over participants"
        rows.append(row)
    return rows
