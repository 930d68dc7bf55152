"""One's own brain data that come twice, or with an index, a name or complex numbers among them."""

import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.io
from mat73 import save_mat73
from own_brains import put, refuse

COPIES = {
    "other digits": ("patterns", lambda a: a.astype(np.float32)),
    "voxels in another order": ("patterns", lambda a: a[:, ::-1]),
    "another scale": ("rdm", lambda a: 3 * (1 - np.corrcoef(a))),
}


@pytest.mark.parametrize(("kind", "change"), COPIES.values(), ids=COPIES)
def test_copies_that_are_not_the_same_bytes(own, kind, change):
    own.write(np.save, change=(lambda a: 1 - np.corrcoef(a)) if kind == "rdm" else np.asarray)
    put(own, change(own.patterns["sub-01", "IT"]))
    distance = "other" if kind == "rdm" else "correlation"
    refuse(
        own,
        "IT, participant sub-02: has the same similarities as region IT, participant sub-01",
        kind=kind,
        distance=distance,
    )


def test_two_stimuli_with_one_pattern_are_said(own, warnings_of):
    own.patterns["sub-02", "IT"][4] = own.patterns["sub-02", "IT"][1]
    own.write(np.save)
    own.import_all()
    (found,) = [text for text in warnings_of() if "correlate with 1" in text]
    assert "sub-02_IT.npy: region IT, participant sub-02: the patterns of kite.png and bike.png correlate" in found


@pytest.mark.parametrize("kind", ["patterns", "rdm"])
def test_data_that_come_twice(own, kind):
    """A copied file would raise the noise ceiling."""
    change = (lambda a: 1 - np.corrcoef(a)) if kind == "rdm" else np.asarray
    own.write(np.save, change=change)
    put(own, np.load(own.folder / "sub-01_IT.npy"))
    again = r": holds the same numbers as .*/sub-01_{0}\.npy: region {0}, participant sub-01; has a file been copied"
    who = r"/sub-02_IT\.npy: region IT, participant sub-02"
    refuse(own, who + again.format("IT"), kind=kind)
    put(own, np.load(own.folder / "sub-01_EarlyV.npy"))
    refuse(own, who + again.format("EarlyV"), kind=kind)


def test_runs_that_come_twice(own):
    files = str(own.folder / "{participant}_{region}_{run}.npy")
    for run in ("r1", "r2"):
        own.write(np.save, f"{{participant}}_{{region}}_{run}.npy")
    message = (
        r"sub-01_EarlyV_\{run\}\.npy: region EarlyV, participant sub-01, run r2: holds the same numbers as .*, run r1;"
    )
    refuse(own, message, files=files, runs=["r1", "r2"])


COUNTED = {
    "a named column of numbers": (
        lambda path, a: pd.DataFrame(a, range(1, 7)).to_csv(
            path, index_label="stimulus", header=[f"v{i}" for i in range(25)]
        ),
        "column of numbers counts from 1 to 6, as an index does",
    ),
    "no header": (
        lambda path, a: pd.DataFrame(a).to_csv(path, header=False),
        "column of numbers counts from 0 to 5",
    ),
    "no index": (lambda path, a: pd.DataFrame(a).to_csv(path, index=False), "row of numbers counts from 0 to 24"),
}


@pytest.mark.parametrize(("save", "message"), COUNTED.values(), ids=COUNTED)
def test_index_that_would_become_data(own, save, message):
    save(own.folder / "IT.csv", own.patterns["sub-01", "IT"])
    options = {"regions": ["IT"], "participants": ["sub-01"], "files": str(own.folder / "{region}.csv")}
    refuse(own, rf"IT\.csv: the first {message}", **options)


NUMBERED = {
    "steps": [2950, 3049, 3157, 8435, 20064, 73000],
    "falling": [6, 5, 4, 3, 2, 1],
    "categories": [1, 1, 2, 2, 3, 3],
}


@pytest.mark.parametrize("values", NUMBERED.values(), ids=NUMBERED)
@pytest.mark.parametrize("place", [0, 1, 25])
def test_column_or_row_of_numbers_that_would_become_data(own, values, place):
    array = np.round(np.insert(own.patterns["sub-01", "IT"], place, values, axis=1), 2)
    options = {"regions": ["IT"], "participants": ["sub-01"], "files": str(own.folder / "{region}.csv")}
    for what, axes, table in ("column", "stimuli x voxels", array), ("row", "voxels x stimuli", array.T):
        for header in (True, False):
            names = [f"x{i}" for i in range(table.shape[1])] if header else False
            pd.DataFrame(table).to_csv(own.folder / "IT.csv", index=False, header=names)
            message = rf"IT\.csv: {what} {place + 1} of numbers holds whole ones alone \({values[0]}, {values[1]}, "
            refuse(own, message, **options, axes=axes)


def test_whole_numbers_among_whole_numbers_and_zeros_are_data(own):
    """Rounded to halves; voxels of zeros, as outside of the brain."""
    options = {"regions": ["IT"], "participants": ["sub-01"], "files": str(own.folder / "{region}.csv")}
    array = np.round(2 * own.patterns["sub-01", "IT"]) / 2
    array[:, 3] = [4, 1, 2, 2, 3, -3]
    np.savetxt(own.folder / "IT.csv", array, delimiter=",")
    own.import_all(**options)
    np.savetxt(own.folder / "IT.csv", np.insert(own.patterns["sub-01", "IT"], 0, 0, axis=1), delimiter=",")
    own.import_all(**options)


COMPLEX = {
    "npy": ("npy", lambda path, array: np.save(path, array)),
    "mat": ("mat", lambda path, array: scipy.io.savemat(path, {"d": array})),
    "mat 7.3": ("mat", lambda path, array: save_mat73(path, d=array)),
    "h5": ("h5", lambda path, array: h5py.File(path, "w").create_dataset("d", data=array)),
}


@pytest.mark.parametrize(("suffix", "save"), COMPLEX.values(), ids=COMPLEX)
@pytest.mark.parametrize("kind", ["patterns", "rdm", "rsm", "reliability"])
def test_complex_numbers_are_refused_everywhere(own, suffix, save, kind):
    name = "{participant}_{region}_c." + suffix
    change = {"patterns": np.asarray, "reliability": lambda array: np.ones(array.shape[1])}.get(kind, np.corrcoef)
    own.write(np.save)
    template = own.write(save, name, lambda array: change(array) + 1j)
    options = {"kind": kind, "files": template}
    if kind == "reliability":
        options = {"reliability": template, "reliability_threshold": 0.5}
    refuse(own, "found numbers of type complex128, needs real ones", **options)
