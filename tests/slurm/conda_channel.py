"""A conda channel of stub packages, on disk: what the project's environment files ask for, and nothing inside.

Its `python` runs the interpreter of the environment that makes it, so that a job in a solved, linked and activated conda
environment really works. It shows that the files are well formed, can be solved together and reach the jobs; not that the
versions exist on conda-forge.
"""

import hashlib
import io
import json
import sys
import tarfile
from pathlib import Path

import yaml


def read_specs(*environments: Path) -> dict[str, str]:
    """Return the version of every conda package that environment files name; 1 where they name none."""
    lines = [line for path in environments for line in yaml.safe_load(path.read_text())["dependencies"]]
    specs = [line.partition("=") for line in lines if isinstance(line, str)]
    return {name: version or "1" for name, _, version in specs}


def make_channel(folder: Path, specs: dict[str, str], path: Path) -> None:
    """Write a channel with one package a name.

    Args:
        folder: of the channel.
        specs: name -> version.
        path: PYTHONPATH of its python; Snakemake empties that of the shell before an environment is activated.
    """
    packages = {}
    for name, version in specs.items():
        script = f'#!/bin/sh\nPYTHONPATH={path} exec {sys.executable} "$@"\n'
        files = {"bin/python": script, "bin/python3": script} if name == "python" else {f"share/{name}": version}
        index = {
            "name": name,
            "version": version,
            "build": "0",
            "build_number": 0,
            "depends": [],
            "subdir": "linux-64",
            "arch": "x86_64",
            "platform": "linux",
        }
        hashes = {path: hashlib.sha256(text.encode()).hexdigest() for path, text in files.items()}
        paths = [
            {"_path": path, "path_type": "hardlink", "sha256": hashes[path], "size_in_bytes": len(text.encode())}
            for path, text in files.items()
        ]
        info = {
            "info/index.json": json.dumps(index),
            "info/files": "\n".join(files),
            "info/paths.json": json.dumps({"paths_version": 1, "paths": paths}),
        }
        archive = folder / "linux-64" / f"{name}-{version}-0.tar.bz2"
        archive.parent.mkdir(parents=True, exist_ok=True)
        with tarfile.open(archive, "w:bz2") as tar:
            for path, text in (info | files).items():
                member = tarfile.TarInfo(path)
                member.size, member.mode = len(text.encode()), 0o755
                tar.addfile(member, io.BytesIO(text.encode()))
        content = archive.read_bytes()
        packages[archive.name] = index | {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
    for subdir, table in (("linux-64", packages), ("noarch", {})):
        (folder / subdir).mkdir(exist_ok=True)
        repodata = {"info": {"subdir": subdir}, "packages": table, "packages.conda": {}, "repodata_version": 1}
        (folder / subdir / "repodata.json").write_text(json.dumps(repodata))
