"""
Which stimuli are held out together: at random, as the user's file says, or as the set itself does.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..rsa.inference import draw_permutations
from .names import find_stimuli
from .tables import read_table

MIN_HELD_OUT = 4
"""Fewest held-out stimuli, six pairs."""
TRAIN = "train"
"""The fold that is never held out."""


def split_stimuli(n_stimuli: int, *, n_folds: int, n_repeats: int, seed: int) -> NDArray:
    """Return which stimuli each fold holds out, (n_repeats n_folds, n_stimuli) bool.

    In each repetition every stimulus is held out once, in folds whose sizes differ by at most one.
    """
    orders = draw_permutations(n_stimuli, n_permutations=n_repeats, seed=seed)
    folds = (orders * n_folds) // n_stimuli  # (n_repeats, n_stimuli), 0 to n_folds - 1
    return (folds[:, None] == np.arange(n_folds)[:, None]).reshape(-1, n_stimuli)


def divide_stimuli(stimuli: list[str], folds: str | Path | list[str] | None, *, n_folds: int, seed: int) -> NDArray:
    """Return which stimuli each fold holds out, (n_folds, n_stimuli) bool; those that none holds out are always learnt from.

    Args:
        stimuli: names, as in brain.h5.
        folds: CSV with columns stimulus and fold, see `config.OwnBrain`; or the name of each stimulus's fold, of
            `store.read_folds`; None: `split_stimuli`, once.

    Raises:
        ValueError: the file lacks a column or a stimulus, names one that is none, or one twice; a fold holds out fewer than
            MIN_HELD_OUT stimuli, or leaves fewer to learn from.
    """
    if folds is None:
        held_out, who = split_stimuli(len(stimuli), n_folds=n_folds, n_repeats=1, seed=seed), "encoding.n_folds"
    elif isinstance(folds, list):
        held_out, who = _hold_out(folds, folds), "the data set's own folds"
    else:
        held_out, who = _read_folds(folds, stimuli), f"{folds}"
    least = min(held_out.sum(1).min(), (~held_out).sum(1).min())
    if least < MIN_HELD_OUT:
        raise ValueError(
            f"{who}: {len(held_out)} fold(s) of {len(stimuli)} stimuli: one has {least} to learn from or to be judged on, and "
            f"needs at least {MIN_HELD_OUT}"
        )
    return held_out


def _hold_out(folds: list[str], order: Iterable[str]) -> NDArray:
    names = [name for name in dict.fromkeys(order) if name != TRAIN]
    return np.array([[fold == name for fold in folds] for name in names])


def _read_folds(path: str | Path, stimuli: list[str]) -> NDArray:
    folds = read_column(path, stimuli, "fold")
    if like := [fold for fold in folds.values() if fold != TRAIN and fold.casefold() == TRAIN]:
        raise ValueError(f"{path}: has the fold {like[0]}; the one that is never held out is written {TRAIN}")
    if set(folds.values()) == {TRAIN}:
        raise ValueError(f"{path}: all stimuli are in the fold {TRAIN}; none is held out")
    return _hold_out([folds[stimulus] for stimulus in stimuli], folds.values())


def read_column(path: str | Path, stimuli: list[str], column: str) -> dict[str, str]:
    """Return what a CSV with the columns stimulus and another says of each stimulus, in the order of the file.

    Raises:
        ValueError: the file lacks a column or a stimulus, names one that is none, or one twice, leaves a cell empty, or has
            values that differ in case alone.
    """
    table = read_table(path, ["stimulus", column])
    values: dict[str, str] = {}
    for value in table[column]:
        if values.setdefault(value.casefold(), value) != value:
            raise ValueError(
                f"{path}: {values[value.casefold()]!r} and {value!r} differ in case alone; write one of them"
            )
    order = find_stimuli(list(table["stimulus"]), stimuli)
    for name, value, number in zip(table["stimulus"], table[column], order, strict=True):
        if number is None:
            raise ValueError(f"{path}: {name!r} is none of the {len(stimuli)} stimuli, such as {stimuli[0]}")
        if order.count(number) > 1:
            raise ValueError(f"{path}: {name!r} stands there twice")
        if not value:
            raise ValueError(f"{path}: {name!r} has no {column}")
    if missing := [name for i, name in enumerate(stimuli) if i not in order]:
        raise ValueError(f"{path}: lacks {len(missing)} of {len(stimuli)} stimuli, first {missing[0]}")
    return {stimuli[number]: value for number, value in zip(order, table[column], strict=True)}
