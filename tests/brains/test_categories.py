"""Categories of the stimuli from a file or from folders."""

import numpy as np
import pytest

from ipcl_core.brains.categories import read_categories

STIMULI = ["01_mug", "02_dog", "03_cat"]


def test_they_are_paired_by_name(tmp_path):
    path = tmp_path / "c.csv"
    path.write_text("category,stimulus\nanimal,cat.png\ntool,mug.png\nanimal,dog.png\n")
    found = read_categories(str(path), STIMULI, "", None)
    assert found.tolist() == [[0, 1], [1, 0], [1, 0]]


def test_folders_of_the_pictures(tmp_path):
    order = tmp_path / "order.txt"
    order.write_text("things/tools/mug.png\nanimals/dog.png\ncat\tanimals/cat_1.png\tanimals/cat_2.png\n")
    found = read_categories("folders", STIMULI, str(tmp_path), str(order))
    assert found.tolist() == [[0, 1], [1, 0], [1, 0]] and found.dtype == np.float64
    order.write_text("mug.png\nanimals/dog.png\nanimals/cat.png\n")
    with pytest.raises(ValueError, match="stands in no folder below"):
        read_categories("folders", STIMULI, str(tmp_path), str(order))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("stimulus,category\nmug,a\ndog,a\ncat,a\n", "all 3 stimuli are of one category, a"),
        ("stimulus,category\n01_mug,a\n02_dog,b\n", "lacks 1 of 3 stimuli, first 03_cat"),
        ("stimulus,kind\nmug,a\n", "lacks the column category; needs stimulus and category"),
        ("stimulus,category\nmug,a\ndog,\ncat,b\n", "'dog' has no category"),
    ],
)
def test_files_that_do_not_fit(tmp_path, text, message):
    path = tmp_path / "c.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        read_categories(str(path), STIMULI, "", None)
