"""
The tables of inference: layers, best layers, pairs of models, noise ceilings. What each column is: docs/statistics.md.
"""

import itertools
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from ..brains.store import BEHAVIOUR, Region, read_brain, read_patterns
from ..files import open_hdf5, read_named, write_csv
from ..rsa import inference
from ..rsa.dimensionality import MIN_DIMENSIONS, Dimensionality
from ..rsa.noise_ceiling import SPLIT_HALF, correct_length, find_agreement, measure_leave_one_out, measure_noise_ceiling
from ..rsa.similarity import (
    compare_rsvs,
    count_stimuli,
    find_best,
    measure_crossnobis,
    measure_distances,
    vectorize_rsm,
)
from ..rsa.tiles import RSVs, average_rows, take_rows
from .rsms import name_rows, pair_named, read_rsvs, scale_distances

logger = logging.getLogger(__name__)

LAYER_COLUMNS = [
    "distance", "comparator", "region", "layer", "layer_index", "r", "r_participants_mean", "r_participants_sd",
    "n_participants", "n_stimuli", "participation_ratio", "power_law_exponent", "participants_low", "participants_high",
    "stimuli_low", "stimuli_high", "both_low", "both_high", "p", "p_max", "note",
]  # fmt: skip
BEST_COLUMNS = [
    "brain", "model", "region", "layer", "r", "participants_layer", "participants_r_same", "participants_r_held_out",
    "participants_shrinkage", "stimuli_layer", "stimuli_r_same", "stimuli_r_held_out", "stimuli_shrinkage", "note",
]  # fmt: skip
PAIR_COLUMNS = [
    "brain", "region", "model_a", "model_b", "layer_a", "layer_b", "r_a", "r_b", "difference", "resampled", "low", "high", "p",
    "q", "significant", "note",
]  # fmt: skip
CEILING_COLUMNS = ["brain", "distance", "region", "kind", "r", "n_splits", "exhaustive", "n_participants", "note"]
FEW_DIMENSIONS = f"activations of fewer than {MIN_DIMENSIONS} dimensions: no power-law exponent"
NO_DISTANCES = "no voxel patterns, or none of several runs: no such distances"
File = str | Path


def measure_layers(
    rsms: File, brain: File, layers: File, *, comparators: list[str], n_bootstrap: int, n_permutations: int, seed: int,
    distances: Sequence[str] = ("correlation",),
) -> None:  # fmt: skip
    """Write every layer's similarity with every region, with intervals and p-values.

    Args:
        rsms: HDF5 file of `rsms.make_rsms`.
        brain: HDF5 file of `store.write_brain`.
        layers: CSV to write, one row a distance, comparator, region and layer (brain, model, LAYER_COLUMNS). Those of
            correlation and pearson, which figures and releases show, are always there.
        comparators, n_bootstrap, n_permutations, seed, distances: see `config.Statistics`.

    Raises:
        ValueError: the stimuli of the model and of the brain differ, or a distance is not in the file of RSMs.
    """
    tables, dimensionality = [], read_dimensionality(rsms)
    for distance in dict.fromkeys([*distances, "correlation"]):
        chosen = [*(comparators if distance in distances else []), *(["pearson"] if distance == "correlation" else [])]
        names, rsvs = read_rsvs(rsms, distance, tiled=True)
        regions = read_regions(brain, rsms, distance=distance)
        n_stimuli = count_stimuli(rsvs.shape[1])
        permutations = inference.draw_permutations(n_stimuli, n_permutations=n_permutations, seed=seed)
        for comparator, region in itertools.product(dict.fromkeys(chosen), regions):
            table = _measure_region(rsvs, region, comparator, permutations, n_bootstrap, seed)
            table["layer"], table["layer_index"], table["n_stimuli"] = names, range(len(names)), n_stimuli
            table = table.assign(distance=distance, comparator=comparator, region=region.name, **dimensionality)
            few = table["note"].str.cat([FEW_DIMENSIONS] * len(table), sep="; ").str.removeprefix("; ")
            table["note"] = table["note"].where(table["power_law_exponent"].notna(), few)
            tables.append(table)
    write_csv(name_rows(pd.concat(tables).reindex(columns=LAYER_COLUMNS), rsms), layers)


def _measure_region(
    rsvs: RSVs, region: Region, comparator: str, permutations: np.ndarray, n_bootstrap: int, seed: int
) -> pd.DataFrame:
    """Return the numbers of `measure_layers` for one region, one row a layer."""
    n_stimuli = permutations.shape[1]
    n, notes, group = _count_participants(region), _explain_size(region, n_stimuli), average_rows(region.rsvs)
    table = pd.DataFrame({"r": compare_rsvs(rsvs, group[None], comparator)[:, 0]}).assign(n_participants=n)
    r = table["r"].to_numpy()
    if np.isnan(group).any():
        return table.assign(note="; ".join([*notes, NO_DISTANCES]))
    if n:
        single = compare_rsvs(rsvs, region.rsvs, comparator)
        table["r_participants_mean"] = single.mean(1)
        table["r_participants_sd"] = single.std(1, ddof=1) if n > 1 else np.nan
    samples = {}
    if comparator == "kendall":
        notes.append("kendall is neither resampled nor permuted")
    else:
        samples = _resample(rsvs, region, n_bootstrap, seed, comparator)
        for kind, variance in inference.estimate_variances(samples, n, n_stimuli).items():
            limits = inference.find_interval(r, variance, inference.count_freedom(n, n_stimuli)[kind])
            table[f"{kind}_low"], table[f"{kind}_high"] = limits
        permuted = inference.permute_similarity(rsvs, group, permutations, comparator)
        table["p"], table["p_max"] = inference.find_p_values(r, permuted)
    undefined = "constant activations to some stimulus, or none that differ: no r"
    return table.assign(note=_join_notes(notes, samples, r, undefined))


def compare_models(
    rsms: list[File], brain: File, best_layers: File, pairs: File, *, name: str, models: list[str], n_bootstrap: int,
    n_splits: int, seed: int, fdr: float, weighted: list[File] = (),
) -> None:  # fmt: skip
    """Write every model's best layers, and every two models' difference at their best layers, by Pearson correlation.

    The best layer is the paper's: the maximum over layers of r with the group RSM.

    Args:
        rsms: HDF5 file of `rsms.make_rsms` of each of the models.
        brain: HDF5 file of `store.write_brain`.
        best_layers: CSV to write, one row a model and region (BEST_COLUMNS): the best layer, and how it and its r fare when
            the choice has not seen the participant, or the half of the stimuli, that it is judged on.
        pairs: CSV to write, one row a region and two models (PAIR_COLUMNS).
        name: of the brain data set.
        models: their names, in the order of the rows.
        n_bootstrap, n_splits, seed, fdr: see `config.Statistics`.
        weighted: CSV of `weighting.weigh_layers` of each of the models, or none: columns to add to the best layers.

    Raises:
        ValueError: the stimuli of a model and of the brain differ; a file is of another brain or model.
    """
    regions = read_regions(brain, *rsms)
    wanted = [(name, model) for model in models]
    files = pair_named(rsms, wanted)
    best, tables = [], []
    for region in regions:
        chosen = {}
        for (_, model), path in files.items():
            row, chosen[model] = _choose_layer(*read_rsvs(path, tiled=True), region, n_splits, seed)
            best.append({"brain": name, "model": model, "region": region.name} | row)
        rows = {row["model"]: row for row in best if row["region"] == region.name}
        pairs_table = _compare_pairs(rows, np.stack(list(chosen.values())), region, n_bootstrap, seed)
        tables.append(pairs_table.assign(brain=name))
    best_table = pd.DataFrame(best, columns=BEST_COLUMNS)
    if weighted:
        rows = pd.concat(read_named(weighted, ["brain", "model"], wanted).values())
        best_table = best_table.merge(rows, on=["brain", "model", "region"], how="left", validate="one_to_one")
    write_csv(best_table, best_layers)
    table = pd.concat(tables).reindex(columns=PAIR_COLUMNS)
    table["q"] = find_q(table, ["brain"])
    write_csv(mark_significant(table, fdr), pairs)


def _choose_layer(names: list[str], rsvs: RSVs, region: Region, n_splits: int, seed: int) -> tuple[dict, np.ndarray]:
    """Return the row of one model and region without their names, and the best layer's RSV, NaN where no layer has an r."""
    group = average_rows(region.rsvs)
    n, n_stimuli = _count_participants(region), count_stimuli(len(group))
    r = compare_rsvs(rsvs, group[None])[:, 0]
    defined = np.flatnonzero(~np.isnan(r))
    if not len(defined):
        return {"note": "no layer has an r"}, np.full_like(group, np.nan)
    names, rsvs, r = [names[i] for i in defined], take_rows(rsvs, defined), r[defined]
    best = find_best(r)
    row, notes = {"layer": names[best], "r": r[best]}, _explain_size(region, n_stimuli)
    held_out = {}
    if n >= inference.MIN_PARTICIPANTS:
        held_out["participants"] = inference.hold_out_participants(rsvs, region.rsvs)
    if n_stimuli >= inference.MIN_STIMULI:
        held_out["stimuli"] = inference.hold_out_stimuli(rsvs, group, n_splits=n_splits, seed=seed)
    for kind, result in held_out.items():
        row[f"{kind}_layer"] = names[np.bincount(result.layers).argmax()]
        row |= {f"{kind}_r_same": result.r_same, f"{kind}_r_held_out": result.r, f"{kind}_shrinkage": result.shrinkage}
    return row | {"note": "; ".join(notes)}, take_rows(rsvs, [best])[:, :][0]


def _compare_pairs(
    best: dict[str, dict], rsvs: np.ndarray, region: Region, n_bootstrap: int, seed: int
) -> pd.DataFrame:
    """Return one row for every two models: best has their rows of best layers, rsvs their best layers' RSVs."""
    n, n_stimuli = _count_participants(region), count_stimuli(rsvs.shape[1])
    a, b = np.triu_indices(len(best), 1)
    models = list(best)
    r, layers = (
        np.array([best[m].get(key, missing) for m in models]) for key, missing in (("r", np.nan), ("layer", ""))
    )
    table = pd.DataFrame({"region": region.name, "model_a": np.array(models)[a], "model_b": np.array(models)[b]})
    table["layer_a"], table["layer_b"], table["r_a"], table["r_b"] = layers[a], layers[b], r[a], r[b]
    table["difference"] = difference = r[a] - r[b]
    notes = _explain_size(region, n_stimuli)
    samples = _resample(rsvs, region, n_bootstrap, seed)
    if samples and len(a):
        kind = "both" if "both" in samples else next(iter(samples))
        differences = {key: sample[:, a] - sample[:, b] for key, sample in samples.items()}
        variance, freedom = (
            inference.estimate_variances(differences, n, n_stimuli)[kind],
            inference.count_freedom(n, n_stimuli)[kind],
        )
        table["resampled"] = "participants and stimuli" if kind == "both" else kind
        table["low"], table["high"] = inference.find_interval(difference, variance, freedom, largest=2)
        table["p"] = inference.find_p_of_differences(difference, variance, freedom)
    else:
        differences = {}
    return table.assign(note=_join_notes(notes, differences, difference, "a model has no r"))


def measure_noise_ceilings(
    brain: File, ceilings: File, *, name: str, n_splits: int, seed: int, distances: Sequence[str] = ("correlation",)
) -> None:
    """Write every region's noise ceilings, each named for what it is.

    Args:
        brain: HDF5 file of `store.write_brain`.
        ceilings: CSV to write, one row a distance, region and kind (CEILING_COLUMNS), regions in hierarchical order.
        name: of the brain data set.
        n_splits, seed: see `noise_ceiling.measure_noise_ceiling`.
        distances: see `config.Statistics`; correlation, which Table 1 needs, is always there.
    """
    distances = dict.fromkeys(["correlation", *distances])
    regions = [(distance, region) for distance in distances for region in read_regions(brain, distance=distance)]
    rows = []
    for distance, region in regions:
        n, known = _count_participants(region), not np.isnan(average_rows(region.rsvs)).any()
        usable = region.rsvs if n and known else region.rsvs[:1, :]
        half = measure_noise_ceiling(usable, n_splits=n_splits, seed=seed)
        splits = (half.n_splits, half.exhaustive) if half.n_splits else (None, None)
        lower, upper = measure_leave_one_out(usable)
        values = {
            SPLIT_HALF: (half.r, *splits),
            f"{SPLIT_HALF}, Spearman-Brown corrected": (float(correct_length(half.r, n)), *splits),
            "leave-one-out, lower": (lower, None, None),
            "leave-one-out, upper": (upper, None, None),
        }
        note = "one group average" if region.group else "" if n > 1 else "one participant"
        note = note if known else NO_DISTANCES
        reason = note or "the halves do not agree, or participants cancel out"
        low, high = find_agreement(usable)
        if low <= 0:
            note = f"participants may not agree at all: r of each with the others {low:.2f} to {high:.2f}"
            logger.warning("%s: %s: %s", name, region.name, note)
        rows += [
            (name, distance, region.name, kind, r, *splits, n, reason if np.isnan(r) else note)
            for kind, (r, *splits) in values.items()
        ]
    table = pd.DataFrame(rows, columns=CEILING_COLUMNS).astype({"n_splits": "Int64"})
    write_csv(table, ceilings)


def join_layers(layers: list[File], statistics: File, *, brains: list[str], models: list[str], fdr: float) -> None:
    """Join the tables of `measure_layers` and add q and significant.

    q is Benjamini and Hochberg's. Its family: all layers, regions and models of one brain data set by one distance and
    comparator; behaviour is a family of its own.

    Args:
        layers: CSV of `measure_layers` of each brain and model.
        statistics: CSV to write.
        brains, models: their names, in the order of the rows.
        fdr: share of false discoveries, see `config.Statistics`.
    """
    table = pd.concat(read_named(layers, ["brain", "model"], itertools.product(brains, models)).values())
    table["q"] = find_q(table, ["brain", "distance", "comparator"])
    columns = ["brain", "model", *LAYER_COLUMNS[:-1], "q", "significant", "note"]
    write_csv(mark_significant(table, fdr)[columns], statistics)


def find_q(table: pd.DataFrame, family: list[str]) -> pd.Series:
    """Return q within families of rows that agree in some columns, and in whether they are of the brain or of behaviour."""
    families = table.groupby([*(table[name] for name in family), table["region"] == BEHAVIOUR], sort=False)["p"]
    return families.transform(lambda p: inference.control_false_discoveries(p.to_numpy(float)))


def mark_significant(table: pd.DataFrame, fdr: float) -> pd.DataFrame:
    """Add the column significant: whether q is at most fdr, empty where there is no q."""
    return table.assign(significant=(table["q"] <= fdr).astype(object).where(table["q"].notna(), None))


def read_dimensionality(path: File) -> dict[str, list[float]]:
    """Return the effective dimensionality of the layers of a file of RSMs: column -> one number a layer."""
    with open_hdf5(path) as file:
        layers = [file[f"layers/{name}"].attrs for name in file.attrs["layers"]]
        return {name: [float(layer[name]) for layer in layers] for name in Dimensionality._fields}


def read_regions(brain: File, *rsms: File, distance: str = "correlation") -> list[Region]:
    """Return the regions; stop where an RSM was made with other stimuli.

    Of other distances than correlation, RSVs are 1 - d, d up to 1 over participants; NaN where there are no voxel patterns,
    or, for crossnobis, one run.
    """
    stimuli, regions = read_brain(brain, tiled=True)
    for path in rsms:
        with open_hdf5(path) as file:
            if list(file["stimuli"].asstr()) != stimuli:
                raise ValueError(f"{path} was not made with the {len(stimuli)} stimuli of {brain}")
    if distance == "correlation":
        return regions
    measure = measure_crossnobis if distance == "crossnobis" else lambda runs: measure_distances(runs.mean(0))
    for region in regions:
        patterns = read_patterns(brain, region.name)
        if patterns and (distance == "euclidean" or min(map(len, patterns.values())) > 1):
            each = [vectorize_rsm(measure(patterns[participant])) for participant in region.participants]
            region.rsvs = scale_distances(np.stack(each))
        else:
            region.rsvs = np.full(region.rsvs.shape, np.nan)
    return regions


def _resample(rsvs: RSVs, region: Region, n_bootstrap: int, seed: int, comparator: str = "pearson") -> dict:
    """Draw the resamples, the same for every model and comparator, and return `inference.bootstrap_similarity`'s."""
    n, n_stimuli = len(region.rsvs), count_stimuli(rsvs.shape[1])
    resamples = inference.draw_resamples(n, n_stimuli, n_resamples=n_bootstrap, seed=seed)
    return inference.bootstrap_similarity(rsvs, region.rsvs, resamples, comparator)


def _count_participants(region: Region) -> int:
    """Return the number of participants, 0 where only a group average is published."""
    return 0 if region.group else len(region.rsvs)


def _explain_size(region: Region, n_stimuli: int) -> list[str]:
    """Say what is left out because there is too little of it."""
    n, notes = _count_participants(region), []
    if region.group:
        notes.append("one group average: nothing over participants")
    elif n < inference.MIN_PARTICIPANTS:
        notes.append(f"{n} participant(s), fewer than {inference.MIN_PARTICIPANTS}: nothing over participants")
    if n_stimuli < inference.MIN_STIMULI:
        notes.append(f"{n_stimuli} stimuli, fewer than {inference.MIN_STIMULI}: nothing over stimuli")
    return notes


def _join_notes(notes: list[str], samples: dict[str, np.ndarray], r: np.ndarray, undefined: str) -> list[str]:
    """Return a note for each of r: the shared ones, and what it lacks itself."""
    shares = np.max([np.zeros(len(r)), *(np.isnan(sample).mean(0) for sample in samples.values())], axis=0)
    rows = []
    for share, missing in zip(shares, np.isnan(r), strict=True):
        own = [undefined] if missing else []
        if share > 0 and not missing:
            own = [f"{share:.1%} of resamples constant: left out" + (", no interval" if share > 0.5 else "")]
        rows.append("; ".join([*notes, *own]))
    return rows
