"""
What the figures share: sizes, colours, the tables they read, legends, and how they are saved.

A framework has the same colour in all figures. Lengths are in inches; no text is smaller than 7 points.
"""

import itertools
import logging
import math
import textwrap
from collections.abc import Callable, Iterable
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ...config.architectures import find_family
from ...files import write_whole
from ..table1 import list_regions, print_networks, read_table1

logging.getLogger("fontTools").setLevel(logging.WARNING)  # it reports every table of a font that goes into a PDF

File = str | Path

STYLE = {
    **dict.fromkeys(("font.size", "axes.titlesize", "figure.labelsize"), 7),
    **dict.fromkeys(("axes.linewidth", "xtick.major.width", "ytick.major.width"), 0.6),
    **dict.fromkeys(("axes.spines.top", "axes.spines.right", "legend.frameon"), False),
    # titles and names are the user's own: a $ is a $; text with formulas says parse_math=True
    **dict.fromkeys(("text.parse_math", "text.usetex"), False),
    "figure.constrained_layout.use": True,
    "xtick.minor.width": 0.3,
    "svg.hashsalt": "ipcl",
    "pdf.fonttype": 42,
}
WIDTH = 7.2
"""Inches: the two columns of a journal."""
CHARACTER = 0.06
"""Inches: a character of the legend."""
TICKS = {"nbins": 5, "steps": [1, 2, 4, 5, 10]}

# Okabe and Ito's colours, which colour-blind readers can tell apart; greys for the controls.
COLORS = {
    "IPCL": "#0072B2", "Wusnet": "#D55E00", "SimCLR": "#009E73", "MoCo2": "#CC79A7", "Pretrained": "#56B4E9",
    "Supervised": "#3C3C3C", "Untrained": "#A6A6A6",
}  # fmt: skip
SPARE_COLORS = ("#882255", "#999933", "#332288", "#44AA99", "#661100")
GREY = "#808080"
CEILING = {"color": "k", "ls": (0, (4, 2)), "lw": 0.8, "label": "noise ceiling (split-half)"}


def read_tables(table1: File, brain: str) -> tuple[pd.DataFrame, dict[str, float], dict[str, str]]:
    """Return one brain's rows of Table 1, of models that are available, with the printed names `network` and `family` (the
    network without the width of a ResNet); region -> noise ceiling, NaN where there is none, early to late; framework -> its
    colour.
    """
    table = read_table1(table1, brain)
    regions = {region: table[f"{region}_noise_ceiling"].iloc[0] for region in list_regions(table)}
    colors = assign(COLORS, table["framework"], SPARE_COLORS)
    table["family"] = print_networks(table["architecture"].map(find_family), table["width"])
    return table[table["origin"] != "unavailable"], regions, colors


def assign(known: dict, names: Iterable, spare: Iterable) -> dict:
    """Return `known` and, for each further name in order of appearance, the next of `spare`."""
    others = [name for name in dict.fromkeys(names) if name not in known]
    return known | dict(zip(others, itertools.cycle(spare), strict=False))


def find_limits(*values: Iterable[float]) -> tuple[float, float]:
    """Return (lowest, highest) of all finite values with a margin."""
    finite = np.concatenate([np.asarray(v, dtype=float) for v in values])
    finite = finite[np.isfinite(finite)] if np.isfinite(finite).any() else np.array([0.0, 1.0])
    margin = 0.07 * (finite.max() - finite.min()) or 0.05
    return finite.min() - margin, finite.max() + margin


def wrap(text: str, width: float) -> str:
    """Return a text in lines of about `width` inches, broken between words."""
    return textwrap.fill(text, max(1, int(width / CHARACTER)), break_long_words=False, break_on_hyphens=False)


def finish(figure: Figure, title: str, handles: Iterable = (), *, loc="outside lower center", ncols=None) -> Figure:
    """Add the title and a legend, in as few rows as fit."""
    width, handles = figure.get_figwidth(), list(handles)
    figure.suptitle(textwrap.fill(title, int(12 * width)))
    sizes = [CHARACTER * len(handle.get_label()) + 0.55 for handle in handles]
    columns = [math.ceil(len(sizes) / n_rows) for n_rows in range(1, len(sizes) + 1)]
    fitting = [n for n in columns if sum(map(max, np.array_split(sizes, n))) <= width]
    if handles:
        figure.legend(handles=handles, loc=loc, ncols=ncols or next(iter(fitting), 1))
    return figure


def list_ceilings(ceilings: Iterable[float]) -> list[Line2D]:
    """Return the legend's entry for the noise ceiling, where there is any."""
    return [] if all(math.isnan(ceiling) for ceiling in ceilings) else [Line2D([], [], **CEILING)]


def save(plot: Callable[..., Figure], *args, svg: File, png: File, pdf: File, **kwargs) -> None:
    """Write what `plot` returns as SVG, as PNG of 300 pixels an inch and as PDF with its fonts (TrueType) inside."""
    with matplotlib.rc_context(STYLE):
        figure = plot(*args, **kwargs)
        formats = (
            (svg, {"format": "svg", "dpi": 180, "metadata": {"Date": None}}),
            (png, {"format": "png", "dpi": 300}),
            (pdf, {"format": "pdf", "dpi": 300, "metadata": {"CreationDate": None}}),
        )
        for path, options in formats:
            with write_whole(path) as temporary:
                figure.savefig(temporary, **options)
