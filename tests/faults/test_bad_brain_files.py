"""One's own brain data whose stimuli or files cannot be right: each case names the file, and what was found."""

import gzip
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.io
from mat73 import save_mat73
from own_brains import NAMES, put, refuse
from PIL import Image
from rsatoolbox.rdm import RDMs
from scipy.spatial.distance import pdist

from ipcl_core.brains.stimuli import list_conditions

# ---- stimuli ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (NAMES[:5], r"found an array of shape \(6, 40\), needs 5 stimuli x voxels"),
        ([*NAMES[:5], "drumm"], "images: no image for 1 of 6 conditions, among them 'drumm'"),
        ([*NAMES[:5], "mug"], r"order\.txt: lines: mug stands there 2 times; each stimulus stands once"),
        ([*NAMES[:5], "drum\tdrum\t../order"], r"\.\./order: leaves .*images; pictures are named below it"),
        ([*NAMES[:5], "drum\tkite"], r"kite\.png: stands 2 times among the pictures of the conditions"),
        ([*NAMES[:5], "drum\tdrum\tdrum/side"], "images: no image for 1 of 7 pictures, among them 'drum/side'"),
        (NAMES[:2], r"order\.txt: lines: found 2; an RSM needs three stimuli or more"),
        ([], r"order\.txt: lines: found 0"),
    ],
)
def test_order_that_cannot_be_right(own, lines, message):
    (own.folder / "order.txt").write_text("\n".join(lines))
    refuse(own, message)


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1"])
def test_order_that_is_no_utf8(own, encoding):
    (own.folder / "order.txt").write_text("\n".join(["müg", *NAMES[1:]]), encoding=encoding)
    refuse(own, r"order\.txt: cannot be read as text in UTF-8: ")


def test_order_and_stimuli_of_other_kinds(own):
    refuse(own, "images: cannot be read as text in UTF-8: .*Is a directory", order=str(own.folder / "images"))
    refuse(own, r"order\.txt: is no folder; stimuli are a folder", stimuli=str(own.folder / "order.txt"))


@pytest.mark.parametrize("line", ["MUG.PNG", "images/mug.png", '"mug.png"', "mug.png,1", "1 mug.png"])
def test_name_that_is_nearly_that_of_a_picture(own, line):
    own.write(np.save)
    (own.folder / "order.txt").write_text("\n".join([line, *NAMES[1:]]))
    refuse(own, rf"no image for 1 of 6 conditions, among them '{line}' \(did you mean mug\.png\?\); the 6 images")


@pytest.mark.parametrize("line", ["stimulus", "# the order"])
def test_line_that_names_no_picture_is_said_before_data_are_read(own, line):
    """They would be of another shape than with it."""
    own.write(np.save)
    (own.folder / "order.txt").write_text("\n".join([line, *NAMES]))
    refuse(own, f"no image for 1 of 7 conditions, among them '{line}'; the 6 images there")


@pytest.mark.parametrize("order", [{}, {"order": None}])
def test_stimuli_that_are_no_folder(own, order):
    own.write(np.save)
    refuse(own, "nothing: is no folder; stimuli are a folder", stimuli=str(own.folder / "nothing"), **order)


def test_picture_that_is_too_large(own):
    Image.new("1", (10_000, 10_000)).save(own.folder / "images/apple.png")
    with pytest.raises(
        ValueError, match=r"apple\.png: cannot be decoded: Image size \(100000000 pixels\) exceeds limit"
    ):
        own.import_all()


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["1", "2", "10"], ": sorted by name 10.png stands before 2.png, by number behind it; give order"),
        (["s1_2", "s1_11", "s2_1"], "sorted by name s1_11.png stands before s1_2.png"),
    ],
)
def test_numbers_that_are_sorted_as_names(tmp_path, names, message):
    for name in names:
        Image.new("RGB", (8, 8)).save(tmp_path / f"{name}.png")
    with pytest.raises(ValueError, match=message):
        list_conditions(tmp_path, None)


@pytest.mark.parametrize(
    "names",
    [
        ["01", "02", "10"],
        ["c_0.25", "c_0.5", "c_1.0"],
        ["a12", "a3f", "b1"],
        ["a-1", "a", "a1", "b"],
        ["1", "1b", "2", "B3", "a2"],
    ],
)
def test_numbers_in_the_order_of_the_names(tmp_path, names):
    for name in names:
        Image.new("RGB", (8, 8)).save(tmp_path / f"{name}.png")
    assert list(list_conditions(tmp_path, None)) == sorted(f"{name}.png" for name in names)


def test_folder_with_other_pictures_than_the_data(own):
    Image.new("RGB", (8, 8)).save(own.folder / "images/zebra.png")
    refuse(own, r"found an array of shape \(6, 40\), needs 7 stimuli x voxels", order=None)


def test_pictures_in_sub_folders_are_hinted_at(own):
    (own.folder / "images/a").mkdir()
    for path in (own.folder / "images").glob("*.png"):
        path.rename(own.folder / f"images/a/{path.name}")
    hint = r"; 1 sub-folder\(s\) hold images, as a, which are not looked into: put all into one folder"
    refuse(own, "images: found 0; an RSM needs three stimuli or more" + hint, order=None)
    own.write(np.save)
    refuse(own, r"images: no image for 6 of 6 conditions, .* for example, none" + hint)


def test_names_in_another_order(own):
    def save(path, array):
        RDMs(pdist(array, "correlation"), pattern_descriptors={"conds": sorted(NAMES)}).save(str(path), overwrite=True)

    files = own.write(save, "{participant}_{region}.h5")
    message = (
        r"EarlyV\.h5: region EarlyV.*: the stimuli stand in another order: by .* number 1 is apple, and mug.png by"
    )
    refuse(own, message, files=files, kind="rdm")
    files = own.write(lambda path, array: pd.DataFrame(array, sorted(NAMES)).to_csv(path), "{participant}_{region}.csv")
    refuse(own, message.replace("h5", "csv"), files=files)
    files = own.write(
        lambda path, array: pd.DataFrame(array, [*NAMES[:5], "bus"]).to_csv(path), "{participant}_{region}.csv"
    )
    refuse(own, "names 6 stimuli, the configuration 6; bus is no stimulus", files=files)


# ---- files -----------------------------------------------------------------------------------------------------------


class Run:
    """Makes a file when it is unpickled."""

    def __reduce__(self):
        return (Path.touch, (Path("ran"),))


def test_pickles_are_not_read(own, monkeypatch):
    monkeypatch.chdir(own.folder)
    put(own, np.array([Run()], dtype=object))
    refuse(
        own,
        r"sub-02_IT\.npy: holds Python objects; a pickle can run code when it is read, and is not",
    )
    np.savez(own.folder / "all.npz", sub=np.array([Run()], dtype=object))
    refuse(own, r"all\.npz: holds Python objects", regions=["IT"], files=str(own.folder / "all.npz#sub"))
    assert not (own.folder / "ran").exists()


def write_mat(path) -> None:
    scipy.io.savemat(path, {"betas": {"IT": np.ones((6, 9))}, "n": 1})


def write_h5(path) -> None:
    with h5py.File(path, "w") as file:
        file["runs/betas"], file["runs/n"] = np.ones((6, 9)), 1


def write_text(path) -> None:
    with h5py.File(path, "w") as file:
        file["betas"] = "text"


def write_torn(path) -> None:
    np.save(path, np.ones((6, 9)))
    path.write_bytes(path.read_bytes()[:200])


FILES = {
    "text as npy": (
        "x.npy",
        lambda path: path.write_text("betas"),
        r"x\.npy: is no array, perhaps a pickle",
    ),
    "empty npy": ("x.npy", lambda path: path.touch(), r"x\.npy: cannot be read"),
    "torn npy": (
        "x.npy",
        lambda path: (np.save(path, np.ones((6, 9))), path.write_bytes(path.read_bytes()[:200])),
        r"x\.npy: ",
    ),
    "text as npz": ("x.npz", lambda path: path.write_text("betas"), r"x\.npz: "),
    "npz of two": (
        "x.npz",
        lambda path: np.savez(path, a=np.ones(3), b=np.ones(3)),
        r"x\.npz: holds a, b; say which one, as in x\.npz#a",
    ),
    "npz without it": ("x.npz#c", lambda path: np.savez(path, a=1), r"x\.npz: holds no c; there are a"),
    "text as mat": ("x.mat", lambda path: path.write_text("betas" * 50), r"x\.mat: cannot be read"),
    "empty mat": ("x.mat", lambda path: path.touch(), r"x\.mat: cannot be read"),
    "mat of two": ("x.mat", write_mat, r"x\.mat: holds betas, n; say which one, as in x\.mat#betas"),
    "mat without it": ("x.mat#bettas/IT", write_mat, r"x\.mat: holds no bettas \(did you mean betas\?\)"),
    "mat without the field": ("x.mat#betas/V1", write_mat, r"x\.mat: holds no V1; there are IT"),
    "number in the way": ("x.mat#n/IT", write_mat, r"x\.mat: holds no n/IT: what stands before IT is no struct"),
    "mat, a range": ("x.mat#n(1:6,:)", write_mat, r"x\.mat: n\(1:6,:\): an element is named by whole numbers, or :"),
    "mat, the end": ("x.mat#n(end)", write_mat, r"x\.mat: n\(end\): an element is named by whole numbers, or :"),
    "mat, cells": (
        "{participant}.mat",
        lambda path: write_cells(path.with_name("sub-01.mat")),
        r"sub-01\.mat: holds 2 cells, of shapes \(6, 9\), \(6, 4\), and needs one array; name one of them, as \(1\)",
    ),
    "struct": ("x.mat#betas", write_mat, r"x\.mat: betas is a struct; say which field, as in x\.mat#betas/IT"),
    "text in h5": (
        "x.h5",
        lambda path: write_text(path),
        r"x\.h5: region IT, participant sub-01: found an array of shape \(\), needs 6",
    ),
    "text as h5": ("x.h5", lambda path: path.write_text("betas"), r"x\.h5: cannot be read"),
    "h5 of two": ("x.h5", write_h5, r"x\.h5: holds runs/betas, runs/n; say which one, as in x\.h5#runs/betas"),
    "h5 without it": ("x.h5#runs/beta", write_h5, r"x\.h5: holds no runs/beta \(did you mean runs/betas\?\)"),
    "empty csv": ("x.csv", lambda path: path.touch(), r"x\.csv: is no table"),
    "ragged csv": ("x.csv", lambda path: path.write_text("1,2\n3\n4,5,6\n"), r"x\.csv: is no table"),
    "word in csv": (
        "x.csv",
        lambda path: path.write_text("1,2\n3,four\n"),
        r"x\.csv: row 2, column 2 holds 'four', which is",
    ),
    "semicolons and decimal commas": (
        "x.csv",
        lambda path: path.write_text(";v1;v2\na;1,5;2,25\nb;3,5;4,75\n"),
        r"x\.csv: is no table: .*; cells are separated by semicolons: give commas",
    ),
    "semicolons": (
        "x.csv",
        lambda path: path.write_text("1;2\n3;4\n5;6\n"),
        r"x\.csv: row 2, column 1 holds '3;4', which is no number; cells are separated by semicolons: give commas",
    ),
    "tabs": (
        "x.csv",
        lambda path: path.write_text("1\t2\n3\t4\n5\t6\n"),
        r"which is no number; cells are separated by tabs",
    ),
    "MATLAB's table": (
        "x.mat#betas",
        lambda path: write_object(path),
        r"x\.mat: betas holds no numbers, but an object of MATLAB's class table, which only MATLAB can read",
    ),
    "folder": ("x.npy", lambda path: path.mkdir(), r"x\.npy: cannot be read"),
    "npz as npy": (
        "x.npy",
        lambda path: rename(path, ".npz", np.savez),
        r"x\.npy: is a zip archive, .*; name it \.npz",
    ),
    "npy as npz": ("x.npz", lambda path: rename(path, ".npy", np.save), r"x\.npz: is an array of numpy; name it \.npy"),
    "HDF5 as mat": ("x.mat", write_h5, r"x\.mat: is HDF5, without MATLAB's header; name it \.h5"),
    "mat as h5": ("x.h5", lambda path: rename(path, ".mat", save_mat), r"x\.h5: is a file of MATLAB; name it \.mat"),
    "text of Octave": (
        "x.mat",
        lambda path: path.write_text("# Created by Octave 8.4.0\n# name: betas\n"),
        r"x\.mat: is text of Octave; save -v7 writes",
    ),
    "gzip": (
        "x.csv",
        lambda path: path.write_bytes(gzip.compress(b"1,2")),
        r"x\.csv: is compressed by gzip",
    ),
    "UTF-16": (
        "x.csv",
        lambda path: path.write_text("1,2\n", encoding="utf-16"),
        r"x\.csv: is text in UTF-16; save it in",
    ),
    "Latin-1": (
        "x.csv",
        lambda path: path.write_text("ä,1,2\n", encoding="latin-1"),
        r"x\.csv: is no text in UTF-8 \(",
    ),
    "pointer of LFS": (
        "x.npy",
        lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n"),
        r"x\.npy: is a pointer of Git LFS, not the file itself",
    ),
    "pointer of git-annex": (
        "x.mat",
        lambda path: path.write_text("/annex/objects/MD5E-s5--0.mat\n"),
        r"x\.mat: is a pointer of git-annex, .* datalad get",
    ),
    "web page": (
        "x.csv",
        lambda path: path.write_text("\n<!DOCTYPE html>"),
        r"x\.csv: is a web page, not the file",
    ),
    "link": (
        "x.npy",
        lambda path: path.symlink_to("annex/x"),
        r"x\.npy: is a link to annex/x, which is not there; git annex",
    ),
    "spaces": (
        "x.csv",
        lambda path: np.savetxt(path, np.ones((6, 9))),
        "which is no number; cells are separated by spaces: give commas",
    ),
    "decimal commas": (
        "x.csv",
        lambda path: path.write_text("1,5,2,25,-3,05\n" * 6),
        r"x\.csv: a cell holds 05, with a 0 before the number, as behind a decimal comma \(write points\)",
    ),
    "a voxel of NA": (
        "x.csv",
        lambda path: path.write_text("".join(f"NA,{i}.25,{i % 2}.5\n" for i in range(6))),
        "the pattern of 6 stimuli .* not finite, in 1 of 3 voxels",
    ),
}


def write_cells(path: Path) -> None:
    cells = np.empty(2, dtype=object)
    cells[:] = np.ones((6, 9)), np.ones((6, 4))
    scipy.io.savemat(path, {"betas": cells})


def rename(path: Path, suffix: str, save) -> None:
    """Save as a file of another kind."""
    other = path.with_suffix(suffix)
    save(other, np.ones((6, 9)))
    other.rename(path)


def save_mat(path: Path, array) -> None:
    scipy.io.savemat(path, {"betas": array})


def write_object(path: Path) -> None:
    """A table in version 7.3: six numbers, which say where in the file its parts are."""
    save_mat73(path, n=np.ones((2, 2)))
    with h5py.File(path, "r+") as file:
        file["betas"] = np.array([[3707764736], [2], [1], [1], [1], [1]], np.uint32)
        file["betas"].attrs.update(MATLAB_class=np.bytes_("table"), MATLAB_object_decode=np.int32(3))


def test_link_to_nothing_is_no_missing_participant(own):
    own.write(np.save)
    path = own.folder / "sub-02_IT.npy"
    path.unlink()
    path.symlink_to("annex/x")
    refuse(own, r"sub-02_IT\.npy: is a link to annex/x, which is not there", missing="leave_out")


PICTURES = {
    "empty": (lambda path: path.write_bytes(b""), r"mug\.png: cannot be decoded: 0 bytes that are no JPEG, PNG"),
    "a web page": (lambda path: path.write_text("<html>"), r"mug\.png: is a web page, not the file"),
    "a pointer": (
        lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\n"),
        r"mug\.png: is a pointer of Git LFS",
    ),
    "a link": (lambda path: (path.unlink(), path.symlink_to("x/y")), r"mug\.png: is a link to x/y, which is not there"),
}


@pytest.mark.parametrize(("write", "message"), PICTURES.values(), ids=PICTURES)
def test_picture_that_is_none(own, write, message):
    own.write(np.save)
    write(own.folder / "images/mug.png")
    refuse(own, message)


@pytest.mark.parametrize(("name", "write", "message"), FILES.values(), ids=FILES)
def test_file_that_cannot_be_read(own, name, write, message):
    write(own.folder / name.split("#")[0])
    refuse(own, message, regions=["IT"], participants=["sub-01"], files=str(own.folder / name))
