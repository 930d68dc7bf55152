"""
Labelled images inside archives: where each lies, so that none has to be unpacked.

    what `train` or `val` names         class
    .tar of .tar files                  the inner archive's name, as in ImageNet's ILSVRC2012_img_train.tar
    .tar files of WebDataset            .cls beside the image, or cls, label, class or wnid in the .json beside it
    other .tar files                    the image's folder below those that all have in common, or the archive's name where
                                        there are several named n and eight digits; else `val_labels` says it, as for
                                        ILSVRC2012_img_val.tar
    .parquet files of Hugging Face      column label (or cls, class, wnid); the images are the column with the field bytes

Archives are a file, a folder of them, or a pattern such as /data/train-*.parquet. Of a numbered series none may be missing,
unless a pattern chooses some. A class that is a number has four digits, or as many as the largest has, so that classes sort as
numbers do. Images are listed as if they lay in class folders: <class>/<name>.
"""

import logging
import re
import tarfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from glob import glob, has_magic
from itertools import islice
from os.path import commonpath
from pathlib import Path

import numpy as np
import pandas as pd

from ..files import BEGIN, say_kind
from .decoding import IMAGE_SUFFIXES
from .splits import PACKED, is_hidden, refuse_archives_of_several_splits
from .tars import LABELS, index_tars, name_class, scan_tar

log = logging.getLogger(__name__)
KINDS = (".tar", ".parquet")
DIGITS = 4


@dataclass(frozen=True)
class Piece:
    """An image inside an archive."""

    file: str
    at: int
    """Where it begins, bytes; of a .parquet file its row."""
    size: int
    """Bytes; of a .parquet file 0."""

    def read_bytes(self) -> bytes:
        if self.file.endswith(".parquet"):
            return _read_row(self.file, self.at)
        with open(self.file, "rb") as file:
            file.seek(self.at)
            return file.read(self.size)

    def __str__(self) -> str:
        return f"{self.file}, {'row' if self.file.endswith('.parquet') else 'byte'} {self.at}"


def list_archives(place: str | Path) -> list[Path]:
    """Return the archives of a split in the order of their names; none where it is a folder of images.

    Raises:
        ValueError: no file has the pattern, they are not all of one kind, .tar or .parquet, they are of several splits, or one
            of a numbered series is missing.
    """
    path = Path(place)
    if re.search(r"\{.*\}", str(place)) and not path.exists():
        raise ValueError(f"{place}: braces are not expanded; write {re.sub(r'{.*}', '*', str(place))}")
    is_pattern = has_magic(str(place)) and not path.exists()
    if is_pattern:
        files = sorted(map(Path, glob(str(place))))
        if not files:
            raise ValueError(f"{place}: there is no such file")
    elif path.is_dir():
        inside = sorted(one for one in path.iterdir() if not is_hidden(one.name))
        files = [] if any(one.is_dir() for one in inside) else [one for one in inside if one.suffix in KINDS]
        _refuse_packed(place, inside, files)
    else:
        files = [path] if path.exists() else []
    kinds = {file.suffix for file in files}
    if len(kinds) > 1 or not kinds <= set(KINDS):
        raise ValueError(
            f"{place}: needs .tar or .parquet files, of one kind, not compressed; found {', '.join(sorted(kinds))}"
        )
    refuse_archives_of_several_splits(place, files)
    if not path.is_file() and not (is_pattern and "[" in str(place)):
        _refuse_missing(place, files)
    return files


def _refuse_packed(place: str | Path, inside: list[Path], files: list[Path]) -> None:
    """Refuse archives that cannot be read, where a folder holds no class folders: beside such as can, or alone."""
    packed = [one for one in inside if one not in files and PACKED.search(one.name)]
    others = [one for one in inside if one.suffix.lower() in IMAGE_SUFFIXES or one.is_dir()]
    if packed and (files or not others):
        raise ValueError(
            f"{packed[0]}: is no whole .tar or .parquet file by its name, which is what can be read. Make it one (unpack, "
            f"join, fetch or rename it), move it out of {place}, or name the others by a pattern"
        )


def _refuse_missing(place: str | Path, files: list[Path]) -> None:
    """Make sure that archives which are numbered from 0 or 1, or say how many they are (00000-of-00294), are all there.

    Where a pattern leaves some out that are there, they were chosen. Dates and other numbers with more gaps are no series.
    """
    there = _find_series(
        path for folder in {file.parent for file in files} for path in folder.glob("*" + files[0].suffix)
    )
    for (start, rest), numbers in _find_series(files).items():
        said = re.fullmatch(r"[-_]of[-_](\d+)", rest)
        total = int(said[1]) if said else max(numbers) + 1 - min(numbers)
        n_missing = total - len(numbers)
        is_date = re.search(r"\d{4}[-_](\d\d[-_])?$", start) or re.match(r"[-_](\d\d[-_])?\d{4}\b", rest)
        is_series = said or (min(numbers) <= 1 and n_missing <= total / 2 and not is_date)
        if n_missing <= 0 or not is_series or numbers != there[start, rest]:
            continue
        inside = list(islice((str(i) for i in range(1, total) if i not in numbers), 3)) or [f"0 or {total}"]
        raise ValueError(
            f"{place}: {n_missing} of the {total} archives {start}N{rest} missing, the first N {', '.join(inside)}; "
            "fetch them, or choose some of them by a pattern with [ ]"
        )


def _find_series(files: Iterable[Path]) -> dict[tuple[str, str], set[int]]:
    """Return what stands before and behind a number in archives' names -> the numbers there.

    Of a name that says how many there are, the number before that; else each number, as in train_0_512px.tar.
    """
    series: dict[tuple[str, str], set[int]] = {}
    for file in files:
        if said := re.search(r"^(.*?)(\d+)([-_]of[-_]\d+)", file.name):
            found = [said.groups()]
        else:
            numbers = re.finditer(r"\d+", file.name)
            found = [(file.name[: one.start()], one[0], file.name[one.end() :]) for one in numbers]
        for start, number, rest in found:
            series.setdefault((start, rest), set()).add(int(number))
    return series


def index_archives(place: str | Path, *, digits: int = DIGITS, needs_class: bool = True) -> pd.DataFrame:
    """List the images of a split that lie in archives.

    Args:
        place: see `list_archives`.
        digits: of classes that are numbers, at least.
        needs_class: refuse images whose class the archive does not say; else the class of all is "".

    Returns:
        One row an image, sorted by class and name: path (<class>/<name>, without a class the name), class, and of the
        `Piece` file, at, size.

    Raises:
        ValueError: an archive is damaged, or holds no image; or it is not clear what the images' classes are.
    """
    files = list_archives(place)
    if files[0].suffix == ".parquet":
        rows = [row for file in files for row in _read_index(file, _index_parquet)]
    else:
        rows = index_tars({file: _read_index(file, scan_tar) for file in files}, needs_class=needs_class)
    if not rows:
        raise ValueError(f"{place}: its archives hold no image")
    table = pd.DataFrame(rows, columns=["name", "longer", "class", "file", "at", "size"])
    if not needs_class:
        table["class"] = ""
    digits = max([digits, *(len(str(label)) for label in set(table["class"]) if isinstance(label, int))])
    table["class"] = table["class"].map(lambda label: f"{label:0{digits}d}" if isinstance(label, int) else label)
    table.insert(0, "path", _make_unique(table))
    if twice := table["path"][table["path"].duplicated()].tolist():
        raise ValueError(f"{place}: {twice[0]} is there twice")
    return table.drop(columns=["name", "longer"]).sort_values(["class", "path"], ignore_index=True)


def _read_index(file: Path, read: Callable):
    try:
        with open(file, "rb") as opened:
            begin = opened.read(BEGIN)
        if begin.startswith(b"PK\3\4"):
            raise ValueError("is a zip archive; unpack it")
        if kind := say_kind(begin):
            raise ValueError(kind)
        return read(file)
    except (tarfile.TarError, EOFError, OSError, LookupError, TypeError, ValueError) as error:
        raise ValueError(f"{file}: cannot be read: {type(error).__name__}: {error}") from None


def _make_unique(table: pd.DataFrame) -> pd.Series:
    """Return the images' paths: by the short names, else by the longer ones, else by the archives' names too."""
    above = commonpath({str(Path(file).parent) for file in table["file"].unique()})
    archive = table["file"].map(lambda file: str(Path(file).relative_to(above).with_suffix("")))
    for names in (table["name"], table["longer"], archive + "/" + table["longer"]):
        paths = pd.Series(np.where(table["class"] == "", names, table["class"] + "/" + names))
        if not paths.duplicated().any():
            break
    return paths


def count_digits(classes: pd.Series) -> int:
    """Return how many digits classes have that are numbers."""
    return max([DIGITS, *(len(label) for label in classes.unique() if label.isdecimal())])


def refuse_shared(places: dict[str, str | Path], images: dict[str, pd.DataFrame]) -> None:
    """Make sure that no archive is of both splits, and no image of one class and name in both where a .tar is among them.

    Images of the same size are compared by their bytes. Those in .parquet files are not; those of two folders are told by a
    warning.

    Args:
        places: train and val -> folder or archives.
        images: train and val -> their images, see `datasets.label_splits`.

    Raises:
        ValueError: the message names one that is in both.
    """
    files = [{Path(file).resolve() for file in table["file"].unique()} for table in images.values() if "file" in table]
    if len(files) == 2 and (both := files[0] & files[1]):
        raise ValueError(f"{min(both)}: is among the archives of train and of val; give each the pattern of its own")
    keys = {split: _list_keys(table) for split, table in images.items()}
    both = set(keys["train"]) & set(keys["val"])
    found = {}
    for split, table in images.items():
        table = table[keys[split].isin(both)]
        found[split] = dict(zip(keys[split][table.index], locate(places[split], table), strict=True))
    for key in sorted(both):
        train, val = (found[split][key] for split in ("train", "val"))
        sizes = {_count_bytes(train), _count_bytes(val)}
        if len(sizes) == 1 and sizes != {0} and train.read_bytes() == val.read_bytes():
            text = f"{places['val']}: the validation image {key} is among the training images too ({train})"
            if files:
                raise ValueError(text)
            log.warning(text)
            return


def _count_bytes(image: Path | Piece) -> int:
    """Return the size of an image; 0 where that is not known, or a link points to nothing."""
    if isinstance(image, Piece):
        return image.size
    return image.stat().st_size if image.exists() else 0


def _list_keys(table: pd.DataFrame) -> pd.Series:
    """Return <class>/<name> of each image, also of a split whose paths have no class."""
    pairs = zip(table["class"], table["path"], strict=True)
    return pd.Series(
        [path if path.startswith(f"{label}/") else f"{label}/{path}" for label, path in pairs], table.index
    )


def locate(place: str | Path, images: pd.DataFrame) -> list[Path | Piece]:
    """Return where the images of a list are: files below a folder, or pieces of archives."""
    if "file" not in images:
        return [Path(place) / path for path in images["path"]]
    return [Piece(*row) for row in images[["file", "at", "size"]].itertuples(index=False, name=None)]


def _index_parquet(path: Path) -> list[tuple]:
    """Return (name, longer name, class, file, row, 0) of the images in a .parquet file."""
    import pyarrow.parquet  # which nothing else needs

    with pyarrow.parquet.ParquetFile(path) as file:
        column = _find_image_column(file)
        names = file.schema_arrow.names
        said = next((name for name in ("label", *LABELS) if name in names), None)
        if said is None:
            raise LookupError(f"no column label (or {', '.join(LABELS)}); there are {', '.join(names)}")
        has_path = "path" in [field.name for field in file.schema_arrow.field(column).type]
        table = file.read(columns=[said, *([f"{column}.path"] if has_path else [])])
    labels = table[said].to_pylist()
    images = table[column].to_pylist() if has_path else [None] * len(labels)
    rows = []
    for row, (label, image) in enumerate(zip(labels, images, strict=True)):
        counted = f"{path.stem}_{row:07d}"
        name = Path(image["path"]).name if image and image["path"] else counted
        try:
            label = name_class(label)
        except ValueError as error:
            raise ValueError(f"row {row}, column {said}: {error}") from None
        rows.append((name, f"{counted}{Path(name).suffix}", label, str(path), row, 0))
    return rows


def _find_image_column(file) -> str:
    """Return the name of the column of structs with the field bytes."""
    import pyarrow

    schema = file.schema_arrow
    fields = [field for field in schema if pyarrow.types.is_struct(field.type)]
    found = [field.name for field in fields if "bytes" in [part.name for part in field.type]]
    if len(found) != 1:
        raise LookupError(f"needs one column of images (bytes, path); there are {', '.join(schema.names)}")
    return found[0]


def _read_row(path: str, row: int) -> bytes:
    """Return the image in a row of a .parquet file."""
    starts = _list_groups(path)
    group = int(np.searchsorted(starts, row, side="right")) - 1
    content = _read_group(path, group)[row - starts[group]].as_py()
    if content is None:
        raise OSError(f"{path}, row {row}: holds no bytes of an image, at most its path")
    return content


@lru_cache(64)
def _list_groups(path: str) -> np.ndarray:
    """Return the first row of each group of rows."""
    import pyarrow.parquet

    with pyarrow.parquet.ParquetFile(path) as file:
        sizes = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
    return np.cumsum([0, *sizes[:-1]])


@lru_cache(1)
def _read_group(path: str, group: int):
    """Return the images of a group of rows, as an array of pyarrow; each process keeps the last one."""
    import pyarrow.parquet

    with pyarrow.parquet.ParquetFile(path) as file:
        column = _find_image_column(file)
        table = file.read_row_group(group, columns=[f"{column}.bytes"], use_threads=False)
    return table[column].combine_chunks().field("bytes")
