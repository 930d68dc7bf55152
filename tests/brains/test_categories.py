"""Categories of the stimuli from a file or from folders."""

import numpy as np
import pytest

from ipcl_core.brains.categories import read_categories
from ipcl_core.brains.folds import divide_stimuli

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
        ("stimulus,category\nmug,a\ndog,A\ncat,b\n", "'a' and 'A' differ in case alone; write one of them"),
        ("stimulus,category,category\nmug,a,b\n", "has the column category 2 times"),
        ("stimulus;category\nmug;a\n", "lacks the column stimulus; .*; cells are separated by semicolons: give commas"),
        ("stimulus,category\nmug,a,b\n", r"c\.csv: is no table of cells with ',' between, in UTF-8: .* line 2, saw 3"),
        ("", r"c\.csv: is no table of cells"),
    ],
)
def test_files_that_do_not_fit(tmp_path, text, message):
    path = tmp_path / "c.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        read_categories(str(path), STIMULI, "", None)


def test_spaces_and_quotes_round_cells_are_none(tmp_path):
    path = tmp_path / "c.csv"
    path.write_text('stimulus , category\r\nmug, tool\r\n"dog",animal \r\ncat,animal\r\n', encoding="utf-8-sig")
    assert read_categories(str(path), STIMULI, "", None).tolist() == [[0, 1], [1, 0], [1, 0]]


def test_table_in_another_encoding(tmp_path):
    path = tmp_path / "c.csv"
    for encoding, message in (("utf-16", "is text in UTF-16"), ("latin-1", "is no table .*, in UTF-8: .* 0xe4")):
        path.write_text("stimulus,category\nä,b\n", encoding=encoding)
        with pytest.raises(ValueError, match=rf"c\.csv: {message}"):
            read_categories(str(path), STIMULI, "", None)


def test_fold_that_is_nearly_called_train(tmp_path):
    path = tmp_path / "f.csv"
    path.write_text("stimulus,fold\nmug,Train\ndog,a\ncat,a\n")
    with pytest.raises(
        ValueError, match=r"f\.csv: has the fold Train; the one that is never held out is written train"
    ):
        divide_stimuli(STIMULI, path, n_folds=2, seed=0)
