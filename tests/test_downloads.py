import hashlib
import io
import signal
import subprocess
import sys
import tarfile
import time
import zipfile

import pytest

from ipcl_core import downloads
from ipcl_core.downloads import download_package, fetch_file, read_members

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
    monkeypatch.setattr(downloads, "MAX_MEMBER_BYTES", 6)
    assert len(read_members(archive, ".png")) == 3
    monkeypatch.setattr(downloads, "MAX_MEMBER_BYTES", 2)
    with pytest.raises(ValueError, match=rf"{name}: with .*, \d bytes, more than the 2 that are read"):
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
    with pytest.raises(ValueError, match=f"{name}: "):
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


# ---- files at an address ---------------------------------------------------------------------------------------------

CONTENT = bytes(range(256)) * 5000  # 1.28 MB, more than one chunk
SHA256, MD5 = hashlib.sha256(CONTENT).hexdigest(), hashlib.md5(CONTENT).hexdigest()


@pytest.fixture
def source(tmp_path):
    (tmp_path / "source.pth").write_bytes(CONTENT)
    return tmp_path / "source.pth"


@pytest.mark.parametrize("digest", [f"sha256:{SHA256}", f"sha256:{SHA256[:8]}", f"md5:{MD5}", f"md5:{MD5[:8]}"])
def test_file_of_this_machine_is_copied(tmp_path, source, digest):
    fetch_file(str(source), tmp_path / "here" / "net", digest=digest, max_mb=2)
    assert [path.name for path in (tmp_path / "here").iterdir()] == ["net"]
    assert (tmp_path / "here" / "net").read_bytes() == source.read_bytes() == CONTENT


@pytest.mark.parametrize(
    "digest", ["sha256:00000000", f"md5:{SHA256[:8]}", f"sha256:{SHA256[:8]}0000", f"sha256:{SHA256[1:9]}"]
)
def test_file_with_another_hash_is_refused(tmp_path, source, digest):
    kind, wanted = digest.split(":")
    with pytest.raises(ValueError, match=rf"source\.pth: its {kind} is [0-9a-f]+, not {wanted}; it was deleted"):
        fetch_file(str(source), tmp_path / "here" / "net", digest=digest, max_mb=2)
    assert not list((tmp_path / "here").iterdir())


def test_file_without_known_hash_is_kept_but_not_used(tmp_path, source):
    """The hash that the message tells, written down, takes the kept file; the address is not asked again."""
    for _ in range(2):
        with pytest.raises(
            ValueError, match=rf"has 1280000 bytes and the SHA-256 {SHA256}\. .* `hash: sha256:{SHA256}`"
        ):
            fetch_file(str(source), tmp_path / "here" / "net", digest=None, max_mb=2)
        assert not (tmp_path / "here" / "net").exists()
        source.unlink(missing_ok=True)
    with pytest.raises(FileNotFoundError, match="other"):  # what was kept belongs to its address
        fetch_file(str(tmp_path / "other.pth"), tmp_path / "here" / "net", digest=None, max_mb=2)
    fetch_file(str(source), tmp_path / "here" / "net", digest=f"sha256:{SHA256}", max_mb=2)
    assert (tmp_path / "here" / "net").read_bytes() == CONTENT


def test_large_file_is_refused(tmp_path, source):
    with pytest.raises(ValueError, match=r"source\.pth: has more than the 1000000 bytes that max_mb allows"):
        fetch_file(str(source), tmp_path / "here" / "net", digest=f"sha256:{SHA256}", max_mb=1)
    assert not list((tmp_path / "here").iterdir())


def fetch(site, name: str, path, *, digest: str | None = f"sha256:{SHA256}", max_mb: int = 2) -> None:
    site.files.setdefault(f"/{name}", CONTENT)
    fetch_file(f"{site.url}/{name}", path, digest=digest, max_mb=max_mb)


def test_file_is_downloaded(tmp_path, site):
    site.faults["/endless"] = "no size"
    for name in ("net", "endless"):
        fetch(site, name, tmp_path / "here" / name, digest=f"sha256:{SHA256[:10]}")
        assert (tmp_path / "here" / name).read_bytes() == CONTENT
    assert {path.name for path in (tmp_path / "here").iterdir()} == {"net", "endless"}


@pytest.mark.parametrize(
    "fault,max_mb,error,message",
    [
        ("no tag", 2, OSError, "the connection ended after 640000 of 1280000 bytes"),
        (None, 1, ValueError, "more than the 1000000 bytes"),
        ("no size", 1, ValueError, "more than the 1000000 bytes"),
    ],
)
def test_download_that_ends_early_or_is_too_large_leaves_nothing(tmp_path, site, fault, max_mb, error, message):
    site.faults["/net"] = fault
    with pytest.raises(error, match=message):
        fetch(site, "net", tmp_path / "here" / "net", max_mb=max_mb)
    assert not list((tmp_path / "here").iterdir())


def test_download_goes_on_where_the_connection_broke(tmp_path, site, monkeypatch):
    """Two faults one behind the other; then only the rest is asked for."""
    monkeypatch.setattr(downloads, "TIMEOUT", 1)
    site.faults["/net"] = "cut"
    with pytest.raises(OSError, match="the connection ended after 640000 of 1280000 bytes"):
        fetch(site, "net", tmp_path / "net")
    site.faults["/net"] = "silent"
    with pytest.raises(OSError, match="net: nothing came for 1 s after 960000 bytes"):
        fetch(site, "net", tmp_path / "net")
    assert not (tmp_path / "net").exists()
    del site.faults["/net"]
    fetch(site, "net", tmp_path / "net")
    assert (tmp_path / "net").read_bytes() == CONTENT
    assert [path.name for path in tmp_path.iterdir()] == ["net"]
    assert [asked for _, asked in site.asked if asked] == ["bytes=640000-", "bytes=960000-"]


def test_download_goes_on_where_its_process_was_killed(tmp_path, site):
    """The server falls silent halfway, so that the process is killed while it waits for more."""
    site.files["/net"], site.faults["/net"] = CONTENT, "silent"
    call = f"fetch_file({f'{site.url}/net'!r}, {str(tmp_path / 'net')!r}, digest='sha256:{SHA256}', max_mb=2)"
    with subprocess.Popen([sys.executable, "-c", f"from ipcl_core.downloads import fetch_file; {call}"]) as process:
        while process.poll() is None and not sum(path.stat().st_size for path in tmp_path.glob("net.*.part")):
            time.sleep(0.01)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    (part,) = tmp_path.iterdir()
    came = part.stat().st_size
    assert 0 < came <= len(CONTENT) // 2
    del site.faults["/net"]
    fetch(site, "net", tmp_path / "net")
    assert (tmp_path / "net").read_bytes() == CONTENT and [path.name for path in tmp_path.iterdir()] == ["net"]
    assert [asked for _, asked in site.asked] == [None, None, f"bytes={came}-"]


def test_download_starts_anew_where_the_file_has_changed(tmp_path, site):
    site.files["/net"] = bytes(len(CONTENT))
    site.faults["/net"] = "cut"
    with pytest.raises(OSError, match="the connection ended"):
        fetch(site, "net", tmp_path / "net")
    del site.faults["/net"]
    site.files["/net"] = CONTENT
    fetch(site, "net", tmp_path / "net")
    assert (tmp_path / "net").read_bytes() == CONTENT
    assert [path.name for path in tmp_path.iterdir()] == ["net"]


def test_download_whose_size_is_not_said_starts_anew(tmp_path, site):
    """What came before stays no part of it: with an unknown hash, that of the wrong file would be printed."""
    site.faults["/net"] = "cut"
    with pytest.raises(OSError, match="the connection ended"):
        fetch(site, "net", tmp_path / "net")
    site.faults["/net"] = "no size"
    with pytest.raises(ValueError, match=f"It has {len(CONTENT)} bytes and the SHA-256 {SHA256}"):
        fetch(site, "net", tmp_path / "net", digest=None)
    fetch(site, "net", tmp_path / "net")
    assert (tmp_path / "net").read_bytes() == CONTENT


def test_file_that_is_not_there_is_named(tmp_path, site):
    with pytest.raises(OSError, match=r"/other: cannot be downloaded \(HTTP Error 404: Not Found\)"):
        fetch_file(f"{site.url}/other", tmp_path / "net", digest=None, max_mb=1)


def test_address_that_does_not_answer_is_named(tmp_path):
    with pytest.raises(OSError, match=r"https://localhost:9/net\.pth: cannot be downloaded"):
        fetch_file("https://localhost:9/net.pth", tmp_path / "net", digest=None, max_mb=1)
