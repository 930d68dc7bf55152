"""
Which code makes what a script writes, read from the import statements.

The workflow makes cheap artifacts again when it changes, and records name each file with its SHA-256.
"""

import ast
import os
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from .files import compute_sha256

PACKAGE = Path(__file__).resolve().parent
BOOKKEEPING = {PACKAGE / "code.py", PACKAGE / "logs.py", PACKAGE / "records.py"}
"""They say what was done; no artifact is made by them."""
FILE_NAME = re.compile(r"[\"']([\w./-]{1,70}\.\w+)[\"']")
"""A string that may name a file."""
BUILDERS = PACKAGE / "config/architectures.py"
"""It names the classes of networks, as MODULE:NAME, and imports none."""
BUILDING = PACKAGE / "networks/architectures.py"
"""It imports what BUILDERS names."""


def list_code(path: str | Path) -> list[Path]:
    """Return a script or module and the files of this package behind it, sorted: modules that it imports, directly or through
    others, wherever the statement stands, the networks' where BUILDING is among them, and data whose name stands in one of
    them, relative to the package or to its folder.

    A name that a package's `__init__` hands on counts as the module that it comes from. BOOKKEEPING is left out.
    """
    left = [Path(path).resolve()]
    found = {*left}
    while left:
        for file in _list_direct(left.pop()) - found - BOOKKEEPING:
            found.add(file)
            left.append(file)
    return sorted(found)


@cache
def hash_code(path: str | Path) -> dict[str, str]:
    """Return the files of `list_code`, named relative to the checkout -> SHA-256."""
    return {os.path.relpath(file, PACKAGE.parent): compute_sha256(file) for file in list_code(path)}


@cache
def _list_direct(path: Path) -> set[Path]:
    """Return what a file of Python names itself; of other files nothing."""
    if path.suffix != ".py":
        return set()
    found = set()
    if path == BUILDING:
        named = re.findall(rf"[\"']({PACKAGE.name}[.\w]+):(\w+)[\"']", BUILDERS.read_text(encoding="utf-8"))
        found |= {_find_module(PACKAGE.parent, *one) for one in named}
    for node in _list_imports(path):
        folder = _find_folder(path, node)
        if folder is not None:
            found |= {_find_module(folder, node.module, alias.name) for alias in node.names}
    for name in set(FILE_NAME.findall(path.read_text(encoding="utf-8"))):
        found |= {file for file in (PACKAGE / name, path.parent / name) if _is_data(file)}
    return found


@cache
def _list_imports(path: Path) -> list[ast.ImportFrom]:
    """Return the statements `from ... import ...` of a file of Python, wherever they stand."""
    return list(_find_imports(ast.parse(path.read_text(encoding="utf-8"))))


def _find_imports(node: ast.AST) -> Iterator[ast.ImportFrom]:
    """Expressions, of which most of a file consists, are passed over."""
    if isinstance(node, ast.ImportFrom):
        yield node
    for block in ("body", "orelse", "finalbody", "handlers", "cases"):
        inner = getattr(node, block, None)
        for statement in inner if isinstance(inner, list) else ():
            yield from _find_imports(statement)


def _is_data(file: Path) -> bool:
    return file.suffix not in ("", ".py") and file.is_relative_to(PACKAGE) and file.is_file()


def _find_folder(path: Path, node: ast.ImportFrom) -> Path | None:
    """Return the folder that an import's module is relative to, None where it is not of this package."""
    if node.level:
        return path.parents[node.level - 1]
    return PACKAGE.parent if node.module.split(".")[0] == PACKAGE.name else None


def _find_module(folder: Path, module: str | None, name: str) -> Path:
    """Return the file that `from module import name` takes `name` from."""
    place = folder.joinpath(*module.split(".")) if module else folder
    if place.with_suffix(".py").is_file():
        return place.with_suffix(".py")
    for inner in (place / f"{name}.py", place / name / "__init__.py"):
        if inner.is_file():
            return inner
    face = place / "__init__.py"
    for node in _list_imports(face):
        if name in [alias.asname or alias.name for alias in node.names]:
            return _find_module(_find_folder(face, node), node.module, name)
    return face
