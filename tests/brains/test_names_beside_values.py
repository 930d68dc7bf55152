"""Names beside the values of a file, in every place where files keep them, compared with those of the configuration."""

import h5py
import numpy as np
import pytest
import scipy.io
from mat73 import Structs, save_mat73
from own_brains import NAMES, SHUFFLED, Own, check_names, make_square_own, refuse


@pytest.fixture
def own(tmp_path, photo) -> Own:
    return make_square_own(tmp_path, photo)


def save_npz(path, array, names) -> None:
    np.savez(path, betas=array, names=names)


def save_mat(path, array, names) -> None:
    scipy.io.savemat(path, {"d": {"betas": array, "conditions": np.array(names, dtype=object)}})


def save_cells(path, array, names) -> None:
    save_mat73(path, d={"betas": array, "conditions": np.array(names, dtype=object)})


def save_group(path, array, names) -> None:
    with h5py.File(path, "w") as file:
        file["d/betas"], file["d/names"], file["e/names"] = array, names, names[::-1]


def save_npz_column(path, array, names) -> None:
    np.savez(path, betas=array, names=np.array(names)[:, None])


def save_attribute(path, array, names) -> None:
    with h5py.File(path, "w") as file:
        file["d/betas"] = array
        file["d/betas"].attrs["names"] = names


def save_joined(path, array, names) -> None:
    with h5py.File(path, "w") as file:
        file["d/betas"] = array
        file.attrs["names"] = ", ".join(names)


def save_group_apart(path, array, names) -> None:
    with h5py.File(path, "w") as file:
        file["d/betas"], file["meta/names"] = array, np.array([[name.encode()] for name in names])
        file["others/betas"], file["others/names"] = array[:2], NAMES[::-1]  # of those other patterns


def save_struct_apart(path, array, names) -> None:
    others = {"betas": array[:2], "names": np.array(NAMES[::-1], dtype=object)}
    info = {"names": np.array(names, dtype=object), "n": 6.0}
    scipy.io.savemat(path, {"d": {"betas": array, "info": info, "others": others}})


def save_struct_array(path, array, names) -> None:
    save_mat73(path, d={"betas": array}, stimuli=Structs([{"names": name, "size": np.ones((9, 9))} for name in names]))


def save_table(path, array, names) -> None:
    cells = np.empty((len(names), 2), dtype=object)
    cells[:, 0], cells[:, 1] = [np.array([[name]], dtype=object) for name in names], range(7, 7 + len(names))
    scipy.io.savemat(path, {"d": {"betas": array, "names": cells}})


BESIDE = {
    "npz": (".npz#betas", save_npz),
    "npz, a column": (".npz#betas", save_npz_column),
    "h5, an attribute": (".h5#d/betas", save_attribute),
    "h5, one text": (".h5#d/betas", save_joined),
    "h5, another group": (".h5#d/betas", save_group_apart),
    "mat, another struct": (".mat#d/betas", save_struct_apart),
    "mat 7.3, a struct array": (".mat#d/betas", save_struct_array),
    "mat, a table of cells": (".mat#d/betas", save_table),
    "mat": (".mat#d/betas", save_mat),
    "mat 7.3": (".mat#d/betas", save_cells),
    "h5": (".h5#d/betas", save_group),
}


@pytest.mark.parametrize(("variable", "save"), BESIDE.values(), ids=BESIDE)
def test_names_beside_the_values_are_compared(own, variable, save, warnings_of):
    suffix = variable.split("#")[0]
    files = str(own.folder / ("{participant}_{region}" + variable))
    own.write(lambda path, array: save(path, array, NAMES), "{participant}_{region}" + suffix)
    check_names(own, files=files)
    assert warnings_of() == []
    names = [NAMES[i] for i in SHUFFLED]
    own.write(lambda path, array: save(path, array[SHUFFLED], names), "{participant}_{region}" + suffix)
    refuse(own, r"by (\S+ )?\S*(names|names\(:,1\)|conditions) number 1 is chair, and mug.png by", files=files)
