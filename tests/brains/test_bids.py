"""Beta maps in BIDS derivatives, small: of conditions and of trials."""

import nibabel
import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from published_sets import SHAPE, refuse, run, save_picture, save_volume

from ipcl_core.brains.bids import import_bids_maps
from ipcl_core.config.brain_sets import BIDSMaps


@pytest.fixture
def bids(tmp_path) -> dict:
    for one in ("01", "02"):
        for region in ("V1", "IT"):
            mask = np.random.default_rng(len(region) + int(one) + ord(region[0])).integers(0, 2, SHAPE)
            save_volume(tmp_path / f"masks/sub-{one}_{region}.nii.gz", mask.astype(np.uint8))
    return {
        "source": "bids",
        "title": "t",
        "folder": str(tmp_path / "derivatives/glm"),
        "stimuli": str(tmp_path / "stimuli"),
        "participants": ["01", "02"],
        "regions": ["V1", "IT"],
        "masks": str(tmp_path / "masks/sub-{participant}_{region}.nii.gz"),
        "repetitions": 2,
    }


def draw(one: str, *numbers: int) -> np.ndarray:
    return np.random.default_rng([int(one), *numbers]).standard_normal(SHAPE)


def test_bids_maps_of_conditions(bids, tmp_path):
    """One map a condition and run, as nilearn's save_glm_to_bids names them; runs by number, 10 behind 2."""
    conditions = ["redBike", "mug", "apple"]
    for one in ("01", "02"):
        for run_number in (2, 10):
            for i, name in enumerate(conditions):
                stem = f"sub-{one}_task-objects_run-{run_number}_contrast-{name}"
                place = tmp_path / f"derivatives/glm/sub-{one}/func"
                save_volume(place / f"{stem}_stat-effect_statmap.nii.gz", draw(one, run_number, i))
                save_volume(place / f"{stem}_stat-t_statmap.nii.gz", np.zeros(SHAPE))
    for i, name in enumerate(("Red bike.png", "mug.png", "apple.png")):
        save_picture(tmp_path / "stimuli" / name, i)
    block = BIDSMaps.model_validate(bids | {"maps": "**/*_stat-effect_statmap.nii.gz"})
    with pytest.raises(ValueError, match="no image for 1 of 3 conditions, among them 'redBike'"):
        import_bids_maps(block, tmp_path / "pictures", tmp_path / "brain.h5")
    (tmp_path / "stimuli/Red bike.png").rename(tmp_path / "stimuli/redbike.png")
    stimuli, found = run(import_bids_maps, block, tmp_path)
    assert stimuli == ["01_apple", "02_mug", "03_redBike"]
    (tmp_path / "brain.h5").unlink()
    for other in ("run-02_space-MNI_contrast-mug", "contrast-mug"):  # of the same run; of all runs
        path = tmp_path / f"derivatives/glm/sub-02/func/sub-02_task-objects_{other}_stat-effect_statmap.nii.gz"
        save_volume(path, draw("02", 0))
        refuse(import_bids_maps, block, tmp_path, "of the same run as .*contrast-mug.* would count as repetitions")
        path.unlink()
    for one in ("01", "02"):
        mask = nibabel.load(tmp_path / f"masks/sub-{one}_IT.nii.gz").get_fdata() > 0
        expected = [[draw(one, run_number, i)[mask] for i in (2, 1, 0)] for run_number in (2, 10)]
        assert_allclose(found["IT"][one], expected, rtol=0, atol=1e-12)


def test_bids_maps_that_are_not_there(bids, tmp_path, caplog):
    """Links and pointers of DataLad in place of maps would be a condition fewer; files of macOS are no maps."""
    for one in ("01", "02"):
        for run_number in (1, 2):
            for i, name in enumerate(("mug", "apple", "bike", "cup" if one == "01" else "Cup")):
                stem = (
                    f"derivatives/glm/sub-{one}/sub-{one}_task-objects_run-{run_number}_contrast-{name}_statmap.nii.gz"
                )
                save_volume(tmp_path / stem, draw(one, run_number, i))
    for i, name in enumerate(("mug", "apple", "bike")):
        save_picture(tmp_path / f"stimuli/{name}.png", i)
    block = BIDSMaps.model_validate(bids | {"maps": "*_statmap.nii.gz"})
    path = tmp_path / "derivatives/glm/sub-02/sub-02_task-objects_run-1_contrast-mug_statmap.nii.gz"
    path.with_name(f"._{path.name}").write_bytes(b"\0\5\x16\7")
    content = path.read_bytes()
    path.write_text("version https://git-lfs.github.com/spec/v1\n")
    refuse(import_bids_maps, block, tmp_path, r"run-1_contrast-mug_statmap\.nii\.gz: is a pointer of Git LFS")
    path.unlink()
    path.symlink_to("annex/x")
    refuse(
        import_bids_maps, block, tmp_path, r"run-1_contrast-mug_statmap\.nii\.gz: is a link to annex/x, which is not"
    )
    path.unlink()
    path.write_bytes(content)
    mask = tmp_path / "masks/sub-02_IT.nii.gz"
    content = mask.read_bytes()
    save_volume(mask, np.resize(np.arange(3), SHAPE).astype(np.uint8))
    refuse(import_bids_maps, block, tmp_path, r"sub-02_IT\.nii\.gz: a mask of 3 numbers, 0 to 2, as an atlas or")
    mask.write_bytes(content)
    stimuli, _ = run(import_bids_maps, block, tmp_path)
    assert stimuli == ["01_apple", "02_bike", "03_mug"]
    assert "2 conditions are left out, as not every participant has them 2 times, among them Cup, cup" in caplog.text


def test_bids_maps_of_trials(bids, tmp_path):
    """A map for each event of the raw data set's run; what has no picture is passed over."""
    pictures = ["animals/cat.png", "animals/dog.png", "tools/saw.png"]
    shown: dict[str, list] = {"01": [], "02": []}
    for one in shown:
        for session in ("a", "b"):
            names = [*pictures, "n/a", *pictures[:1]]
            names = [names[i] for i in np.random.default_rng([int(one), ord(session)]).permutation(5)]
            stem = f"sub-{one}_ses-{session}_task-objects_run-01"
            events = pd.DataFrame({"onset": range(5), "duration": 1, "stim_file": names})
            raw = tmp_path / f"raw/sub-{one}/ses-{session}/func/{stem}_events.tsv"
            raw.parent.mkdir(parents=True)
            events.to_csv(raw, sep="\t", index=False)
            maps = np.stack([draw(one, ord(session), i) for i in range(5)], axis=3)
            save_volume(tmp_path / f"derivatives/glm/sub-{one}/ses-{session}/{stem}_space-T1w_betas.nii.gz", maps)
            shown[one] += [(name, maps[..., i]) for i, name in enumerate(names)]
    for i, name in enumerate(pictures):
        save_picture(tmp_path / "stimuli" / name, i)
    block = bids | {"maps": "**/*_betas.nii.gz", "events": str(tmp_path / "raw")}
    stimuli, found = run(import_bids_maps, BIDSMaps.model_validate(block), tmp_path)
    assert stimuli == ["01_cat", "02_dog", "03_saw"]
    for one, trials in shown.items():
        mask = nibabel.load(tmp_path / f"masks/sub-{one}_V1.nii.gz").get_fdata() > 0
        expected = [[[v[mask] for name, v in trials if name == picture][i] for picture in pictures] for i in (0, 1)]
        assert_allclose(found["V1"][one], expected, rtol=0, atol=1e-12)

    events = next(tmp_path.glob("raw/sub-02/ses-a/func/*.tsv"))
    events.rename(events.with_name(events.name.replace("run-01", "run-1")))
    events = next(tmp_path.glob("raw/sub-02/ses-b/func/*.tsv"))
    table = events.read_bytes()
    events.unlink()
    (tmp_path / "raw/task-objects_events.tsv").write_bytes(table)
    inherited = run(import_bids_maps, BIDSMaps.model_validate(block), tmp_path)[1]
    assert all(np.array_equal(inherited["V1"][one], found["V1"][one]) for one in shown)
    events.write_bytes(table)

    (tmp_path / "brain.h5").unlink()
    refuse(import_bids_maps, BIDSMaps.model_validate(block | {"events": None}), tmp_path, "no contrast-<condition>")
    refuse(
        import_bids_maps, BIDSMaps.model_validate(block | {"maps": "*.nii"}), tmp_path, r"sub-01: no file has a name"
    )
    wrong = BIDSMaps.model_validate(block | {"picture": "trial_type"})
    refuse(
        import_bids_maps,
        wrong,
        tmp_path,
        "lacks the column trial_type; needs trial_type; has onset, duration, stim_file",
    )
    maps = next(tmp_path.glob("derivatives/glm/sub-02/ses-b/*_betas.nii.gz"))
    for path, message in (
        (tmp_path / "masks/sub-01_V1.nii.gz", "sub-01_V1.nii.gz: a mask that lies elsewhere .* by up to 2 mm"),
        (maps, "ses-b.*maps of shape .* and affine .*, those of"),
    ):
        there = path.read_bytes()
        image = nibabel.load(path)
        nibabel.save(nibabel.Nifti1Image(image.get_fdata(), np.diag([-1.0, 1, 1, 1])), path)  # left for right
        refuse(import_bids_maps, BIDSMaps.model_validate(block), tmp_path, message)
        path.write_bytes(there)
    events = next(tmp_path.glob("raw/sub-02/ses-b/func/*.tsv"))
    events.write_text("\n".join(events.read_text().splitlines()[:-1]))
    message = r"holds 5 maps, and there are 4 conditions or events"
    refuse(import_bids_maps, BIDSMaps.model_validate(block), tmp_path, message)
