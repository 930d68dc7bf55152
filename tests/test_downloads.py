import io
import tarfile
import zipfile

import pytest

from ipcl_core import downloads
from ipcl_core.downloads import download_package, read_members

MEMBERS = {"pkg/data/b.png": b"bb", "pkg/data/a.png": b"a", "pkg/data/notes.txt": b"text", "pkg-info/c.png": b"ccc"}


def make_zip(path, members: dict[str, bytes]):
    with zipfile.ZipFile(path, "w") as file:
        file.mkdir("folder.png")
        for name, content in members.items():
            file.writestr(name, content)
    return path


def make_tar(path, members: dict[str, bytes]):
    with tarfile.open(path, "w:gz") as file:
        folder = tarfile.TarInfo("folder.png")
        folder.type = tarfile.DIRTYPE
        file.addfile(folder)
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))
        for name, kind in (
            ("link.png", tarfile.SYMTYPE),
            ("hard.png", tarfile.LNKTYPE),
            ("pipe.png", tarfile.FIFOTYPE),
        ):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd" if kind == tarfile.SYMTYPE else "pkg/data/a.png"
            file.addfile(info)
    return path


KINDS = [("a.whl", make_zip), ("a.zip", make_zip), ("a.tar.gz", make_tar)]


@pytest.mark.parametrize("name,make", KINDS)
def test_members_are_found_by_suffix(tmp_path, name, make):
    """Regular files only: no folders, links or pipes; in the order of their paths."""
    found = read_members(make(tmp_path / name, MEMBERS), ".png")
    assert list(found.items()) == [("pkg/data/a.png", b"a"), ("pkg/data/b.png", b"bb"), ("pkg-info/c.png", b"ccc")]


@pytest.mark.parametrize("name,make", KINDS)
def test_one_member(tmp_path, name, make):
    assert read_members(make(tmp_path / name, MEMBERS), "data/notes.txt") == {"pkg/data/notes.txt": b"text"}


@pytest.mark.parametrize("name,make", KINDS)
def test_missing_member_is_an_error(tmp_path, name, make):
    with pytest.raises(ValueError, match=rf"{name}: holds no file whose path ends in '\.mat'"):
        read_members(make(tmp_path / name, MEMBERS), ".mat")


def test_link_alone_is_no_member(tmp_path):
    with pytest.raises(ValueError, match="holds no file"):
        read_members(make_tar(tmp_path / "a.tar.gz", MEMBERS), "link.png")


@pytest.mark.parametrize("name,make", KINDS)
def test_large_member_is_refused(tmp_path, monkeypatch, name, make):
    archive = make(tmp_path / name, MEMBERS)
    monkeypatch.setattr(downloads, "MAX_MEMBER_BYTES", 3)
    assert len(read_members(archive, ".png")) == 3
    monkeypatch.setattr(downloads, "MAX_MEMBER_BYTES", 2)
    with pytest.raises(ValueError, match=r"pkg-info/c.png has 3 bytes, more than the 2 that are read"):
        read_members(archive, ".png")


@pytest.mark.parametrize("name,make", KINDS)
def test_nothing_is_unpacked(tmp_path, monkeypatch, name, make):
    archive = make(tmp_path / name, MEMBERS | {"../../escape.png": b"e"})
    (tmp_path / "here" / "deeper").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here" / "deeper")
    assert read_members(archive, "escape.png") == {"../../escape.png": b"e"}
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == [name]


@pytest.mark.parametrize("name", ["a.whl", "a.tar.gz"])
def test_damaged_archive_is_an_error(tmp_path, name):
    (tmp_path / name).write_bytes(b"no archive")
    with pytest.raises((zipfile.BadZipFile, tarfile.ReadError)):
        read_members(tmp_path / name, ".png")


def test_package_is_downloaded(tmp_path, make_wheel):
    sha256 = make_wheel("somedata", {"somedata/a.txt": b"content"})
    download_package("somedata==1.0", sha256, tmp_path / "here" / "package.whl")
    assert read_members(tmp_path / "here" / "package.whl", ".txt") == {"somedata/a.txt": b"content"}


@pytest.mark.parametrize(
    "requirement,sha256", [("somedata==1.0", "0" * 64), ("somedata==2.0", None), ("other==1.0", None)]
)
def test_package_with_another_hash_or_version_is_refused(tmp_path, make_wheel, requirement, sha256):
    sha256 = sha256 or make_wheel("somedata", {"somedata/a.txt": b"content"})
    make_wheel("somedata", {"somedata/a.txt": b"content"})
    with pytest.raises(
        RuntimeError, match=rf"(?s)pip could not download {requirement} with SHA-256 {sha256}:\n.*ERROR"
    ):
        download_package(requirement, sha256, tmp_path / "package.whl")
    assert not (tmp_path / "package.whl").exists()
