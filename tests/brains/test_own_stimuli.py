"""One's own brain data: its stimuli, participants and paths."""

import shutil
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from configurations import STUDY
from numpy.testing import assert_allclose
from own_brains import NAMES, PARTICIPANTS, Own, check, make_own
from PIL import Image

from ipcl_core.brains.store import read_brain
from ipcl_core.config import ConfigError, OwnBrain, load_config, missing_paths
from ipcl_core.files import read_csv
from ipcl_core.fits.statistics import measure_noise_ceilings
from ipcl_core.images.decoding import list_stimuli
from ipcl_core.report.table1 import choose_ceilings


@pytest.fixture
def own(tmp_path, photo) -> Own:
    return make_own(tmp_path, photo)


def test_stimuli_are_written_in_the_order_of_the_file(own):
    own.write(np.save)
    own.import_all()
    assert list(list_stimuli(own.folder / "stimuli")) == [f"{i + 1:02d}_{name}" for i, name in enumerate(NAMES)]
    found = np.asarray(Image.open(own.folder / "stimuli/03_apple.png"))
    assert_allclose(found, np.asarray(Image.open(own.folder / "images/apple.png")), rtol=0, atol=0)


def test_stimuli_that_are_not_square_are_told(own, warnings_of):
    """Of those only the central square is shown."""
    own.write(np.save)
    for i, name in enumerate(NAMES):
        Image.new("RGB", (60, 60), (i, 0, 0)).save(own.folder / f"images/{name}.png")
    own.import_all()
    assert warnings_of() == []
    Image.new("RGB", (399, 400)).save(own.folder / "images/kite.png")
    own.import_all()
    (found,) = warnings_of()
    assert found.endswith(
        "images: 1 of 6 stimuli are not square; models see only their centre, of kite.png: the central 399 of 399 x 400 pixels"
    )


@pytest.mark.parametrize(("mode", "value"), [("RGBA", (9, 9, 9, 0)), ("LA", (9, 0))])
def test_transparent_stimuli_are_told_and_put_on_the_background(own, mode, value, warnings_of):
    own.write(np.save)
    for i, name in enumerate(NAMES):
        Image.new("RGB", (60, 60), (255, i, 0)).save(own.folder / f"images/{name}.png")
    Image.new("RGBA", (60, 60), (1, 2, 3, 255)).save(own.folder / "images/mug.png")  # an alpha that hides nothing
    own.import_all()
    assert warnings_of() == []
    Image.new(mode, (60, 60), value).save(own.folder / "images/kite.png")
    for background, level in (
        ({}, 255),
        ({"background": "gray"}, 128),
        ({"background": "#010101"}, 1),
        ({"background": "#000000"}, 0),
    ):
        own.import_all(**background)
        assert (np.asarray(Image.open(own.folder / "stimuli/05_kite.png")) == level).all()
        assert (np.asarray(Image.open(own.folder / "stimuli/01_mug.png")) == [1, 2, 3]).all()
    found = warnings_of()
    assert (
        len(found) == 4
        and "1 of 6 stimuli have transparent pixels, among them kite.png; they become white," in found[0]
    )


def test_copies_of_a_picture_are_told(own, warnings_of):
    own.write(np.save)
    shutil.copy(own.folder / "images/mug.png", own.folder / "images/kite.png")
    own.import_all()
    assert any("1 stimuli show the same picture as another, as mug.png and kite.png" in one for one in warnings_of())


def test_folders_as_windows_writes_them(own):
    own.write(np.save)
    (own.folder / "images/a").mkdir()
    for name in NAMES:
        (own.folder / f"images/{name}.png").rename(own.folder / f"images/a/{name}.png")
    (own.folder / "order.txt").write_text("".join(f"a\\{name}.png\r\n" for name in NAMES))
    check(own)


def test_files_that_no_one_put_there_are_no_stimuli(own):
    """Of macOS and Windows; and a folder that is called as a picture holds a condition's pictures."""
    own.write(np.save)
    for name in ("._mug.png", ".DS_Store", "Thumbs.db", "desktop.ini"):
        (own.folder / "images" / name).write_bytes(b"\0\5\x16\7")
    (own.folder / "images/kite.png").rename(own.folder / "kite.png")
    (own.folder / "images/kite.png").mkdir()
    (own.folder / "kite.png").rename(own.folder / "images/kite.png/one.png")
    check(own)


def test_without_order_names_are_sorted(own):
    own.write(np.save, change=lambda array: array[np.argsort(NAMES)])
    own.import_all(order=None)
    assert [name[3:] for name in read_brain(own.brain)[0]] == sorted(NAMES)


def test_stimuli_of_several_pictures(own):
    """A line of the order names one picture, a folder of them, or a stimulus and its pictures."""
    images = own.folder / "images"
    for name in ("bike", "drum"):
        (images / name).mkdir()
        for picture in ("side", "front", ".hidden"):
            shutil.copy(images / f"{name}.png", images / f"{name}/{picture}.png")
    (images / "bike.png").unlink()
    lines = ["mug", "bike", "apple\tapple.png\t", "chair\tchair\tdrum/side.png", "kite", "drum"]
    (own.folder / "order.txt").write_text("\n".join(lines))
    own.write(np.save)
    regions = own.import_all()
    names = [f"{i + 1:02d}_{name}" for i, name in enumerate(NAMES)]
    assert read_brain(own.brain)[0] == names
    assert_allclose(regions[0].rsvs, own.expect()["EarlyV"], rtol=0, atol=1e-12)
    found = list_stimuli(own.folder / "stimuli")
    assert list(found) == names
    several = {"02_bike": ["01_front.png", "02_side.png"], "04_chair": ["01_chair.png", "02_side.png"]}
    for name, pictures in found.items():
        assert [path.name for path in pictures] == several.get(name, [f"{name}.png"])
    copied = np.asarray(Image.open(own.folder / "stimuli/04_chair/02_side.png"))
    assert_allclose(copied, np.asarray(Image.open(images / "drum.png")), rtol=0, atol=0)
    assert {str(images / name) for name in ("bike/side.png", "mug.png")} < set(own.make_block().find_files())


def test_more_than_99_stimuli_keep_their_order(own):
    rng = np.random.default_rng(0)
    for i in range(101):
        Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(own.folder / f"images/x{i}.png")
    (own.folder / "order.txt").write_text("\n".join(f"x{i}" for i in range(101)))
    own.patterns = {key: rng.standard_normal((101, 9)) for key in own.patterns}
    own.write(np.save)
    own.import_all()
    names = read_brain(own.brain)[0]
    assert list(list_stimuli(own.folder / "stimuli")) == names
    assert names[99:] == ["100_x99", "101_x100"]


def test_participant_who_lacks_a_region_is_left_out_of_it(own, warnings_of):
    own.write(np.save)
    (own.folder / "sub-02_IT.npy").unlink()
    regions = own.import_all(missing="leave_out")
    assert [region.participants for region in regions] == [PARTICIPANTS, ["sub-01", "sub-03"]]
    assert_allclose(regions[1].rsvs, own.expect()["IT"][[0, 2]], rtol=0, atol=1e-12)
    assert [text for text in warnings_of() if "region IT, participant sub-02" in text and "left out" in text]
    measure_noise_ceilings(own.brain, own.folder / "ceilings.csv", name="b", n_splits=10, seed=0)
    assert list(choose_ceilings(read_csv(own.folder / "ceilings.csv"))["n_participants"]) == [3, 2]


def test_one_participant_has_no_noise_ceiling(own, warnings_of):
    own.write(np.save)
    regions = own.import_all(participants=["sub-02"])
    assert_allclose(regions[1].rsvs, own.expect()["IT"][1:2], rtol=0, atol=1e-12)
    assert [text for text in warnings_of() if "one participant: no noise ceiling" in text]
    measure_noise_ceilings(own.brain, own.folder / "ceilings.csv", name="b", n_splits=10, seed=0)
    table = pd.read_csv(own.folder / "ceilings.csv")
    assert table["r"].isna().all() and set(table["note"]) == {"one participant"}


def test_missing_files_are_named_before_anything_runs(own):
    block = own.make_block()
    own.write(np.save)
    (own.folder / "sub-02_IT.npy").unlink()
    study = STUDY | {"brains": {"mine": block.model_dump()}}
    (line,) = missing_paths(load_config(study), set(), {"mine"}, set())
    assert (
        line == f"  brains.mine.files: set it to a file of IT (found: {own.folder}/sub-02_IT.npy, which is not there)"
    )
    study["brains"]["mine"]["missing"] = "leave_out"
    assert missing_paths(load_config(study), set(), {"mine"}, set()) == []
    for participant in PARTICIPANTS:
        (own.folder / f"{participant}_IT.npy").unlink(missing_ok=True)
    (own.folder / "order.txt").unlink()
    found = missing_paths(load_config(study), set(), {"mine"}, set())
    assert len(found) == 4 and "brains.mine.order: set it to the file of the stimuli's order" in found[0]


@pytest.mark.parametrize("key", ["folds", "categories", "triplets"])
def test_files_that_are_read_behind_the_import_are_missed_before_it(own, key):
    own.write(np.save)
    study = STUDY | {"brains": {"mine": own.make_block().model_dump() | {key: f"{own.folder}/none.csv"}}}
    (line,) = missing_paths(load_config(study), set(), {"mine"}, set())
    assert line.startswith(f"  brains.mine.{key}: set it to the ") and line.endswith("none.csv, which is not there)")
    study["brains"]["mine"][key] = ""
    with pytest.raises(ConfigError, match=f"brains.mine.{key}: String should have at least 1 character"):
        load_config(study)
    if key == "categories":
        study["brains"]["mine"][key] = "folders"
        assert missing_paths(load_config(study), set(), {"mine"}, set()) == []


def test_files_that_an_import_reads(own):
    own.write(np.save)
    files = own.make_block().find_files()
    assert len(files) == len(set(files)) == 1 + 6 + 6
    assert str(own.folder / "images/kite.png") in files and str(own.folder / "sub-03_IT.npy") in files


def test_nilearn_that_is_not_there_is_named(own, monkeypatch):
    monkeypatch.setitem(sys.modules, "nilearn", None)
    monkeypatch.setitem(sys.modules, "nilearn.masking", None)
    for participant in PARTICIPANTS:
        (own.folder / f"{participant}.nii.gz").touch()
        (own.folder / f"{participant}_IT.nii.gz").touch()
    with pytest.raises(
        ValueError,
        match=r"sub-01\.nii\.gz: NIfTI files are read by nilearn.*install the versions that envs/requirements.in names",
    ):
        own.import_all(
            regions=["IT"],
            files=str(own.folder / "{participant}.nii.gz"),
            masks=str(own.folder / "{participant}_{region}.nii.gz"),
        )


def test_block_on_the_page_is_a_whole_one():
    page = (Path(__file__).parents[2] / "docs/own_brain.md").read_text()
    brains = yaml.safe_load(page.split("```yaml\n")[1].split("```")[0])["brains"]
    assert [OwnBrain.model_validate(block).kind for block in brains.values()] == ["patterns"]
