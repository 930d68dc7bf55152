"""Odd-one-out judgments from files: the forms that are read, and what is refused."""

import numpy as np
import pytest
import scipy.io
from own_brains import NAMES, make_own, refuse

from ipcl_core.brains.triplets import read_triplets

STIMULI = [f"{i + 1:02d}_{name}" for i, name in enumerate(NAMES)]  # as in brain.h5
HEADER = "stimulus_1,stimulus_2,stimulus_3,odd,observer\n"


def write(path, text: str):
    path.write_text(text)
    return path


def test_names_in_a_csv(tmp_path):
    path = write(tmp_path / "t.csv", HEADER + "mug.png,bike,apple,bike,ann\ndrum,mug,bike,drum,bob\n")
    answers, observers = read_triplets(path, STIMULI)
    assert answers.tolist() == [[0, 2, 1], [0, 1, 5]] and observers.tolist() == ["ann", "bob"]


def test_spaces_and_a_byte_order_mark(tmp_path):
    (tmp_path / "t.csv").write_text(f"{HEADER}mug, bike, apple, bike, ann\n".replace(",", ", "), encoding="utf-8-sig")
    (tmp_path / "t.txt").write_text("0 2 1\n", encoding="utf-8-sig")
    for name in ("t.csv", "t.txt"):
        assert read_triplets(tmp_path / name, STIMULI)[0].tolist() == [[0, 2, 1]]


def test_stimuli_that_are_named_by_numbers_in_another_order(tmp_path):
    """The same when the brain is imported, by the user's names, and later, by those of brain.h5."""
    path = write(tmp_path / "t.csv", HEADER + "1,2,3,3,a\n4,5,6,4,a\n")
    for stimuli in ("654321", [f"{i + 1:02d}_{6 - i}" for i in range(6)]):
        assert read_triplets(path, list(stimuli))[0].tolist() == [[4, 5, 3], [0, 1, 2]]


@pytest.mark.parametrize("first", [0, 1])
def test_numbers_count_from_what_the_file_shows(tmp_path, first):
    answers = np.array([[0, 1, 5], [2, 1, 0], [4, 5, 3]]) + first
    np.savetxt(tmp_path / "t.txt", answers, "%d")
    np.save(tmp_path / "t.npy", answers)
    scipy.io.savemat(tmp_path / "t.mat", {"triplets": answers.astype(float), "other": 1})
    rows = "".join(f"{a},{b},{c},{c}\n" for a, b, c in answers)
    write(tmp_path / "t.csv", HEADER.replace(",observer", "") + rows)
    for name in ("t.txt", "t.npy", "t.mat#triplets", "t.csv"):
        found, observers = read_triplets(f"{tmp_path}/{name}", ["a", "b", "c", "d", "e", "f"])
        assert found.tolist() == [[0, 1, 5], [1, 2, 0], [4, 5, 3]] and set(observers) == {""}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0 1 2\n0 3 6\n", "has stimuli 0 to 6; the 6 are 0 to 5, or 1 to 6"),
        ("1 2 3\n3 4 7\n", "has stimuli 1 to 7; the 6 are 0 to 5, or 1 to 6"),
        ("1 2 3\n3 4 5\n", "has stimuli 1 to 5 of 6, which can count from 0 or from 1; give names"),
        ("0 1 1\n", "triplet 1 shows one stimulus twice: 01_mug, 02_bike, 02_bike"),
        ("0 1\n2 3\n", r"found an array of shape \(2, 2\)"),
        ("0 1 2.5\n", "type float64"),
        ("mug bike apple\n", "t.txt: .*could not convert"),
        ("", "holds no triplets"),
    ],
)
def test_numbers_that_cannot_be_right(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        read_triplets(write(tmp_path / "t.txt", text), STIMULI)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEADER + "mug,bike,apple,chair,a\n", "triplet 1: the odd one, 04_chair, is none of 01_mug, 02_bike, 03_apple"),
        (HEADER + "mug,bike,apple,3,a\n", "'3' is none of the 6 stimuli.*not a place"),
        (HEADER + "mug,bike,boat,bike,a\n", "'boat' is none of the 6 stimuli, such as 01_mug"),
        (HEADER + "mug,mug,apple,mug,a\n", "shows one stimulus twice"),
        (HEADER, "holds no triplets"),
        ("a,b,c\nmug,bike,apple\n", "lacks the column stimulus_1; needs a CSV with the columns"),
        ("", r"t\.csv: is no table of cells with ',' between"),
        (HEADER + "mug,bike,apple,bike,a,1\n", r"t\.csv: is no table of cells .* line 2, saw 6"),
        ((HEADER + "mug,bike,apple,bike,a\n").replace(",", ";"), "has .*; cells are separated by semicolons"),
    ],
)
def test_tables_that_cannot_be_right(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        read_triplets(write(tmp_path / "t.csv", text), STIMULI)


def test_they_are_read_when_the_brain_is_imported(tmp_path, photo):
    own = make_own(tmp_path, photo)
    own.write(np.save)
    path = write(tmp_path / "t.csv", HEADER + "mug,bike,boat,bike,a\n")
    refuse(own, "'boat' is none of the 6 stimuli", triplets=str(path))
    with pytest.raises(ValueError, match="triplets are read from"):
        own.make_block(triplets="triplets.xlsx")
    own.import_all(triplets=str(write(path, HEADER + "mug,bike,kite,bike,a\n")))
    assert str(path) not in own.make_block(triplets=str(path)).find_files(), "what is imported does not depend on them"
