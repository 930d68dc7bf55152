"""A small Natural Scenes Dataset in the layout of the real one: two sessions of two participants, 4 x 3 x 5 voxels."""

import re
from pathlib import Path

import h5py
import nibabel
import numpy as np
import pandas as pd
import pytest
import scipy.io
import yaml
from numpy.testing import assert_allclose
from PIL import Image
from published_sets import save_volume

from ipcl_core.brains.nsd import import_nsd
from ipcl_core.brains.store import read_brain, read_folds, read_patterns
from ipcl_core.config import load_config

PEOPLE, SHAPE = ["subj02", "subj05"], (4, 3, 5)  # x, y, z
OTC = "nsdgeneral & streams=2,5 | floc-faces=1 & floc_facestval>=1.5 | floc-places=2"
REGIONS = {"EarlyV": "prf-visualrois=1,2", "all": "nsdgeneral", "OTC": OTC}
SHARED = np.sort(np.random.default_rng(0).permutation(73_000)[:1000]) + 1
OFTEN = (7, 100, 500, 999)  # places in SHARED of images that both see three times in two sessions; 3 is seen twice
COCO = (512, 90, 300, 17)  # their numbers there


@pytest.fixture
def folder(tmp_path) -> Path:
    rng = np.random.default_rng(1)
    order = rng.integers(1001, 10_001, 30_000)
    order[rng.permutation(1500)[:14]] = [place + 1 for place in OFTEN for _ in range(3)] + [4, 4]
    order[1500:1510] = 4  # a third time in a session that nobody finished
    images = np.tile(np.arange(1, 10_001), (8, 1))
    images[:, :1000] = SHARED
    images[:, 1000:] = np.setdiff1d(np.arange(1, 73_001), SHARED)[:9000]
    design = {"masterordering": order[None], "subjectim": images, "sharedix": SHARED[None]}
    (tmp_path / "nsddata/experiments/nsd").mkdir(parents=True)
    scipy.io.savemat(tmp_path / "nsddata/experiments/nsd/nsd_expdesign.mat", design)
    for one in PEOPLE:
        rois = tmp_path / "nsddata/ppdata" / one / "func1pt8mm/roi"
        save_volume(rois / "prf-visualrois.nii.gz", rng.integers(-1, 4, SHAPE).astype(np.int16))
        save_volume(rois / "nsdgeneral.nii.gz", rng.choice([-1, 0, 1], SHAPE).astype(np.int16))
        for name, n in (("streams", 7), ("floc-faces", 5), ("floc-places", 3)):
            save_volume(rois / f"{name}.nii.gz", rng.integers(-1, n + 1, SHAPE).astype(np.int16))
        save_volume(rois.parent / "floc_facestval.nii.gz", rng.normal(1, 2, SHAPE).astype(np.float32))
        betas = tmp_path / "nsddata_betas/ppdata" / one / "func1pt8mm/betas_fithrf_GLMdenoise_RR"
        save_volume(betas / "ncsnr.nii.gz", rng.uniform(0, 0.6, SHAPE).astype(np.float32))
        for session in (1, 2):
            with h5py.File(betas / f"betas_session{session:02d}.hdf5", "w") as file:
                values = rng.integers(-3000, 3000, (750, *SHAPE[::-1])).astype(np.int16)
                file.create_dataset("betas", data=values, chunks=(750, 1, 1, 1))  # as the release has them
    pictures = tmp_path / "nsddata_stimuli/stimuli/nsd/shared1000"
    pictures.mkdir(parents=True)
    for place in (3, *OFTEN):
        color = (place % 256, 0, 0)
        Image.new("RGB", (8, 8), color).save(pictures / f"shared{place + 1:04d}_nsd{SHARED[place]:05d}.png")
    return tmp_path


def run(folder: Path, min_ncsnr: float | None = None, **changes) -> None:
    places = folder / "pictures", folder / "brain.h5"
    import_nsd(folder, PEOPLE, REGIONS, *places, min_ncsnr=min_ncsnr, min_voxels=2, **changes)


def read_slowly(folder: Path, one: str, min_ncsnr: float) -> np.ndarray:
    """(3, n_images, n_voxels) of EarlyV, trial by trial and voxel by voxel."""
    design = scipy.io.loadmat(folder / "nsddata/experiments/nsd/nsd_expdesign.mat")
    place = folder / "nsddata_betas/ppdata" / one / "func1pt8mm/betas_fithrf_GLMdenoise_RR"
    sessions = [h5py.File(place / f"betas_session{i:02d}.hdf5")["betas"][:] for i in (1, 2)]
    ncsnr = nibabel.load(place / "ncsnr.nii.gz").get_fdata()
    roi = nibabel.load(folder / f"nsddata/ppdata/{one}/func1pt8mm/roi/prf-visualrois.nii.gz").get_fdata()
    voxels = []
    for z in range(SHAPE[2]):
        for y in range(SHAPE[1]):
            for x in range(SHAPE[0]):
                if roi[x, y, z] in (1, 2) and ncsnr[x, y, z] >= min_ncsnr:
                    runs = [[], [], []]
                    for image in OFTEN:
                        seen = [t for t in range(1500) if design["masterordering"][0, t] == image + 1]
                        for repetition, trial in enumerate(seen):
                            values = sessions[trial // 750][:, z, y, x] / 300
                            runs[repetition].append((values[trial % 750] - values.mean()) / values.std())
                    voxels.append(runs)
    return np.transpose(voxels, (1, 2, 0))


def test_patterns_are_those_of_a_slow_loop(folder):
    run(folder, min_ncsnr=0.2)
    stimuli, regions = read_brain(folder / "brain.h5")
    assert [stimulus[3:] for stimulus in stimuli] == [f"shared{i + 1:04d}_nsd{SHARED[i]:05d}" for i in OFTEN]
    assert [(region.name, region.participants) for region in regions] == [(name, PEOPLE) for name in REGIONS]
    assert read_folds(folder / "brain.h5") is None
    found = read_patterns(folder / "brain.h5", "EarlyV")
    for i, one in enumerate(PEOPLE):
        expected = read_slowly(folder, one, 0.2)
        assert_allclose(found[one], expected, rtol=0, atol=1e-9)
        rsm = np.corrcoef(expected.mean(0))
        assert_allclose(regions[0].rsvs[i], rsm[np.tril_indices(4, -1)], rtol=0, atol=1e-9)
    assert np.asarray(Image.open(folder / f"pictures/{stimuli[1]}.png"))[0, 0, 0] == OFTEN[1]


def test_regions_of_several_volumes(folder):
    """DeepNSD's way to say OTC: the streams inside of nsdgeneral, and what a localizer found."""
    run(folder)
    for one in PEOPLE:
        place = folder / f"nsddata/ppdata/{one}/func1pt8mm"
        names = ("nsdgeneral", "streams", "floc-faces", "floc-places")
        general, streams, faces, places = (nibabel.load(place / f"roi/{name}.nii.gz").get_fdata() for name in names)
        t = nibabel.load(place / "floc_facestval.nii.gz").get_fdata()
        expected = ((general > 0) & ((streams == 2) | (streams == 5))) | ((faces == 1) & (t >= 1.5)) | (places == 2)
        assert read_patterns(folder / "brain.h5", "OTC")[one].shape == (3, 4, expected.sum())


def test_all_images_in_one_file_are_enough(folder):
    """nsd_stimuli.hdf5 in place of the shared pictures: the same brain.h5 and pictures."""
    run(folder)
    found, pictures = (
        (folder / "brain.h5").read_bytes(),
        {p.name: p.read_bytes() for p in (folder / "pictures").iterdir()},
    )
    place = folder / "nsddata_stimuli/stimuli/nsd"
    with h5py.File(place / "nsd_stimuli.hdf5", "w") as file:
        bricks = file.create_dataset("imgBrick", (73_000, 8, 8, 3), np.uint8, chunks=(1, 8, 8, 3))
        for image in OFTEN:
            bricks[SHARED[image] - 1] = (image % 256, 0, 0)
    (place / "shared1000").rename(folder / "elsewhere")
    run(folder)
    assert (folder / "brain.h5").read_bytes() == found
    assert {p.name: p.read_bytes() for p in (folder / "pictures").iterdir()} == pictures
    (place / "nsd_stimuli.hdf5").unlink()
    for path in folder.glob("nsddata_betas/**/betas_session*.hdf5"):
        path.write_bytes(b"")  # which are not read before the pictures are looked for
    with pytest.raises(
        ValueError, match=r"nsd: needs shared1000/shared0008_nsd\d{5}.png, or nsd_stimuli.hdf5 with all"
    ):
        run(folder)


def test_every_second_image_of_coco_is_held_out(folder):
    with pytest.raises(ValueError, match=r"nsd_stim_info_merged.csv: needs the columns nsdId and cocoId"):
        run(folder, halves="coco")
    table = pd.DataFrame({"cocoId": 1000 + np.arange(73_000), "cocoSplit": "train2017", "nsdId": np.arange(73_000)})
    table.loc[[SHARED[place] - 1 for place in OFTEN], "cocoId"] = COCO
    table.to_csv(folder / "nsddata/experiments/nsd/nsd_stim_info_merged.csv")
    run(folder, halves="coco")
    # 17, 90, 300, 512
    assert read_folds(folder / "brain.h5") == ["held out", "held out", "train", "train"]


def turn(path: Path) -> None:
    """Write the betas of a session in another order of axes, with as many voxels."""
    with h5py.File(path, "a") as file:
        values = file["betas"][:].transpose(0, 3, 2, 1)
        del file["betas"]
        file["betas"] = values


def rename(path: Path) -> None:
    with h5py.File(path, "a") as file:
        file.move("betas", "data")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda betas: (betas / "betas_session01.hdf5").unlink(), "without a gap; found 1 sessions"),
        (
            lambda betas: (betas / "betas_session02.hdf5").unlink(),
            "all saw . images 3 times or more .*; needs three or more",
        ),
        (lambda betas: (betas / "ncsnr.nii.gz").unlink(), "ncsnr.nii.gz: cannot be read"),
        (
            lambda betas: save_volume(betas / "ncsnr.nii.gz", np.ones((5, 3, 4), np.float32)),
            r"ncsnr.nii.gz: a volume of shape \(5, 3, 4\); the betas need one of \(4, 3, 5\)",
        ),
        (
            lambda betas: turn(betas / "betas_session01.hdf5"),
            r"prf-visualrois.nii.gz: a volume of shape \(4, 3, 5\); the betas",
        ),
        (
            lambda betas: turn(betas / "betas_session02.hdf5"),
            r"found betas of shape \(750, 4, 3, 5\), needs \(750, 5, 3, 4\)",
        ),
    ],
)
def test_download_with_a_hole_is_refused(folder, spoil, message):
    spoil(folder / f"nsddata_betas/ppdata/{PEOPLE[1]}/func1pt8mm/betas_fithrf_GLMdenoise_RR")
    with pytest.raises(ValueError, match=message):
        run(folder, min_ncsnr=0.2)
    assert not (folder / "brain.h5").exists()


def test_block_of_the_page_is_taken():
    page = (Path(__file__).parents[2] / "docs/brains.md").read_text(encoding="utf-8")
    brains = {}
    for text in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL):
        brains |= yaml.safe_load(text)["brains"]
    model = {"source": "untrained", "framework": "Pixels", "architecture": "pixels", "dim": 3072, "dataset": None}
    study = {"title": "t", "brains": brains, "models": {"pixels": model}, "figure2_models": ["pixels"]}
    block = load_config(study).brains["nsd"]
    assert block.min_ncsnr == 0.2 and block.regions == {"EarlyV": "prf-visualrois=1,2,3,4", "ventral": "streams=5"}
