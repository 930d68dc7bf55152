"""Copies of .beton files on a node's own disk."""

import errno
import fcntl
import hashlib
import os
import shutil
from collections import namedtuple
from multiprocessing.pool import ThreadPool

import pytest
from conftest import N_PICTURES, another_user

from ipcl_core.files import write_json
from ipcl_core.images.beton import FIELDS, METADATA_TYPE, FieldDescType, HeaderType, check_beton
from ipcl_core.images.scratch import copy_to_scratch


@pytest.fixture
def beton(raw_split, open_path):
    path = open_path / "shared/train.beton"
    path.parent.mkdir()
    for source in (raw_split.beton, raw_split.summary):
        shutil.copyfile(source, path.with_suffix(source.suffix))
    return path


def test_copy_is_made_once(beton, tmp_path):
    copy = copy_to_scratch(beton, tmp_path / "node/scratch")
    assert copy.parent == tmp_path / "node/scratch" and copy.read_bytes() == beton.read_bytes()
    made = copy.stat().st_mtime_ns
    assert copy_to_scratch(beton, tmp_path / "node/scratch") == copy and copy.stat().st_mtime_ns == made


def test_without_scratch_the_file_itself_is_read(beton):
    assert copy_to_scratch(beton, None) == beton


@pytest.mark.parametrize("scratch", ["$NOWHERE", "/tmp/$NOWHERE", "scratch", "~nobody-of-this-name/scratch"])
def test_scratch_that_is_no_absolute_path_is_refused(beton, tmp_path, monkeypatch, scratch):
    """It would be a folder of that name where the workflow runs."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"scratch: .* no absolute path"):
        copy_to_scratch(beton, scratch)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("scratch", ["$DISK/betons", "${DISK}/betons", "~/betons"])
def test_scratch_is_what_its_variables_are_on_the_node(beton, tmp_path, monkeypatch, scratch):
    monkeypatch.setenv("DISK", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert copy_to_scratch(beton, scratch).parent == tmp_path / "betons"


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


def test_second_user_reads_the_first_ones_copy(beton, open_path):
    """Though the folder, the copy and the lock are not his."""
    copy = copy_to_scratch(beton, open_path / "scratch")
    assert copy.stat().st_mode & 0o777 == copy.with_suffix(".json").stat().st_mode & 0o777 == 0o644
    with another_user():
        assert copy_to_scratch(beton, open_path / "scratch") == copy


@pytest.mark.parametrize("closed", ["copy", "folder", "lock"])
def test_what_another_user_may_not_use_is_left(beton, open_path, warnings_of, closed):
    copy = open_path / "scratch" / copy_to_scratch(beton, open_path / "scratch").name
    match closed:
        case "copy":
            copy.chmod(0)
        case "folder":
            copy.parent.chmod(0)
        case "lock":
            copy.unlink()
            copy.with_suffix(".lock").chmod(0)
    with another_user():
        assert copy_to_scratch(beton, open_path / "scratch") == beton
    copy.parent.chmod(0o700)
    (said,) = warnings_of()
    assert "Permission denied" in said and f"reading {beton} itself" in said


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be two users")
def test_damaged_copy_of_another_user_is_left(beton, open_path, warnings_of):
    copy = copy_to_scratch(beton, open_path / "scratch")
    copy.write_bytes(cut_off(copy.read_bytes()))
    with another_user():
        assert copy_to_scratch(beton, open_path / "scratch") == beton
    assert f"reading {beton} itself" in warnings_of()[-1]


@pytest.mark.parametrize("code", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_file_system_without_locks(beton, open_path, monkeypatch, code):
    def refuse(*_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", refuse)
    assert copy_to_scratch(beton, open_path / "scratch").read_bytes() == beton.read_bytes()


def test_no_room(beton, tmp_path, monkeypatch, caplog):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 10**9 - 1000, 1000))
    assert copy_to_scratch(beton, tmp_path / "scratch") == beton
    assert "0 MB free, 16 MB needed" in caplog.text and not list((tmp_path / "scratch").glob("*.json"))


def test_file_without_its_summary_is_read_where_it_is(tmp_path, raw_split, caplog):
    """As a storage plugin fetches it."""
    beton = tmp_path / "alone.beton"
    shutil.copy2(raw_split.beton, beton)
    assert copy_to_scratch(beton, tmp_path / "scratch") == beton and "summary (.json) is not beside it" in caplog.text
    assert not (tmp_path / "scratch").exists()
