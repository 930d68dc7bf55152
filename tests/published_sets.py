"""Small files in the layouts of published brain data, and what their import must give."""

from pathlib import Path

import nibabel
import numpy as np
import pytest
from numpy.testing import assert_allclose
from PIL import Image

from ipcl_core.brains.store import read_brain, read_patterns

SHAPE = (3, 4, 2)


def save_volume(path: Path, values: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), path)


def save_picture(path: Path, number: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), (20 * number, 50, 50)).save(path)


def run(importer, block, folder: Path) -> tuple[list[str], dict[str, dict[str, np.ndarray]]]:
    """Import; return the stimuli, and region -> participant -> patterns, whose similarities are checked."""
    importer(block, folder / "pictures", folder / "brain.h5")
    stimuli, regions = read_brain(folder / "brain.h5")
    found = {}
    for region in regions:
        found[region.name] = read_patterns(folder / "brain.h5", region.name)
        for rsv, patterns in zip(region.rsvs, found[region.name].values(), strict=True):
            rsm = np.corrcoef(patterns.mean(0))
            assert_allclose(rsv, rsm[np.tril_indices(len(stimuli), -1)], rtol=0, atol=1e-9)
    return stimuli, found


def refuse(importer, block, folder: Path, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        importer(block, folder / "pictures", folder / "brain.h5")
    assert not (folder / "brain.h5").exists()
