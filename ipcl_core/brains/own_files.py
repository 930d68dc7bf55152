"""
Arrays of brain data from the files that laboratories keep them in. No pickle is ever read.
"""

import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import h5py
import numpy as np
import pandas as pd

from ..config.base import suggest
from ..config.templates import find_suffix, split_reference
from ..files import check_readable, is_there, open_hdf5
from .kinds import refuse_broken_link, refuse_kind
from .labels import SMALL, Labels, list_labels
from .matlab import NoVariableError, finish, follow, list_fields, read_mat
from .tables import hint_at_separator

logger = logging.getLogger(__name__)

AFFINE = 1e-3
"""Largest difference of two affines, of a mask and of volumes, that is rounding: millimetres, and millimetres a voxel."""
MISSING = ("nan", "na", "n/a")
"""Cells of a table, in lower case, that stand for no number, as empty ones do."""
NO_NIFTI = (
    "NIfTI files are read by nilearn and nibabel, which cannot be imported ({}); install the versions that "
    "envs/requirements.in names with pip, in the environment that this job runs in"
)


class NotThereError(ValueError):
    """There is no such file, or no such variable in it."""


@dataclass
class Content:
    """What a file holds."""

    values: np.ndarray
    labels: list[Labels] = field(default_factory=list)
    """Lists of names or numbers that stand beside the values, among them perhaps the stimuli's or the participants'."""
    triangle: str | None = None
    """upper where the format fixes that vectors of pairs are read from the upper triangle, row by row."""
    measure: str | None = None
    """Name of the distances, where the format gives it."""


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
    if not is_there(path):
        refuse_broken_link(path)
        raise NotThereError(f"{path}: there is no such file")
    try:
        check_readable(path)
        refuse_kind(path, find_suffix(path))
        match find_suffix(path):
            case ".npy":
                return Content(np.load(path, allow_pickle=False))
            case ".npz":
                with np.load(path, allow_pickle=False) as arrays:
                    chosen = _choose(arrays.files, name, path)
                    return Content(arrays[chosen], list(_list_beside(arrays, chosen, path)))
            case ".mat":
                return _read_mat(path, name)
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
        raise NotThereError(f"{path}: holds no {name}{suggest(name, names)}; there are {', '.join(names) or 'none'}")
    return name


def _list_beside(arrays: np.lib.npyio.NpzFile, chosen: str, path: Path) -> Iterator[Labels]:
    for key in arrays.files:
        try:
            if key != chosen:
                yield from list_labels(key, arrays[key])
        except ValueError:  # a pickle
            logger.warning("%s: %s holds Python objects, which are not read: nothing is compared with it", path, key)


def _read_mat(path: Path, name: str | None) -> Content:
    """A variable, a field of a struct or of all structs of an array, a cell array."""
    variables = read_mat(path, name)
    name = name or _choose(list(variables.dtype.names or ()), None, path)
    try:
        value, passed = follow(variables, name, str(path))
    except NoVariableError as error:
        if error.names:
            _choose(error.names, error.missing, path)
        raise NotThereError(str(error)) from None
    return Content(finish(value, name, str(path)), [one for struct in passed for one in list_fields(struct)])


def _read_hdf5(path: Path, name: str | None) -> Content:
    with open_hdf5(path) as file:
        if "rsatoolbox_version" in file.attrs:
            if name in (None, "dissimilarities") and "dissimilarities" in file:
                return _read_rsatoolbox(file)
            if name in (None, "measurements") and "measurements" in file:
                labels = _list_descriptors(file, "obs_descriptors", "stimulus")
                return Content(file["measurements"][:], labels + _list_descriptors(file, "descriptors", "participant"))
        names: list[str] = []
        file.visititems(lambda key, item: names.append(key) if isinstance(item, h5py.Dataset) else None)
        name = name and name.strip("/")
        chosen = name if name and _is_linked(file, name, path) else _choose(names, name, path)
        return Content(np.asarray(file[chosen][()]), list(_list_around(file, chosen)))


def _is_linked(file: h5py.File, name: str, path: Path) -> bool:
    """Whether a name is a dataset, perhaps by a link, which a visit passes over."""
    item, link = file.get(name), file.get(name, getlink=True)
    if item is None and isinstance(link, h5py.SoftLink | h5py.ExternalLink):
        target = f"{link.filename}#{link.path}" if isinstance(link, h5py.ExternalLink) else link.path
        raise ValueError(f"{path}: {name} is a link to {target}, which is not there")
    return isinstance(item, h5py.Dataset)


def _list_around(file: h5py.File, chosen: str) -> Iterator[Labels]:
    """Lists in the groups that a dataset is in, in other groups there which hold lists alone, and in the attributes."""
    parts = chosen.split("/")
    for name, value in file[chosen].attrs.items():
        yield from _list_attribute(f"{chosen}: {name}", value)
    for depth in range(len(parts)):
        group = file["/".join(parts[:depth]) or "/"]
        for name, value in group.attrs.items():
            yield from _list_attribute(name, value)
        for key, item in group.items():
            if item is None:  # a link to nothing
                continue
            if isinstance(item, h5py.Dataset):
                yield from _list_dataset(item)
            elif key != parts[depth]:
                yield from (replace(labels, apart=True) for labels in _list_group(item))


def _list_attribute(where: str, value) -> Iterator[Labels]:
    if not isinstance(value, h5py.Empty | h5py.Reference) and np.asarray(value).dtype.names is None:
        yield from list_labels(where, value)


def _list_group(group: h5py.Group) -> Iterator[Labels]:
    """Lists in a group and in those inside of it; none where it holds a matrix, of which they would be."""
    items = [item for item in group.values() if item is not None]
    arrays = [item for item in items if isinstance(item, h5py.Dataset) and item.shape is not None]
    if any(max(array.shape or (1,)) < array.size for array in arrays):
        return
    for item in items:
        yield from _list_dataset(item) if isinstance(item, h5py.Dataset) else _list_group(item)


def _list_dataset(dataset: h5py.Dataset) -> Iterator[Labels]:
    if dataset.shape is not None and dataset.size <= SMALL and dataset.dtype.names is None:
        yield from list_labels(dataset.name.strip("/"), dataset[()])


def _read_rsatoolbox(file: h5py.File) -> Content:
    """RDMs.save of rsatoolbox: (n_rdms, n_pairs) of the upper triangle, and the descriptors of stimuli and RDMs."""
    values, measure = file["dissimilarities"][:], file.attrs.get("dissimilarity_measure")
    labels = _list_descriptors(file, "pattern_descriptors", "stimulus")
    labels += _list_descriptors(file, "rdm_descriptors", "participant")
    return Content(
        values[0] if len(values) == 1 else values, labels, "upper", measure if isinstance(measure, str) else None
    )


def _list_descriptors(file: h5py.File, group: str, belongs: str) -> list[Labels]:
    """Lists, and single values, which are attributes."""
    items = list(file[group].items()) if group in file else []
    items += [(key, np.atleast_1d(value)) for key, value in (file[group].attrs.items() if group in file else [])]
    arrays = {f"{group}/{key}": item[()] for key, item in items if hasattr(item, "ndim")}
    return [one for key, array in arrays.items() for one in list_labels(key, array, belongs)]


def _read_csv(path: Path) -> Content:
    """A matrix or a column of numbers, with or without names in the first row and column."""
    try:
        cells = pd.read_csv(path, header=None, dtype=str, keep_default_na=False, skipinitialspace=True).to_numpy(str)
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        with path.open(encoding="utf-8", errors="replace") as file:
            hint = hint_at_separator(file.readline())
        raise ValueError(f"{path}: is no table: {str(error).strip()}{hint}") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: is no text in UTF-8 ({error}); save it so") from None
    numbers = pd.to_numeric(cells.ravel(), errors="coerce").reshape(cells.shape)
    blank = cells == ""
    wrong = np.isnan(numbers) & ~blank & ~np.isin(np.char.lower(cells), MISSING)
    corner = blank[0, 0] and min(cells.shape) > 1 and not _is_bare(blank, numbers)
    top = int(corner or _are_names(wrong, blank, np.s_[0, 1 if cells.shape[1] > 1 else 0 :]))
    left = int(corner or (cells.shape[1] > 1 and _are_names(wrong, blank, np.s_[top:, 0])))
    labels = [Labels("the first row", tuple(cells[0, left:].tolist()), 1, "stimulus")] if top else []
    labels += [Labels("the first column", tuple(cells[top:, 0].tolist()), 0, "stimulus")] if left else []
    wrong = wrong[top:, left:]
    if wrong.any():
        row, column = np.argwhere(wrong)[0] + [top, left]
        cell = cells[row, column]
        hint = hint_at_separator(cell)
        raise ValueError(f"{path}: row {row + 1}, column {column + 1} holds '{cell[:40]}', which is no number{hint}")
    numbers = numbers[top:, left:]
    _refuse_decimal_commas(cells[top:, left:], numbers, path)
    names = [one for one in labels if numbers.shape[one.axis] > 1]
    if 1 in numbers.shape:
        return Content(numbers.ravel(), names)
    _refuse_index(numbers, path)
    _refuse_index(numbers.T, path, "column")
    return Content(numbers, names)


def _are_names(wrong: np.ndarray, blank: np.ndarray, place: tuple) -> bool:
    """Whether a row or column holds names, some perhaps left out: nothing that stands there is a number."""
    return bool((wrong | blank)[place].all() and wrong[place].any())


def _is_bare(blank: np.ndarray, numbers: np.ndarray) -> bool:
    """Whether a matrix, whose diagonal is left out, begins with fractions: its first row and column are no names."""
    n = len(blank)
    return blank.shape == (n, n) and np.diag(blank).all() and bool((numbers[0] % 1 > 0).any())


def _refuse_decimal_commas(cells: np.ndarray, numbers: np.ndarray, path: Path) -> None:
    """Stop at 1,05 in place of 1.05, which would be two cells: no program writes the number 05."""
    found = re.search(r"(?:^|,)([+-]?0\d+)(?:,|$)", ",".join(cells[numbers % 1 == 0]))
    if found:
        raise ValueError(
            f"{path}: a cell holds {found[1]}, with a 0 before the number, as behind a decimal comma (write points) or in "
            "names (begin them with a letter)"
        )


def _refuse_index(numbers: np.ndarray, path: Path, what: str = "row") -> None:
    """Stop at a row of whole numbers among fractions: a count, as an index is, or numbers of stimuli, runs or voxels."""
    whole = numbers % 1 == 0
    first = numbers[0]
    if len(first) > 2 and (np.diff(first) == 1).all() and whole[0, 0] and not whole[1:].all():
        raise ValueError(
            f"{path}: the first {what} of numbers counts from {first[0]:.0f} to {first[-1]:.0f}, as an index does; remove it, "
            "or put names in its place; if these are data, save them as .npy"
        )
    rows = whole.all(1) & (np.ptp(numbers, axis=1) > 0)
    if len(first) > 2 and rows.any() and _share(whole[~rows & (np.ptp(numbers, axis=1) != 0)]) < 0.05:
        i = int(rows.argmax())
        raise ValueError(
            f"{path}: {what} {i + 1} of numbers holds whole ones alone ({', '.join(f'{x:.0f}' for x in numbers[i, :3])}, ...) "
            "among fractions, as the numbers of stimuli, runs or voxels do; remove it, or put names in its place; if "
            "these are data, save them as .npy"
        )


def _share(true: np.ndarray) -> float:
    return float(true.mean()) if true.size else 1.0


def check_mask(volume: np.ndarray, path: str | Path) -> None:
    """Raise a ValueError where a mask holds more than two numbers, as an atlas and probabilities do; NaN is outside."""
    values = np.unique(volume[~np.isnan(volume)])
    if len(values) > 2:
        raise ValueError(
            f"{path}: a mask of {len(values)} numbers, {values[0]:g} to {values[-1]:g}, as an atlas or probabilities hold; "
            "give one of 0 and 1"
        )


def _read_nifti(path: Path, mask: str | None) -> np.ndarray:
    if mask is None:
        raise ValueError(f"{path}: needs a mask of the region; give masks in the configuration")
    if not is_there(mask):
        refuse_broken_link(mask)
        raise NotThereError(f"{mask}: there is no such file")
    try:
        import nibabel
        from nilearn.image import new_img_like
        from nilearn.masking import apply_mask
    except ImportError as error:
        raise ValueError(f"{path}: {NO_NIFTI.format(error)}") from None
    try:
        image, region = nibabel.load(path), nibabel.load(mask)
        if (kind := image.get_data_dtype()).kind not in "fiu":  # apply_mask would drop the imaginary part
            raise ValueError(f"found numbers of type {kind}, needs real ones")
        check_mask(region.get_fdata(), mask)
        moved = np.abs(image.affine - region.affine).max()
        if image.shape[:3] != region.shape[:3] or moved > AFFINE:
            raise ValueError(
                f"the mask has {region.shape[:3]} voxels, a volume {image.shape[:3]}, and their affines differ by up to "
                f"{moved:.3g} mm; resample the mask to the volumes, as by nilearn's resample_to_img(mask, volumes, "
                "interpolation='nearest')"
            )
        region = new_img_like(image, region.get_fdata())  # nilearn takes no rounding of another program
        values = apply_mask(image, region, ensure_finite=False)
        return values[:, 0] if values.ndim == 3 and values.shape[1] == 1 else values  # X x Y x Z x 1 x volumes
    except Exception as error:  # nibabel's and nilearn's are of many kinds
        for one in (path, mask):
            refuse_kind(one, find_suffix(one))
        if str(error).startswith(str(mask)):
            raise
        raise ValueError(f"{path}: cannot be read with the mask {mask}: {error}") from None
