"""
Lists of names and numbers that stand in a file beside its values.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

SMALL = 100_000
"""Values of an array up to which it is read as a list of names."""


@dataclass(frozen=True)
class Labels:
    """A list that stands beside the values of a file."""

    where: str
    """What it is called in the file."""
    values: tuple[str, ...]
    axis: int | None = None
    """Of the values, along which it stands; None where the file does not say."""
    belongs: str | None = None
    """stimulus or participant where the format fixes it; None for a list that only stands in the same file or struct."""
    apart: bool = False
    """It stands in another group or struct than the values."""


def list_labels(where: str, array, belongs: str | None = None) -> Iterator[Labels]:
    """Yield the lists of texts or of distinct whole numbers that an array or a text is.

    A table of texts gives each of its columns and rows; a text with commas, semicolons, tabs, bars or line breaks its parts;
    any other text a list of one.

    Args:
        where: what it is called in the file.
        array: of any type and shape; in object arrays texts, whole numbers, and arrays of one of these.
        belongs: see `Labels`; then numbers need not be distinct.
    """
    array = np.asarray(array)
    if not 0 < array.size <= SMALL:
        return
    if array.dtype.kind in "iuf":
        numbers = array.ravel()
        is_list = max(array.shape, default=1) == array.size and (array.ndim or belongs)
        whole = is_list and np.isfinite(numbers).all() and (numbers % 1 == 0).all()
        if whole and (belongs or np.unique(numbers).size == numbers.size > 2):
            yield Labels(where, tuple(str(int(number)) for number in numbers), belongs=belongs)
        return
    if array.dtype.kind not in "USO":
        return
    texts = np.array([_read_text(one) for one in array.ravel()], dtype=object).reshape(array.shape)
    if max(array.shape, default=1) == array.size:
        lines = {where: texts.ravel()}
    elif array.ndim == 2:
        lines = {f"{where}(:,{j + 1})": column for j, column in enumerate(texts.T)}
        lines |= {f"{where}({i + 1},:)": row for i, row in enumerate(texts)}
    else:
        return
    for name, line in lines.items():
        if all(text is not None for text in line):
            yield Labels(name, _split_text(line[0]) if len(line) == 1 else tuple(line), belongs=belongs)


def _read_text(value) -> str | None:
    """Return a text or a whole number as text, also out of arrays of one; None for all else."""
    while isinstance(value, np.ndarray) and value.size == 1 and value.dtype.names is None:
        value = value.item()
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if isinstance(value, int | float | np.integer | np.floating) and float(value).is_integer():
        value = str(int(value))
    return str(value).strip() if isinstance(value, str) else None


def _split_text(text: str) -> tuple[str, ...]:
    parts = [part.strip(" '\"[](){}") for part in re.split(r"[,;|\t\r\n]+", text.strip())]
    return tuple(part for part in parts if part) if len(parts) > 2 else (text,)
