"""The figures that show pictures."""

import matplotlib
import numpy as np
import pytest
from matplotlib.colors import to_rgba
from matplotlib.patches import Rectangle
from numpy.testing import assert_allclose
from PIL import Image

from ipcl_core.config import Augmentation, Preprocessing
from ipcl_core.report.figures.augmentation import (
    describe_policy,
    draw_figure_augmentation,
    plot_figure_augmentation,
    read_views,
)
from ipcl_core.report.figures.pictures import plot_figure_stimuli
from ipcl_core.report.figures.schematic import draw_figure1, plot_figure1
from ipcl_core.report.figures.style import STYLE
from ipcl_core.views.loader import ViewLoader


def test_stimuli_are_all_shown_in_the_order_of_their_names(tmp_path):
    folder = tmp_path / "stimuli"
    folder.mkdir()
    (folder / ".hidden").touch()
    values = {"b": 50, "a": 10, "c": 90, "e": 210, "d": 130}
    for name, value in values.items():
        Image.new("RGB", (40, 20), (value, value, value)).save(folder / f"{name}.png")
    with matplotlib.rc_context(STYLE):
        figure = plot_figure_stimuli(folder, title="Greys")
    canvas = np.asarray(figure.axes[0].images[0].get_array())
    cells = [np.array_split(band, 3, axis=1) for band in np.array_split(canvas, 2)]  # 2 rows of 3
    centers = [int(cell[cell.shape[0] // 2, cell.shape[1] // 2, 0]) for row in cells for cell in row]
    assert centers == [10, 50, 90, 130, 210, 255]
    assert figure.get_suptitle() == "Greys: 5 stimuli"


def test_stimuli_are_shown_as_networks_see_them(tmp_path):
    """Turned as EXIF says, on white where they are transparent."""
    (tmp_path / "stimuli").mkdir()
    exif = Image.Exif()
    exif[0x0112] = 3
    picture = Image.new("RGBA", (40, 40), (0, 0, 0, 0))
    picture.paste((200, 0, 0, 255), (0, 0, 40, 20))
    picture.save(tmp_path / "stimuli/a.png", exif=exif)
    with matplotlib.rc_context(STYLE):
        canvas = np.asarray(plot_figure_stimuli(tmp_path / "stimuli", title="").axes[0].images[0].get_array())
    height, width = canvas.shape[:2]
    assert canvas[height // 4, width // 4].tolist() == [255, 255, 255]
    assert canvas[3 * height // 4, width // 4].tolist() == [200, 0, 0]


def test_no_stimuli_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="holds no stimuli"):
        plot_figure_stimuli(tmp_path, title="")


def test_figure1_shows_the_views_of_the_image_that_a_training_sees_first(raw_split, pixels):
    augmentation = Augmentation()
    (image,), (views,) = read_views(raw_split.beton, n_images=1, n_views=3, augmentation=augmentation, seed=7)
    preprocessing = Preprocessing(image_size=224, mean=[0.0] * 3, std=[1.0] * 3)
    loader = ViewLoader(raw_split.beton, batch_size=4, preprocessing=preprocessing, n_threads=1)
    batches = loader.iterate_random(n_views=3, augmentation=augmentation, seed=7, epoch=0)
    first = next(batches)
    batches.close()
    assert_allclose(views, first.views[0].movedim(1, -1).clip(0, 1), rtol=0, atol=1e-6)
    original = pixels[int(first.images[0])]
    side = min(original.shape[:2])
    top, left = ((length - side) // 2 for length in original.shape[:2])
    square = original[top : top + side, left : left + side] / 255
    assert image.shape == (224, 224, 3)
    assert_allclose(image.mean((0, 1)), square.mean((0, 1)), rtol=0, atol=0.01)  # resized, colours as they were
    assert np.abs(views - image).mean((1, 2, 3)).min() > 0.02


def test_figure1_is_drawn_whole(raw_split, tmp_path):
    files = {kind: tmp_path / f"figure1.{kind}" for kind in ("svg", "png", "pdf")}
    settings = {
        "architecture": "alexnet_gn",
        "dim": 128,
        "n_views": 5,
        "queue_size": 4096,
        "queue": "samples",
        "seed": 1,
    }
    draw_figure1(raw_split.beton, augmentation=Augmentation(), **settings, **files)
    assert sorted(tmp_path.iterdir()) == sorted(files.values()) and b"/Type3" not in files["pdf"].read_bytes()
    with Image.open(files["png"]) as image:
        assert image.width == 2160


@pytest.mark.parametrize(
    ("n", "queue", "n_new"), [(2, "samples", 2), (5, "samples", 5), (12, "samples", 5), (5, "prototypes", 1)]
)
def test_figure1_texts_do_not_overlap_and_the_queue_is_the_recipes(n, queue, n_new):
    pictures = np.random.default_rng(0).random((n, 8, 8, 3))
    with matplotlib.rc_context(STYLE):
        settings = {"network": "AlexNet-gn x0.25", "dim": 128, "queue_size": 4096, "queue": queue}
        figure = plot_figure1(pictures[0], pictures, **settings)
        figure.draw_without_rendering()
        boxes = [text.get_window_extent() for text in figure.axes[0].texts if text.get_text()]
    assert len(figure.axes[0].images) == n + 1 and len(boxes) == 11
    assert f"$K$ = 4,096 newest {queue}" in [text.get_text() for text in figure.axes[0].texts]
    rectangles = [patch for patch in figure.axes[0].patches if isinstance(patch, Rectangle)]
    rows = [box.get_facecolor() for box in rectangles if box.get_width() == 0.75]
    assert len(rows) - rows.count(to_rgba("#DDDDDD")) == n_new
    assert all(box.x0 >= 0 and box.y0 >= 0 and box.x1 <= figure.bbox.x1 and box.y1 <= figure.bbox.y1 for box in boxes)
    for i, a in enumerate(boxes):
        for b in boxes[i + 1 :]:
            assert min(a.x1, b.x1) <= max(a.x0, b.x0) or min(a.y1, b.y1) <= max(a.y0, b.y0)


def test_contact_sheet_has_a_row_for_each_image_and_names_the_policy(raw_split, tmp_path):
    files = {kind: tmp_path / f"sheet.{kind}" for kind in ("svg", "png", "pdf")}
    policies = {"ours": {}, "released": {"order": "released_code", "jitter_order": "fixed", "hue": 0.1}}
    draw_figure_augmentation(raw_split.beton, policies=policies, seed=7, title="Views", **files)
    assert sorted(tmp_path.iterdir()) == sorted(files.values())
    images, views = read_views(raw_split.beton, n_images=2, n_views=3, augmentation=Augmentation(), seed=7)
    figure = plot_figure_augmentation({"ours: all": (images, views)}, title="Views")
    (ax,) = figure.axes
    assert (figure.get_suptitle(), ax.get_title()) == ("Views", "ours: all")
    (shown,) = ax.images
    cells = shown.get_array().reshape(2, 232, 4, 232, 3).swapaxes(1, 2)  # rows, columns, pictures with a white edge
    for row, image, others in zip(cells, images, views, strict=True):
        for found, expected in zip(row, [image, *others], strict=True):
            assert_allclose(found[:224, :224], expected, rtol=0, atol=0)
            assert (found[224:] == 1).all() and (found[:, 224:] == 1).all()


def test_policy_is_described_in_the_order_of_its_operations():
    words = describe_policy(Augmentation(order="released_code", jitter_order="fixed", hue=0.1))
    assert [part.split()[0] for part in words.split("; ")] == ["shortest", "crop", "flip", "grayscale", "brightness"]
    assert "hue 0.1 (fixed order)" in words
    words = describe_policy(Augmentation())
    assert [part.split()[0] for part in words.split("; ")] == ["crop", "grayscale", "brightness", "flip"]
