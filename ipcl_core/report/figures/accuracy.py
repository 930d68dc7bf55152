"""
Figure 3: top-1 accuracy against the best layer's correlation.
"""

import math

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from .style import (
    CEILING,
    GREY,
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

PANELS_PER_ROW = 3
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p", "h", "*")


def draw_figure3(table: File, *, brain: str, title: str, svg: File, png: File, pdf: File) -> None:
    """Draw top-1 accuracy against the best layer's correlation, one subplot a region, one marker a model.

    Arguments and errors are those of `draw_figure2`. Source: figure 3.
    """
    save(plot_figure3, table, brain=brain, title=title, svg=svg, png=png, pdf=pdf)


def plot_figure3(table1: File, *, brain: str, title: str) -> Figure:
    """Return the Figure of `draw_figure3`."""
    table, regions, colors = read_tables(table1, brain)
    table = table.dropna(subset=["top1"])
    markers = assign({}, table["network"], MARKERS)
    frameworks = table["framework"].unique()
    styles = {name: {"label": wrap(name, 1.6), "marker": "o"} | _fill(name, colors) for name in frameworks}
    styles |= {name: {"label": name, "marker": mark, "mfc": "w", "mec": GREY} for name, mark in markers.items()}
    handles = [Line2D([], [], ls="", **style) for style in styles.values()]
    n_rows = math.ceil(len(regions) / PANELS_PER_ROW)
    n_columns = math.ceil(len(regions) / n_rows)
    width = min(WIDTH, 1.4 + 1.95 * n_columns)
    figure = Figure(figsize=(width, max(2.6 * n_rows, 0.9 + 0.16 * len(handles))))
    axes = figure.subplots(n_rows, n_columns, squeeze=False, sharex=True).flat
    for ax in axes[len(regions) :]:
        ax.set_axis_off()
    drawn: list[float] = []
    for i, (ax, (region, ceiling)) in enumerate(zip(axes, regions.items(), strict=False)):
        for name, model in table.iterrows():
            style = _fill(model["framework"], colors) | {"marker": markers[model["network"]], "label": name}
            ax.plot(model["top1"], model[f"{region}_r"], ls="", ms=6, clip_on=False, zorder=3, **style)
        low, high = find_limits(table[f"{region}_r"])
        near = 2 * low - high <= ceiling <= 2 * high - low
        if near:
            ax.axhline(ceiling, zorder=1, **CEILING)
            drawn.append(ceiling)
        note = f"split-half noise ceiling {ceiling:.2f}" if near else f"noise ceiling {ceiling:.2f}, off scale"
        note = "no noise ceiling" if math.isnan(ceiling) else note
        ax.set(title=f"{region}\n{note}", ylim=find_limits(table[f"{region}_r"], [ceiling] if near else []))
        ax.margins(x=0.1)
        ax.locator_params(**TICKS)
        ax.tick_params(labelbottom=i >= len(regions) - n_columns)
        ax.set_ylabel("best layer's correlation r" if i % n_columns == 0 else "")
    figure.supxlabel("Top-1 accuracy (%), by each model's protocol")
    return finish(figure, title, handles + list_ceilings(drawn), loc="outside right center", ncols=1)


def _fill(framework: str, colors: dict) -> dict:
    """Return a marker's colours: open for models trained with labels, filled else."""
    if framework == "Supervised":
        return {"mfc": "w", "mec": colors[framework], "mew": 1.1}
    return {"mfc": colors[framework], "mec": "w", "mew": 0.4}
