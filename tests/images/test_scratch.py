"""Copies of .beton files on a node's own disk."""

import hashlib
import shutil
from collections import namedtuple
from multiprocessing.pool import ThreadPool

import pytest
from conftest import N_PICTURES

from ipcl_core.files import write_json
from ipcl_core.images.beton import FIELDS, METADATA_TYPE, FieldDescType, HeaderType, check_beton
from ipcl_core.images.scratch import copy_to_scratch


@pytest.fixture
def beton(raw_split, tmp_path):
    path = tmp_path / "shared/train.beton"
    path.parent.mkdir()
    for source in (raw_split.beton, raw_split.summary):
        shutil.copy2(source, path.with_suffix(source.suffix))
    return path


def test_copy_is_made_once(beton, tmp_path):
    copy = copy_to_scratch(beton, tmp_path / "node/scratch")
    assert copy.parent == tmp_path / "node/scratch" and copy.read_bytes() == beton.read_bytes()
    made = copy.stat().st_mtime_ns
    assert copy_to_scratch(beton, tmp_path / "node/scratch") == copy and copy.stat().st_mtime_ns == made


def test_without_scratch_the_file_itself_is_read(beton):
    assert copy_to_scratch(beton, None) == beton


def test_jobs_that_start_together_share_one_copy(beton, tmp_path):
    with ThreadPool(3) as pool:
        copies = pool.starmap(copy_to_scratch, [(beton, tmp_path / "scratch")] * 6)
    assert len(set(copies)) == 1 and copies[0].read_bytes() == beton.read_bytes()
    assert {path.suffix for path in (tmp_path / "scratch").iterdir()} == {".beton", ".json", ".lock"}


def test_changed_data_get_a_copy_of_their_own(beton, tmp_path):
    first, content = copy_to_scratch(beton, tmp_path / "scratch"), beton.read_bytes()[::-1]
    beton.write_bytes(content)
    with pytest.raises(ValueError, match="not the file that its summary describes"):
        first.unlink()
        copy_to_scratch(beton, tmp_path / "scratch")
    assert not list((tmp_path / "scratch").glob("*.beton"))
    write_json({"sha256": hashlib.sha256(content).hexdigest()}, beton.with_suffix(".json"))
    assert copy_to_scratch(beton, tmp_path / "scratch") != first


def cut_off(content: bytes) -> bytes:
    return content[:1000]


def change_label(content: bytes) -> bytes:
    """The last byte of the last image's description is of its label."""
    at = HeaderType.itemsize + len(FIELDS) * FieldDescType.itemsize + N_PICTURES * METADATA_TYPE.itemsize - 1
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


@pytest.mark.parametrize("damage", [cut_off, change_label])
def test_damaged_copy_is_made_again(beton, tmp_path, warnings_of, damage):
    copy = copy_to_scratch(beton, tmp_path / "scratch")
    copy.write_bytes(damage(copy.read_bytes()))
    assert copy_to_scratch(beton, tmp_path / "scratch") == copy and copy.read_bytes() == beton.read_bytes()
    assert len(warnings_of()) == 1 and "copying" in warnings_of()[0]


def test_damage_behind_the_copying_is_found_by_the_loader(beton, tmp_path):
    """As it would be in the original: the summary lies beside both."""
    copy = copy_to_scratch(beton, tmp_path / "scratch")
    copy.write_bytes(change_label(copy.read_bytes()))
    with pytest.raises(ValueError, match=r"not the file that .* beside it describes"):
        check_beton(copy)


def test_no_room(beton, tmp_path, monkeypatch, caplog):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 10**9 - 1000, 1000))
    assert copy_to_scratch(beton, tmp_path / "scratch") == beton
    assert "0 MB free, 16 MB needed" in caplog.text and not list((tmp_path / "scratch").glob("*.json"))
