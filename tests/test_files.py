import errno
import fcntl
import hashlib
import json
import os
import stat
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import torch
from conftest import another_user
from safetensors.torch import save_file

from ipcl_core import files
from ipcl_core.files import (
    compute_sha256,
    open_hdf5,
    read_csv,
    read_json,
    write_csv,
    write_hdf5,
    write_json,
    write_whole,
)
from ipcl_core.networks.network_files import load_network


def list_names(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_file_appears_when_the_block_ends(tmp_path):
    path = tmp_path / "deep" / "er" / "a.txt"
    with write_whole(path) as temporary:
        assert (temporary.parent, temporary.suffix) == (path.parent, ".txt")
        temporary.write_text("new")
        assert not path.exists()
    assert path.read_text() == "new"
    assert list_names(path.parent) == ["a.txt"]


def test_old_content_stays_until_the_block_ends(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with write_whole(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"


@pytest.mark.parametrize("old", [None, "old"])
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_error_leaves_everything_as_it_was(tmp_path, old, error):
    path = tmp_path / "a.txt"
    if old is not None:
        path.write_text(old)
    with pytest.raises(error), write_whole(path) as temporary:
        temporary.write_text("torn")
        raise error
    assert list_names(tmp_path) == ([] if old is None else ["a.txt"])
    assert old is None or path.read_text() == old


def test_what_a_killed_process_left_is_removed(tmp_path):
    """Of this file alone."""
    others = [".other.9.csv", ".a.9.json", ".a.csv", ".a.b.9.csv", "a.9.csv"]
    for name in [".a.123456.csv", ".a.7.csv", *others]:
        (tmp_path / name).touch()
    write_csv(pd.DataFrame({"x": [1]}), tmp_path / "a.csv")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["a.csv", *others])


def test_block_that_writes_nothing_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError), write_whole(tmp_path / "a.txt"):
        pass
    assert list_names(tmp_path) == []


def test_csv_by_hand(tmp_path):
    write_csv(pd.DataFrame({"layer": ["a,b", "c"], "r": [0.1, float("nan")], "n": [1, 2]}), tmp_path / "a.csv")
    assert (tmp_path / "a.csv").read_bytes() == b'layer,r,n\n"a,b",0.1,1\nc,,2\n'


def test_csv_keeps_floats_exactly(tmp_path):
    numbers = np.random.default_rng(0).standard_normal(200) * 10.0 ** np.arange(-100, 100)
    write_csv(pd.DataFrame({"r": numbers}), tmp_path / "a.csv")
    found = [float(line) for line in (tmp_path / "a.csv").read_text().splitlines()[1:]]
    assert found == numbers.tolist()


def test_names_stay_as_they_are_written(tmp_path):
    """Layers of a nested nn.Sequential, Brodmann areas, and names that pandas takes for missing values."""
    names = {"model": "007", "brain": "2019", "region": "NA", "layer": "1.10", "017_layer": "1.1", "layer_a": "nan"}
    write_csv(
        pd.DataFrame([names | {"layer_index": 3, "r": 0.25}, names | {"layer_index": 4, "r": None}]), tmp_path / "t.csv"
    )
    table = read_csv(tmp_path / "t.csv")
    assert table[[*names]].to_dict("records") == [names, names]
    assert table["layer_index"].tolist() == [3, 4] and table["r"].tolist()[0] == 0.25 and table["r"].isna().tolist()[1]


def test_json_by_hand(tmp_path):
    value = {"b": [1, 2.5, None], "a": "x"}
    write_json(value, tmp_path / "a.json")
    text = (tmp_path / "a.json").read_text()
    assert json.loads(text) == value
    assert text.startswith('{\n  "b"')
    assert text.endswith("}\n")


def test_json_that_cannot_be_written_leaves_nothing(tmp_path):
    with pytest.raises(TypeError):
        write_json({"a": object()}, tmp_path / "a.json")
    assert list_names(tmp_path) == []


def test_hdf5_keeps_the_order_of_its_entries(tmp_path):
    with write_hdf5(tmp_path / "a.h5") as file:
        for name in ("z", "a", "m"):
            file[name] = np.arange(3)
    with h5py.File(tmp_path / "a.h5") as file:
        assert list(file) == ["z", "a", "m"]
    assert list_names(tmp_path) == ["a.h5"]


def test_error_leaves_no_hdf5(tmp_path):
    with pytest.raises(ValueError), write_hdf5(tmp_path / "a.h5") as file:
        file["a"] = np.arange(3)
        raise ValueError
    assert list_names(tmp_path) == []


def test_sha256(tmp_path):
    content = bytes(range(256)) * 5000
    (tmp_path / "a").write_bytes(content)
    (tmp_path / "empty").write_bytes(b"")
    assert compute_sha256(tmp_path / "a") == hashlib.sha256(content).hexdigest()
    assert compute_sha256(tmp_path / "empty") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_sha256_of_a_folder_is_that_of_its_listing(tmp_path):
    for name, text in (("b.png", "2"), ("a/c.png", "1"), (".hidden", "?")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    one, two = (hashlib.sha256(text).hexdigest() for text in (b"1", b"2"))
    assert compute_sha256(tmp_path) == hashlib.sha256(f"{one}  a/c.png\n{two}  b.png\n".encode()).hexdigest()


# ---- file systems and users ------------------------------------------------------------------------------------------


def write_weights(path) -> None:
    """safetensors gives its files the mode 0600."""
    with write_whole(path) as temporary:
        save_file({"a": torch.zeros(3)}, temporary)


def write_numbers(path) -> None:
    with write_hdf5(path) as file:
        file["a"] = np.arange(3)


WRITERS = {
    "a.csv": lambda path: write_csv(pd.DataFrame({"x": [1]}), path),
    "a.json": lambda path: write_json([1], path),
    "a.h5": write_numbers,
    "a.safetensors": write_weights,
}


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
@pytest.mark.parametrize("name", WRITERS)
def test_mode_is_the_umasks(tmp_path, umask, name, mask):
    os.umask(mask)
    WRITERS[name](tmp_path / name)
    assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o666 & ~mask


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOTSUP, errno.ENOSYS])
def test_folder_that_cannot_be_flushed(tmp_path, monkeypatch, code):
    """Some network file systems."""
    flush = os.fsync

    def refuse(file: int) -> None:
        if stat.S_ISDIR(os.fstat(file).st_mode):
            raise OSError(code, os.strerror(code))
        flush(file)

    monkeypatch.setattr(os, "fsync", refuse)
    write_json([1], tmp_path / "a.json")
    assert read_json(tmp_path / "a.json") == [1] and list_names(tmp_path) == ["a.json"]


def test_disk_that_fails_behind_the_renaming(tmp_path, monkeypatch):
    """The file is there: the error may not say that it was not written."""

    def fail(file: int) -> None:
        if stat.S_ISDIR(os.fstat(file).st_mode):
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError) as error:
        write_json([1], tmp_path / "a.json")
    assert read_json(tmp_path / "a.json") == [1]
    assert [note for note in error.value.__notes__ if "was written; that its name reached the disk" in note]
    assert not [note for note in error.value.__notes__ if "was not written" in note]


def test_disk_that_fails_before_the_renaming(tmp_path, monkeypatch):
    def fail(file: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError) as error:
        write_json([1], tmp_path / "a.json")
    assert list_names(tmp_path) == [] and "a.json was not written" in error.value.__notes__[0]


def test_folder_that_may_not_be_written(open_path):
    open_path.chmod(0o555)
    with another_user(), pytest.raises(PermissionError) as error:
        write_json([1], open_path / "a.json")
    assert f"{open_path / 'a.json'} was not written" in error.value.__notes__[0]


def test_file_system_without_locks(tmp_path):
    """HDF5 files are read without a lock: another one's does not matter."""
    write_numbers(tmp_path / "a.h5")
    with open(tmp_path / "a.h5", "rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(BlockingIOError):
            h5py.File(tmp_path / "a.h5")
        with open_hdf5(tmp_path / "a.h5") as file:
            assert file["a"][:].tolist() == [0, 1, 2]


def test_hdf5_is_opened_in_one_place():
    folder = Path(files.__file__).parent
    sources = {path.name for path in folder.rglob("*.py") if "h5py.File(" in path.read_text(encoding="utf-8")}
    assert sources == {"files.py"}


@pytest.mark.parametrize("name", WRITERS)
def test_file_that_may_not_be_read(open_path, name):
    """The error says so, and not that the file is not there."""
    path = open_path / name
    WRITERS[name](path)
    path.chmod(0)
    read = {".csv": read_csv, ".json": read_json, ".h5": open_hdf5, ".safetensors": load_network}[path.suffix]
    with another_user(), pytest.raises(PermissionError, match="Permission denied"):
        read(path)
