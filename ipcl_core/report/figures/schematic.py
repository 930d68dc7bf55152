"""
Figure 1: how an image is learned, drawn with real augmented views. Where the points lie on the sphere is schematic.
"""

import math
from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Ellipse, FancyArrowPatch, Polygon, Rectangle

from ...config import Augmentation
from ...config.architectures import print_architecture
from .augmentation import read_views
from .style import COLORS, GREY, WIDTH, File, save

HEIGHT = 2.75
CENTER, RADIUS = (4.45, 1.3), 0.95
"""Inches: of the circle that stands for the unit sphere."""
GOLD = "#D9A400"
"""Of prototypes."""
MATH = {"parse_math": True}


def draw_figure1(
    beton: File,
    *,
    architecture: str,
    dim: int,
    n_views: int,
    queue_size: int,
    queue: str,
    augmentation: Augmentation,
    seed: int,
    svg: File,
    png: File,
    pdf: File,
) -> None:
    """Draw the schematic of instance-prototype contrastive learning with views of a training image.

    Args:
        beton: training images; the one that a training with this seed sees first is shown.
        architecture, dim: of the network.
        n_views, queue_size, queue: of the objective.
        augmentation: makes the views.
        seed: of the training.
        svg, png, pdf: files to write.

    Source: figure 1.
    """
    (image,), (views,) = read_views(beton, n_images=1, n_views=n_views, augmentation=augmentation, seed=seed)
    settings = {"network": print_architecture(architecture), "dim": dim, "queue_size": queue_size, "queue": queue}
    save(plot_figure1, image, views, **settings, svg=svg, png=png, pdf=pdf)


def plot_figure1(
    image: np.ndarray, views: np.ndarray, *, network: str, dim: int, queue_size: int, queue: str
) -> Figure:
    """Return the Figure of `draw_figure1`."""
    figure = Figure(figsize=(WIDTH, HEIGHT))
    figure.set_layout_engine("none")
    ax = figure.add_axes((0, 0, 1, 1))
    ax.set_axis_off()
    n = len(views)
    shades = matplotlib.colormaps["Blues"](np.linspace(0.45, 0.95, n))
    _show(ax, image, 0.1, 0.85, 0.9, "k")
    ax.text(0.55, 1.85, "image $x$", ha="center", **MATH)
    side = min(0.44, 2.2 / n - 0.04)
    heights = HEIGHT / 2 - 0.12 + (np.arange(n)[::-1] - (n - 1) / 2) * (side + 0.04)
    for i, (view, middle) in enumerate(zip(views, heights, strict=True)):
        _show(ax, view, 1.45, middle - side / 2, side, shades[i])
        _draw_arrow(ax, (1.03, 1.3), (1.42, middle))
        _draw_arrow(ax, (1.48 + side, middle), (2.42, 1.3 + 0.35 * (middle - 1.3)))
    ax.text(1.45 + side / 2, 2.62, f"{n} augmented views $x_i$", ha="center", **MATH)
    ax.add_patch(Polygon([(2.45, 0.75), (2.45, 1.85), (3.1, 1.6), (3.1, 1.0)], fc="#EDEDED", ec="k", lw=0.8))
    name = f"$f_\\theta$\n{network}".replace(" ", "\n")
    ax.text(2.775, 1.3, name, ha="center", va="center", **MATH)
    _draw_arrow(ax, (3.13, 1.3), (CENTER[0] - RADIUS - 0.04, 1.3))
    _draw_sphere(ax, shades)
    ax.text(CENTER[0], 2.62, f"unit sphere, {dim} dimensions", ha="center")
    _draw_queue(ax, queue_size, queue, [GOLD] if queue == "prototypes" else shades[:5])
    ax.set(xlim=(0, WIDTH), ylim=(0, HEIGHT))
    return figure


def _show(ax: Axes, picture: np.ndarray, left: float, bottom: float, side: float, color) -> None:
    ax.imshow(picture, extent=(left, left + side, bottom, bottom + side), zorder=3, aspect="auto")
    ax.add_patch(Rectangle((left, bottom), side, side, fill=False, ec=color, lw=1.4, zorder=4))


def _draw_arrow(ax: Axes, start: tuple, end: tuple, color="k", curve: float = 0.0) -> None:
    style = {"arrowstyle": "-|>", "mutation_scale": 5, "lw": 0.7, "color": color, "shrinkA": 0, "shrinkB": 0}
    ax.add_patch(FancyArrowPatch(start, end, connectionstyle=f"arc3,rad={curve}", zorder=5, **style))


def _draw_sphere(ax: Axes, shades: np.ndarray) -> None:
    """Draw the views' embeddings near their prototype, and samples of the queue, which they leave."""
    x, y = CENTER
    ax.add_patch(Circle(CENTER, RADIUS, fc="#FAFAFA", ec=GREY, lw=0.8))
    ax.add_patch(Ellipse(CENTER, 2 * RADIUS, 0.5 * RADIUS, fill=False, ec="#D0D0D0", lw=0.6))
    ax.add_patch(Ellipse(CENTER, 0.5 * RADIUS, 2 * RADIUS, fill=False, ec="#D0D0D0", lw=0.6))
    n = len(shades)
    angles = 0.4 + 2 * math.pi * np.arange(n) / n
    reach = np.where(np.arange(n) % 2, 0.19, 0.27)
    middle = np.array([x - 0.15, y + 0.4])
    points = middle + np.stack([reach * np.cos(angles), reach * np.sin(angles)], 1)
    prototype = points.mean(0)
    for point, shade in zip(points, shades, strict=True):
        ax.plot(*zip(point, prototype, strict=True), color=shade, lw=0.9, zorder=5)
        ax.plot(*point, "o", color=shade, ms=4.5, mec="w", mew=0.4, zorder=6)
    ax.plot(*prototype, "*", color=GOLD, ms=10, mec="k", mew=0.5, zorder=7)
    for dx, dy in ((0.55, -0.15), (0.3, -0.55), (-0.2, -0.7), (-0.6, -0.35), (0.72, 0.2), (0.02, -0.33), (0.6, 0.5)):
        ax.plot(x + dx, y + dy, "o", color=GREY, ms=3.5, zorder=5)
    ax.text(x - 0.62, y + 0.02, "prototype $\\bar{z}$", ha="left", va="center", zorder=8, **MATH)
    ax.annotate("", prototype, (x - 0.4, y + 0.1), arrowprops={"arrowstyle": "-", "lw": 0.5}, zorder=6)
    ax.text(x, 0.15, "each $z_i$ towards its prototype,\naway from the queue", ha="center", va="center", **MATH)


def _draw_queue(ax: Axes, size: int, kind: str, newest: Sequence) -> None:
    """Draw the queue: the newest samples or prototypes, in their colours, enter on top, those at the bottom leave."""
    left, width, height, n_rows = 6.05, 0.75, 0.105, 14
    top = 2.05
    for row in range(n_rows):
        color = newest[row] if row < len(newest) else "#DDDDDD"
        ax.add_patch(Rectangle((left, top - (row + 1) * height), width, height, fc=color, ec="w", lw=0.8))
    ax.text(left + width / 2, 2.62, "memory queue", ha="center")
    ax.text(left + width / 2, 2.42, f"$K$ = {size:,} newest {kind}", ha="center", **MATH)
    ax.text(left + width / 2, 0.4, "oldest leave", ha="center", va="center", color=GREY)
    _draw_arrow(ax, (left + width / 2, top - n_rows * height - 0.02), (left + width / 2, 0.47), GREY)
    _draw_arrow(ax, (CENTER[0] + 0.35, CENTER[1] + 0.6), (left - 0.04, top - 0.25), COLORS["IPCL"], -0.15)
    ax.text(5.62, 2.14, "enter after\nthe step", ha="center", va="center", color=COLORS["IPCL"])
    _draw_arrow(ax, (left - 0.04, 1.0), (CENTER[0] + 0.64, CENTER[1] - 0.16), GREY, -0.1)
    ax.text(5.72, 0.8, "negatives", ha="center", va="center", color=GREY)
