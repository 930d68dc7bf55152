"""
Table 1: what was measured, beside what was published, as CSV, LaTeX and HTML.
"""

import itertools
import math
import re
from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path

import pandas as pd

from ..config import Brain, Model
from ..config.architectures import find_family, print_architecture
from ..files import read_csv, read_named, write_csv
from ..fits.fit_layers import find_best_layers
from ..rsa.noise_ceiling import SPLIT_HALF
from .printing import Printed, write_tables

File = str | Path
PARTS = (
    "r",
    "r_published",
    "r_difference",
    "layer",
    "n_layers",
    "noise_ceiling",
    "noise_ceiling_note",
    "n_participants",
)
"""Of a region's columns."""
PUBLISHED_PARTS = ("_r_published", "_r_difference")
PUBLISHED_DATASET, PUBLISHED_BRAIN = "imagenet", "magri_konkle_2019"
"""What the published numbers were measured on: name of the data set, source of the brain data."""
NOT_MEASURED = "not measured (the configuration says accuracy: false)"
SHARED_BLOCKS = ("IPCL", "Wusnet", "Supervised")
"""Frameworks that share one printed block an architecture; each other framework has a block of its own,"""
WITH_TWIN = ("SimCLR", "MoCo2")
"""and these have the supervised model of their architecture printed once more below them."""


def read_published() -> pd.DataFrame:
    """Return the paper's Table 1, indexed by model: framework, architecture, dim, source, top1 in %, EarlyV, pOTC, aOTC.

    Source: appendix D.2; see `data/README.md`.
    """
    return pd.read_csv(files("ipcl_core") / "data/published_table1.csv", index_col="model")


def make_table1(
    models: dict[str, Model], brains: dict[str, Brain], table: File, *, accuracies: list[File], fits: list[File],
    ceilings: list[File], accuracy: bool = True,
) -> None:  # fmt: skip
    """Write Table 1: one row a model and brain data set.

    Args:
        models, brains: name -> block of the configuration, in the table's order.
        table: CSV to write. Accuracy in %: `top1` by the protocol of the accuracies' headline row, named in
            `top1_protocol`, and every protocol in a column of its own; `n_test` images. For each region:
            `<region>_r`, `<region>_layer` (best layer, or that none has an r), `<region>_n_layers` (of how many r is
            the largest), `<region>_noise_ceiling` (split-half), `<region>_noise_ceiling_note` (why there is none, or that
            participants may not agree at all; no such column where no region has one), `<region>_n_participants`
            (0: only a group average); `regions` are those of the brain data set, early to late.
            Where the paper's data were used and it has the number: `<column>_published`, and `<column>_difference`,
            measured minus published; where nothing of a study was published, no such columns. A model that is
            unavailable has its row, its reason and no measured number.
        accuracies: CSV of `measure_accuracies` of each model that is available and has a data set.
        fits: CSV of `fit_layers` of each of them and each brain data set.
        ceilings: CSV of `statistics.measure_noise_ceilings` of each brain data set.
        accuracy: whether category accuracy was measured at all; where not, `top1_protocol` says it.

    Raises:
        ValueError: a file is of another model or brain data set, or one is not there; see `read_named`.

    Source: appendix D.2, Table 1.
    """
    published = read_published()
    available = [name for name, model in models.items() if model.origin != "unavailable"]
    measured = [(models[name].dataset, name) for name in available if accuracy and models[name].dataset is not None]
    learned = read_named(accuracies, ["dataset", "model"], measured)
    fitted = read_named(fits, ["brain", "model"], itertools.product(brains, available))
    limits = read_named(ceilings, ["brain"], [(brain,) for brain in brains])
    rows = []
    for brain, data in brains.items():
        for name, model in models.items():
            keys = ("framework", "architecture", "dim", "width", "source", "origin", "dataset")
            known = published.loc[name] if name in published.index else None
            row = {"model": name} | {key: getattr(model, key) for key in keys}
            row |= {"reason": model.unavailable, "brain": brain}
            row |= _describe_accuracy(learned.get((model.dataset, name)))
            if not accuracy and name in available:
                row["top1_protocol"] = NOT_MEASURED
            if known is not None and model.dataset == PUBLISHED_DATASET:
                row["top1_published"] = known["top1"]
            fit, split_halves = fitted.get((brain, name)), choose_ceilings(limits[brain,])
            best = None if fit is None else find_best_layers(fit)
            row["regions"] = ", ".join(split_halves.index)
            for region, ceiling in split_halves.iterrows():
                if best is not None:
                    r, layer = best.loc[region, ["r", "layer"]]
                    row |= {f"{region}_r": round(r, 4), f"{region}_layer": layer if r == r else "no layer has an r"}
                    row[f"{region}_n_layers"] = best.at[region, "n_layers"]
                if known is not None and data.source == PUBLISHED_BRAIN and region in known.index:
                    row[f"{region}_r_published"] = known[region]
                row[f"{region}_noise_ceiling"] = round(ceiling["r"], 4)
                if pd.notna(ceiling["note"]):
                    row[f"{region}_noise_ceiling_note"] = ceiling["note"]
                row[f"{region}_n_participants"] = ceiling["n_participants"]
            rows.append(row)
    write_csv(_arrange(pd.DataFrame(rows)), table)


def choose_ceilings(ceilings: pd.DataFrame) -> pd.DataFrame:
    """Return the split-half noise ceilings of correlation distances, indexed by region."""
    paper = (ceilings["kind"] == SPLIT_HALF) & (ceilings["distance"] == "correlation")
    return ceilings[paper].set_index("region")


def _describe_accuracy(accuracy: pd.DataFrame | None) -> dict:
    """Return Table 1's columns of accuracy; without a table, empty ones."""
    if accuracy is None:
        return {"top1": math.nan, "top1_protocol": None, "n_test": math.nan}
    headline = accuracy[accuracy["headline"]].squeeze()
    row = {"top1": round(headline["top1"], 2), "top1_protocol": _describe(headline), "n_test": int(headline["n_query"])}
    for protocol, top1 in accuracy.drop_duplicates("protocol").set_index("protocol")["top1"].items():
        short = re.sub(r"\W+", "_", protocol.replace("weighted ", "").lower()).strip("_")
        row[f"{short}_top1"] = round(top1, 2)
    return row


def _describe(accuracy: pd.Series) -> str:
    """Name a protocol with its parameters and its layer."""
    if pd.notna(accuracy["k"]):
        return f"{accuracy['protocol']} (k={accuracy['k']:.0f}, tau={accuracy['tau']:g}, {accuracy['layer']})"
    return accuracy["protocol"] + (f" ({accuracy['layer']})" if "probe" in accuracy["protocol"] else "")


def _arrange(table: pd.DataFrame) -> pd.DataFrame:
    """Add the differences from the published numbers, and bring the columns into their order."""
    columns = list(table.columns)
    order = ["model", "framework", "architecture", "dim", "width", "source", "origin", "reason", "dataset", "top1"]
    order += ["top1_published", "top1_difference", "top1_protocol", "n_test"]
    order += [name for name in columns if name.endswith("_top1")] + ["brain", "regions"]
    regions = list_regions(table)
    order += [f"{region}_{part}" for region in regions for part in PARTS]
    for name in [name for name in columns if name.endswith("_published")]:
        measured = name.removesuffix("_published")
        table[f"{measured}_difference"] = (table.get(measured) - table[name]).round(4)
    counts = ["dim", "n_test", *(f"{region}_{part}" for region in regions for part in ("n_layers", "n_participants"))]
    return table[[name for name in order if name in table]].astype({name: "Int64" for name in counts if name in table})


def read_table1(table: str | Path, brain: str) -> pd.DataFrame:
    """Return one brain's rows of Table 1, indexed by model, with the printed name of architecture and width as `network`.

    The columns of its regions stand early to late, whatever their order in other brains; those of other regions are left out,
    and so are published numbers where there are none of this brain.

    Raises:
        ValueError: the table has no row for the brain.
    """
    rows = read_csv(table)
    brains = rows["brain"].unique()
    rows = rows[rows["brain"] == brain].set_index("model")
    if rows.empty:
        raise ValueError(f"{table}: no rows for brain {brain}; there are {', '.join(brains)}")
    known = {region: [f"{region}_{part}" for part in PARTS] for region in list_regions(rows)}
    others = [name for name in rows if name not in {*itertools.chain(*known.values())}]
    own = [name for region in rows["regions"].iloc[0].split(", ") for name in known[region] if name in rows]
    foreign = [name for name in own if name.endswith(PUBLISHED_PARTS) and rows[name].isna().all()]
    rows = rows[others + own].drop(columns=foreign)
    rows["network"] = print_networks(rows["architecture"], rows["width"])
    return rows


def print_networks(architectures: pd.Series, widths: pd.Series) -> pd.Series:
    """Return the printed names of architectures, each with its width where that is not 1, as in AlexNet-gn x0.25."""
    return architectures.map(print_architecture) + ["" if width == 1 else f" x{width:g}" for width in widths]


def read_fits(fits: Iterable[File], table: File, brains: Iterable[str]) -> dict[tuple[str, str], pd.DataFrame]:
    """Return (brain, model) -> table of `fit_layers.fit_layers`, of all models of Table 1 that have one and of some brains.

    Raises:
        ValueError: see `read_named`.
    """
    rows = read_csv(table)
    models = rows.loc[rows["origin"] != "unavailable", "model"].unique()
    return read_named(fits, ["brain", "model"], itertools.product(brains, models))


def list_regions(table: pd.DataFrame) -> list[str]:
    """Return the regions of the columns of Table 1, early to late."""
    return [name.removesuffix("_noise_ceiling") for name in table if name.endswith("_noise_ceiling")]


def split_blocks(table: pd.DataFrame) -> list[pd.DataFrame]:
    """Return the rows of one brain in the blocks that the paper prints.

    IPCL, the Wusnets and the supervised models make one block an architecture. Every other framework is a block of its own;
    those of WITH_TWIN end with the supervised model of their architecture once more.
    """
    shared = table["framework"].isin(SHARED_BLOCKS)
    blocks = []
    for _, block in table.groupby(table["architecture"].where(shared, table["framework"]), sort=False):
        if block["framework"].iloc[0] in WITH_TWIN:
            families = {find_family(name) for name in block["architecture"]}
            twins = table["architecture"].isin(families) & (table["framework"] == "Supervised")
            block = pd.concat([block, table[twins]])
        blocks.append(block)
    return blocks


def print_table1(table: str | Path, titles: dict[str, str], *, tex: str | Path, page: str | Path) -> None:
    """Write Table 1 as LaTeX (package booktabs) and as one HTML page, a table a brain data set.

    The highest top-1 accuracy of a block and the highest r of a region are bold, as in the paper; ties at the printed
    precision all are.

    Args:
        table: CSV of `make_table1`.
        titles: brain data set -> its title.
        tex, page: files to write.
    """
    parts = [_print_brain(read_table1(table, brain), title) for brain, title in titles.items()]
    write_tables(parts, "Table 1", tex=tex, page=page)


def _print_brain(table: pd.DataFrame, title: str) -> Printed:
    """Return one brain's table as it is printed."""
    regions = list_regions(table)
    blocks = split_blocks(table)
    rows = pd.concat(blocks)
    cells, bold = describe_rows(rows), {}
    accuracy = [("top1", "Top-1 (%)", 1)] if table["dataset"].notna().any() else []
    for name, heading, decimals in [*accuracy, *((f"{region}_r", region, 2) for region in regions)]:
        measured = rows[name].round(decimals)
        groups = [block[name].round(decimals) for block in blocks] if name == "top1" else [measured]
        bold[heading, "here"] = [len(group) > 1 and value == group.max() for group in groups for value in group]
        for column, label in ((name, "here"), (f"{name}_published", "paper"), (f"{name}_difference", "diff.")):
            if column in rows:
                sign = "+" if label == "diff." else ""
                values = rows[column].round(decimals) + 0.0  # no -0.00
                cells[heading, label] = [f"{value:{sign}.{decimals}f}" if value == value else "-" for value in values]
        if (column := f"{heading}_n_layers") in rows:
            cells[heading, "of"] = [f"{n:.0f}" if n == n else "-" for n in rows[column].astype(float)]
        if name == "top1":
            cells[heading, "by"] = [re.sub(r" \(.*", "", by) if by == by else "-" for by in rows["top1_protocol"]]
            cells[heading, "n"] = [f"{n:.0f}" if n == n else "-" for n in rows["n_test"]]
    return Printed(cells, bold, _caption(table, title, regions), list_reasons(table), blocks)


def describe_rows(rows: pd.DataFrame) -> dict[tuple[str, str], Iterable]:
    """Return the first printed columns: what the models are."""
    cells = {}
    for heading, name in (("Framework", "framework"), ("Architecture", "network"), ("Origin", "origin")):
        cells["", heading] = rows[name]
    return cells | {("", "Dim"): [f"{dim:.0f}" if dim == dim else "-" for dim in rows["dim"]]}


def _caption(table: pd.DataFrame, title: str, regions: list[str]) -> str:
    ceilings = []
    for region in regions:
        ceiling, note = table[f"{region}_noise_ceiling"].iloc[0], read_note(table, region)
        said = [f"n = {table[f'{region}_n_participants'].iloc[0]:.0f} participants"] if ceiling == ceiling else []
        number = f"{region} {ceiling:.2f}" if said else f"{region} none"
        ceilings.append(f"{number} ({'; '.join([*said, *filter(None, [note])])})")
    accuracy = table["dataset"].notna().any()
    return (
        f"{title}. {'Top-1 accuracy on n test images, and the' if accuracy else 'The'} best layer's r with the group RSM "
        f"of each region; of: the number of layers. Bold: {'the highest top-1 of a block, ' if accuracy else ''}the highest r "
        "of a region. "
        f"Split-half noise ceilings: {', '.join(ceilings)}."
    )


def read_note(table: pd.DataFrame, region: str) -> str:
    """Return the note on a region's noise ceiling, from one brain's rows of Table 1; empty where there is none."""
    notes = table.get(f"{region}_noise_ceiling_note")
    return "" if notes is None or pd.isna(notes.iloc[0]) else notes.iloc[0]


def list_reasons(table: pd.DataFrame) -> list[str]:
    """Return one sentence for each model that is unavailable."""
    missing = table[table["origin"] == "unavailable"]
    return [f"{name} is unavailable: {reason}" for name, reason in missing["reason"].items()]
