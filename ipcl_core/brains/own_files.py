"""
Arrays of brain data from the files that laboratories keep them in. No pickle is ever read.
"""

import difflib
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import scipy.io

from ..config.templates import find_suffix, split_reference


class NotThereError(ValueError):
    """There is no such file, or no such variable in it."""


@dataclass
class Content:
    """What a file holds."""

    values: np.ndarray
    names: list[list[str]] = field(default_factory=list)
    """Lists of names that stand beside the values, among them perhaps the stimuli's."""
    triangle: str | None = None
    """upper where the format fixes that vectors of pairs are read from the upper triangle, row by row."""


def read_values(reference: str, mask: str | None = None) -> Content:
    """Read an array.

    Args:
        reference: path, or `path#variable`; see `templates`.
        mask: path of the NIfTI mask of a region, for NIfTI files.

    Returns:
        The array, with the axes of the file; of NIfTI files (n_volumes, n_voxels) or, of one volume, (n_voxels,).

    Raises:
        NotThereError: no such file or variable.
        ValueError: the file cannot be read, or holds something else than an array.
    """
    path, name = split_reference(reference)
    if not path.exists():
        raise NotThereError(f"{path}: there is no such file")
    try:
        match find_suffix(path):
            case ".npy":
                return Content(np.load(path, allow_pickle=False))
            case ".npz":
                with np.load(path, allow_pickle=False) as arrays:
                    return Content(arrays[_choose(arrays.files, name, path)])
            case ".mat":
                return Content(_read_mat(path, name))
            case ".h5" | ".hdf5":
                return _read_hdf5(path, name)
            case ".csv":
                return _read_csv(path)
            case ".nii" | ".nii.gz":
                return Content(_read_nifti(path, mask))
    except (NotThereError, MemoryError):
        raise
    except Exception as error:  # of damaged files, readers raise errors of many kinds
        message = str(error)
        if "pickle" in message:  # numpy takes all that is no array for one
            found = "holds Python objects" if message.startswith("Object") else "is no array, perhaps a pickle"
            message = f"{path}: {found}; a pickle can run code when it is read, and is not; save an array of numbers"
        elif not message.startswith(str(path)):
            message = f"{path}: cannot be read: {message}"
        raise ValueError(message) from None
    raise ValueError(f"{path}: is of a kind that is not read")


def _choose(names: list[str], name: str | None, path: Path) -> str:
    """The variable that is asked for, or the only one."""
    if name is None and len(names) == 1:
        return names[0]
    if name is None:
        raise ValueError(
            f"{path}: holds {', '.join(names) or 'nothing'}; say which one, as in {path.name}#{(*names, 'x')[0]}"
        )
    if name not in names:
        near = difflib.get_close_matches(name, names, n=1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        raise NotThereError(f"{path}: holds no {name}{hint}; there are {', '.join(names) or 'none'}")
    return name


def _read_mat(path: Path, name: str | None) -> np.ndarray:
    """A variable, or a field of a struct; files of version 7.3 are HDF5 with the axes reversed."""
    try:
        found = scipy.io.loadmat(path, simplify_cells=True)
    except NotImplementedError:
        return _read_hdf5(path, name).values.T
    found = {key: value for key, value in found.items() if not key.startswith("__")}
    name = name or _choose(list(found), None, path)
    for part in name.split("/"):
        if not isinstance(found, dict):
            raise NotThereError(f"{path}: holds no {name}: what stands before {part} is no struct")
        found = found[_choose(list(found), part, path)]
    if isinstance(found, dict):
        raise ValueError(
            f"{path}: {name} is a struct; say which field, as in {path.name}#{name}/{next(iter(found), 'x')}"
        )
    return np.asarray(found)


def _read_hdf5(path: Path, name: str | None) -> Content:
    with h5py.File(path) as file:
        if name is None and "dissimilarities" in file and "rsatoolbox_version" in file.attrs:
            return _read_rsatoolbox(file)
        names: list[str] = []
        file.visititems(lambda key, item: names.append(key) if isinstance(item, h5py.Dataset) else None)
        shown = [key for key in names if not key.startswith("#")]  # MATLAB's references
        return Content(np.asarray(file[_choose(shown, name and name.strip("/"), path)][()]))


def _read_rsatoolbox(file: h5py.File) -> Content:
    """RDMs.save of rsatoolbox: (n_rdms, n_pairs) of the upper triangle, and the stimuli's descriptors."""
    values = file["dissimilarities"][:]
    texts = [
        descriptor.asstr()[:].tolist() if descriptor.dtype.kind == "O" else descriptor[:].astype(str).tolist()
        for descriptor in file.get("pattern_descriptors", {}).values()
        if isinstance(descriptor, h5py.Dataset) and descriptor.dtype.kind in "SO" and descriptor.ndim == 1
    ]
    return Content(values[0] if len(values) == 1 else values, texts, "upper")


def _read_csv(path: Path) -> Content:
    """A matrix or a column of numbers, with or without names in the first row and column."""
    try:
        cells = pd.read_csv(path, header=None, dtype=str, keep_default_na=False, skipinitialspace=True).to_numpy(str)
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise ValueError(f"{path}: is no table: {str(error).strip()}") from None
    numbers = pd.to_numeric(cells.ravel(), errors="coerce").reshape(cells.shape)
    wrong = np.isnan(numbers) & (np.char.lower(cells) != "nan")
    corner = cells[0, 0] == "" and min(cells.shape) > 1
    header = corner or wrong[0, 1 if cells.shape[1] > 1 else 0 :].all()
    index = corner or (cells.shape[1] > 1 and wrong[int(header) :, 0].all())
    names = ([cells[0, int(index) :].tolist()] if header and cells.shape[1] > 1 else []) + (
        [cells[int(header) :, 0].tolist()] if index else []
    )
    wrong = wrong[int(header) :, int(index) :]
    if wrong.any():
        row, column = np.argwhere(wrong)[0] + [int(header), int(index)]
        raise ValueError(f"{path}: row {row + 1}, column {column + 1} holds '{cells[row, column]}', which is no number")
    numbers = numbers[int(header) :, int(index) :]
    if 1 in numbers.shape:
        return Content(numbers.ravel(), names)
    for what, line, others in (("row", numbers[0], numbers[1:]), ("column", numbers[:, 0], numbers[:, 1:])):
        if len(line) > 2 and (np.diff(line) == 1).all() and line[0] % 1 == 0 and (others % 1).any():
            raise ValueError(
                f"{path}: the first {what} of numbers counts from {line[0]:.0f} to {line[-1]:.0f}, as an index does; remove "
                "it, or put names in its place; if these are data, save them as .npy"
            )
    return Content(numbers, names)


def _read_nifti(path: Path, mask: str | None) -> np.ndarray:
    if mask is None:
        raise ValueError(f"{path}: needs a mask of the region; give masks in the configuration")
    if not Path(mask).exists():
        raise NotThereError(f"{mask}: there is no such file")
    try:
        from nilearn.masking import apply_mask
    except ImportError as error:
        raise ValueError(
            f"{path}: NIfTI files are read by nilearn, which cannot be imported ({error}); install the "
            "version that envs/requirements.in names with pip, in the environment that this job runs in"
        ) from None
    try:
        return apply_mask(str(path), str(mask), ensure_finite=False)
    except Exception as error:  # nibabel's and nilearn's are of many kinds
        raise ValueError(f"{path}: cannot be read with the mask {mask}: {error}") from None
