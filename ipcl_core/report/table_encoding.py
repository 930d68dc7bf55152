"""
Encoding and veRSA beside RSA, by layers that were chosen on other stimuli: the sibling of Table 1.
"""

from pathlib import Path

import pandas as pd

from ..files import read_csv, write_csv
from .encoding import RSA, VERSA, measure_ceilings, read_held_out
from .printing import Printed, write_tables
from .table1 import describe_rows, list_reasons, list_regions, read_table1, split_blocks

File = str | Path
ROW = ["framework", "architecture", "dim", "width", "source", "origin", "reason", "brain", "regions"]
SHOWN = {RSA: "RSA", "median_r": "voxels", VERSA: "veRSA"}
"""Measure -> the printed column of its held-out layer."""
CAPTION = (
    "{title}. r of RSA is Table 1's: the best layer's, chosen on the same data. The others are of layers that were chosen on "
    "other stimuli than those by which they are judged: RSA with the group RSM; voxels: median over voxels of r of predicted "
    "and measured responses; veRSA: the RSM of the predictions with that of the responses; means over participants. Bold: the "
    "highest of a column. What the median voxel's noise lets a model reach: {ceilings}."
)


def make_table_encoding(
    table1: File, table: File, *, statistics: list[File], encoding: list[File], ceilings: dict[str, tuple[File, File]]
) -> None:
    """Write a row a model and brain data set with encoding.

    Args:
        table1: CSV of `table1.make_table1`.
        table: CSV to write: the rows of Table 1, and for each region `_r` (Table 1's), and of `_r_held_out` (RSA),
            `_median_r_held_out` (voxels) and `_versa_r_held_out` the layer that was chosen on other stimuli, `_layer`,
            with `_low` and `_high` where there is an interval; `_median_r_ceiling`; `_noise_ceiling` and `_n_participants`
            as in Table 1. A model that is unavailable has its row and no number.
        statistics, encoding: the two lists of `encoding.read_held_out`.
        ceilings: brain data set -> the two files of `encoding.measure_ceilings`; their order is that of the rows.
    """
    held_out = read_held_out(statistics, encoding).set_index(["brain", "model", "region", "measure"])
    parts = []
    for brain, (noise, predictions) in ceilings.items():
        known = read_table1(table1, brain)
        limits = measure_ceilings(read_csv(noise), predictions).query("measure == 'median_r'").set_index("region")["r"]
        rows = known[ROW].reset_index()
        for region in list_regions(known):
            rows[f"{region}_r"] = known[f"{region}_r"].to_numpy()
            for measure in SHOWN:
                stem = f"{region}_r" if measure == RSA else f"{region}_{measure}"
                keys = pd.MultiIndex.from_tuples([(brain, model, region, measure) for model in rows["model"]])
                found = held_out.reindex(keys)
                rows[f"{stem}_held_out"] = found["r"].round(4).to_numpy()
                for part in ("layer", *(("low", "high") if measure == "median_r" else ())):
                    values = found[part] if part == "layer" else found[part].round(4)
                    rows[f"{stem}_held_out_{part}"] = values.to_numpy()
            rows[f"{region}_median_r_ceiling"] = round(limits.get(region, float("nan")), 4)
            for part in ("noise_ceiling", "n_participants"):
                rows[f"{region}_{part}"] = known[f"{region}_{part}"].to_numpy()
        parts.append(rows)
    whole = pd.concat(parts)
    counts = ["dim", *(name for name in whole if name.endswith("_n_participants"))]
    write_csv(whole.astype(dict.fromkeys(counts, "Int64")), table)


def print_table_encoding(table: File, titles: dict[str, str], *, tex: File, page: File) -> None:
    """Write the table as LaTeX and HTML, one a brain data set; see `table1.print_table1`."""
    parts = [_print_brain(read_table1(table, brain), title) for brain, title in titles.items()]
    write_tables(parts, "Encoding and veRSA beside RSA", tex=tex, page=page)


def _print_brain(table: pd.DataFrame, title: str) -> Printed:
    blocks, regions = split_blocks(table), list_regions(table)
    rows = pd.concat(blocks)
    cells, bold, ceilings = describe_rows(rows), {}, []
    for region in regions:
        names = {"r": "_r"} | {
            f"{label}, held out": f"_{'r' if key == RSA else key}_held_out" for key, label in SHOWN.items()
        }
        for label, name in names.items():
            values = rows[f"{region}{name}"].round(2) + 0.0  # no -0.00
            cells[region, label] = [f"{value:.2f}" if value == value else "-" for value in values]
            bold[region, label] = [len(rows) > 1 and value == values.max() for value in values]
        ceiling = table[f"{region}_median_r_ceiling"].iloc[0]
        ceilings.append(f"{region} r = {ceiling:.2f}" if ceiling == ceiling else f"{region} not known")
    return Printed(cells, bold, CAPTION.format(title=title, ceilings=", ".join(ceilings)), list_reasons(table), blocks)
