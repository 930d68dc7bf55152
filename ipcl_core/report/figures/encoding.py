"""
Encoding beside RSA: layer by layer with their ceilings, and what models explain alone and share.
"""

import itertools
import math

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from ...encoding.resampling import BOTH
from ...files import read_csv
from ..encoding import RSA, measure_ceilings, read_held_out, read_layers, read_partitions
from .style import CHARACTER, GREY, TICKS, WIDTH, File, find_limits, finish, read_tables, save

COLUMNS = {RSA: "RSA\nr", "median_r": "encoding\nmedian r of voxels", "versa_r": "veRSA\nr"}
STYLES = ("-", "--", ":", "-.")
BAND = {"color": "k", "alpha": 0.1, "lw": 0}
TOGETHER = {"facecolor": "w", "edgecolor": "k", "linewidth": 0.6}
SHARED = TOGETHER | {"edgecolor": GREY, "hatch": "/////"}
DOT = {"ls": "", "marker": "o", "ms": 2.5, "mfc": "w", "mec": "k", "mew": 0.4}
STAR = {"ls": "", "marker": "*", "ms": 4, "mfc": "k", "mec": "k", "mew": 0.3}
BAR, PANEL = 0.15, 1.3
"""Inches: a bar with its distance to the next, the least width of a panel of bars."""
MEASURES = {"voxels": "voxels", "rsm": "RSM"}


def draw_figure_encoding(
    table: File, statistics: File, scores: list[File], held_out: tuple[list[File], list[File]], ceilings: File,
    predictions: File, *, brain: str, title: str, models: list[str], svg: File, png: File, pdf: File,
) -> None:  # fmt: skip
    """Draw the layers of some models by RSA, encoding and veRSA, one row a region, with the ceilings as bands.

    Args:
        table: CSV of `table1.make_table1`.
        statistics: CSV of `statistics.join_layers`.
        scores: CSV of `fit_encoding` of each of `models`, and of no other.
        held_out: the CSVs of `encoding.read_held_out`.
        ceilings, predictions: see `encoding.measure_ceilings`.
        brain, title, models, svg, png, pdf: see `layers.draw_figure2`.
    """
    files = {"svg": svg, "png": png, "pdf": pdf}
    arguments = (table, statistics, scores, held_out, ceilings, predictions)
    save(plot_encoding, *arguments, brain=brain, title=title, models=models, **files)


def draw_figure_partitions(
    table: File, partitions: File, *, brain: str, title: str, fdr: float, svg: File, png: File, pdf: File
) -> None:
    """Draw what each set of models explains alone and shares, one column a region, above of voxels and below of RSMs.

    Args:
        table: CSV of `table1.make_table1`.
        partitions: CSV of `partition_models`.
        fdr: q up to which a part is significant.
        brain, title, svg, png, pdf: see `layers.draw_figure2`.
    """
    save(plot_partitions, table, partitions, brain=brain, title=title, fdr=fdr, svg=svg, png=png, pdf=pdf)


def plot_encoding(
    table1: File, statistics: File, scores: list[File], held_out: tuple[list[File], list[File]], ceilings: File,
    predictions: File, *, brain: str, title: str, models: list[str],
) -> Figure:  # fmt: skip
    """Return the Figure of `draw_figure_encoding`."""
    table, regions, colors = read_tables(table1, brain)
    curves = _read_curves(statistics, scores, brain, models)
    chosen = read_held_out(*held_out).query("brain == @brain and model in @models")
    limits = measure_ceilings(read_csv(ceilings), predictions)
    frameworks = {name: table["framework"].get(name, name) for name in models}
    order = {name: [*frameworks.values()][:i].count(frameworks[name]) for i, name in enumerate(models)}
    styles = {name: {"color": colors[frameworks[name]], "ls": STYLES[order[name] % len(STYLES)]} for name in models}
    figure = Figure(figsize=(WIDTH, 0.9 + 1.45 * len(regions)))
    axes = figure.subplots(len(regions), len(COLUMNS), squeeze=False, sharex=True)
    for (row, region), (column, measure) in itertools.product(enumerate(regions), enumerate(COLUMNS)):
        ax, here = axes[row, column], "region == @region and measure == @measure"
        drawn = _draw_ceilings(ax, limits.query(here))
        for name in models:
            own = curves.query(f"model == @name and {here}").sort_values("layer_index")
            drawn += _draw_curve(ax, own, chosen.query(f"model == @name and {here}"), name, styles[name])
        ax.axhline(0, color="#C8C8C8", lw=0.5, zorder=0)
        ax.set_ylim(find_limits(*drawn, [0]))
        ax.locator_params(axis="y", **TICKS)
        ax.set_title(COLUMNS[measure] if row == 0 else "")
        ax.set_ylabel(region if column == 0 else "")
        ax.set_xlim(-0.04, 1.04)
    for ax in axes[-1]:
        ax.set_xlabel("layer, from first (0) to last (1)")
    diamond = Line2D(
        [], [], ls="", marker="D", ms=4, mfc=GREY, mec="w", label="layer chosen on other stimuli, held out"
    )
    band = Patch(**BAND, label="noise ceiling")
    return finish(figure, title, [*(Line2D([], [], label=name, **styles[name]) for name in models), diamond, band])


def _read_curves(statistics: File, scores: list[File], brain: str, models: list[str]) -> pd.DataFrame:
    """Return a row a model, region, measure and layer: layer_index, value, low, high."""
    fits = read_csv(statistics).query("brain == @brain and comparator == @RSA and distance == 'correlation'")
    keys = ["model", "region", "layer", "layer_index"]
    parts = [fits[keys].assign(measure=RSA, value=fits["r"], **_choose_interval(fits))]
    for (_, model), table in read_layers(scores, [brain], models).items():
        for measure in [name for name in COLUMNS if name != RSA]:
            ends = {end: table.get(f"{measure}_{end}", np.nan) for end in ("low", "high")}
            parts.append(table.assign(model=model, measure=measure, value=table[measure], **ends))
    return pd.concat([part[[*keys, "measure", "value", "low", "high"]] for part in parts])


def _choose_interval(fits: pd.DataFrame) -> dict[str, pd.Series]:
    """Return low and high of the widest interval that there is."""
    kinds = ("both", "participants", "stimuli")
    ends = {end: [fits[f"{kind}_{end}"] for kind in kinds] for end in ("low", "high")}
    return {end: first.fillna(second).fillna(third) for end, (first, second, third) in ends.items()}


def _draw_ceilings(ax: Axes, ceilings: pd.DataFrame) -> list[list[float]]:
    for row in ceilings.dropna(subset=["low"]).itertuples():
        ax.axhspan(row.low, row.high, zorder=0, label="ceiling", **BAND)
    for row in ceilings.itertuples():
        ax.axhline(row.r, color="k", ls=(0, (4, 2)), lw=0.6, zorder=1, label="expected")
    return [ceilings[name].to_list() for name in ("low", "r", "high")]


def _draw_curve(ax: Axes, own: pd.DataFrame, held_out: pd.DataFrame, name: str, style: dict) -> list[list[float]]:
    """Draw a model's layers, and the diamond of the one that was chosen on other stimuli; return what the axis must hold."""
    place = own["layer_index"].to_numpy() / max(1, own["layer_index"].max()) if len(own) > 1 else np.full(len(own), 0.5)
    low, high = (own[end].to_numpy(float) for end in ("low", "high"))
    one = {"marker": "o", "ms": 3} if len(own) == 1 else {}
    ax.plot(place, own["value"], lw=1.0, zorder=2, label=name, **style, **one)
    if len(own) > 1:
        ax.fill_between(place, low, high, color=style["color"], alpha=0.15, lw=0)
    drawn = [own["value"].to_list(), low, high]
    for row in held_out.dropna(subset=["r"]).itertuples():
        x = place[own["layer"].to_list().index(row.layer)]
        if not math.isnan(row.low):
            ax.plot([x, x], [row.low, row.high], color="k", lw=0.8, zorder=3)
        ax.plot(
            x, row.r, marker="D", ms=4, mfc=style["color"], mec="w", mew=0.6, ls="", zorder=4, label=f"{name}, held out"
        )
        drawn.append([row.r, row.low, row.high])
    return drawn


def plot_partitions(table1: File, partitions: File, *, brain: str, title: str, fdr: float) -> Figure:
    """Return the Figure of `draw_figure_partitions`."""
    table, _, colors = read_tables(table1, brain)
    rows = read_partitions(partitions).query("brain == @brain")
    parts = _list_parts(rows)
    regions = list(rows["region"].unique())
    labels = 0.2 + CHARACTER * max(map(len, (label for _, _, label in parts)))
    n_columns = max(1, min(len(regions), int((WIDTH - labels) / PANEL)))
    n_bands = math.ceil(len(regions) / n_columns)
    figure = Figure(figsize=(WIDTH, 0.7 + n_bands * len(MEASURES) * (0.55 + BAR * (len(parts) + 1))))
    axes = figure.subplots(n_bands * len(MEASURES), n_columns, squeeze=False, sharey=True)
    for ax in axes.flat:
        ax.set_axis_off()
    for (place, region), (row, measure) in itertools.product(enumerate(regions), enumerate(MEASURES)):
        ax = axes[place // n_columns * len(MEASURES) + row, place % n_columns]
        ax.set_axis_on()
        _draw_parts(ax, rows.query("region == @region and measure == @measure"), parts, table["framework"], colors, fdr)
        ax.set_title(f"{region}, {MEASURES[measure]}")
        ax.set_xlabel("R2, held out")
        ax.set_xlim(*find_limits(*(rows.loc[rows["measure"] == measure, name] for name in ("r2", "low", "high")), [0]))
    handles = [
        Patch(**SHARED, label="shared"),
        Patch(**TOGETHER, label="all together"),
        Line2D([], [], label="one participant", **DOT),
        Line2D([], [], **STAR, label=f"adds something, q ≤ {fdr:g}"),
    ]
    return finish(figure, title, handles)


def _list_parts(rows: pd.DataFrame) -> list[tuple[str, str, str]]:
    """Return (models, by, label) of each bar: of each set what is explained alone or shared, and all together ("")."""
    found = []
    for models, own in rows.groupby("models", sort=False):
        alone = own.loc[own["explained"] == "alone", "by"].unique()
        found += [(models, by, f"{by}, shared" if " + " in by else f"{by} alone") for by in alone]
        found.append((models, "", f"{models.replace(', ', ' + ')}, together"))
    return found


def _draw_parts(
    ax: Axes, rows: pd.DataFrame, parts: list[tuple[str, str, str]], frameworks: pd.Series, colors: dict, fdr: float
) -> None:
    """Draw a bar a part: mean over participants, its interval, the participants, and a mark where it is significant."""
    y, ticks = 0.0, []
    for (models, by, label), after in itertools.zip_longest(parts, parts[1:]):
        kind, found = ("alone", by) if by else ("together", models.replace(", ", " + "))
        own = rows[(rows["models"] == models) & (rows["explained"] == kind) & (rows["by"] == found)]
        group, single = own[own["participant"] == "group"].iloc[0], own[own["participant"] != "group"]
        style = {"color": colors.get(frameworks.get(by), "#000000")} if by else TOGETHER
        style = SHARED if " + " in by else style
        ax.barh(y, group["r2"], 0.7, label=label, zorder=1, **style)
        ax.plot(single["r2"], np.full(len(single), y), label=f"{label}, participants", zorder=2, **DOT)
        if pd.notna(group["low"]):
            ax.plot([group["low"], group["high"]], [y, y], color="k", lw=1.0, zorder=3, label=f"{label}, interval")
        if group["resampled"] == BOTH and group["q"] <= fdr:
            ax.plot(1.02, y, transform=ax.get_yaxis_transform(), clip_on=False, label=f"{label}, significant", **STAR)
        ticks.append(y)
        y += 1.0 if after and after[0] == models else 1.6
    ax.axvline(0, color="k", lw=0.6)
    ax.set_yticks(ticks, [label for *_, label in parts])
    ax.tick_params(axis="y", length=0)
    ax.set_ylim(ticks[-1] + 0.7, -0.7)
    ax.locator_params(axis="x", nbins=4)
