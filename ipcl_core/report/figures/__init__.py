"""
The figures: each drawn from the tables alone, figure 1 from training images and supplementary figure 1 from the stimuli.

Each `draw_` function writes one figure as SVG, PNG and PDF; the `plot_` function behind it returns the Figure.
"""

from .accuracy import draw_figure3
from .layers import draw_figure2, draw_figure_layers
from .pairs import draw_figure_pairs
from .pictures import draw_figure_stimuli

__all__ = ["draw_figure2", "draw_figure3", "draw_figure_layers", "draw_figure_pairs", "draw_figure_stimuli"]
