"""
Contact sheet of augmented views: what a training sees.
"""

import textwrap

import numpy as np
from matplotlib.figure import Figure

from ...config import Augmentation, Preprocessing
from ...views.loader import ViewLoader
from .style import WIDTH, File, finish, save

N_IMAGES, N_VIEWS = 3, 8
GAP = 8
"""Pixels between pictures."""


def draw_figure_augmentation(
    beton: File, *, policies: dict[str, dict], seed: int, title: str, svg: File, png: File, pdf: File
) -> None:
    """Draw views of some training images under each policy: rows are images, columns their views.

    Args:
        beton: training images; those that a training with this seed sees first are shown.
        policies: name -> augmentation (`config.Augmentation`).
        seed: of the order and the views.
        title: heads the figure.
        svg, png, pdf: files to write.

    Source: section 4.1.
    """
    sheets = {}
    for name, policy in policies.items():
        augmentation = Augmentation.model_validate(policy)
        sheets[f"{name}: {describe_policy(augmentation)}"] = read_views(
            beton, n_images=N_IMAGES, n_views=N_VIEWS, augmentation=augmentation, seed=seed
        )
    save(plot_figure_augmentation, sheets, title=title, svg=svg, png=png, pdf=pdf)


def read_views(
    beton: File, *, n_images: int, n_views: int, augmentation: Augmentation, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the central squares of the images that a training sees first, and their views of the first epoch.

    Returns:
        (n_images, 224, 224, 3) and (n_images, n_views, 224, 224, 3) float32 in [0, 1].
    """
    preprocessing = Preprocessing(image_size=224, mean=[0.0] * 3, std=[1.0] * 3)
    loader = ViewLoader(beton, batch_size=n_images, preprocessing=preprocessing, n_threads=1)
    colors = dict.fromkeys(("flip", "grayscale", "brightness", "contrast", "saturation", "hue"), 0.0)
    whole = augmentation.model_copy(update={"area": [1.0, 1.0], "aspect_ratio": [1.0, 1.0]} | colors)
    pictures = []
    for policy, n in ((whole, 1), (augmentation, n_views)):
        batches = loader.iterate_random(n_views=n, augmentation=policy, seed=seed, epoch=0)
        pictures.append(next(batches).views.movedim(2, -1).numpy().clip(0, 1))  # (B, n, 3, S, S) -> (B, n, S, S, 3)
        batches.close()
    return pictures[0][:, 0], pictures[1]


def describe_policy(augmentation: Augmentation) -> str:
    """Return a policy in words, in the order of its operations."""
    a = augmentation
    crop = f"crop of area {a.area[0]:g} to {a.area[1]:g}, ratio {a.aspect_ratio[0]:.2f} to {a.aspect_ratio[1]:.2f}"
    grayscale, flip = f"grayscale p = {a.grayscale:g}", f"flip p = {a.flip:g}"
    jitter = (
        f"brightness {a.brightness:g}, contrast {a.contrast:g}, saturation {a.saturation:g}, hue {a.hue:g} "
        f"({a.jitter_order} order)"
    )
    match a.order:
        case "wu":
            return "; ".join([crop, grayscale, jitter, flip])
        case "released_code":
            return "; ".join(["shortest side to 256", crop, flip, grayscale, jitter])
    raise ValueError(f"unknown order {a.order!r}")


def plot_figure_augmentation(sheets: dict[str, tuple[np.ndarray, np.ndarray]], *, title: str) -> Figure:
    """Return the Figure of `draw_figure_augmentation`: policy in words -> central squares and views of its images."""
    n_rows = sum(len(images) for images, _ in sheets.values())
    figure = Figure(figsize=(WIDTH, WIDTH / (N_VIEWS + 1) * n_rows + 0.45 * len(sheets) + 0.3))
    heights = [len(images) for images, _ in sheets.values()]
    axes = figure.subplots(len(sheets), squeeze=False, height_ratios=heights)[:, 0]
    for ax, (policy, (images, views)) in zip(axes, sheets.items(), strict=True):
        ax.set_title(textwrap.fill(policy, 120), fontsize=7)
        ax.imshow(join_pictures(np.concatenate([images[:, None], views], 1)))  # (n, 1 + v, S, S, 3)
        side = images.shape[1] + GAP
        ax.set_xticks([side / 2, side * 1.5], ["image", "views"])
        ax.tick_params(top=True, labeltop=True, bottom=False, labelbottom=False, length=0)
        ax.set_yticks([])
        ax.spines[:].set_visible(False)
    return finish(figure, title)


def join_pictures(grid: np.ndarray) -> np.ndarray:
    """Join pictures (rows, columns, S, S, 3) to one of them all (rows * (S + GAP), columns * (S + GAP), 3), on white."""
    padded = np.pad(grid, [(0, 0), (0, 0), (0, GAP), (0, GAP), (0, 0)], constant_values=1)
    return np.concatenate(np.concatenate(padded, 1), 1)  # (rows, columns, ...) -> (columns, rows * side, ...) -> one
