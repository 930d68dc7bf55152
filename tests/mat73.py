"""MATLAB files of version 7.3, as MATLAB writes them: HDF5 with a header, axes reversed, references to what cells hold."""

import h5py
import numpy as np


class Structs(list):
    """The elements of a (n, m) struct array, dictionaries with the same fields, row by row."""

    def __init__(self, elements: list[dict], shape: tuple[int, int] | None = None) -> None:
        super().__init__(elements)
        self.shape = shape or (1, len(elements))


def save_mat73(path, **variables) -> None:
    """Save arrays, texts, dictionaries (structs), object arrays (cells) and `Structs`; [] is an empty array."""
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, value in variables.items():
            _write(file, file, name, value)
    with open(path, "rb+") as file:
        file.write(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM")


def _write(file: h5py.File, group: h5py.Group, name: str, value) -> None:
    if isinstance(value, dict):
        _mark(group.create_group(name), "struct")
        for key, one in value.items():
            _write(file, group[name], key, one)
    elif isinstance(value, Structs):
        _mark(group.create_group(name), "struct")
        for key in value[0]:
            _refer(file, group[name], key, [one[key] for one in value], value.shape)
    elif isinstance(value, str):
        group[name] = np.array([[ord(letter)] for letter in value], np.uint16)
        _mark(group[name], "char")
    elif np.size(value) == 0:
        group[name] = np.array(np.shape(value) if np.ndim(value) > 1 else (0, 0), np.uint64)
        _mark(group[name], "double")
        group[name].attrs["MATLAB_empty"] = np.uint8(1)
    elif value.dtype == object:
        cells = np.atleast_2d(value)
        _mark(_refer(file, group, name, list(cells.ravel()), cells.shape), "cell")
    else:
        values = np.atleast_2d(value)
        if np.iscomplexobj(values):
            parts = np.empty(values.shape, [("real", float), ("imag", float)])
            parts["real"], parts["imag"] = values.real, values.imag
            values = parts
        group[name] = values.T
        _mark(group[name], "double")


def _refer(file: h5py.File, group: h5py.Group, name: str, elements: list, shape: tuple[int, int]) -> h5py.Dataset:
    references = np.empty(len(elements), dtype=h5py.ref_dtype)
    for i, element in enumerate(elements):
        place = file.require_group("#refs#")
        key = f"r{len(place)}"
        _write(file, place, key, element)
        references[i] = place[key].ref
    return group.create_dataset(name, data=references.reshape(shape).T, dtype=h5py.ref_dtype)


def _mark(item, kind: str) -> None:
    item.attrs["MATLAB_class"] = np.bytes_(kind)
