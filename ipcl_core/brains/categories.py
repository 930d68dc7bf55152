"""
Categories of the stimuli, as features that stand beside models.
"""

from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from ..config.data import FOLDERS
from .folds import read_column
from .stimuli import list_conditions


def read_categories(source: str, stimuli: list[str], images: str, order: str | None) -> NDArray:
    """Return which category each stimulus is of, (n_stimuli, n_categories) of 0 and 1, categories sorted by name.

    Args:
        source: CSV with columns stimulus and category; or FOLDERS, of the first picture of each condition of `order`.
        stimuli: names, as in brain.h5.
        images, order: folder and file of the brain data set's block, for FOLDERS.

    Raises:
        ValueError: `folds.read_column`; a picture stands in no folder; there is only one category.
    """
    if source == FOLDERS:
        conditions = list_conditions(images, order)
        labels = [PurePosixPath(pictures[0]).parent.name for pictures in conditions.values()]
        if "" in labels:
            name = list(conditions)[labels.index("")]
            raise ValueError(
                f"{order or images}: {name} stands in no folder below {images}, which would be its category"
            )
    else:
        found = read_column(source, stimuli, "category")
        labels = [found[stimulus] for stimulus in stimuli]
    names = sorted(set(labels))
    if len(names) < 2:
        raise ValueError(f"{source}: all {len(stimuli)} stimuli are of one category, {names[0]}")
    return (np.array(labels)[:, None] == np.array(names)).astype(np.float64)
