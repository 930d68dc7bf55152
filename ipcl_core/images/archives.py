"""
Labelled images inside archives: where each lies, so that none has to be unpacked.

    what `train` or `val` names         class
    .tar of .tar files                  the inner archive's name, as in ImageNet's ILSVRC2012_img_train.tar
    .tar files of WebDataset            .cls beside the image, or cls, label, class or wnid in the .json beside it
    other .tar files                    the image's folder, or the archive's name where it is n and eight digits; else
                                        `val_labels` says it, as for ILSVRC2012_img_val.tar
    .parquet files of Hugging Face      column label; the images are the column with the field bytes

Archives are a file, a folder of them, or a pattern such as /data/train-*.parquet. A class that is a number has four digits, so
that classes sort as numbers do. Images are listed as if they lay in class folders: <class>/<name>.
"""

import json
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from glob import glob, has_magic
from pathlib import Path

import numpy as np
import pandas as pd

from .decoding import IMAGE_SUFFIXES

KINDS = (".tar", ".parquet")
WNID = re.compile(r"n\d{8}")
LABELS = ("cls", "label", "class", "wnid")
"""Where the .json of a WebDataset says the class."""


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
        ValueError: no file has the pattern, or they are not all of one kind, .tar or .parquet.
    """
    path = Path(place)
    if has_magic(str(place)):
        files = sorted(map(Path, glob(str(place))))
        if not files:
            raise ValueError(f"{place}: there is no such file")
    elif path.is_dir():
        inside = list(path.glob("[!.]*"))
        files = [] if any(one.is_dir() for one in inside) else sorted(one for one in inside if one.suffix in KINDS)
    else:
        files = [path] if path.exists() else []
    kinds = {file.suffix for file in files}
    if len(kinds) > 1 or not kinds <= set(KINDS):
        raise ValueError(f"{place}: needs .tar or .parquet files, of one kind; found {', '.join(sorted(kinds))}")
    return files


def index_archives(place: str | Path) -> pd.DataFrame:
    """List the images of a split that lie in archives.

    Returns:
        One row an image, sorted by class and name: path (<class>/<name>, without a class the name), class ("" where the
        archive does not say it), and of the `Piece` file, at, size.

    Raises:
        ValueError: an archive is damaged, or holds no image.
    """
    rows = []
    for file in list_archives(place):
        try:
            rows += _index_parquet(file) if file.suffix == ".parquet" else _index_tar(file)
        except (tarfile.TarError, EOFError, OSError, LookupError, TypeError, ValueError) as error:
            raise ValueError(f"{file}: cannot be read: {type(error).__name__}: {error}") from None
    if not rows:
        raise ValueError(f"{place}: its archives hold no image")
    table = pd.DataFrame(rows, columns=["name", "class", "file", "at", "size"])
    names = table["name"]
    if (table["class"] + "/" + names).duplicated().any():  # counted anew in each archive
        names = table["file"].map(lambda file: Path(file).stem) + "/" + names
    table.insert(0, "path", np.where(table["class"] == "", names, table["class"] + "/" + names))
    if twice := table["path"][table["path"].duplicated()].tolist():
        raise ValueError(f"{place}: {twice[0]} is there twice")
    return table.drop(columns="name").sort_values(["class", "path"], ignore_index=True)


def locate(place: str | Path, images: pd.DataFrame) -> list[Path | Piece]:
    """Return where the images of a list are: files below a folder, or pieces of archives."""
    if "file" not in images:
        return [Path(place) / path for path in images["path"]]
    return [Piece(*row) for row in images[["file", "at", "size"]].itertuples(index=False, name=None)]


def _index_tar(path: Path) -> Iterator[tuple]:
    """Yield (name, class, file, at, size) of the images in a .tar file, and in the .tar files in it."""
    images, classes = [], {}
    with tarfile.open(path, "r:") as archive:
        for member in archive:
            name, place = Path(member.name), str(Path(member.name).with_suffix(""))
            if not member.isreg() or name.name.startswith("."):
                continue
            if name.suffix == ".tar":
                with tarfile.open(fileobj=archive.extractfile(member), mode="r:") as inner:
                    images += [
                        (Path(one.name).name, name.stem, member.offset_data + one.offset_data, one.size)
                        for one in inner
                        if one.isreg() and Path(one.name).suffix.lower() in IMAGE_SUFFIXES
                    ]
            elif name.suffix == ".cls":
                classes[place] = _name_class(archive.extractfile(member).read().decode().strip())
            elif name.suffix == ".json":
                said = json.loads(archive.extractfile(member).read())
                found = [said[key] for key in LABELS if key in said]
                if found:
                    classes.setdefault(place, _name_class(found[0]))
            elif name.suffix.lower() in IMAGE_SUFFIXES:
                images.append((member.name, None, member.offset_data, member.size))
            archive.members = []  # else tarfile keeps them all
    for name, inner, at, size in images:
        place = str(Path(name).with_suffix(""))
        if inner is None and classes and place not in classes:
            raise LookupError(f"{name} has no .cls or .json that says its class, and others have")
        label = (
            inner or classes.get(place) or Path(name).parent.name or (path.stem if WNID.fullmatch(path.stem) else "")
        )
        yield Path(name).name, label, str(path), at, size


def _index_parquet(path: Path) -> Iterator[tuple]:
    """Yield (name, class, file, row, 0) of the images in a .parquet file."""
    import pyarrow.parquet  # which nothing else needs

    with pyarrow.parquet.ParquetFile(path) as file:
        column = _find_image_column(file)
        if "label" not in file.schema_arrow.names:
            raise LookupError(f"no column label; there are {', '.join(file.schema_arrow.names)}")
        has_path = "path" in [field.name for field in file.schema_arrow.field(column).type]
        table = file.read(columns=["label", *([f"{column}.path"] if has_path else [])])
    labels = table["label"].to_pylist()
    paths = [said and said["path"] for said in table[column].to_pylist()] if has_path else [None] * len(labels)
    for row, (label, name) in enumerate(zip(labels, paths, strict=True)):
        yield Path(name or f"{path.stem}_{row:07d}").name, _name_class(label), str(path), row, 0


def _find_image_column(file) -> str:
    """Return the name of the column of structs with the field bytes."""
    import pyarrow

    schema = file.schema_arrow
    fields = [field for field in schema if pyarrow.types.is_struct(field.type)]
    found = [field.name for field in fields if "bytes" in [part.name for part in field.type]]
    if len(found) != 1:
        raise LookupError(f"needs one column of images (bytes, path); there are {', '.join(schema.names)}")
    return found[0]


def _name_class(label) -> str:
    """Return the name of a class; a number's has four digits."""
    text = str(label)
    return f"{int(text):04d}" if text.isdigit() else text


def _read_row(path: str, row: int) -> bytes:
    """Return the image in a row of a .parquet file."""
    starts = _list_groups(path)
    group = int(np.searchsorted(starts, row, side="right")) - 1
    return _read_group(path, group)[row - starts[group]].as_py()


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
