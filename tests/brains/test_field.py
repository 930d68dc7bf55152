"""The blocks of docs/brains.md, on small files in the layouts of the published sets."""

import re
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import yaml
from mat73 import save_mat73
from numpy.testing import assert_allclose
from PIL import Image
from scipy.spatial.distance import squareform

from ipcl_core.brains.own import import_own_brain
from ipcl_core.brains.store import read_brain
from ipcl_core.config import OwnData

PAGE = Path(__file__).parents[2] / "docs/brains.md"
BLOCKS = {}
for text in re.findall(r"```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL):
    BLOCKS |= yaml.safe_load(text)["brains"]


def save_pictures(folder: Path, names: list[str]) -> None:
    for i, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (i, 5 * i, 100)).save(folder / name)


def draw_rsms(n_people: int, n: int) -> np.ndarray:
    """(n_people, n, n) correlation matrices."""
    patterns = np.random.default_rng(0).standard_normal((n_people, n, 30))
    return np.stack([np.corrcoef(one) for one in patterns])


def import_block(name: str, data: Path) -> tuple[list[str], dict[str, np.ndarray]]:
    """Import the page's block with the folder of the data; return the stimuli and each region's similarity vectors."""
    block = {key: value for key, value in BLOCKS[name].items() if key != "title"}
    block = yaml.safe_load(yaml.safe_dump(block).replace("/data/", f"{data}/"))
    import_own_brain(OwnData.model_validate(block), data / "pictures", data / "brain.h5")
    stimuli, regions = read_brain(data / "brain.h5")
    return stimuli, {region.name: region.rsvs for region in regions}


@pytest.mark.parametrize("save", [lambda path, **variables: scipy.io.savemat(path, variables), save_mat73])
@pytest.mark.parametrize(
    ("block", "files", "pictures"),
    [
        ("algonauts92", "Training_Data/92_Image_Set", "Training_Data/92_Image_Set/92images"),
        ("algonauts118", "Training_Data/118_Image_Set", "Training_Data/118_Image_Set/118images"),
        ("algonauts78", "Test_Data", "Test_Data/78images"),
    ],
)
def test_algonauts_2019(tmp_path, save, block, files, pictures):
    """target_fmri.mat, of version 5 as of 7.3: EVC_RDMs and IT_RDMs, 15 people x images x images, 1 - r."""
    names = [f"image_{i:02d}.jpg" for i in range(1, 7)]
    save_pictures(tmp_path / pictures, names)
    rsms = {"EVC": draw_rsms(15, 6), "IT": draw_rsms(15, 6)[::-1] ** 3}
    save(tmp_path / files / "target_fmri.mat", **{f"{region}_RDMs": 1 - rsm for region, rsm in rsms.items()})
    stimuli, found = import_block(block, tmp_path)
    assert stimuli == [f"{i:02d}_image_{i:02d}" for i in range(1, 7)]
    for region, expected in rsms.items():
        assert_allclose(found[region], [rsm[np.tril_indices(6, -1)] for rsm in expected], rtol=0, atol=1e-12)


def test_long_2018(tmp_path):
    """patterns: 8 people x pairs of 24 conditions x (originals, texforms), as MATLAB's squareform has the pairs."""
    folders = [
        f"{kind}/Class{i}-{level}"
        for kind in ("BigAnimals", "BigObjects", "SmallAnimals", "SmallObjects")
        for i, level in enumerate(("Lowest", "Low", "MedLow", "MedHigh", "High", "Highest"), 1)
    ]
    save_pictures(tmp_path / "stimuli", [f"{folder}/{i}.jpg.png-gaussian.png" for folder in folders for i in range(2)])
    (tmp_path / "order.txt").write_text("\n".join(folders))
    rsms = draw_rsms(8, 24)
    originals = np.stack([squareform(1 - rsm, checks=False) for rsm in rsms])
    patterns = np.stack([originals, originals[::-1]], 2).astype(np.float32)
    scipy.io.savemat(tmp_path / "occipitoTemp_Multivariate11-Apr-2018.mat", {"patterns": patterns})
    stimuli, found = import_block("long2018", tmp_path)
    assert stimuli[0] == "01_BigAnimals_Class1-Lowest" and stimuli[23] == "24_SmallObjects_Class6-Highest"
    assert len(list((tmp_path / "pictures" / stimuli[0]).iterdir())) == 2
    assert_allclose(found["OTC"], [rsm[np.tril_indices(24, -1)] for rsm in rsms], rtol=0, atol=1e-6)
