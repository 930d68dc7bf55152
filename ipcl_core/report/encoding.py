"""
What the tables of encoding say, for the table, the figures and the explorer: layers, held-out layers, ceilings, as bands.

A measure is `pearson`, r of RSA, or a column of `encoding/{brain}/{model}.csv`: docs/encoding.md.
"""

import itertools
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from ..encoding.resampling import BOTH
from ..files import open_hdf5, read_csv, read_named
from ..rsa import inference
from ..rsa.noise_ceiling import correct_length
from .table1 import choose_ceilings

File = str | Path

MEASURES = {
    "median_r": "encoding, median r",
    "mean_r": "encoding, mean r",
    "median_r2": "encoding, median R2",
    "mean_r2": "encoding, mean R2",
    "median_r_share": "encoding, median r / ceiling",
    "median_r2_share": "encoding, median R2 / ceiling",
    "versa_r": "veRSA r",
}
"""Column -> its name."""
RSA, VERSA = "pearson", "versa_r"
CORRELATIONS = (RSA, "median_r", "mean_r", VERSA)
"""Measures that have a held-out value, and that are at most 1."""
EXPECTED, VOXELS = "expected of the true RSM", "voxels, over runs"
"""Kinds of ceilings that are bands."""


def read_layers(
    scores: Iterable[File], brains: Iterable[str], models: Iterable[str]
) -> dict[tuple[str, str], pd.DataFrame]:
    """Return (brain, model) -> the group's rows of a CSV of `fit_encoding`, with `{measure}_low` and `{measure}_high`.

    These are the 95% interval of the mean over participants (Student's t), from three of them on; veRSA, which is that of the
    mean RSMs, has none.
    """
    return {
        key: _add_intervals(table)
        for key, table in read_named(scores, ["brain", "model"], itertools.product(brains, models)).items()
    }


def _add_intervals(table: pd.DataFrame) -> pd.DataFrame:
    keys = ["region", "layer_index"]
    group = table[table["participant"] == "group"].set_index(keys)
    single = table[table["participant"] != "group"].groupby(keys)
    for measure in [name for name in MEASURES if name != VERSA]:
        values = single[measure].agg(["mean", "var", "count"]).reindex(group.index)
        group[f"{measure}_low"], group[f"{measure}_high"] = _find_interval(measure, *values.to_numpy(float).T)
    return group.reset_index()


def _find_interval(
    measure: str, mean: np.ndarray, variance: np.ndarray, n: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    largest = 1 if measure in CORRELATIONS else np.inf
    enough = np.where(n >= inference.MIN_PARTICIPANTS, variance / n, np.nan)
    return inference.find_interval(mean, enough, np.maximum(n - 1, 1), largest=largest)


def read_held_out(rsa: Iterable[File], encoding: Iterable[File]) -> pd.DataFrame:
    """Return the layers that were chosen on other stimuli than those that judge them, a row a brain, model, region and
    measure: layer, r there, low, high. Of measures that are not CORRELATIONS r is NaN, and the layer is that of their r.

    Args:
        rsa: CSV `best_layers` of `statistics.compare_models`, of each brain data set.
        encoding: the same of `compare_encoding`.
    """
    keys = ["brain", "model", "region"]
    fits = pd.concat([read_csv(path) for path in rsa]).assign(measure=RSA)
    fits = fits.rename(columns={"stimuli_layer": "held_out_layer", "stimuli_r_held_out": "r_held_out"})
    voxels = pd.concat([read_csv(path) for path in encoding]).query("resampled == @BOTH")
    chosen = voxels.set_index("measure")[[*keys, "held_out_layer"]]
    others = [
        chosen.loc[[f"{name.split('_')[0]}_r"]].assign(measure=name) for name in MEASURES if name not in CORRELATIONS
    ]
    table = pd.concat([fits[[*keys, "measure", "held_out_layer", "r_held_out"]], voxels, *others])
    table = table[[*keys, "measure", "held_out_layer", "r_held_out", "low", "high"]]
    table = table.rename(columns={"held_out_layer": "layer", "r_held_out": "r"}).dropna(subset=["layer"])
    return table.astype(dict.fromkeys(("r", "low", "high"), float)).reset_index(drop=True)


def read_partitions(path: File) -> pd.DataFrame:
    """Return a CSV of `partition_models` with one row of the group for each part: over participants and stimuli; of RSMs over
    participants, as there are no others."""
    table = read_csv(path)
    return table[(table["resampled"] == BOTH) | (table["measure"] == "rsm") | (table["participant"] != "group")]


def measure_ceilings(ceilings: pd.DataFrame, predictions: File) -> pd.DataFrame:
    """Return what one brain's measures can reach, a row a region, measure and kind: r, low, high; none where nothing is known.

    EXPECTED, of RSA: `r` and `high` are the root of the Spearman-Brown corrected split-half ceiling, which the
    true RSM is expected to have with the group's, `low` is the split-half ceiling, the paper's. VOXELS: mean over participants
    of the median or mean over voxels of the largest r or R2 that a voxel's noise leaves, with its 95% interval (Student's t).

    Args:
        ceilings: table of `statistics.measure_noise_ceilings`.
        predictions: HDF5 of `fit_encoding` of any model; the voxels are the same.
    """
    halves = choose_ceilings(ceilings).dropna(subset=["r"]).reset_index()
    halves = halves.assign(low=halves["r"], high=np.sqrt(correct_length(halves["r"], halves["n_participants"])))
    halves = halves.assign(kind=EXPECTED, measure=RSA, r=halves["high"])
    rows = [halves[["region", "measure", "kind", "r", "low", "high"]].dropna()]
    with open_hdf5(predictions) as file:
        for region in file.attrs["regions"]:
            single = pd.DataFrame([_summarize(values[:]) for values in file[f"ceilings/{region}"].values()])
            for measure, values in single.dropna(axis="columns", how="all").items():
                row = {"region": region, "measure": measure, "kind": VOXELS, "r": values.mean()}
                if values.var() > 0:
                    numbers = np.array([[values.mean()], [values.var()], [values.size]])
                    row["low"], row["high"] = (limit[0] for limit in _find_interval(measure, *numbers))
                rows.append(pd.DataFrame([row]))
    return pd.concat(rows, ignore_index=True).reindex(columns=["region", "measure", "kind", "r", "low", "high"])


def _summarize(ceilings: np.ndarray) -> dict[str, float]:
    """Return the ceiling of each measure from those of one participant's voxels, (n_voxels,) shares of variance."""
    known = ceilings[np.isfinite(ceilings)]
    if not len(known):
        return dict.fromkeys(MEASURES, np.nan)
    return {
        "median_r": np.median(np.sqrt(known)),
        "mean_r": np.sqrt(known).mean(),
        "median_r2": np.median(known),
        "mean_r2": known.mean(),
        "median_r_share": 1.0,
        "median_r2_share": 1.0,
    }
