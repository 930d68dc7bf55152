"""
What the page shows of encoding beside RSA, where a study has it.
"""

import itertools
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from ...files import open_hdf5
from ...rsa.similarity import find_best
from ..encoding import MEASURES, VERSA, measure_ceilings, read_held_out, read_layers, read_partitions
from .values import list_rows, list_values

File = str | Path
PARTITION_COLUMNS = [
    "region", "measure", "models", "explained", "by", "r2", "low", "high", "p", "q", "significant", "note",
]  # fmt: skip


@dataclass
class EncodingFiles:
    """Files of encoding; none where a study has none."""

    scores: list[File] = field(default_factory=list)
    """CSV of `fit_encoding` of each brain data set with encoding and model."""
    predictions: list[File] = field(default_factory=list)
    """HDF5 of `fit_encoding` of one model of each."""
    rsa_best: list[File] = field(default_factory=list)
    """CSV `best_layers` of `statistics.compare_models` of each."""
    best: list[File] = field(default_factory=list)
    """CSV `best_layers` of `compare_encoding` of each."""
    partitions: list[File] = field(default_factory=list)
    """CSV of `partition_models` of each, where models are partitioned."""


def add_encoding(shown: dict, sources: EncodingFiles, ceilings: dict[tuple[str], pd.DataFrame]) -> None:
    """Add encoding to what the page shows.

    Args:
        shown: of `page.write_explorer`, with brains, their regions and their models' layers.
        sources: see there.
        ceilings: (brain,) -> table of `statistics.measure_noise_ceilings`.

    Raises:
        ValueError: a file is of another brain or model, or its layers are not those of the RSMs.
    """
    if not sources.scores:
        return
    brains = {}
    for path in sources.predictions:
        with open_hdf5(path) as file:
            brains[file.attrs["brain"]] = path
    shown["measures"] = MEASURES
    models = list(next(iter(shown["brains"].values()))["models"])
    layers = read_layers(sources.scores, brains, models)
    held_out = read_held_out(sources.rsa_best, sources.best)
    partitions = pd.concat([read_partitions(path) for path in sources.partitions]) if sources.partitions else None
    for brain, file in brains.items():
        described = shown["brains"][brain]
        for model in models:
            _add_layers(described["models"][model], layers[brain, model], f"{brain} {model}")
            rows = held_out[(held_out["brain"] == brain) & (held_out["model"] == model)]
            described["models"][model]["held_out"] = _describe_held_out(rows, described["models"][model]["layers"])
        table = measure_ceilings(ceilings[brain,], file).rename(columns={"measure": "comparator"})
        for region, rows in table.groupby("region", sort=False):
            described["regions"][region]["ceilings"] += list_rows(rows.drop(columns="region"))
        described["encoding"] = {"ceilings": f"encoding/{brain}/{Path(file).name}"}
        if partitions is not None:
            rows = partitions[(partitions["brain"] == brain) & (partitions["participant"] == "group")]
            described["encoding"]["partitions"] = list_rows(rows[PARTITION_COLUMNS])


def _add_layers(described: dict, table: pd.DataFrame, name: str) -> None:
    """Add a model's numbers by each measure to its fits."""
    for measure, (region, fit) in itertools.product(MEASURES, table.groupby("region", sort=False)):
        fit = fit.sort_values("layer_index")
        if list(fit["layer"]) != described["layers"]:
            raise ValueError(f"encoding of {name}: its layers are not those of the RSMs")
        columns = {"r": list_values(fit[measure]), "note": list_values(fit["note"])}
        if measure != VERSA:
            columns |= {f"participants_{end}": list_values(fit[f"{measure}_{end}"]) for end in ("low", "high")}
        best = int(find_best(fit[measure])) if fit[measure].notna().any() else -1
        described["fits"].setdefault(measure, {})[region] = {"best": best} | columns


def _describe_held_out(rows: pd.DataFrame, layers: list[str]) -> dict:
    """Return measure -> region -> the layer's place, and r with its interval on the stimuli that did not choose it."""
    found = {}
    for row in list_rows(rows):
        place = {"layer": layers.index(row["layer"])} | {name: row[name] for name in ("r", "low", "high")}
        found.setdefault(row["measure"], {})[row["region"]] = place
    return found
