"""
Layer by layer: figure 2 and supplementary figure 2.
"""

import io
import itertools
import math
import re
import textwrap
from collections.abc import Iterable

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from ..table1 import read_fits, read_note
from .style import (
    CEILING,
    CHARACTER,
    COLORS,
    GREY,
    SPARE_COLORS,
    STYLE,
    TICKS,
    WIDTH,
    File,
    assign,
    find_limits,
    finish,
    list_ceilings,
    read_tables,
    save,
    wrap,
)

COLUMN, BAR, LABEL_SPACING = 1.5, 0.105, 8.5 / 72
"""Inches: the widest column of layer curves, a bar, the least distance of two labels of layers."""
COLUMNS_PER_BAND, PANELS_PER_ROW = 8, 4
GOLD = "#D9A400"
LINE_STYLES = {"dim 128": ":", "dim 256": "--", "dim 1000": "-", "x1": ":", "x2": "--", "x4": "-"}
SPARE_LINE_STYLES = ("-.", (0, (6, 1, 1, 1, 1, 1)), (0, (1, 3)), (0, (8, 3)))
DRAWN = ("region", "model", "layer", "layer_index", "participant", "r", "low", "high", "ceiling")
"""Columns of the library's tables that are drawn."""


def draw_figure2(
    table: File, fits: list[File], *, brain: str, title: str, models: list[str], svg: File, png: File, pdf: File
) -> None:
    """Draw the layerwise correlations of some models and the best layer of all, one row a region.

    A model's panel also shows the other models of its framework and architecture (of any width of a ResNet), and in dark
    grey the models trained with category labels on that architecture.

    Args:
        table: CSV of `table1.make_table1`; its rows of `brain` are used. A region without noise ceiling gets none.
        fits: CSV of `fit_layers.fit_layers` of each model.
        brain: name of the brain data set.
        title: heads the figure.
        models: those with a panel, in order.
        svg, png, pdf: files to write.

    Raises:
        ValueError: the table has no row for the brain, or for one of `models`.

    Source: figure 2, B and C.
    """
    save(plot_figure2, table, fits, brain=brain, title=title, models=models, svg=svg, png=png, pdf=pdf)


def draw_figure_layers(
    table: File, fits: list[File], *, brain: str, title: str, svg: File, png: File, pdf: File
) -> None:
    """Draw the layerwise correlations of all models: a column a framework and architecture, a row a region.

    Supervised models are drawn in the panels of their self-supervised twins. More than COLUMNS_PER_BAND columns are wrapped.
    A gold line marks the highest peak of a panel. Arguments and errors are those of `draw_figure2`.

    Source: supplementary figure 2.
    """
    save(plot_figure_layers, table, fits, brain=brain, title=title, svg=svg, png=png, pdf=pdf)


def plot_figure2(table1: File, fits: list[File], *, brain: str, title: str, models: list[str]) -> Figure:
    """Return the Figure of `draw_figure2`."""
    table, regions, colors = read_tables(table1, brain)
    if unknown := ", ".join(sorted({*models} - {*table.index})):
        raise ValueError(f"{table1}: no model {unknown} for brain {brain}; there are {', '.join(table.index)}")
    panels = [_select_panel(table, *table.loc[name, ["framework", "family"]]) for name in models]
    curves = _read_curves(fits, table1, brain, {name for panel in panels for name in panel.index})
    n_bars = len(table.groupby(["family", "framework"])) + table["family"].nunique()
    bars = max(1.3, BAR * n_bars)
    column = min(COLUMN, (WIDTH - 0.5 - bars) / len(models))
    widths = [column] * len(models) + [bars]
    figure = Figure(figsize=(0.5 + sum(widths), 1.3 + 1.35 * len(regions)))
    axes = figure.subplots(len(regions), len(widths), squeeze=False, width_ratios=widths, sharex="col", sharey="row")
    for row, (region, ceiling) in zip(axes, regions.items(), strict=True):
        shown = [curve[region] for curve in curves.values()]
        row[0].set_ylim(find_limits(*shown, table[f"{region}_r"], [ceiling, 0]))
        note = "no noise ceiling" if math.isnan(ceiling) else read_note(table, region).partition(":")[0]
        words = textwrap.wrap(f"({note})", 18) if note else []
        row[0].set_ylabel("\n".join([region, "correlation r", *words]))
        for ax, panel in zip(row[:-1], panels, strict=True):
            _draw_curves(ax, panel, curves, region, colors)
        _draw_bars(row[-1], table, region, colors)
        for ax in row:
            _draw_levels(ax, ceiling)
    for top, bottom, name, panel in zip(axes[0], axes[-1], models, panels, strict=False):
        top.set_title(f"{wrap(table.at[name, 'framework'], column - 0.2)}\n{table.at[name, 'family']}")
        _label_layers(bottom, panel, curves, column)
    axes[0, -1].set_title("best layer\nof every model")
    for ax, letter in ((axes[0, 0], "B"), (axes[0, -1], "C")):  # the paper's A shows where the regions are
        ax.set_title(f"{letter}\n", loc="left", fontweight="bold")
    frameworks = [Patch(color=colors[name], label=name) for name in table["framework"].unique()]
    dot = Line2D([], [], ls="", marker="o", ms=3, mfc="w", mec="k", mew=0.5, label="one model")
    handles = [*frameworks, *_explain_lines(panels), *list_ceilings(regions.values()), dot]
    return finish(figure, title, handles)


def plot_figure_layers(table1: File, fits: list[File], *, brain: str, title: str) -> Figure:
    """Return the Figure of `draw_figure_layers`."""
    table, regions, colors = read_tables(table1, brain)
    curves = _read_curves(fits, table1, brain, table.index)
    panels = _arrange_panels(table)
    n_bands = math.ceil(len(panels) / COLUMNS_PER_BAND)
    n_columns = math.ceil(len(panels) / n_bands)
    width = min(COLUMN, (WIDTH - 0.5) / n_columns)
    figure = Figure(figsize=(0.5 + width * n_columns, 0.6 + n_bands * (0.75 + 0.8 * len(regions))))
    grid = figure.add_gridspec(n_bands * len(regions), n_columns)
    for (index, panel), (row, (region, ceiling)) in itertools.product(enumerate(panels), enumerate(regions.items())):
        band, position = divmod(index, n_columns)
        ax = figure.add_subplot(grid[band * len(regions) + row, position])
        ax.set_ylim(find_limits(*(curve[region] for curve in curves.values()), [ceiling, 0]))
        _draw_curves(ax, panel, curves, region, colors)
        _draw_levels(ax, ceiling)
        if not math.isnan(peak := panel[f"{region}_r"].max()):
            ax.axhline(peak, color=GOLD, lw=1.2, zorder=1, label="peak")
        _label_layers(ax, panel, curves, 0.85 * width)
        ax.tick_params(labelbottom=row == len(regions) - 1, labelleft=position == 0)
        ax.set_ylabel(f"{region}\nr" if position == 0 else "")
        ax.set_title(f"{wrap(panel['framework'].iloc[0], width)}\n{panel['family'].iloc[0]}" if row == 0 else "")
    shown = dict.fromkeys(name for panel in panels for name in panel["framework"])
    lines = [Line2D([], [], color=colors[name], lw=1.0, label=name) for name in shown]
    gold = Line2D([], [], color=GOLD, lw=1.2, label="highest peak of the panel")
    return finish(figure, title, [*lines, *_explain_lines(panels), *list_ceilings(regions.values()), gold])


class ShownFigure(Figure):
    """A figure that a notebook shows, which else knows those of pyplot alone."""

    def _repr_svg_(self) -> str:
        content = io.StringIO()
        with matplotlib.rc_context(STYLE):
            self.savefig(content, format="svg")
        return content.getvalue()


def plot_fits(fits: pd.DataFrame, title: str) -> Figure:
    """Return the Figure of `library.plot_layers`: a panel a region (of each brain), a line a model, its interval shaded."""
    lacking = [name for name in DRAWN if name not in getattr(fits, "columns", ())]
    if lacking:
        raise ValueError(f"fits: found no column {', '.join(lacking)}; give what compare returns, or rows of it")
    group = fits[fits["participant"] == "group"]
    if not len(group):
        raise ValueError("no rows whose participant is the group: nothing to draw")
    where = ["brain", "region"] if "brain" in group and group["brain"].nunique() > 1 else ["region"]
    if (twice := group.duplicated([*where, "model", "layer_index"])).any():
        model = group.loc[twice, "model"].iloc[0]
        raise ValueError(
            f"model {model}: stands there more than once; give each a name of its own by compare(..., name=...)"
        )
    panels, models = list(group.groupby(where, sort=False)), group["model"].unique()
    colors = assign({}, models, (*COLORS.values(), *SPARE_COLORS))
    with matplotlib.rc_context(STYLE):
        n_rows = math.ceil(len(panels) / PANELS_PER_ROW)
        n_columns = math.ceil(len(panels) / n_rows)
        height = max(2.6, 1.7 + CHARACTER * group["layer"].astype(str).str.len().max())  # names stand upright
        figure = ShownFigure(figsize=(min(WIDTH, 0.7 + 2.4 * n_columns), height * n_rows))
        axes = figure.subplots(n_rows, n_columns, squeeze=False).flat
        for ax in axes[len(panels) :]:
            ax.set_axis_off()
        for ax, (names, rows) in zip(axes, panels, strict=False):
            rows = rows.sort_values("layer_index")
            for model, own in rows.groupby("model", sort=False):
                ax.fill_between(own["layer_index"], own["low"], own["high"], color=colors[model], alpha=0.2, lw=0)
                ax.plot(own["layer_index"], own["r"], color=colors[model], lw=1.0, marker="o", ms=2, label=model)
            _draw_levels(ax, rows["ceiling"].iloc[0])
            longest = max((own for _, own in rows.groupby("model")), key=len)
            step = math.ceil(len(longest) * LABEL_SPACING / (figure.get_figwidth() / n_columns - 0.7))
            named = longest[::-step][::-1]  # the last layer, and before it as many as fit
            ax.set_xticks(named["layer_index"], named["layer"], rotation=90)
            ax.set_xticks(longest["layer_index"], minor=True)
            ax.set_ylabel("\n".join([*names, "correlation r"]))
        lines = [Line2D([], [], color=colors[model], lw=1.0, label=model) for model in models]
        return finish(figure, title, [*lines, *list_ceilings(group["ceiling"])])


def _read_curves(fits: Iterable[File], table1: File, brain: str, models: Iterable[str]) -> dict[str, pd.DataFrame]:
    """Return model -> (n_layers, n_regions) correlations with the group RSM, indexed by layer in order."""
    found = read_fits(fits, table1, [brain])
    tables = {model: found[brain, model].query("participant == 'group'") for model in models}
    keys = {"index": ["layer_index", "layer"], "columns": "region", "values": "r"}
    return {model: table.pivot(**keys).droplevel("layer_index") for model, table in tables.items()}


def _select_panel(table: pd.DataFrame, framework: str, family: str) -> pd.DataFrame:
    """Return the models of a framework and family and, if they learned without labels, their supervised twins."""
    same = table[table["family"] == family]
    models = same[same["framework"] == framework]
    if framework == "Supervised" or models["source"].eq("untrained").all():
        return models
    return pd.concat([models, same[(same["framework"] == "Supervised") & (same["source"] == "trained")]])


def _arrange_panels(table: pd.DataFrame) -> list[pd.DataFrame]:
    """Return a panel for each framework and family, without those whose models are all twins in another one."""
    keys = table[["framework", "family"]].drop_duplicates().itertuples(index=False)
    panels = [_select_panel(table, *key) for key in keys]
    twins = {name for panel in panels if panel["framework"].nunique() > 1 for name in panel.index}
    return [panel for panel in panels if panel["framework"].nunique() > 1 or not {*panel.index} <= twins]


def _assign_line_styles(panel: pd.DataFrame) -> dict[str, tuple[str, object]]:
    """Return model -> (what it is a variant of, line style) where a panel's models differ in a ResNet's width, or in dim."""
    models = panel[panel["framework"] == panel["framework"].iloc[0]]
    if models["network"].nunique() > 1:
        labels = models["network"][models["network"] != models["family"]].str.rpartition(" ")[2]
    else:
        labels = models["dim"].dropna().astype(int).sort_values().map("dim {}".format)
        labels = labels if labels.nunique() > 1 else labels[:0]
    styles = assign(LINE_STYLES, labels, SPARE_LINE_STYLES)
    return {name: (label, styles[label]) for name, label in labels.items()}


def _draw_curves(ax: Axes, panel: pd.DataFrame, curves: dict, region: str, colors: dict) -> None:
    styles = _assign_line_styles(panel)
    for name, model in panel.iterrows():
        style = {"color": colors[model["framework"]], "ls": styles.get(name, ("", "-"))[1], "label": name}
        r = curves[name][region].to_numpy()
        ax.plot(r, lw=1.0, zorder=2, marker="o" if len(r) == 1 else None, ms=3, **style)


def _draw_bars(ax: Axes, table: pd.DataFrame, region: str, colors: dict) -> None:
    """Draw the mean best r of every framework on every family of architectures, and its models as white dots."""
    x, centers = 0.0, {}
    for family, group in table.groupby("family", sort=False):
        frameworks = group.groupby("framework", sort=False)
        centers[family] = x + (len(frameworks) - 1) / 2
        for framework, models in frameworks:
            r = models[f"{region}_r"].dropna().to_numpy()
            if len(r):
                ax.bar(x, r.mean(), 0.86, color=colors[framework], label=f"{framework} {family}")
                spread = np.linspace(-0.25, 0.25, len(r)) if len(r) > 1 else 0
                ax.scatter(x + spread, r, s=5, c="w", edgecolors="k", linewidths=0.4, zorder=3)
            x += 1
        x += 0.8
    ax.set_xticks(list(centers.values()), list(centers), rotation=90)
    ax.tick_params(axis="x", length=0)
    ax.set_xlim(-0.8, x - 1)


def _draw_levels(ax: Axes, ceiling: float) -> None:
    """Draw the line of no correlation and the noise ceiling where there is one."""
    ax.axhline(0, color="#C8C8C8", lw=0.5, zorder=0)
    ax.locator_params(axis="y", **TICKS)
    if not math.isnan(ceiling):
        ax.axhline(ceiling, zorder=1, **CEILING)


def _label_layers(ax: Axes, panel: pd.DataFrame, curves: dict, width: float) -> None:
    """Mark the last layer of every block, and name as many as fit on `width` inches, large blocks first."""
    layers = max((list(curves[name].index) for name in panel.index), key=len)
    blocks = find_blocks(layers)
    named: list[int] = []
    for end in sorted(blocks, key=lambda end: -blocks[end][1]):
        if all(abs(end - other) >= LABEL_SPACING * len(layers) / width for other in named):
            named.append(end)
    ax.set_xticks(named, [blocks[end][0] for end in named], rotation=90)
    ax.set_xticks(list(blocks), minor=True)
    ax.set_xlim(-0.02 * len(layers), 1.02 * len(layers) - 1)


def find_blocks(layers: list[str]) -> dict[int, tuple[str, int]]:
    """Return the position of a block's last layer -> (short name of the block, number of layers). The layers of a block
    have names that begin alike, in so many dotted parts that no block has over half of the layers."""
    for depth in range(1, 2 + max(layer.count(".") for layer in layers)):
        names = [".".join(layer.split(".")[:depth]) for layer in layers]
        blocks = [(name, len(list(run))) for name, run in itertools.groupby(names)]
        if max(size for _, size in blocks) <= len(layers) / 2:
            break
    ends = itertools.accumulate(size for _, size in blocks)
    return {end - 1: (_shorten(name), size) for end, (name, size) in zip(ends, blocks, strict=True)}


def _shorten(block: str) -> str:
    name = re.sub(r"^(resnet\.|_)", "", block).replace("conv_block_", "conv").replace("blocks.", "block ")
    return name if len(name) <= 12 else name.split(".")[0][:12]


def _explain_lines(panels: list[pd.DataFrame]) -> list[Line2D]:
    """Return the legend's entries for the line styles."""
    styles = {label: style for panel in panels for label, style in _assign_line_styles(panel).values()}
    return [Line2D([], [], color=GREY, lw=1.0, ls=style, label=label) for label, style in styles.items()]
