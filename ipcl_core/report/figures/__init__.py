"""
The figures: each drawn from the tables alone, figure 1 from training images and supplementary figure 1 from the stimuli.

Each `draw_` function writes one figure as SVG, PNG and PDF; the `plot_` function behind it returns the Figure.
"""
