"""Published sets with repeated trials, small, in the layouts of their downloads; numbers are repeated by slow loops."""

from pathlib import Path

import h5py
import nibabel
import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from PIL import Image
from published_sets import SHAPE, refuse, run, save_picture, save_volume

from ipcl_core.brains.bold5000 import import_bold5000
from ipcl_core.brains.haxby import FOLDERS, import_haxby_2001
from ipcl_core.brains.things import import_things_fmri
from ipcl_core.config.brain_sets import BOLD5000, Haxby2001, ThingsFMRI

# ---- THINGS-fMRI -----------------------------------------------------------------------------------------------------

TEST = ["candelabra_14s.jpg", "mango_12s.jpg", "wasp_03n.jpg"]


@pytest.fixture
def things(tmp_path) -> dict:
    """Two participants, two sessions of nine trials: three images of the test set three times a session, others once."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "betas_csv"
    folder.mkdir()
    for one in ("01", "02"):
        rows = []
        for session in (1, 2):
            names = [*TEST * 3, *(f"dog_{session}{i}s.jpg" for i in range(2))]
            rows += [{"session": session, "stimulus": names[i]} for i in rng.permutation(len(names))]
        trials = pd.DataFrame(rows)
        trials.insert(0, "trial_type", np.where(trials["stimulus"].isin(TEST), "test", "train"))
        trials["concept"] = trials["stimulus"].str.replace(r"_\w+\.jpg", "", regex=True)
        trials.to_csv(folder / f"sub-{one}_StimulusMetadata.csv", index=False)
        voxels = pd.DataFrame({"voxel_id": range(40), "nc_testset": rng.uniform(0, 50, 40)})
        for name in ("V1", "lFFA", "rFFA", "LO1 (prf)"):
            voxels[name] = rng.integers(0, 2, 40)
        voxels.to_csv(folder / f"sub-{one}_VoxelMetadata.csv", index=False)
        with h5py.File(folder / f"sub-{one}_ResponseData.h5", "w") as file:  # as pandas and PyTables write it
            file["ResponseData/block0_values"] = rng.standard_normal((40, len(trials)))
            file["ResponseData/block1_values"] = np.arange(40)[:, None]
    for i, name in enumerate(TEST):
        save_picture(tmp_path / "images" / name.rsplit("_")[0] / name, i)
    return {
        "source": "things_fmri",
        "title": "t",
        "folder": str(folder),
        "stimuli": str(tmp_path / "images"),
        "participants": ["01", "02"],
        "regions": {"V1": ["V1"], "FFA": ["lFFA", "rFFA"], "LO1": ["LO1 (prf)"]},
        "min_nc": 10,
        "repetitions": 6,
    }


def test_things_fmri(things, tmp_path):
    stimuli, found = run(import_things_fmri, ThingsFMRI.model_validate(things), tmp_path)
    assert stimuli == [f"{i:02d}_{name[:-4]}" for i, name in enumerate(TEST, 1)]
    assert abs(int(np.asarray(Image.open(tmp_path / f"pictures/{stimuli[2]}.png"))[0, 0, 0]) - 40) < 5
    for one in ("01", "02"):
        place = f"{things['folder']}/sub-{one}"
        trials, voxels = (pd.read_csv(f"{place}_{name}Metadata.csv") for name in ("Stimulus", "Voxel"))
        with h5py.File(f"{place}_ResponseData.h5") as file:
            values = file["ResponseData/block0_values"][:]
        for region, columns in things["regions"].items():
            chosen = [v for v in range(40) if voxels.loc[v, columns].sum() and voxels.at[v, "nc_testset"] >= 10]
            expected = np.empty((6, 3, len(chosen)))
            for column, v in enumerate(chosen):
                for image, name in enumerate(TEST):
                    for repetition, trial in enumerate(trials.index[trials["stimulus"] == name]):
                        session = values[v, trials["session"] == trials.at[trial, "session"]]
                        expected[repetition, image, column] = (values[v, trial] - session.mean()) / session.std()
            assert_allclose(found[region][one], expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"regions": {"V1": ["V9"]}}, r"sub-01_VoxelMetadata.csv: has no column V9, but voxel_id, nc_testset, V1"),
        ({"repetitions": 12}, r"01, 02 all saw 0 images 12 times or more \(each one: 0, 0\)"),
        ({"min_nc": 60}, r"region V1, participant 01: 0 voxels are left"),
        ({"participants": ["01", "03"]}, r"sub-03_StimulusMetadata.csv: cannot be read"),
    ],
)
def test_things_fmri_that_does_not_fit(things, tmp_path, changes, message):
    refuse(import_things_fmri, ThingsFMRI.model_validate(things | changes), tmp_path, message)


def test_things_fmri_of_another_size(things, tmp_path):
    with h5py.File(f"{things['folder']}/sub-02_ResponseData.h5", "a") as file:
        del file["ResponseData/block0_values"]
        file["ResponseData/block0_values"] = np.zeros((40, 21))
    message = r"responses of shape \(40, 21\); the tables beside it have 40 voxels, 22 trials"
    refuse(import_things_fmri, ThingsFMRI.model_validate(things), tmp_path, message)


# ---- BOLD5000 --------------------------------------------------------------------------------------------------------

SEEN_AGAIN = ["COCO_train2014_000000000036.jpg", "n01440764_2.JPEG", "park3.jpg"]
N_TRIALS = (37, 74)  # of the two sessions that are there, one run and two; the list names more


@pytest.fixture
def bold5000(tmp_path) -> dict:
    rng = np.random.default_rng(0)
    for one in ("CSI1", "CSI2"):
        names = [*SEEN_AGAIN * 4, *(f"once{i}.jpg" for i in range(99))]
        order = [names[i] for i in rng.permutation(111)]
        (tmp_path / f"{one}_imgnames.txt").write_text("\n".join([*order, *SEEN_AGAIN]) + "\n")
        for session, n in enumerate(N_TRIALS, 1):
            values = rng.standard_normal((*SHAPE, n)).astype(np.float32)
            values[0, 0, 0] = np.nan  # outside of the brain
            save_volume(tmp_path / f"{one}_GLMbetas-TYPED-FITHRF-GLMDENOISE-RR_ses-{session:02d}.nii.gz", values)
        for name in ("LHEarlyVis", "RHEarlyVis", "LHLO" if one == "CSI2" else "LHLOC", "RHLOC"):
            mask = rng.integers(0, 2, SHAPE).astype(np.uint8)
            mask[0, 0, 0] = 1
            save_volume(tmp_path / f"spm/sub-{one}/sub-{one}_mask-{name}.nii.gz", mask)
    for i, (place, name) in enumerate(zip(("COCO", "ImageNet", "Scene"), SEEN_AGAIN, strict=True)):
        save_picture(tmp_path / "Presented_Stimuli" / place / name, i)
    return {
        "source": "bold5000",
        "title": "t",
        "folder": str(tmp_path),
        "stimuli": str(tmp_path / "Presented_Stimuli"),
        "masks": str(tmp_path / "spm"),
        "participants": ["CSI1", "CSI2"],
        "regions": {"EarlyV": "EarlyVis", "LOC": "LOC"},
    }


def test_bold5000(bold5000, tmp_path):
    stimuli, found = run(import_bold5000, BOLD5000.model_validate(bold5000), tmp_path)
    assert stimuli == ["01_COCO_train2014_000000000036", "02_n01440764_2", "03_park3"]
    for one in ("CSI1", "CSI2"):
        betas = tmp_path / f"{one}_GLMbetas-TYPED-FITHRF-GLMDENOISE-RR_ses-01.nii.gz"
        sessions = [
            nibabel.load(str(betas).replace("ses-01", f"ses-0{i}")).get_fdata().reshape(-1, n)
            for i, n in enumerate(N_TRIALS, 1)
        ]
        shown = (tmp_path / f"{one}_imgnames.txt").read_text().split()
        for region, names in (("EarlyV", ("LHEarlyVis", "RHEarlyVis")), ("LOC", ("LHLO*", "RHLOC"))):
            files = [next((tmp_path / f"spm/sub-{one}").glob(f"*mask-{name}.nii.gz")) for name in names]
            mask = np.any([nibabel.load(file).get_fdata() for file in files], axis=0).ravel()
            chosen = [v for v in range(24) if mask[v] and v != 0]
            expected = np.empty((4, 3, len(chosen)))
            for column, v in enumerate(chosen):
                for image, name in enumerate(SEEN_AGAIN):
                    trials = [trial for trial in range(111) if shown[trial] == name]
                    for repetition, trial in enumerate(trials):
                        session, place = (0, trial) if trial < 37 else (1, trial - 37)
                        values = sessions[session][v]
                        expected[repetition, image, column] = (values[place] - values.mean()) / values.std()
            assert_allclose(found[region][one], expected, rtol=0, atol=1e-6)  # of single precision


def alter_session(change):
    """Write the second session of CSI1 otherwise."""

    def spoil(folder: Path) -> None:
        path = folder / "CSI1_GLMbetas-TYPED-FITHRF-GLMDENOISE-RR_ses-02.nii.gz"
        values = nibabel.load(path).get_fdata()
        path.unlink()
        save_volume(*change(path, values))

    return spoil


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (alter_session(lambda path, values: (path.with_suffix(""), values)), None),  # unpacked
        (alter_session(lambda path, values: (path, values[..., 1:])), r"\(3, 4, 2, 73\), needs .* whole runs of 37 trials"),
        (alter_session(lambda path, values: (path, values.transpose(1, 0, 2, 3))), r"\(4, 3, 2, 74\), needs \(3, 4, 2\) as"),
        (lambda f: (f / "spm/sub-CSI2/sub-CSI2_mask-LHLO.nii.gz").unlink(), None),  # one hemisphere is enough
        (lambda f: [path.unlink() for path in f.glob("spm/sub-CSI2/*LO*")], "has no mask sub-CSI2_mask-LHLOC.nii.gz or"),
        (lambda f: next(f.glob("CSI1*ses-01.nii.gz")).unlink(), "ses-01.nii.gz and so on; found 1 sessions, or a gap"),
        (lambda f: (f / "CSI1_imgnames.txt").write_text("park3.jpg\n"), "names 1 images; the 2 sessions have 111 trials"),
        (lambda f: (f / "Presented_Stimuli/Scene/park3.jpg").unlink(), "no image for 1 of 3 conditions, among them 'park3"),
    ],
)  # fmt: skip
def test_bold5000_with_a_hole(bold5000, tmp_path, spoil, message):
    spoil(tmp_path)
    if message:
        refuse(import_bold5000, BOLD5000.model_validate(bold5000), tmp_path, message)
    else:
        run(import_bold5000, BOLD5000.model_validate(bold5000), tmp_path)


# ---- Haxby et al. 2001 -----------------------------------------------------------------------------------------------


@pytest.fixture
def haxby(tmp_path) -> dict:
    """Two participants, three runs of eight blocks of 3 volumes; the last run of subj5 without labels, as in the real set."""
    rng = np.random.default_rng(0)
    kinds = [*FOLDERS, "scrambledpix"]
    for one in ("subj1", "subj5"):
        rows = []
        for run_number in range(3):
            names = ["rest"] * 4
            for i in rng.permutation(8):
                names += [kinds[i]] * 3 + ["rest"] * 2
            if (one, run_number) == ("subj5", 2):
                names = ["rest"] * len(names)
            rows += [{"labels": name, "chunks": run_number} for name in names]
        pattern = {name: rng.standard_normal(24) for name in kinds}
        series = np.array([pattern.get(row["labels"], np.zeros(24)) for row in rows]).T + 500
        save_volume(tmp_path / one / "bold.nii.gz", (series + rng.normal(0, 0.1, series.shape)).reshape(*SHAPE, -1))
        mask = np.ones(SHAPE, np.uint8)
        mask[0, 0] = 0
        save_volume(tmp_path / one / "mask4_vt.nii.gz", mask)
        pd.DataFrame(rows).to_csv(tmp_path / one / "labels.txt", sep=" ", index=False)
    for i, place in enumerate(FOLDERS.values()):
        for picture in ("a.jpg", "b.jpg"):
            save_picture(tmp_path / "stimuli" / place / picture, i)
    block = {"source": "haxby2001", "title": "t", "folder": str(tmp_path), "regions": {"VT": "mask4_vt.nii"}}
    return block | {"participants": ["subj1", "subj5"]}


def test_haxby_2001(haxby, tmp_path):
    """The weights of nilearn's own model of a run, without its correction of noise."""
    from nilearn.glm.first_level import FirstLevelModel

    stimuli, found = run(import_haxby_2001, Haxby2001.model_validate(haxby), tmp_path)
    assert stimuli == [f"{i:02d}_{name}" for i, name in enumerate(FOLDERS, 1)]
    assert len(list((tmp_path / "pictures/01_bottle").iterdir())) == 2
    assert found["VT"]["subj1"].shape == (3, 7, 22) and found["VT"]["subj5"].shape == (2, 7, 22)
    labels = pd.read_csv(tmp_path / "subj1/labels.txt", sep=" ")
    here = (labels["chunks"] == 1).to_numpy()
    names = labels["labels"][here].to_list()
    events = [
        {"onset": i * 2.5, "duration": 7.5, "trial_type": name}
        for i, name in enumerate(names)
        if name != "rest" and names[i - 1] == "rest"
    ]
    image = nibabel.load(tmp_path / "subj1/bold.nii.gz")
    scans = nibabel.Nifti1Image(image.get_fdata()[..., here], image.affine)
    mask = nibabel.load(tmp_path / "subj1/mask4_vt.nii.gz")
    options = {
        "hrf_model": "spm",
        "noise_model": "ols",
        "high_pass": 1 / 128,
        "mask_img": mask,
        "signal_scaling": False,
    }
    model = FirstLevelModel(t_r=2.5, **options).fit(scans, events=pd.DataFrame(events))
    expected = model.compute_contrast("face", output_type="effect_size").get_fdata()[mask.get_fdata() > 0]
    assert_allclose(found["VT"]["subj1"][1, list(FOLDERS).index("face")], expected, rtol=0, atol=1e-6)


def test_haxby_2001_whose_labels_do_not_fit(haxby, tmp_path):
    path = tmp_path / "subj1/labels.txt"
    path.write_text("\n".join(path.read_text().splitlines()[:-1]))
    message = r"labels.txt: names 131 volumes; bold.nii.gz has 132"
    refuse(import_haxby_2001, Haxby2001.model_validate(haxby), tmp_path, message)
