"""The figures that show pictures."""

import matplotlib
import numpy as np
import pytest
from PIL import Image

from ipcl_core.figures.pictures import plot_figure_stimuli
from ipcl_core.figures.style import STYLE


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


def test_no_stimuli_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="holds no stimuli"):
        plot_figure_stimuli(tmp_path, title="")
