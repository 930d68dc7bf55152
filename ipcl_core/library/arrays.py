"""
Arrays and tables that are given from Python -> numbers, and the names that stand beside them.
"""

from collections.abc import Iterable, Mapping
from pathlib import PurePath
from typing import Any

import pandas as pd
from numpy.typing import NDArray

from ..brains.labels import Labels
from ..rsa.similarity import fill_masked


def make_plain(block: Any) -> Any:
    """Return a block with the types that YAML has: text for a path, lists for tuples and arrays, Python's own numbers."""
    if not isinstance(block, Mapping):
        return block
    return {key: to_plain(value) for key, value in block.items()}


def to_plain(value: Any) -> Any:
    """Return one such value."""
    if isinstance(value, PurePath):
        return str(value)
    if hasattr(value, "tolist"):  # numpy, pandas, torch
        return value.tolist()
    return list(value) if isinstance(value, tuple) else value


def read_array(given: Any, who: str) -> tuple[NDArray, list[Labels]]:
    """Return the numbers of an array, a tensor, a table of pandas, or a list of these; and names of a table's axes.

    Masked numbers become NaN.

    Raises:
        ValueError: they are no array, as rows of different lengths; the message begins with `who`.
    """
    if isinstance(given, list | tuple) and any(hasattr(one, "shape") for one in given):
        parts = [read_array(one, who) for one in given]
        return _make_array([array for array, _ in parts], who), [one for _, labels in parts for one in labels]
    named = []
    if isinstance(given, pd.DataFrame):
        for axis, (where, names) in enumerate((("the index", given.index), ("the columns", given.columns))):
            if not isinstance(names, pd.RangeIndex):  # pandas' own, where no names are given
                named.append(Labels(where, tuple(map(str, names)), axis, "stimulus"))
    return _make_array(given, who), named


def _make_array(given: Any, who: str) -> NDArray:
    try:
        return fill_masked(given)
    except (ValueError, TypeError, RuntimeError) as error:
        raise ValueError(f"{who}: is no array of numbers: {error}") from None


def read_names(stimuli: Iterable[Any]) -> list[str]:
    """Return names that are given as a list, an array or a column, of texts, numbers or paths.

    Raises:
        ValueError: one text or number is given in place of several.
    """
    if isinstance(stimuli, str | bytes) or not isinstance(stimuli, Iterable):
        raise ValueError(f"stimuli: found {stimuli!r}; give a list of names")
    return [one.decode() if isinstance(one, bytes) else str(one) for one in stimuli]


def check_keys(keys: Iterable[Any], what: str, who: str) -> list[str]:
    """Return the names of regions or layers (`what`), which are those of datasets in HDF5 files.

    Raises:
        ValueError: there is none; one stands twice, is empty, or is what another begins with before a /.
    """
    names = list(map(str, keys))
    if not names:
        raise ValueError(f"{who}: found no {what}; give a dictionary, {what} -> array")
    for name in names:
        if not all(part.strip(".") for part in name.split("/")):
            raise ValueError(f"{what} {name!r}: cannot be the name of a dataset; give another one")
        if names.count(name) > 1:
            raise ValueError(f"{what} {name}: stands {names.count(name)} times")
        if longer := [other for other in names if other.startswith(f"{name}/")]:
            raise ValueError(
                f"{what} {longer[0]}: cannot stand beside {what} {name}; write another letter than / in it"
            )
    return names
