"""
Numbers that others published, beside this run's own on the same held-out stimuli.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from ..brains.store import read_brain, read_patterns
from ..files import open_hdf5, write_csv, write_whole
from ..fits.compare_encoding import judge_rsms, judge_voxels, read_division
from ..fits.held_out_layers import name_layer, read_layers
from ..fits.rsms import pair_named
from ..rsa.similarity import correlate, find_best, vectorize_rsm
from .printing import print_row

MEASURES = {"rsa_r": "RSA", "mean_r": "encoding", "versa_r": "veRSA"}
COLUMNS = ["brain", "region", "model", "measure", "r", "published", "difference", "layer", "n_participants", "source"]
File = str | Path


def compare_published(
    published: Sequence[dict], brains: dict[str, File], rsms: list[File], predictions: list[File], table: File, page: File
) -> None:  # fmt: skip
    """Write published numbers beside this run's own.

    All are means over participants, over the folds of `encoding`. rsa_r: in each fold every participant's layer is the one
    with the highest r over pairs of two training stimuli, judged over pairs of two held-out ones. mean_r and versa_r: the
    layers that `fit_encoding` chose for each of them on training stimuli.

    Args:
        published: blocks of `config.Published`.
        brains: name -> HDF5 file of `store.write_brain`.
        rsms, predictions: files of `make_rsms` and `fit_encoding`, of every brain and model that is named.
        table: CSV to write, one row a number (COLUMNS).
        page: the same as Markdown.
    """
    wanted = list(dict.fromkeys((row["brain"], row["model"]) for row in published))
    rsm_of, predicted = pair_named(rsms, wanted), pair_named(predictions, wanted)
    rows = []
    for row in published:
        key = row["brain"], row["model"]
        folds = read_division({key: predicted[key]})
        measured = _measure_rsa(rsm_of[key], brains[row["brain"]], row["region"], folds)
        measured |= _measure_encoding(predicted[key], brains[row["brain"]], row["region"], folds)
        for measure in MEASURES:
            if row[measure] is not None:
                values, layer = measured[measure]
                r = float(np.mean(values))
                told = {"measure": measure, "r": r, "published": row[measure], "difference": r - row[measure]}
                rows.append(row | told | {"layer": layer, "n_participants": len(values)})
    result = pd.DataFrame(rows).reindex(columns=COLUMNS)
    write_csv(result, table)
    with write_whole(page) as temporary:
        temporary.write_text(_print_page(result), encoding="utf-8")


def _measure_rsa(rsms: File, brain: File, region: str, folds: NDArray) -> dict[str, tuple[list[float], str]]:
    found = next(one for one in read_brain(brain)[1] if one.name == region)
    tests = [folds == number for number in range(folds.max() + 1)]
    with open_hdf5(rsms) as file:
        layers = list(file.attrs["layers"])
        matrices = [file[f"layers/{layer}"][:] for layer in layers]
    values, chosen = [], []
    for rsv in found.rsvs:
        half = np.zeros((len(folds), len(folds)))
        half[np.tril_indices(len(folds), -1)] = rsv
        each = [choose_layer(matrices, half + half.T, test) for test in tests]
        values.append(float(np.mean([r for r, _ in each])))
        chosen += [layers[number] for _, number in each]
    return {"rsa_r": (values, name_layer(chosen))}


def choose_layer(matrices: Sequence[NDArray], measured: NDArray, test: NDArray) -> tuple[float, int]:
    """Return the r over held-out pairs of the layer with the highest r over training pairs, and its number.

    Args:
        matrices: each layer's (n, n) RSM; one with NaN, of constant activations to any stimulus, is passed over.
        measured: (n, n), a participant's.
        test: (n,) bool, the held-out stimuli.
    """
    train, held_out = (
        [vectorize_rsm(matrix[np.ix_(part, part)]) for matrix in (*matrices, measured)] for part in (~test, test)
    )
    known = [np.isfinite(matrix).all() for matrix in matrices]
    scores = [correlate(rsv, train[-1]) if whole else -np.inf for rsv, whole in zip(train[:-1], known, strict=True)]
    best = int(find_best(scores))
    return float(correlate(held_out[best], held_out[-1])), best


def _measure_encoding(
    predictions: File, brain: File, region: str, folds: NDArray
) -> dict[str, tuple[list[float], str]]:
    tests = [torch.from_numpy(folds == number) for number in range(folds.max() + 1)]
    values: dict[str, list[float]] = {"mean_r": [], "versa_r": []}
    with open_hdf5(predictions) as file:
        for who, runs in read_patterns(brain, region).items():
            measured = runs.mean(0)[:, file[f"kept/{region}/{who}"][:]]
            predicted = {measure: file[f"predictions/{measure}/{region}/{who}"][:] for measure in values}
            values["mean_r"].append(judge_voxels("mean_r", predicted["mean_r"], measured, tests))
            values["versa_r"].append(judge_rsms(predicted["versa_r"], measured, tests)[0])
    return {
        measure: (found, name_layer(read_layers(predictions, measure, region))) for measure, found in values.items()
    }


def _print_page(table: pd.DataFrame) -> str:
    lines = ["# Published numbers, and this run's own", ""]
    for (brain, source), part in table.groupby(["brain", "source"], sort=False):
        lines += [f"{brain}; {source}. Means over participants, on held-out stimuli; layers chosen on the others.", ""]
        lines += [
            "| region | model | measure | here | published | difference | layer | participants |",
            "|---" * 8 + "|",
        ]
        for row in part.to_dict("records"):
            numbers = f"{row['r']:.3f}", f"{row['published']:.3f}", f"{row['difference']:+.3f}"
            cells = [
                row["region"],
                row["model"],
                MEASURES[row["measure"]],
                *numbers,
                row["layer"],
                row["n_participants"],
            ]
            lines.append(print_row(cells))
        lines.append("")
    return "\n".join(lines)
