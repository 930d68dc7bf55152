"""
The figures, drawn from the tables alone (supplementary figure 1: from the stimuli).

Each `draw_` function writes one figure as SVG and as PNG; the `_plot_` function behind it returns the Figure. A framework
has the same colour in all of them. Lengths are in inches; no text is smaller than 7 points.
"""

import itertools
import math
import re
import textwrap
from collections.abc import Callable, Iterable
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from PIL import Image, ImageOps

from .brains import list_stimuli
from .files import write_whole

File = str | Path
Fits = dict[str, File]  # model -> CSV of `tables.fit_layers`

STYLE = {
    **dict.fromkeys(("font.size", "axes.titlesize", "figure.labelsize"), 7),
    **dict.fromkeys(("axes.linewidth", "xtick.major.width", "ytick.major.width"), 0.6),
    **dict.fromkeys(("axes.spines.top", "axes.spines.right", "legend.frameon"), False),
    "figure.constrained_layout.use": True,
    "xtick.minor.width": 0.3,
    "svg.hashsalt": "ipcl",
}
COLUMN, BAR, CHARACTER, LABEL_SPACING = 1.5, 0.105, 0.06, 8.5 / 72
"""Inches: a column of layer curves, a bar, a character of the legend, the least distance of two labels of layers."""
COLUMNS_PER_BAND = 6
TICKS = {"nbins": 5, "steps": [1, 2, 4, 5, 10]}

# Okabe and Ito's colours, which colour-blind readers can tell apart; greys for the two controls.
COLORS = {
    "IPCL": "#0072B2", "Wusnet": "#D55E00", "SimCLR": "#009E73", "MoCo2": "#CC79A7", "Pretrained": "#56B4E9",
    "Supervised": "#3C3C3C", "Untrained": "#A6A6A6",
}  # fmt: skip
SPARE_COLORS = ("#882255", "#999933", "#332288", "#44AA99", "#661100")
GOLD, GREY = "#D9A400", "#808080"
LINE_STYLES = {128: ":", 256: "--", 1000: "-"}
SPARE_LINE_STYLES = ("-.", (0, (6, 1, 1, 1, 1, 1)), (0, (1, 3)), (0, (8, 3)))
CEILING = {"color": "k", "ls": (0, (4, 2)), "lw": 0.8, "label": "noise ceiling (split-half)"}
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p", "h", "*")
ARCHITECTURES = {
    "alexnet_gn": "AlexNet-gn", "alexnet_bn": "AlexNet-bn", "cornet_z_bn": "CORnet-Z-bn", "resnet18": "ResNet-18",
    "resnet50": "ResNet-50", "efficientnet_lite0": "EfficientNet-lite0",
}  # fmt: skip


def draw_figure2(
    table1: File, fits: Fits, ceilings: File, *, brain: str, title: str, models: list[str], svg: File, png: File
) -> None:
    """Draw the layerwise correlations of some models and the best layer of all, one row a region.

    A model's panel also shows the other models of its framework, architecture and width, and in dark grey the models
    trained with category labels on that architecture and width.

    Args:
        table1: CSV of `tables.make_table1`; its rows of `brain` are used.
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
    _save(svg, png, _plot_figure2, table1, fits, ceilings, brain=brain, title=title, models=models)


def draw_figure3(table1: File, ceilings: File, *, brain: str, title: str, svg: File, png: File) -> None:
    """Draw top-1 accuracy against the best layer's correlation, one subplot a region, one marker a model.

    Arguments and errors are those of `draw_figure2`. Source: figure 3.
    """
    _save(svg, png, _plot_figure3, table1, ceilings, brain=brain, title=title)


def draw_stimuli(stimuli: File, *, title: str, svg: File, png: File) -> None:
    """Draw all stimuli of a folder, row by row in the order of their names. Source: supplementary figure 1."""
    _save(svg, png, _plot_stimuli, stimuli, title=title)


def draw_layers(table1: File, fits: Fits, ceilings: File, *, brain: str, title: str, svg: File, png: File) -> None:
    """Draw the layerwise correlations of all models: a column a framework, architecture and width, a row a region.

    More than COLUMNS_PER_BAND columns are wrapped. A gold line marks the highest peak of a panel. Arguments and errors are
    those of `draw_figure2`. Source: supplementary figure 2.
    """
    _save(svg, png, _plot_layers, table1, fits, ceilings, brain=brain, title=title)


def _plot_figure2(table1: File, fits: Fits, ceilings: File, *, brain: str, title: str, models: list[str]) -> Figure:
    table, regions, colors = _read_tables(table1, ceilings, brain)
    if unknown := ", ".join(sorted({*models} - {*table.index})):
        raise ValueError(f"{table1}: no model {unknown} for brain {brain}; there are {', '.join(table.index)}")
    panels = [_select_panel(table, name) for name in models]
    curves = _read_curves(fits, {name for panel in panels for name in panel.index})
    n_bars = len(table.groupby(["network", "framework"])) + table["network"].nunique()
    widths = [COLUMN] * len(models) + [max(COLUMN, BAR * n_bars)]
    figure = Figure(figsize=(0.5 + sum(widths), 1.3 + 1.35 * len(regions)))
    axes = figure.subplots(len(regions), len(widths), squeeze=False, width_ratios=widths, sharex="col", sharey="row")
    for row, (region, ceiling) in zip(axes, regions.items(), strict=True):
        shown = [curve[region] for curve in curves.values()]
        row[0].set_ylim(_find_limits(*shown, table[f"{region}_r"], [ceiling, 0]))
        row[0].set_ylabel(f"{region}\ncorrelation r" + ("\n(no noise ceiling)" if math.isnan(ceiling) else ""))
        for ax, panel in zip(row[:-1], panels, strict=True):
            _draw_curves(ax, panel, curves, region, colors)
        _draw_bars(row[-1], table, region, colors)
        for ax in row:
            _draw_levels(ax, ceiling)
    for top, bottom, name, panel in zip(axes[0], axes[-1], models, panels, strict=False):
        top.set_title(f"{table.at[name, 'framework']}\n{table.at[name, 'network']}")
        _label_layers(bottom, panel, curves, COLUMN)
    axes[0, -1].set_title("best layer\nof every model")
    frameworks = [Patch(color=colors[name], label=name) for name in table["framework"].unique()]
    dot = Line2D([], [], ls="", marker="o", ms=3, mfc="w", mec="k", mew=0.5, label="one model")
    return _finish(figure, title, [*frameworks, *_explain_lines(panels, regions.values()), dot])


def _plot_figure3(table1: File, ceilings: File, *, brain: str, title: str) -> Figure:
    table, regions, colors = _read_tables(table1, ceilings, brain)
    markers = _assign({}, table["network"], MARKERS)
    styles = {name: {"label": name, "marker": "o"} | _fill(name, colors) for name in table["framework"].unique()}
    styles |= {name: {"label": name, "marker": mark, "mfc": "w", "mec": GREY} for name, mark in markers.items()}
    handles = [Line2D([], [], ls="", **style) for style in styles.values()]
    figure = Figure(figsize=(1.4 + 1.95 * len(regions), max(2.6, 0.9 + 0.16 * len(handles))))
    axes = figure.subplots(1, len(regions), squeeze=False, sharex=True)[0]
    drawn: list[float] = []
    for ax, (region, ceiling) in zip(axes, regions.items(), strict=True):
        for name, model in table.iterrows():
            style = _fill(model["framework"], colors) | {"marker": markers[model["network"]], "label": name}
            ax.plot(model["top1"], model[f"{region}_r"], ls="", ms=6, clip_on=False, zorder=3, **style)
        low, high = _find_limits(table[f"{region}_r"])
        near = 2 * low - high <= ceiling <= 2 * high - low
        if near:
            ax.axhline(ceiling, zorder=1, **CEILING)
            drawn.append(ceiling)
        note = f"noise ceiling {ceiling:.2f}" + ("" if near else ", off scale")
        note = "no noise ceiling" if math.isnan(ceiling) else note
        ax.set(title=f"{region}\n{note}", ylim=_find_limits(table[f"{region}_r"], [ceiling] if near else []))
        ax.margins(x=0.1)
        ax.locator_params(**TICKS)
    axes[0].set_ylabel("best layer's correlation r")
    figure.supxlabel("Top-1 accuracy (%), by each model's protocol")
    return _finish(figure, title, handles + _explain_lines([], drawn), loc="outside right center", ncols=1)


def _plot_stimuli(stimuli: File, *, title: str) -> Figure:
    paths = list_stimuli(stimuli)
    if not paths:
        raise ValueError(f"{stimuli}: holds no stimuli")
    n_columns = math.ceil(math.sqrt(1.5 * len(paths)))
    side, pitch = 150, 158  # pixels
    canvas = Image.new("RGB", (n_columns * pitch, math.ceil(len(paths) / n_columns) * pitch), "white")
    for index, path in enumerate(paths):
        row, column = divmod(index, n_columns)
        image = ImageOps.pad(Image.open(path).convert("RGB"), (side, side), color="white")
        canvas.paste(image, (column * pitch + 4, row * pitch + 4))
    width = min(7.2, 0.6 * n_columns)
    figure = Figure(figsize=(width, width * canvas.height / canvas.width + 0.35))
    ax = figure.subplots()
    ax.imshow(np.asarray(canvas))
    ax.set_axis_off()
    return _finish(figure, f"{title}: {len(paths)} stimuli")


def _plot_layers(table1: File, fits: Fits, ceilings: File, *, brain: str, title: str) -> Figure:
    table, regions, colors = _read_tables(table1, ceilings, brain)
    curves = _read_curves(fits, table.index)
    panels = [panel for _, panel in table.groupby(["framework", "network"], sort=False)]
    n_bands = math.ceil(len(panels) / COLUMNS_PER_BAND)
    n_columns = math.ceil(len(panels) / n_bands)
    width = min(COLUMN, 6.7 / n_columns)
    figure = Figure(figsize=(0.5 + width * n_columns, 0.6 + n_bands * (0.75 + 0.8 * len(regions))))
    grid = figure.add_gridspec(n_bands * len(regions), n_columns)
    for (index, panel), (row, (region, ceiling)) in itertools.product(enumerate(panels), enumerate(regions.items())):
        band, position = divmod(index, n_columns)
        ax = figure.add_subplot(grid[band * len(regions) + row, position])
        ax.set_ylim(_find_limits(*(curve[region] for curve in curves.values()), [ceiling, 0]))
        _draw_curves(ax, panel, curves, region, colors)
        _draw_levels(ax, ceiling)
        if not math.isnan(peak := panel[f"{region}_r"].max()):
            ax.axhline(peak, color=GOLD, lw=1.2, zorder=1, label="peak")
        _label_layers(ax, panel, curves, 0.9 * width)
        ax.tick_params(labelbottom=row == len(regions) - 1, labelleft=position == 0)
        ax.set_ylabel(f"{region}\nr" if position == 0 else "")
        ax.set_title(f"{panel['framework'].iloc[0]}\n{panel['network'].iloc[0]}" if row == 0 else "")
    gold = Line2D([], [], color=GOLD, lw=1.2, label="highest peak of the panel")
    return _finish(figure, title, [*_explain_lines(panels, regions.values()), gold])


def _read_tables(table1: File, ceilings: File, brain: str) -> tuple[pd.DataFrame, dict[str, float], dict[str, str]]:
    """Return one brain's rows of Table 1 indexed by model, with the printed name of architecture and width as `network`;
    region -> noise ceiling, NaN where there is none, early to late; framework -> colour."""
    table = pd.read_csv(table1)
    rows = table[table["brain"] == brain].set_index("model")
    if rows.empty:
        raise ValueError(f"{table1}: no rows for brain {brain}; there are {', '.join(table['brain'].unique())}")
    widths = ["" if width == 1 else f" x{width:g}" for width in rows["width"]]
    rows["network"] = rows["architecture"].replace(ARCHITECTURES) + widths
    regions = pd.read_csv(ceilings, index_col="region")["r"].to_dict()
    rows = rows.dropna(how="all", subset=[f"{region}_r" for region in regions])  # unavailable models have no numbers
    return rows, regions, _assign(COLORS, table["framework"], SPARE_COLORS)


def _read_curves(fits: Fits, models: Iterable[str]) -> dict[str, pd.DataFrame]:
    """Return model -> (n_layers, n_regions) correlations with the group RSM, indexed by layer in order."""
    tables = {model: pd.read_csv(fits[model]).query("participant == 'group'") for model in models}
    keys = {"index": ["layer_index", "layer"], "columns": "region", "values": "r"}
    return {model: table.pivot(**keys).droplevel("layer_index") for model, table in tables.items()}


def _select_panel(table: pd.DataFrame, model: str) -> pd.DataFrame:
    """Return a model, those that differ from it in seed or dim only, and, unless it is Supervised, its supervised twins."""
    network, framework = table.loc[model, ["network", "framework"]]
    same = table[table["network"] == network]
    twins = same[(same["framework"] == "Supervised") & (same["source"] == "trained") & (framework != "Supervised")]
    return pd.concat([same[same["framework"] == framework], twins])


def _assign(known: dict, names: Iterable, spare: Iterable) -> dict:
    """Return `known` and, for each further name in order of appearance, the next of `spare`."""
    others = [name for name in dict.fromkeys(names) if name not in known]
    return known | dict(zip(others, itertools.cycle(spare), strict=False))


def _find_limits(*values: Iterable[float]) -> tuple[float, float]:
    """Return (lowest, highest) of all finite values with a margin."""
    finite = np.concatenate([np.asarray(v, dtype=float) for v in values])
    finite = finite[np.isfinite(finite)] if np.isfinite(finite).any() else np.array([0.0, 1.0])
    margin = 0.07 * (finite.max() - finite.min()) or 0.05
    return finite.min() - margin, finite.max() + margin


def _assign_line_styles(panel: pd.DataFrame) -> dict:
    """Return dim -> line style where a panel's models differ in dim, else nothing."""
    dims = sorted(panel["dim"].dropna().astype(int).unique())
    styles = _assign(LINE_STYLES, dims, SPARE_LINE_STYLES)
    return {dim: styles[dim] for dim in dims} if len(dims) > 1 else {}


def _draw_curves(ax: Axes, panel: pd.DataFrame, curves: dict, region: str, colors: dict) -> None:
    styles = _assign_line_styles(panel)
    for name, model in panel.iterrows():
        style = {"color": colors[model["framework"]], "ls": styles.get(model["dim"], "-"), "label": name}
        ax.plot(curves[name][region].to_numpy(), lw=1.0, zorder=2, **style)


def _draw_bars(ax: Axes, table: pd.DataFrame, region: str, colors: dict) -> None:
    """Draw the mean best r of every network and framework, and its models as white dots."""
    x, centers = 0.0, {}
    for network, group in table.groupby("network", sort=False):
        frameworks = group.groupby("framework", sort=False)
        centers[network] = x + (len(frameworks) - 1) / 2
        for framework, models in frameworks:
            r = models[f"{region}_r"].dropna().to_numpy()
            if len(r):
                ax.bar(x, r.mean(), 0.86, color=colors[framework], label=f"{framework} {network}")
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
    blocks = _find_blocks(layers)
    named: list[int] = []
    for end in sorted(blocks, key=lambda end: -blocks[end][1]):
        if all(abs(end - other) >= LABEL_SPACING * len(layers) / width for other in named):
            named.append(end)
    ax.set_xticks(named, [blocks[end][0] for end in named], rotation=90)
    ax.set_xticks(list(blocks), minor=True)
    ax.set_xlim(-0.02 * len(layers), 1.02 * len(layers) - 1)


def _find_blocks(layers: list[str]) -> dict[int, tuple[str, int]]:
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


def _fill(framework: str, colors: dict) -> dict:
    """Return a marker's colours: open for models trained with labels, filled else."""
    if framework == "Supervised":
        return {"mfc": "w", "mec": colors[framework], "mew": 1.1}
    return {"mfc": colors[framework], "mec": "w", "mew": 0.4}


def _explain_lines(panels: list[pd.DataFrame], ceilings: Iterable[float]) -> list[Line2D]:
    """Return the legend's entries for the line styles and the ceiling, where there are any."""
    dims = {dim: style for panel in panels for dim, style in _assign_line_styles(panel).items()}
    lines = [Line2D([], [], color=GREY, lw=1.0, ls=style, label=f"dim {dim}") for dim, style in sorted(dims.items())]
    return lines + ([] if all(math.isnan(ceiling) for ceiling in ceilings) else [Line2D([], [], **CEILING)])


def _finish(figure: Figure, title: str, handles: Iterable = (), *, loc="outside lower center", ncols=None) -> Figure:
    """Add the title and a legend, in as few rows as fit."""
    width, handles = figure.get_figwidth(), list(handles)
    figure.suptitle(textwrap.fill(title, int(12 * width)))
    n_rows = math.ceil(sum(CHARACTER * len(handle.get_label()) + 0.55 for handle in handles) / width)
    if handles:
        figure.legend(handles=handles, loc=loc, ncols=ncols or math.ceil(len(handles) / n_rows))
    return figure


def _save(svg: File, png: File, plot: Callable[..., Figure], *args, **kwargs) -> None:
    with matplotlib.rc_context(STYLE):
        figure = plot(*args, **kwargs)
        for path, kind, dpi, metadata in ((svg, "svg", 180, {"Date": None}), (png, "png", 300, None)):
            with write_whole(path) as temporary:
                figure.savefig(temporary, format=kind, dpi=dpi, metadata=metadata)
