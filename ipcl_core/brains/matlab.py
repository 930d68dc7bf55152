"""
MATLAB files of any version, as scipy gives those up to version 7: structs are record arrays, cell arrays object arrays.

A variable is named as in MATLAB, with / or . before a field: betas/IT, RDMs(1,8).RDM, RDMs(:,1)/RDM. A field of a struct
array is that of all its elements.
"""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import scipy

from ..files import open_hdf5
from .labels import SMALL, Labels, list_labels

OPAQUE = 3
"""MATLAB_object_decode of tables, strings, dates and other objects, whose dataset holds no data but their numbers."""


class NoVariableError(ValueError):
    """There is no such variable, field or element."""

    def __init__(self, message: str, missing: str | None = None, names: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.missing, self.names = missing, list(names)
        """The field that is not there, and those that are."""


def read_mat(path: Path, name: str | None = None) -> np.ndarray:
    """Return the variables of a file as the (1, 1) record array that a struct of them would be.

    Args:
        name: of the variable that is asked for; large ones beside it are left out in files of version 7.3. None: all.
    """
    try:
        found = scipy.io.loadmat(path)
    except NotImplementedError:
        with open_hdf5(path) as file:
            return _convert(file, file, None if name is None else _split(name))
    return _make_struct({key: _fill(value) for key, value in found.items() if not key.startswith("__")}, (1, 1))


def _fill(value):
    """Return a variable with the sparse matrices in it, in whatever depth, as arrays."""
    if scipy.sparse.issparse(value):
        return value.toarray()
    if value.dtype.names is not None:
        for name in value.dtype.names:
            value[name] = _fill(value[name])
    elif value.dtype == object:
        for place, one in np.ndenumerate(value):
            if isinstance(one, np.ndarray) or scipy.sparse.issparse(one):
                value[place] = _fill(one)
    return value


def follow(struct: np.ndarray, name: str, where: str) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return what a name means in a struct, and the structs that stand on the way.

    Args:
        where: begins each message.

    Raises:
        NoVariableError: a field or an element that is not there; a field of something that is no struct.
        ValueError: an element is named otherwise than by numbers and colons.
    """
    value, passed = struct, []
    for part in _split(name):
        key, index = re.fullmatch(r"(.*?)(?:\((.*)\))?", part).groups()
        if index is not None and not re.fullmatch(r" *(\d+|:) *(, *(\d+|:) *)*", index):
            raise ValueError(
                f"{where}: {part}: an element is named by whole numbers, or : for all, as {key}(2) or {key}(:,1)"
            )
        structs = _gather(value)
        if structs is None:
            raise NoVariableError(f"{where}: holds no {name}: what stands before {key} is no struct")
        if key not in structs.dtype.names:
            raise NoVariableError(f"{where}: holds no {key}", key, structs.dtype.names)
        passed.append(structs)
        value = structs[key]
        value = value.item() if value.size == 1 else value
        if index:
            value = _pick(value, index, f"{where}: {key}({index})")
    return value, passed


def finish(value: np.ndarray, name: str, where: str) -> np.ndarray:
    """Return an array of numbers as it is in MATLAB, or the (n,) object array of what a cell or struct array holds.

    Raises:
        ValueError: it is a struct, or a cell or struct array with more than one row and column.
    """
    value = np.asarray(value)
    if value.dtype.names is not None or _gather(value) is not None:
        names = (_gather(value) if value.dtype.names is None else value).dtype.names or ("x",)
        raise ValueError(
            f"{where}: {name} is a struct; say which field, as in {where.rsplit('/')[-1]}#{name}/{names[0]}"
        )
    if value.dtype.kind == "U":
        raise ValueError(f"{where}: {name} holds no numbers, but {next(iter(value.ravel()), 'an empty text')}")
    if value.dtype != object:
        return value
    if value.size != max(value.shape, default=0):
        array = name.split("/")[0].split(".")[0]
        raise ValueError(
            f"{where}: {array} has {' x '.join(map(str, value.shape))} elements; say which row or column, as in "
            f"{where.rsplit('/')[-1]}#{name.replace(array, f'{array}(:,1)', 1)}"
        )
    cells = np.empty(value.size, dtype=object)
    cells[:] = [np.asarray(one) for one in value.ravel()]
    return cells


def list_fields(struct: np.ndarray, prefix: str = "") -> Iterator[Labels]:
    """Yield the lists of texts or whole numbers in a struct, in the structs in it, and in the fields of struct arrays.

    Structs in it that hold matrices of numbers are passed over: what else they hold is of these.
    """
    for key in struct.dtype.names or ():
        values, where = struct[key].ravel(), f"{prefix}{key}"
        value = values[0] if len(values) == 1 else values
        inner = _gather(value) if isinstance(value, np.ndarray) else None
        if inner is None:
            yield from (replace(labels, apart=bool(prefix)) for labels in list_labels(where, value))
        elif inner.size > 1 or not any(_is_matrix(one) for one in inner.ravel()[0]):
            yield from list_fields(inner, f"{where}.")


def _is_matrix(value) -> bool:
    value = np.asarray(value)
    return value.dtype.kind in "fiu" and value.size > max(value.shape, default=1)


def _split(name: str) -> list[str]:
    return [part for part in re.split(r"[/.](?![^(]*\))", name) if part]


def _gather(value: np.ndarray) -> np.ndarray | None:
    """Return structs as one array; None where there are none."""
    value = np.asarray(value)
    if value.dtype.names is not None:
        return value
    if value.dtype == object and value.size and all(np.asarray(one).dtype.names is not None for one in value.ravel()):
        first = [np.asarray(one).ravel() for one in value.ravel()]
        if all(one.size == 1 and one.dtype.names == first[0].dtype.names for one in first):
            return np.concatenate(first).reshape(value.shape)
    return None


def _pick(value: np.ndarray, index: str, where: str) -> np.ndarray:
    """Elements count from 1; one number counts down the columns; : takes all."""
    picked = [slice(None) if part.strip() == ":" else int(part) - 1 for part in index.split(",")]
    value = np.asarray(value)
    try:
        if any(part < 0 for part in picked if part != slice(None)):
            raise IndexError("elements count from 1")
        found = value.ravel(order="F")[picked[0]] if len(picked) == 1 else value[tuple(picked)]
    except IndexError as error:
        raise NoVariableError(f"{where} is not there: {error}") from None
    found = np.asarray(found)
    return found.item() if found.dtype == object and found.size == 1 else found


# ---- version 7.3: HDF5, axes reversed --------------------------------------------------------------------------------


def _make_struct(fields: dict, shape: tuple[int, ...]) -> np.ndarray:
    struct = np.empty(shape, dtype=[(name, object) for name in fields])
    for name, value in fields.items():
        cells = np.empty(shape, dtype=object)
        if shape == (1, 1):
            cells[0, 0] = value
        else:
            cells[...] = value
        struct[name] = cells
    return struct


def _convert(item: h5py.Group | h5py.Dataset, file: h5py.File, parts: list[str] | None) -> np.ndarray:
    """Return what an item means in MATLAB; of structs the field that parts[0] names, and small ones beside it."""
    if isinstance(item, h5py.Dataset):
        return _convert_dataset(item, file, parts)
    if "MATLAB_sparse" in item.attrs:
        jc = item["jc"][:]
        data, ir = (item[key][:] if key in item else np.zeros(0, int) for key in ("data", "ir"))
        shape = int(item.attrs["MATLAB_sparse"]), len(jc) - 1
        return scipy.sparse.csc_matrix((data, ir, jc), shape=shape).toarray()
    keys = [key for key in item if not key.startswith("#")]
    wanted = re.sub(r"\(.*", "", parts[0]) if parts else None
    left = [key for key in keys if wanted in keys and key != wanted and _count_values(item[key], file) > SMALL]
    fields = {key: item[key] for key in keys if key not in left}
    if fields and all(_is_element_list(child) for child in fields.values()) and item.name != "/":
        shape = next(iter(fields.values())).shape[::-1]
        return _make_struct({k: _dereference(child, file, (parts or [])[1:]) for k, child in fields.items()}, shape)
    return _make_struct({key: _convert(child, file, (parts or [])[1:]) for key, child in fields.items()}, (1, 1))


def _count_values(item: h5py.Group | h5py.Dataset, file: h5py.File) -> int:
    """Return how many numbers or letters an item holds, also behind its references."""
    if isinstance(item, h5py.Group):
        return sum(_count_values(child, file) for child in item.values())
    if item.dtype != h5py.ref_dtype:
        return item.size
    return sum(_count_values(file[reference], file) for reference in item[()].ravel()[:SMALL])


def _is_element_list(item) -> bool:
    """Fields of struct arrays are references without a class; those of cell arrays have one."""
    return isinstance(item, h5py.Dataset) and item.dtype == h5py.ref_dtype and "MATLAB_class" not in item.attrs


def _dereference(item: h5py.Dataset, file: h5py.File, parts: list[str]) -> np.ndarray:
    references = item[()]
    found = np.empty(references.shape, dtype=object)
    for place in np.ndindex(references.shape):
        found[place] = _convert(file[references[place]], file, parts)
    return found.T


def _convert_dataset(item: h5py.Dataset, file: h5py.File, parts: list[str] | None) -> np.ndarray:
    kind = item.attrs.get("MATLAB_class", b"")
    kind = kind.decode() if isinstance(kind, bytes) else str(kind)
    if item.attrs.get("MATLAB_object_decode", 0) == OPAQUE:
        return np.array(f"an object of MATLAB's class {kind}, which only MATLAB can read")
    if item.attrs.get("MATLAB_empty", 0):
        shape = tuple(int(side) for side in item[()])
        return np.empty(shape, dtype=object) if kind == "cell" else np.zeros(shape)
    if item.dtype == h5py.ref_dtype:
        return _dereference(item, file, parts or [])
    values = np.asarray(item[()])
    if kind == "char":
        rows = values.T.reshape(-1, values.shape[0]) if values.ndim == 2 else values[None]
        return np.array(["".join(map(chr, row)) for row in rows])
    if values.dtype.names and set(values.dtype.names) == {"real", "imag"}:
        values = values["real"] + 1j * values["imag"]
    return values.T
