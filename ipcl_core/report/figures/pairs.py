"""
Who beats whom: every two models' difference at their best layers.
"""

import math

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ...files import read_csv
from .style import CHARACTER, WIDTH, File, finish, save

PITCH, BAR = 0.11, 0.75
"""Inches: the least height of a row; the colour bar and its label."""


def draw_figure_pairs(pairs: File, *, title: str, fdr: float, svg: File, png: File, pdf: File) -> None:
    """Draw a matrix a region: the row's r less the column's, and a dot where the difference is significant.

    Args:
        pairs: CSV of `statistics.compare_models`.
        title: heads the figure.
        fdr: q up to which a difference is significant.
        svg, png, pdf: files to write.
    """
    save(plot_pairs, pairs, title=title, fdr=fdr, svg=svg, png=png, pdf=pdf)


def plot_pairs(pairs: File, *, title: str, fdr: float) -> Figure:
    """Return the Figure of `draw_figure_pairs`."""
    table = read_csv(pairs)
    if table.empty:
        figure = Figure(figsize=(WIDTH / 2, 1))
        return finish(figure, f"{title}: one model, nothing to compare")
    models, regions = list(dict.fromkeys([*table["model_a"], *table["model_b"]])), list(table["region"].unique())
    numbers = range(1, len(models) + 1)
    labels = CHARACTER * (9 + max(map(len, models))) + 0.3
    side = max(PITCH * len(models), 1.2)
    n_columns = max(1, min(len(regions), int((WIDTH - labels - BAR) / side)))
    n_rows = math.ceil(len(regions) / n_columns)
    figure = Figure(figsize=(labels + side * n_columns + BAR, (side + 0.35) * n_rows + 0.6))
    axes = figure.subplots(n_rows, n_columns, squeeze=False, sharex=True, sharey=True)
    limit = table["difference"].abs().max()
    for ax in axes.flat[len(regions) :]:
        ax.set_axis_off()
    for ax, region in zip(axes.flat, regions, strict=False):
        differences, significant = _fill_matrices(table[table["region"] == region], models, fdr)
        image = ax.imshow(differences, cmap="PuOr_r", vmin=-limit, vmax=limit, aspect="equal")
        rows, columns = np.nonzero(significant)
        ax.plot(columns, rows, ls="", marker="o", ms=2.5, mfc="k", mec="w", mew=0.3)
        ax.set_title(region)
        ax.set_xticks(range(len(models)), numbers, rotation=90)
        ax.set_yticks(range(len(models)), [f"{name}  {number}" for name, number in zip(models, numbers, strict=True)])
        ax.tick_params(length=0)
    figure.colorbar(image, ax=axes, label="r of the row less r of the column", shrink=0.8, fraction=0.05)
    dot = Line2D([], [], ls="", marker="o", ms=2.5, mfc="k", mec="w", mew=0.3, label=f"significant, q ≤ {fdr:g}")
    return finish(figure, title, [dot])


def _fill_matrices(table: pd.DataFrame, models: list[str], fdr: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the differences, row less column, NaN on the diagonal, and whether they are significant: (n, n) each."""
    a, b = (np.array([models.index(name) for name in table[key]]) for key in ("model_a", "model_b"))
    differences, significant = np.full((len(models),) * 2, np.nan), np.zeros((len(models),) * 2, bool)
    differences[a, b], differences[b, a] = table["difference"], -table["difference"]
    significant[a, b] = significant[b, a] = table["q"] <= fdr
    return differences, significant
