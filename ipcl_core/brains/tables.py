"""
Tables of texts that users write: folds, categories, triplets, events.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from .kinds import refuse_kind


def hint_at_separator(text: str) -> str:
    """Say which other separator than commas stands in a line or a cell."""
    found = [name for mark, name in ((";", "semicolons"), ("\t", "tabs")) if mark in text]
    found += ["spaces"] if re.fullmatch(r"[-+.\deE]+( +[-+.\deE]+)+", text.strip()) else []
    return f"; cells are separated by {found[0]}: give commas between cells, points in numbers" if found else ""


def read_table(path: str | Path, columns: Sequence[str], needs: str = "", separator: str = ",") -> pd.DataFrame:
    """Return a table of texts, without the spaces round them; empty cells hold "".

    Args:
        path: CSV in UTF-8.
        columns: of which it has each once; it may have others.
        needs: what the file should be; left out: those columns.
        separator: between cells.

    Raises:
        ValueError: it lacks a column, or has one twice; a row has more cells than the first; it is no such text.
    """
    refuse_kind(path, "")
    try:
        cells = pd.read_csv(path, sep=separator, header=None, dtype=str, keep_default_na=False).fillna("")
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: is no table of cells with {separator!r} between, in UTF-8: {error}") from None
    cells = cells.apply(lambda column: column.str.strip())
    names = list(cells.iloc[0])
    if lacking := [name for name in columns if name not in names]:
        raise ValueError(
            f"{path}: lacks the column {lacking[0]}; needs {needs or ' and '.join(columns)}; has {', '.join(names)}"
            + hint_at_separator("".join(names))
        )
    if twice := [name for name in columns if names.count(name) > 1]:
        raise ValueError(f"{path}: has the column {twice[0]} {names.count(twice[0])} times")
    return cells.iloc[1:].set_axis(names, axis=1).reset_index(drop=True)
