"""
Files that appear whole or not at all, and their checksums.
"""

import errno
import hashlib
import io
import json
import os
import re
import shutil
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import h5py
import pandas as pd

NAMES = re.compile(r"(?:^|_)(?:model|framework|dataset|brain|regions?|layer|participant)(?:_[ab])?$")
"""Columns that hold names."""
UNSUPPORTED = {errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK, errno.EPERM}
"""Errors by which a file system says that it does not know an operation: flush a folder, lock, change a mode."""

BEGIN = 64
"""Bytes by which `say_kind` tells what a file is."""
KINDS = {
    b"version https://git-lfs": "is a pointer of Git LFS, not the file itself; fetch that by git lfs pull",
    b"/annex/objects/": "is a pointer of git-annex, not the file itself; fetch that by datalad get or git annex get",
    b"<!doctype html": "is a web page, not the file itself; download that again",
    b"<html": "is a web page, not the file itself; download that again",
    b"<?xml": "is XML, a drawing (SVG) or an answer of a web server, not the file itself",
    b"<svg": "is a drawing (SVG); make a PNG of it",
    b"%pdf": "is a PDF; make a PNG of it",
    b"ftyp": "is HEIC, AVIF or a film; save the picture as JPEG or PNG",
    b"\x1f\x8b": "is compressed by gzip; it is read where it lies, so gunzip it first",
    b"bzh9": "is compressed by bzip2; it is read where it lies, so bunzip2 it first",
    b"\xfd7zxz": "is compressed by xz; it is read where it lies, so unxz it first",
    b"\x28\xb5\x2f\xfd": "is compressed by Zstandard; it is read where it lies, so unzstd it first",
}
"""How a file that is something else than its name says begins, in lower case, at once or behind four bytes -> what it is."""


def say_kind(begin: bytes) -> str:
    """Say what a file is that begins so, where it is a common mistake for the file that is wanted; else ""."""
    begin = begin.lower()
    starts = (begin, begin[4:])  # HEIC's first four bytes are a size
    return next((kind for start, kind in KINDS.items() if any(one.startswith(start) for one in starts)), "")


@contextmanager
def write_whole(path: str | Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; when the block ends well, flush it to disk and move it into place.

    The temporary name keeps the suffix, so that libraries which choose a format by it behave the same. The file gets the
    mode that any new file has in that folder, whatever mode a library gives it. When the block raises, the temporary file is
    removed and `path` stays as it was. A process that is killed leaves its temporary file behind; the next one to write the
    same file removes it. An error of writing carries a note that names `path` and the free space. What a file system cannot do
    (`UNSUPPORTED`) is left out.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        name = re.compile(rf"\.{re.escape(path.stem)}\.\d+{re.escape(path.suffix)}")
        for leftover in [file for file in path.parent.iterdir() if name.fullmatch(file.name)]:
            leftover.unlink(missing_ok=True)
        temporary.touch()
        mode = temporary.stat().st_mode  # by the umask, or by the folder's own rules
        temporary.unlink()
        yield temporary
        with open(temporary, "rb+") as file:
            if os.fstat(file.fileno()).st_mode != mode:
                _try(os.fchmod, file.fileno(), stat.S_IMODE(mode))
            _try(os.fsync, file.fileno())
        os.replace(temporary, path)
    except Exception as error:
        if not isinstance(error, ValueError):  # which are about what was to be written
            error.add_note(f"{path} was not written; {_describe_space(path.parent)}")
        raise
    finally:
        if temporary.exists():  # where nothing may be written, removing nothing is an error too
            temporary.unlink()
    try:
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            _try(os.fsync, folder)
        finally:
            os.close(folder)
    except OSError as error:
        error.add_note(f"{path} was written; that its name reached the disk is not certain")
        raise


def _try(call: Callable, *arguments) -> None:
    """Call a function of the system, unless the file system does not know it."""
    try:
        call(*arguments)
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise


def _describe_space(folder: Path) -> str:
    try:
        return f"{shutil.disk_usage(folder).free / 1e9:.2f} GB are free there"
    except OSError as error:
        return f"{folder}: {error.strerror}"


def write_csv(table: pd.DataFrame, path: str | Path) -> None:
    """Write a table without its index; floats keep their shortest exact form."""
    with write_whole(path) as temporary:
        table.to_csv(temporary, index=False, lineterminator="\n")


def read_csv(path: str | Path) -> pd.DataFrame:
    """Read a table of `write_csv`; names of models, regions, layers stay as they are written, even 1.10, 007 and NA."""
    named = [name for name in pd.read_csv(path, nrows=0) if NAMES.search(name)]
    return pd.read_csv(path, dtype=dict.fromkeys(named, str), keep_default_na=False, na_values=[""])


def read_named(paths: Iterable[str | Path], names: Sequence[str], wanted: Iterable[tuple]) -> dict[tuple, pd.DataFrame]:
    """Read tables of which each says in its columns what it is of, and pair them by that.

    Args:
        paths: CSVs of `write_csv`, in any order.
        names: columns with one value in each file, such as brain and model.
        wanted: see `pair_files`.

    Returns:
        Values of `names`, as in `wanted` -> table.

    Raises:
        ValueError: a file lacks a column of `names`, or has several values in them; see `pair_files`.
    """
    tables, said = {path: read_csv(path) for path in paths}, []
    for path in paths:
        if lacking := [name for name in names if name not in tables[path]]:
            raise ValueError(f"{path}: does not say which {' and '.join(lacking)} it is of; make it again")
        rows = tables[path][list(names)].drop_duplicates().itertuples(index=False, name=None)
        found = list(rows)
        if len(found) != 1:
            raise ValueError(f"{path}: is of {len(found)} {' and '.join(names)}, not of one; make it again")
        said.append((path, found[0]))
    return {values: tables[path] for values, path in pair_files(said, wanted).items()}


def pair_files(said: Iterable[tuple[str | Path, tuple]], wanted: Iterable[tuple]) -> dict[tuple, str | Path]:
    """Pair files by what they say that they are of, never by their order.

    Args:
        said: path and names, such as those of a brain and a model, of each file.
        wanted: the names that there must be a file of.

    Returns:
        Names, in the order of `wanted` -> path.

    Raises:
        ValueError: a file is of something else, two are of the same, or one is lacking.
    """
    wanted, found = [tuple(names) for names in wanted], {}
    for path, names in said:
        text = " ".join(names)
        if names not in wanted:
            raise ValueError(f"{path}: says that it is of {text}; wanted are {', '.join(map(' '.join, wanted))}")
        if names in found:
            raise ValueError(f"{path}: says that it is of {text}, and so does {found[names]}")
        found[names] = path
    if missing := [" ".join(names) for names in wanted if names not in found]:
        raise ValueError(f"no file says that it is of {', '.join(missing)}")
    return {names: found[names] for names in wanted}


def write_json(value, path: str | Path) -> None:
    """Write a value as indented JSON."""
    with write_whole(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def read_json(path: str | Path):
    """Read a value from JSON."""
    return json.loads(Path(path).read_text(encoding="utf-8"))


@contextmanager
def write_hdf5(path: str | Path) -> Iterator[h5py.File]:
    """Open a new HDF5 file that appears at `path` when the block ends well."""
    with (
        write_whole(path) as temporary,
        open_patiently(temporary) as raw,
        h5py.File(raw, "w", track_order=True) as file,
    ):
        yield file


def open_hdf5(path: str | Path) -> h5py.File:
    """Open an HDF5 file for reading, without a lock, which some file systems do not have: no file here is written twice."""
    return h5py.File(path, locking=False)


def is_there(path: str | Path) -> bool:
    """Whether there is such a file or folder.

    Raises:
        PermissionError: nobody can say, since a folder above it may not be searched.
    """
    try:
        Path(path).stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def check_readable(path: str | Path) -> None:
    """Open a file once, before a library does that takes every error for a file that is not there.

    Raises:
        FileNotFoundError: it is not there.
        PermissionError: it is, and this user may not read it.
    """
    with open(path, "rb"):
        pass


class _PatientFile(io.FileIO):
    """Takes what it is given even when it cannot write it, and keeps the first error."""

    error: OSError | None = None

    def write(self, content) -> int:
        rest = memoryview(content).cast("B")
        try:
            while len(rest):
                rest = rest[super().write(rest) :]
        except OSError as error:
            self.error = self.error or error
        return memoryview(content).nbytes


@contextmanager
def open_patiently(path: str | Path) -> Iterator[_PatientFile]:
    """Open a new file for a library that hides an error in writing, as torch does when the disk is full, or crashes, as HDF5.

    Raises:
        OSError: something could not be written; when the block ends, whatever else it raised.
    """
    with _PatientFile(path, "w+") as file:
        try:
            yield file
        finally:
            if file.error:
                raise file.error


def open_lock(path: str | Path) -> int:
    """Open a file that is locked by `fcntl.flock`, made where it is not there; another user's can be read alone."""
    try:
        return os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o666)


def compute_sha256(path: str | Path) -> str:
    """Return the SHA-256 of a file's bytes, 64 hexadecimal digits; of a folder, that of its listing.

    The listing is what `sha256sum` prints: a line "<SHA-256>  <path in the folder>" a file, sorted by path. Files with a
    hidden name, such as Snakemake's time stamps, are left out.
    """
    path = Path(path)
    if path.is_dir():
        files = sorted(str(file.relative_to(path)) for file in path.rglob("[!.]*") if file.is_file())
        listing = "".join(f"{compute_sha256(path / file)}  {file}\n" for file in files)
        return hashlib.sha256(listing.encode()).hexdigest()
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
