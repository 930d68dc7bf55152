import hashlib
import http.server
import io
import ssl
import subprocess
import tarfile
import threading
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


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves CONTENT; /cut ends early, /endless does not say its size."""

    def do_GET(self):
        self.send_response(200)
        if self.path != "/endless":
            self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT[: 700_000 if self.path == "/cut" else None])

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server(tmp_path, monkeypatch):
    """The address of a real https server on this machine; its certificate is trusted within the test."""
    key, certificate = str(tmp_path / "key.pem"), str(tmp_path / "certificate.pem")
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", certificate]
    subprocess.run(command, check=True, capture_output=True)
    monkeypatch.setenv("SSL_CERT_FILE", certificate)
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    server = http.server.ThreadingHTTPServer(("localhost", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"https://localhost:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_file_is_downloaded(tmp_path, server):
    for name in ("net", "endless"):
        fetch_file(f"{server}/{name}", tmp_path / "here" / name, digest=f"sha256:{SHA256[:10]}", max_mb=2)
        assert (tmp_path / "here" / name).read_bytes() == CONTENT


@pytest.mark.parametrize(
    "path,max_mb,error,message",
    [
        ("cut", 2, OSError, "the connection ended after 700000 of 1280000 bytes"),
        ("net", 1, ValueError, "more than the 1000000 bytes"),
        ("endless", 1, ValueError, "more than the 1000000 bytes"),
    ],
)
def test_download_that_ends_early_or_is_too_large_leaves_nothing(tmp_path, server, path, max_mb, error, message):
    with pytest.raises(error, match=message):
        fetch_file(f"{server}/{path}", tmp_path / "here" / "net", digest=f"sha256:{SHA256}", max_mb=max_mb)
    assert not list((tmp_path / "here").iterdir())


def test_address_that_does_not_answer_is_named(tmp_path):
    with pytest.raises(OSError, match=r"https://localhost:9/net\.pth: cannot be downloaded"):
        fetch_file("https://localhost:9/net.pth", tmp_path / "net", digest=None, max_mb=1)
