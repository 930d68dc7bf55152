"""
Best layers of encoding, chosen on all stimuli and held out, and every two models against each other: docs/encoding.md.
"""

import itertools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..brains.store import read_brain, read_patterns
from ..encoding.resampling import BOTH, PARTICIPANTS, infer_mean, resample_r
from ..encoding.scores import correlate_columns, make_rsv
from ..files import open_hdf5, read_named, write_csv
from ..rsa import inference
from ..rsa.similarity import correlate, find_best
from .held_out_layers import MEASURES, name_layer, read_layers
from .rsms import pair_named
from .statistics import PAIR_COLUMNS, find_q, mark_significant

BEST_COLUMNS = [
    "brain", "model", "region", "measure", "layer", "r", "held_out_layer", "r_held_out", "shrinkage", "resampled", "low",
    "high", "p", "q", "significant", "n_participants", "note",
]  # fmt: skip
AVERAGES = {"median_r": np.nanmedian, "mean_r": np.nanmean}
"""Of voxels."""
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
    resampled: dict[str, NDArray]
    """The same but veRSA -> (n_participants, n_resamples) with the held-out stimuli resampled."""


def compare_encoding(
    scores: list[File], predictions: list[File], brain: File, best_layers: File, pairs: File, *, name: str,
    models: list[str], n_bootstrap: int, seed: int, fdr: float,
) -> None:  # fmt: skip
    """Write every model's best layers, and every two models' difference, of encoding and veRSA.

    Args:
        scores, predictions: files of `fit_encoding` of each of the models.
        brain: HDF5 file of `store.write_brain`.
        best_layers: CSV to write, one row a model, region, measure and what is resampled (BEST_COLUMNS).
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
        resamples = draw_held_out(len(responses), folds, n_bootstrap, seed)
        participants, n_held_out = resamples.participants, int((folds >= 0).sum())
        held_out = {
            key[1]: _judge_held_out(path, region, responses, folds, resamples.stimuli) for key, path in files.items()
        }
        for key, one in held_out.items():
            group = tables[name, key].query("participant == 'group' and region == @region")
            best += [
                {"brain": name, "model": key, "region": region} | row
                for row in _describe_best(group, one, participants, n_held_out)
            ]
        differences += [
            {"brain": name, "region": region, "model_a": a, "model_b": b} | row
            for a, b in itertools.combinations(models, 2)
            for row in compare_held_out(held_out[a], held_out[b], participants, n_held_out)
        ]
    write_csv(control_tests(pd.DataFrame(best, columns=BEST_COLUMNS), fdr, ["measure"]), best_layers)
    write_csv(control_tests(pd.DataFrame(differences, columns=PAIR_COLUMNS), fdr, []), pairs)


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


def draw_held_out(n_participants: int, folds: NDArray, n_resamples: int, seed: int) -> inference.Resamples:
    """Return resamples of the participants and of the stimuli that a fold holds out; the others are drawn never."""
    held_out = folds >= 0
    drawn = inference.draw_resamples(n_participants, int(held_out.sum()), n_resamples=n_resamples, seed=seed)
    stimuli = np.zeros((n_resamples, len(folds)))
    stimuli[:, held_out] = drawn.stimuli
    return inference.Resamples(drawn.participants, stimuli)


def _judge_held_out(
    path: File, region: str, responses: dict[str, NDArray], folds: NDArray, resamples: NDArray
) -> HeldOut:
    tests = [torch.from_numpy(folds == number) for number in range(folds.max() + 1)]
    layers = {measure: name_layer(read_layers(path, measure, region)) for measure in MEASURES}
    values = {measure: np.full(len(responses), np.nan) for measure in MEASURES}
    resampled, rsvs = {name: np.full((len(responses), len(resamples)), np.nan) for name in AVERAGES}, []
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
                    parts = (predicted, measured, folds, resamples)
                    resampled[measure][i] = resample_r(*parts, average=AVERAGES[measure])
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
    return float(AVERAGES[measure](r))


def judge_rsms(predicted: NDArray, measured: NDArray, tests: list[Tensor]) -> tuple[float, list[list[NDArray]]]:
    """Return one participant's versa_r, and each fold's similarities of predicted and measured patterns; see
    `judge_voxels`."""
    pairs = [[make_rsv(torch.from_numpy(part)[test]) for part in (predicted, measured)] for test in tests]
    return float(np.mean([correlate(*pair) for pair in pairs])), pairs


def _describe_best(group: pd.DataFrame, held_out: HeldOut, participants: NDArray, n_stimuli: int) -> list[dict]:
    """Return the highest of all layers, the held-out layer, and how sure it is: a row a measure and what is resampled."""
    rows = []
    for name, values in held_out.values.items():
        r, row = group[name], {"measure": name, "held_out_layer": held_out.layers[name], "n_participants": len(values)}
        row["r_held_out"] = held_out.versa_group if name == "versa_r" else values.mean()
        if r.notna().any():
            row["layer"], row["r"] = group.iloc[find_best(r)][["layer", name]]
            row["shrinkage"] = row["r"] - row["r_held_out"]
        found = {kind: {} for kind in (PARTICIPANTS, BOTH)}
        if not held_out.layers[name]:
            found = {kind: {"note": "no layer predicts anything"} for kind in found}
        elif name != "versa_r":  # of the group, whose RSM is not the mean of single ones
            found = infer_mean(values, held_out.resampled[name], participants, n_stimuli, one_sided=True)
        rows += [row | {"resampled": kind} | sure for kind, sure in found.items()]
    return rows


def compare_held_out(a: HeldOut, b: HeldOut, participants: NDArray, n_stimuli: int) -> list[dict]:
    """Return the difference of two models' mean_r, a row for participants and one for both.

    Args:
        participants: (n_resamples, n_participants), how often each was drawn.
        n_stimuli: that are held out.
    """
    values, resampled = (
        each["mean_r"] - other["mean_r"] for each, other in ((a.values, b.values), (a.resampled, b.resampled))
    )
    row = {
        "layer_a": a.layers["mean_r"], "layer_b": b.layers["mean_r"], "r_a": a.values["mean_r"].mean(),
        "r_b": b.values["mean_r"].mean(), "difference": values.mean(),
    }  # fmt: skip
    if np.isnan(row["difference"]):
        found = {kind: {"note": "a model has no r"} for kind in (PARTICIPANTS, BOTH)}
    else:
        found = infer_mean(values, resampled, participants, n_stimuli, largest=2)
    return [row | {"resampled": kind} | sure for kind, sure in found.items()]


def control_tests(table: pd.DataFrame, fdr: float, family: list[str], tested: pd.Series | None = None) -> pd.DataFrame:
    """Add q, within what is resampled and some other columns, and significant: by tests over BOTH alone, as one over
    participants speaks of these stimuli only.

    Args:
        tested: the rows that get a q, where these are not all.
    """
    rows = table if tested is None else table[tested]
    table = mark_significant(table.assign(q=find_q(rows.astype({"p": float}), [*family, "resampled"])), fdr)
    return table.assign(significant=table["significant"].where(table["resampled"] == BOTH, None))
