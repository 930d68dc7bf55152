"""
Supplementary figure 1: the stimuli.
"""

import math

import numpy as np
from matplotlib.figure import Figure
from PIL import Image, ImageOps

from ...images.decoding import list_stimuli, read_image
from .style import WIDTH, File, finish, save


def draw_figure_stimuli(stimuli: File, *, title: str, svg: File, png: File, pdf: File) -> None:
    """Draw all pictures of the stimuli, row by row in the order of their names. Source: supplementary figure 1."""
    save(plot_figure_stimuli, stimuli, title=title, svg=svg, png=png, pdf=pdf)


def plot_figure_stimuli(stimuli: File, *, title: str) -> Figure:
    """Return the Figure of `draw_figure_stimuli`."""
    pictures = list_stimuli(stimuli)
    if not pictures:
        raise ValueError(f"{stimuli}: holds no stimuli")
    paths = [path for several in pictures.values() for path in several]
    n_columns = math.ceil(math.sqrt(1.5 * len(paths)))
    side, pitch = 150, 158  # pixels
    canvas = Image.new("RGB", (n_columns * pitch, math.ceil(len(paths) / n_columns) * pitch), "white")
    for index, path in enumerate(paths):
        row, column = divmod(index, n_columns)
        image = ImageOps.pad(Image.fromarray(read_image(path)), (side, side), color="white")
        canvas.paste(image, (column * pitch + 4, row * pitch + 4))
    width = min(WIDTH, 0.6 * n_columns)
    figure = Figure(figsize=(width, width * canvas.height / canvas.width + 0.35))
    ax = figure.subplots()
    ax.imshow(np.asarray(canvas))
    ax.set_axis_off()
    several = f" of {len(paths)} pictures" if len(paths) > len(pictures) else ""
    return finish(figure, f"{title}: {len(pictures)} stimuli{several}")
