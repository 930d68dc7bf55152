"""
Odd-one-out judgments: which of three stimuli differs most from the other two, as observers said.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..config.templates import find_suffix, split_reference
from .names import find_stimuli
from .own_files import read_values
from .tables import read_table

COLUMNS = ["stimulus_1", "stimulus_2", "stimulus_3", "odd"]
FORMS = (
    f"a CSV with the columns {', '.join(COLUMNS)} and, where it is known, observer; or numbers in three columns, the two "
    "stimuli that were judged alike and then the odd one"
)


def read_triplets(reference: str | Path, stimuli: list[str]) -> tuple[NDArray, NDArray]:
    """Return the answers, (n_answers, 3) int: the numbers (from 0) of the two stimuli judged alike, then of the odd one, and
    the observers, (n_answers,) names, "" where they are not known.

    Args:
        reference: FORMS; numbers stand in .txt (between spaces), .npy, .mat or HDF5 (`path#variable`). In place of names a CSV
            may have numbers. Numbers count from 0 where one of them is 0, from 1 where one is the number of stimuli.
        stimuli: names, in order.

    Raises:
        ValueError: the file is of another form, holds nothing, names what is no stimulus, numbers that can count from 0 or
            from 1 or go beyond the stimuli, one stimulus twice in a triplet, or an odd one that is none of the three.
    """
    path = split_reference(str(reference))[0]
    if find_suffix(path) == ".csv":
        shown, odd, observers = _read_table(path, stimuli)
    else:
        numbers = _read_numbers(str(reference), path)
        shown = _count_from_zero(numbers, len(stimuli), path)
        odd, observers = shown[:, 2], np.full(len(shown), "")
    if not len(shown):
        raise ValueError(f"{path}: holds no triplets")
    repeated = (shown[:, [0, 0, 1]] == shown[:, [1, 2, 2]]).any(1)
    if repeated.any():
        row = int(repeated.argmax())
        names = ", ".join(stimuli[i] for i in shown[row])
        raise ValueError(f"{path}: triplet {row + 1} shows one stimulus twice: {names}")
    is_odd = shown == odd[:, None]
    if not is_odd.any(1).all():
        row = int((~is_odd.any(1)).argmax())
        names = ", ".join(stimuli[i] for i in shown[row])
        raise ValueError(
            f"{path}: triplet {row + 1}: the odd one, {stimuli[odd[row]]}, is none of {names}; odd is a stimulus, not a place"
        )
    alike = np.sort(shown[~is_odd].reshape(-1, 2), axis=1)
    return np.column_stack([alike, odd]), observers


def _read_table(path: Path, stimuli: list[str]) -> tuple[NDArray, NDArray, NDArray]:
    table = read_table(path, COLUMNS, FORMS)
    cells = table[COLUMNS].to_numpy()
    labels = list(dict.fromkeys(cells.ravel()))
    found = find_stimuli(labels, stimuli)
    if None in found and all(label.isdecimal() for label in labels):
        numbers = _count_from_zero(cells.astype(np.int64), len(stimuli), path)
    elif None in found:
        name = labels[found.index(None)]
        raise ValueError(
            f"{path}: {name!r} is none of the {len(stimuli)} stimuli, such as {stimuli[0]}; odd is a stimulus, not a place"
        )
    else:
        number_of = dict(zip(labels, found, strict=True))
        numbers = np.array([[number_of[label] for label in row] for row in cells], np.int64).reshape(-1, 4)
    observers = table["observer"].to_numpy(str) if "observer" in table else np.full(len(table), "")
    return numbers[:, :3], numbers[:, 3], observers


def _read_numbers(reference: str, path: Path) -> NDArray:
    if find_suffix(path) == ".txt":
        if not path.read_text(encoding="utf-8-sig").strip():
            return np.empty((0, 3), np.int64)
        try:
            values = np.loadtxt(path, ndmin=2, encoding="utf-8-sig")
        except ValueError as error:
            raise ValueError(f"{path}: {error}; needs {FORMS}") from None
    else:
        values = read_values(reference).values
    if values.ndim != 2 or values.shape[1] != 3 or values.dtype.kind not in "fiu" or (values % 1 != 0).any():
        raise ValueError(f"{path}: found an array of shape {values.shape} and type {values.dtype}; needs {FORMS}")
    return values.astype(np.int64)


def _count_from_zero(numbers: NDArray, n: int, path: Path) -> NDArray:
    """Return numbers of n stimuli that count from 0, by the smallest and the largest that the file has."""
    if not numbers.size:
        return numbers
    low, high = numbers.min(), numbers.max()
    if low < 0 or high > n or (low == 0 and high == n):
        raise ValueError(f"{path}: has stimuli {low} to {high}; the {n} are 0 to {n - 1}, or 1 to {n}")
    if low > 0 and high < n:
        raise ValueError(
            f"{path}: has stimuli {low} to {high} of {n}, which can count from 0 or from 1; give names in a CSV"
        )
    return numbers - (low > 0)
