"""One's own brain data as tests write them: pictures, patterns drawn at random, and the block that names them."""

import shutil
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose
from PIL import Image

from ipcl_core.brains.own import import_own_brain
from ipcl_core.brains.store import Region, read_brain
from ipcl_core.config import OwnBrain
from ipcl_core.rsa.similarity import vectorize_rsm

NAMES = ["mug", "bike", "apple", "chair", "kite", "drum"]  # the order of the data; the folder's is another
PARTICIPANTS, REGIONS = ["sub-01", "sub-02", "sub-03"], ["EarlyV", "IT"]
SHUFFLED = [3, 1, 0, 2, 5, 4]
N_VOXELS = {"EarlyV": 40, "IT": 25}


@dataclass
class Own:
    """A folder with stimuli, order.txt, and patterns to be written in some layout."""

    folder: Path
    patterns: dict[tuple[str, str], np.ndarray] = field(default_factory=dict)
    """(participant, region) -> (6, n_voxels)."""

    def __post_init__(self) -> None:
        rng = np.random.default_rng(0)
        for participant in PARTICIPANTS:
            for region, n in N_VOXELS.items():
                self.patterns[participant, region] = rng.standard_normal((len(NAMES), n)) * 5 + 2

    def write(self, save, name: str = "{participant}_{region}.npy", change=lambda array: array) -> str:
        """Save each array, changed, by `save(path, array)`; return the template."""
        for (participant, region), array in self.patterns.items():
            save(self.folder / name.format(participant=participant, region=region), change(array))
        return str(self.folder / name)

    def make_block(self, **changes) -> OwnBrain:
        values = {
            "source": "own",
            "title": "My objects",
            "stimuli": str(self.folder / "images"),
            "order": str(self.folder / "order.txt"),
            "participants": PARTICIPANTS,
            "regions": REGIONS,
            "kind": "patterns",
            "files": str(self.folder / "{participant}_{region}.npy"),
        }
        return OwnBrain.model_validate(values | changes)

    def import_all(self, **changes) -> list[Region]:
        block = self.make_block(**changes)
        import_own_brain(block, self.folder / "stimuli", self.brain)
        return read_brain(self.brain)[1]

    @property
    def brain(self) -> Path:
        return self.folder / "brain.h5"

    def expect(self, distance=lambda array: 1 - np.corrcoef(array)) -> dict[str, np.ndarray]:
        """Region -> (3, 15) similarities, 1 - distance."""
        return {
            region: np.stack([vectorize_rsm(1 - distance(self.patterns[who, region])) for who in PARTICIPANTS])
            for region in REGIONS
        }


def make_own(folder: Path, photo) -> Own:
    (folder / "images").mkdir()
    for i, name in enumerate(NAMES):
        photo.crop((50 * i, 60 * i, 50 * i + 60, 60 * i + 50)).save(folder / f"images/{name}.png")
    (folder / "order.txt").write_text("".join(f"{name}.png\n" for name in NAMES))
    return Own(folder)


def make_square_own(folder: Path, photo) -> Own:
    """With square pictures that differ, of which nothing is to be told."""
    own = make_own(folder, photo)
    for i, name in enumerate(NAMES):
        Image.new("RGB", (60, 60), (i, 0, 0)).save(folder / f"images/{name}.png")
    return own


def refuse(own: Own, message: str, **changes) -> None:
    with pytest.raises(ValueError, match=message):
        own.import_all(**changes)
    assert not own.brain.exists() and not (own.folder / "stimuli").exists()


def put(own: Own, array, name: str = "sub-02_IT.npy") -> None:
    np.save(own.folder / name, array, allow_pickle=True)


def check(own: Own, expected: dict | None = None, atol: float = 1e-12, **changes) -> None:
    regions = own.import_all(**changes)
    assert [region.name for region in regions] == REGIONS
    for region in regions:
        assert region.participants == PARTICIPANTS and not region.group
        assert_allclose(region.rsvs, (expected or own.expect())[region.name], rtol=0, atol=atol)


def check_names(own: Own, **changes) -> None:
    """Check what is imported, and remove it, as another that is refused leaves nothing."""
    check(own, **changes)
    own.brain.unlink()
    shutil.rmtree(own.folder / "stimuli")
