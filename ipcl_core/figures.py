"""
The figures, drawn from the tables alone (supplementary figure 1: from the stimuli).

Each `draw_` function writes one figure as SVG and as PNG; the `_plot_` function behind it returns the matplotlib Figure.
A framework has the same colour in all of them. Lengths are in inches, fonts in points; no text is below 7 points.
"""

import itertools
import math
import re
import textwrap
from collections.abc import Iterable
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator
from PIL import Image

from .files import write_whole

STYLE = {
    "font.size": 7,
    "axes.titlesize": 7,
    "axes.labelsize": 7,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "figure.titlesize": 9,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
    "svg.hashsalt": "ipcl",
}
DPI = 300
MODEL_COLUMN, BAR, CEILING_LABEL = 1.5, 0.13, "noise ceiling (split-half)"
COLUMNS_PER_BAND = 6
LABEL_SPACING = 8.5 / 72
"""Inches between two labels of a layer axis."""

# Okabe and Ito's colours, which colour-blind readers can tell apart; greys for the controls.
COLORS = {
    "IPCL": "#0072B2",
    "Wusnet": "#D55E00",
    "SimCLR": "#009E73",
    "MoCo2": "#CC79A7",
    "Pretrained": "#56B4E9",
    "Supervised": "#3C3C3C",
    "Untrained": "#A6A6A6",
}
SPARE_COLORS = ("#882255", "#999933", "#332288", "#44AA99", "#661100")
GOLD = "#D9A400"
LINE_STYLES = {128: ":", 256: "--", 1000: "-"}
SPARE_LINE_STYLES = ("-.", (0, (6, 1, 1, 1, 1, 1)), (0, (1, 3)), (0, (8, 3)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p", "h", "*")
ARCHITECTURES = {
    "alexnet_gn": "AlexNet-gn",
    "alexnet_bn": "AlexNet-bn",
    "cornet_z_bn": "CORnet-Z-bn",
    "resnet18": "ResNet-18",
    "resnet50": "ResNet-50",
    "efficientnet_lite0": "EfficientNet-lite0",
}


def draw_figure2(
    table1: str | Path,
    fits: dict[str, str | Path],
    ceilings: str | Path,
    *,
    brain: str,
    title: str,
    models: list[str],
    svg: str | Path,
    png: str | Path,
) -> None:
    """Draw the layerwise correlations of some models and the best layer of all: a row a region, early to late.

    A model's panel also shows the models of the same framework, architecture and width, and in dark grey the supervised
    twin of that architecture and width.

    Args:
        table1: CSV of `tables.make_table1`; of its rows, those of `brain`.
        fits: model -> CSV of `tables.fit_layers`.
        ceilings: CSV of `tables.make_noise_ceilings`; a region without r gets no ceiling.
        brain: name of the brain data set.
        title: heads the figure.
        models: those with a panel, in order.
        svg, png: files to write.

    Raises:
        ValueError: the table has no row for the brain, or for one of `models`.

    Source: figure 2, B and C.
    """
    with matplotlib.rc_context(STYLE):
        _save(_plot_figure2(table1, fits, ceilings, brain=brain, title=title, models=models), svg, png)


def draw_figure3(
    table1: str | Path, ceilings: str | Path, *, brain: str, title: str, svg: str | Path, png: str | Path
) -> None:
    """Draw top-1 accuracy against the best layer's correlation: a subplot a region, a marker a model.

    Arguments and errors as in `draw_figure2`. Source: figure 3.
    """
    with matplotlib.rc_context(STYLE):
        _save(_plot_figure3(table1, ceilings, brain=brain, title=title), svg, png)


def draw_stimuli(stimuli: str | Path, *, title: str, svg: str | Path, png: str | Path) -> None:
    """Draw all images of a folder, in the order of their names, row by row.

    Raises:
        ValueError: the folder is empty.

    Source: supplementary figure 1.
    """
    with matplotlib.rc_context(STYLE):
        _save(_plot_stimuli(stimuli, title=title), svg, png)


def draw_layers(
    table1: str | Path,
    fits: dict[str, str | Path],
    ceilings: str | Path,
    *,
    brain: str,
    title: str,
    svg: str | Path,
    png: str | Path,
) -> None:
    """Draw the layerwise correlations of all models: a column a framework, architecture and width, a row a region.

    More columns than COLUMNS_PER_BAND are wrapped. A gold line marks the highest peak of a panel. Arguments and errors as
    in `draw_figure2`. Source: supplementary figure 2.
    """
    with matplotlib.rc_context(STYLE):
        _save(_plot_layers(table1, fits, ceilings, brain=brain, title=title), svg, png)


# ---- figures ---------------------------------------------------------------------------------------------------------


def _plot_figure2(table1, fits, ceilings, *, brain, title, models) -> Figure:
    table, colors = _read_table1(table1, brain)
    if unknown := [name for name in models if name not in table.index]:
        raise ValueError(
            f"{table1}: no model {', '.join(unknown)} for brain {brain}; there are {', '.join(table.index)}"
        )
    panels = [pd.concat([_select_group(table, name), _select_twins(table, name)]) for name in models]
    curves = _read_curves(fits, {name for panel in panels for name in panel.index})
    regions = _read_ceilings(ceilings)

    n_bars = len(table.groupby(["network", "framework"])) + table["network"].nunique()
    widths = [MODEL_COLUMN] * len(models) + [max(MODEL_COLUMN, BAR * n_bars)]
    figure = Figure(figsize=(0.5 + sum(widths), 1.3 + 1.35 * len(regions)))
    axes = figure.subplots(len(regions), len(widths), squeeze=False, width_ratios=widths, sharex="col", sharey="row")
    for row, (region, ceiling) in zip(axes, regions.items(), strict=True):
        shown = [curves[name][region] for panel in panels for name in panel.index]
        row[0].set_ylim(_find_limits(*shown, table[f"{region}_r"], [ceiling]))
        row[0].set_ylabel(_describe_region(region, ceiling))
        for ax, panel in zip(row, panels, strict=False):
            _draw_curves(ax, panel, curves, region, colors)
        _draw_bars(row[-1], table, region, colors)
        for ax in row:
            _draw_ceiling(ax, ceiling)
    for ax, name in zip(axes[0], models, strict=False):
        ax.set_title(f"{table.at[name, 'framework']}\n{table.at[name, 'network']}")
    axes[0, -1].set_title("best layer\nof every model")
    for ax, panel in zip(axes[-1], panels, strict=False):
        _label_layers(ax, panel, curves, MODEL_COLUMN)

    handles = [Patch(color=colors[name], label=name) for name in table["framework"].unique()]
    handles += _explain_dims(panels) + _explain_ceiling(regions)
    handles += [Line2D([], [], ls="", marker="o", ms=3, mfc="w", mec="k", mew=0.5, label="one model")]
    _finish(figure, title, handles)
    return figure


def _plot_figure3(table1, ceilings, *, brain, title) -> Figure:
    table, colors = _read_table1(table1, brain)
    regions = _read_ceilings(ceilings)
    markers = _assign({}, table["network"], MARKERS)
    handles = [
        Line2D([], [], ls="", marker="o", label=name, **_fill(name, colors)) for name in table["framework"].unique()
    ]
    handles += [Line2D([], [], ls="", marker=m, mfc="w", mec="#808080", label=name) for name, m in markers.items()]
    figure = Figure(figsize=(1.4 + 1.95 * len(regions), max(2.6, 0.6 + 0.17 * (len(handles) + 2))))
    axes = figure.subplots(1, len(regions), squeeze=False)[0]
    for ax, (region, ceiling) in zip(axes, regions.items(), strict=True):
        for model in table.itertuples():
            r = table.at[model.Index, f"{region}_r"]
            style = _fill(model.framework, colors)
            ax.plot(model.top1, r, ls="", marker=markers[model.network], ms=5, clip_on=False, zorder=3, **style)
        low, high = _find_limits(table[f"{region}_r"], zero=False)
        near = ceiling <= high + (high - low)
        ax.set_ylim(low, max(high, ceiling + 0.05 * (high - low)) if near else high)
        _draw_ceiling(ax, ceiling if near else math.nan)
        ax.set_title(f"{region}\n{_describe_ceiling(ceiling)}")
        ax.margins(x=0.08)
        ax.xaxis.set_major_locator(MaxNLocator(5))
        ax.yaxis.set_major_locator(MaxNLocator(5))
    axes[0].set_ylabel("best layer's correlation r")
    figure.supxlabel("Top-1 accuracy (%), by each model's protocol", fontsize=7)
    _finish(figure, title, handles + _explain_ceiling(regions), loc="outside right upper", ncols=1)
    return figure


def _plot_stimuli(stimuli, *, title) -> Figure:
    paths = sorted(Path(stimuli).iterdir())
    if not paths:
        raise ValueError(f"{stimuli}: holds no stimuli")
    n_columns = math.ceil(math.sqrt(1.5 * len(paths)))
    n_rows = math.ceil(len(paths) / n_columns)
    cell, gap = 120, 8  # pixels
    canvas = Image.new("RGB", (n_columns * (cell + gap), n_rows * (cell + gap)), "white")
    for index, path in enumerate(paths):
        image = Image.open(path).convert("RGB")
        image.thumbnail((cell, cell))
        row, column = divmod(index, n_columns)
        left, top = column * (cell + gap) + (cell - image.width) // 2, row * (cell + gap) + (cell - image.height) // 2
        canvas.paste(image, (left + gap // 2, top + gap // 2))
    width = min(7.0, 0.6 * n_columns)
    figure = Figure(figsize=(width, width * canvas.height / canvas.width + 0.35))
    ax = figure.subplots()
    ax.imshow(np.asarray(canvas), interpolation="none")
    ax.set_axis_off()
    _finish(figure, f"{title}: {len(paths)} stimuli")
    return figure


def _plot_layers(table1, fits, ceilings, *, brain, title) -> Figure:
    table, colors = _read_table1(table1, brain)
    curves = _read_curves(fits, table.index)
    regions = _read_ceilings(ceilings)
    panels = [panel for _, panel in table.groupby(["framework", "network"], sort=False)]
    n_bands = math.ceil(len(panels) / COLUMNS_PER_BAND)
    n_columns = math.ceil(len(panels) / n_bands)
    column = min(MODEL_COLUMN, 6.7 / n_columns)
    figure = Figure(figsize=(0.5 + column * n_columns, 0.6 + n_bands * (0.75 + 0.8 * len(regions))))
    axes = figure.subplots(n_bands * len(regions), n_columns, squeeze=False)
    for ax in axes.flat:
        ax.set_visible(False)
    limits = {
        region: _find_limits(*(curves[name][region] for name in table.index), [ceiling])
        for region, ceiling in regions.items()
    }
    for index, panel in enumerate(panels):
        band, position = divmod(index, n_columns)
        cells = axes[band * len(regions) : (band + 1) * len(regions), position]
        for ax, (region, ceiling) in zip(cells, regions.items(), strict=True):
            ax.set_visible(True)
            ax.set_ylim(limits[region])
            _draw_curves(ax, panel, curves, region, colors)
            _draw_ceiling(ax, ceiling)
            peak = panel[f"{region}_r"].max()
            if not math.isnan(peak):
                ax.axhline(peak, color=GOLD, lw=1.2, zorder=1)
            _label_layers(ax, panel, curves, 0.9 * column)
            ax.tick_params(labelbottom=ax is cells[-1], labelleft=position == 0)
            if position == 0:
                ax.set_ylabel(f"{region}\nr")
        cells[0].set_title(f"{panel['framework'].iloc[0]}\n{panel['network'].iloc[0]}")
    handles = _explain_dims(panels) + _explain_ceiling(regions)
    handles += [Line2D([], [], color=GOLD, lw=1.2, label="highest peak of the panel")]
    _finish(figure, title, handles)
    return figure


# ---- tables ----------------------------------------------------------------------------------------------------------


def _read_table1(path, brain: str) -> tuple[pd.DataFrame, dict[str, str]]:
    """Return the rows of one brain, indexed by model, with the column `network` (architecture and width as printed), and
    the colour of every framework."""
    table = pd.read_csv(path)
    rows = table[table["brain"] == brain].set_index("model")
    if rows.empty:
        raise ValueError(f"{path}: no rows for brain {brain}; there are {', '.join(table['brain'].unique())}")
    networks = [_name_network(*pair) for pair in zip(rows["architecture"], rows["width"], strict=True)]
    return rows.assign(network=networks), _assign(COLORS, table["framework"], SPARE_COLORS)


def _read_ceilings(path) -> dict[str, float]:
    """Return region -> noise ceiling (NaN where there is none), early to late."""
    return pd.read_csv(path, index_col="region")["r"].astype(float).to_dict()


def _read_curves(fits: dict, models: Iterable[str]) -> dict[str, pd.DataFrame]:
    """Return model -> (n_layers, n_regions) correlations with the group RSM, indexed by layer in order."""
    curves = {}
    for model in models:
        fit = pd.read_csv(fits[model])
        group = fit[fit["participant"].astype(str) == "group"]
        curves[model] = group.pivot(index=["layer_index", "layer"], columns="region", values="r").droplevel(0)
    return curves


def _name_network(architecture: str, width: float) -> str:
    return ARCHITECTURES.get(architecture, architecture) + ("" if width == 1 else f" x{width:g}")


def _select_group(table: pd.DataFrame, model: str) -> pd.DataFrame:
    """Return the models of the same framework, architecture and width: the model itself, its replications, other dims."""
    same = ["framework", "architecture", "width"]
    return table[(table[same] == table.loc[model, same]).all(axis=1)]


def _select_twins(table: pd.DataFrame, model: str) -> pd.DataFrame:
    """Return the models trained with category labels on the same architecture and width; none for such a model itself."""
    same = ["architecture", "width"]
    twins = (table[same] == table.loc[model, same]).all(axis=1) & (table["source"] == "trained")
    return table[twins & (table["framework"] == "Supervised") & (table.at[model, "framework"] != "Supervised")]


def _assign(known: dict, names: Iterable, spare: Iterable) -> dict:
    """Return `known` and, for each further name in order of appearance, the next of `spare`."""
    others = [name for name in dict.fromkeys(names) if name not in known]
    return known | dict(zip(others, itertools.cycle(spare)))


# ---- parts -----------------------------------------------------------------------------------------------------------


def _assign_line_styles(panel: pd.DataFrame) -> dict:
    """Return dim -> line style where a panel's models differ in dim, else nothing."""
    dims = panel["dim"].dropna().astype(int).sort_values().unique()
    styles = _assign(LINE_STYLES, dims, SPARE_LINE_STYLES)
    return {dim: styles[dim] for dim in dims} if len(dims) > 1 else {}


def _draw_curves(ax: Axes, panel: pd.DataFrame, curves: dict, region: str, colors: dict) -> None:
    styles = _assign_line_styles(panel)
    for model in panel.itertuples():
        r = curves[model.Index][region].to_numpy()
        marker = "o" if np.isfinite(r).sum() == 1 else None
        style = styles.get(model.dim, "-")
        ax.plot(r, color=colors[model.framework], ls=style, lw=1.0, marker=marker, ms=2, label=model.Index, zorder=2)
    ax.axhline(0, color="#C8C8C8", lw=0.5, zorder=0)
    ax.yaxis.set_major_locator(MaxNLocator(4))


def _draw_bars(ax: Axes, table: pd.DataFrame, region: str, colors: dict) -> None:
    """Draw the mean best r of every network and framework, its models as white dots; a bar's label is its framework."""
    x, centers = 0.0, {}
    for network, group in table.groupby("network", sort=False):
        first = x
        for framework, models in group.groupby("framework", sort=False):
            r = models[f"{region}_r"].dropna().to_numpy()
            if len(r):
                ax.bar(x, r.mean(), 0.86, color=colors[framework], label=framework)
                spread = np.linspace(-0.25, 0.25, len(r)) if len(r) > 1 else 0
                ax.scatter(x + spread, r, s=5, c="w", edgecolors="k", linewidths=0.4, zorder=3)
            x += 1
        centers[network] = (first + x - 1) / 2
        x += 0.8
    ax.axhline(0, color="#C8C8C8", lw=0.5, zorder=0)
    ax.set_xticks(list(centers.values()), list(centers), rotation=90)
    ax.tick_params(axis="x", length=0)
    ax.set_xlim(-0.8, x - 1)


def _draw_ceiling(ax: Axes, ceiling: float) -> None:
    if not math.isnan(ceiling):
        ax.axhline(ceiling, color="k", ls=(0, (4, 2)), lw=0.8, zorder=1, label=CEILING_LABEL)


def _label_layers(ax: Axes, panel: pd.DataFrame, curves: dict, width: float) -> None:
    """Label the last layer of every block, as many as fit on `width` inches: the last layer first, then large blocks."""
    layers = max((list(curves[name].index) for name in panel.index), key=len)
    blocks = _find_blocks(layers)
    spacing = LABEL_SPACING * len(layers) / width
    ends = dict(sorted(blocks.items(), key=lambda item: (item[0] != len(layers) - 1, -item[1][1], item[0])))
    ticks: list[int] = []
    for end in ends:
        if all(abs(end - tick) >= spacing for tick in ticks):
            ticks.append(end)
    ax.set_xticks(ticks, [blocks[tick][0] for tick in ticks], rotation=90)
    ax.set_xlim(-0.02 * len(layers), 1.02 * len(layers) - 1)


def _find_blocks(layers: list[str]) -> dict[int, tuple[str, int]]:
    """Return the blocks of a network's layers: position of the last layer -> (name of the block, number of layers).

    Layers whose dotted names begin with the same parts form a block; so few parts that none holds more than half.
    """
    for depth in range(1, 1 + max(layer.count(".") for layer in layers) + 1):
        runs = itertools.groupby(layers, key=lambda layer: layer.split(".")[:depth])
        sizes = [(".".join(parts), len(list(run))) for parts, run in runs]
        if max(size for _, size in sizes) <= len(layers) / 2:
            break
    ends = itertools.accumulate(size for _, size in sizes)
    return {end - 1: (_shorten_block(name), size) for end, (name, size) in zip(ends, sizes, strict=True)}


def _shorten_block(name: str) -> str:
    return re.sub(r"^conv_block_", "conv", re.sub(r"^(resnet\.|_)", "", name)).replace("blocks.", "block ")


def _find_limits(*values, zero: bool = True) -> tuple[float, float]:
    """Return (lowest, highest) of all finite values, with 0 if `zero`, and a margin."""
    finite = np.concatenate([np.asarray(v, dtype=float) for v in values] + ([[0.0]] if zero else []))
    finite = finite[np.isfinite(finite)]
    if not len(finite):
        return 0.0, 1.0
    margin = 0.07 * (finite.max() - finite.min()) or 0.05
    return finite.min() - margin, finite.max() + margin


def _fill(framework: str, colors: dict) -> dict:
    """Return the marker's colours: open for supervised, filled else."""
    if framework == "Supervised":
        return {"mfc": "w", "mec": colors[framework], "mew": 1.1}
    return {"mfc": colors[framework], "mec": "w", "mew": 0.4}


def _describe_region(region: str, ceiling: float) -> str:
    return f"{region}\nr" + ("\n(no noise ceiling)" if math.isnan(ceiling) else "")


def _describe_ceiling(ceiling: float) -> str:
    return "no noise ceiling" if math.isnan(ceiling) else f"noise ceiling r = {ceiling:.2f}"


def _explain_ceiling(regions: dict[str, float]) -> list[Line2D]:
    if all(math.isnan(ceiling) for ceiling in regions.values()):
        return []
    return [Line2D([], [], color="k", ls=(0, (4, 2)), lw=0.8, label=CEILING_LABEL)]


def _explain_dims(panels: list[pd.DataFrame]) -> list[Line2D]:
    styles = {dim: style for panel in panels for dim, style in _assign_line_styles(panel).items()}
    return [
        Line2D([], [], color="#707070", lw=1.0, ls=style, label=f"dim {dim}") for dim, style in sorted(styles.items())
    ]


def _finish(figure: Figure, title: str, handles: list | None = None, *, loc="outside lower center", ncols=None) -> None:
    """Add title and legend."""
    width = figure.get_figwidth()
    figure.suptitle(textwrap.fill(title, int(13 * width)))
    if handles:
        figure.legend(handles=handles, loc=loc, ncols=ncols or max(1, int(width / 1.45)))


def _save(figure: Figure, svg: str | Path, png: str | Path) -> None:
    for path, kind, metadata in ((svg, "svg", {"Date": None}), (png, "png", None)):
        with write_whole(path) as temporary:
            figure.savefig(temporary, format=kind, dpi=DPI, metadata=metadata)
