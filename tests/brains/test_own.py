"""One's own brain data: every layout of the files gives the similarities that were put in."""

import sys
from pathlib import Path

import h5py
import nibabel
import numpy as np
import pandas as pd
import pytest
import scipy.io
import yaml
from configurations import STUDY
from numpy.testing import assert_allclose
from own_brains import NAMES, PARTICIPANTS, REGIONS, Own, make_own
from PIL import Image
from rsatoolbox.rdm import RDMs
from scipy.spatial.distance import pdist, squareform

from ipcl_core.brains.store import read_brain, read_patterns
from ipcl_core.config import OwnBrain, load_config, missing_paths
from ipcl_core.fits.statistics import measure_noise_ceilings
from ipcl_core.images.decoding import list_stimuli
from ipcl_core.report.table1 import read_ceilings

LOWER = np.tril_indices(len(NAMES), -1)


@pytest.fixture
def own(tmp_path, photo) -> Own:
    return make_own(tmp_path, photo)


def check(own: Own, expected: dict | None = None, atol: float = 1e-12, **changes) -> None:
    regions = own.import_all(**changes)
    assert [region.name for region in regions] == REGIONS
    for region in regions:
        assert region.participants == PARTICIPANTS and not region.group
        assert_allclose(region.rsvs, (expected or own.expect())[region.name], rtol=0, atol=atol)


# ---- patterns --------------------------------------------------------------------------------------------------------


def save_h5(path, array) -> None:
    with h5py.File(path, "w") as file:
        file["other"] = 1
        file["runs/betas"] = array


def save_mat73(path, *array, **arrays) -> None:
    """A MATLAB file of version 7.3: HDF5 with a header, axes reversed."""
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, values in (dict(zip("d", array, strict=False)) | arrays).items():
            file[name] = values.T
    with open(path, "rb+") as file:
        file.write(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM")


PATTERNS = {
    "npy": (".npy", np.save, ""),
    "npz": (".npz", lambda path, array: np.savez(path, betas=array, other=1), "#betas"),
    "npz of one array": (".npz", lambda path, array: np.savez(path, betas=array), ""),
    "mat": (".mat", lambda path, array: scipy.io.savemat(path, {"runs": {"betas": array, "n": 1}}), "#runs/betas"),
    "mat of one array": (".mat", lambda path, array: scipy.io.savemat(path, {"betas": array}), ""),
    "h5": (".h5", save_h5, "#runs/betas"),
    "csv": (".csv", lambda path, array: np.savetxt(path, array, delimiter=","), ""),
    "csv with names": (".csv", lambda path, array: pd.DataFrame(array, NAMES).to_csv(path), ""),
}


@pytest.mark.parametrize(("suffix", "save", "variable"), PATTERNS.values(), ids=PATTERNS)
def test_patterns_of_every_kind_of_file(own, suffix, save, variable):
    files = own.write(save, "{participant}_{region}" + suffix)
    check(own, files=files + variable)
    for participant in PARTICIPANTS:
        found = read_patterns(own.brain, "IT")[participant][0]
        assert_allclose(found, own.patterns[participant, "IT"], rtol=1e-14)


def test_patterns_with_voxels_first(own):
    files = own.write(np.save, change=np.transpose)
    check(own, files=files, axes="voxels x stimuli")


def test_variables_of_one_file(own):
    """MATLAB's file of version 7.3 (HDF5, axes reversed), regions and participants as its variables."""
    arrays = {f"{region}/{participant}": array for (participant, region), array in own.patterns.items()}
    save_mat73(own.folder / "all.mat", **arrays)
    check(own, files=str(own.folder / "all.mat#{region}/{participant}"))


def test_cell_array_of_participants(own):
    cells = {}
    for region in REGIONS:
        cells[region] = np.empty(3, dtype=object)
        cells[region][:] = [
            own.patterns[participant, region][:, : 20 + i] for i, participant in enumerate(PARTICIPANTS)
        ]
        for i, participant in enumerate(PARTICIPANTS):
            own.patterns[participant, region] = cells[region][i]
    scipy.io.savemat(own.folder / "cells.mat", {"betas": cells})
    check(own, files=str(own.folder / "cells.mat#betas/{region}"))


def test_only_reliable_voxels_are_kept(own):
    """A voxel without a number has a reliability of NaN, as correlations of constant voxels have."""
    rng = np.random.default_rng(1)
    kept = {}
    for key, array in own.patterns.items():
        reliability = rng.uniform(-1, 1, array.shape[1])
        reliability[:2] = [0.3, np.nan]
        np.save(own.folder / "{}_{}_r.npy".format(*key), reliability)
        kept[key] = array[:, reliability > 0.3]
        array[2, 1] = np.nan
    files = own.write(np.save)
    own.patterns = kept
    check(own, files=files, reliability=str(own.folder / "{participant}_{region}_r.npy"), reliability_threshold=0.3)
    assert_allclose(read_patterns(own.brain, "IT")["sub-02"][0], kept["sub-02", "IT"], rtol=0, atol=0)


def test_voxels_that_never_change_are_left_out(own, warnings_of):
    """Zeros outside of the brain, or a silent unit."""
    expected = own.expect()
    for key, array in own.patterns.items():
        own.patterns[key] = np.insert(array, [0, 5], [0.0, 7.5], axis=1)
    regions = own.import_all(files=own.write(np.save))
    for region in regions:
        assert_allclose(region.rsvs, expected[region.name], rtol=0, atol=1e-12)
    assert "region IT, participant sub-02: 2 of " in "".join(warnings_of())


@pytest.mark.parametrize("axes", ["stimuli x voxels", "voxels x stimuli"])
def test_voxels_are_divided_by_their_noise(own, axes):
    """Noise of known standard deviation; an unreliable voxel needs none. Files with an axis of participants."""
    rng, clean = np.random.default_rng(3), dict(own.patterns)
    turn = np.transpose if axes == "voxels x stimuli" else np.asarray
    for region in REGIONS:
        patterns, residuals, reliability = [], [], []
        for participant in PARTICIPANTS:
            array = clean[participant, region]
            scale = rng.uniform(0.5, 9, array.shape[1])
            noise = rng.standard_normal((50, array.shape[1]))
            noise = noise / noise.std(axis=0, ddof=1) * scale
            patterns.append(turn(np.column_stack([array * scale, np.ones(len(array))])))
            residuals.append(turn(np.column_stack([noise, np.zeros(len(noise))])))
            reliability.append(np.append(np.ones(array.shape[1]), np.nan))
        for name, arrays in (("betas", patterns), ("residuals", residuals), ("reliability", reliability)):
            np.save(own.folder / f"{region}_{name}.npy", arrays)
    names = {"files": "betas", "residuals": "residuals", "reliability": "reliability"}
    templates = {key: str(own.folder / f"{{region}}_{name}.npy") for key, name in names.items()}
    check(own, **templates, axes=axes, reliability_threshold=0.5)
    assert_allclose(read_patterns(own.brain, "IT")["sub-03"][0], clean["sub-03", "IT"], rtol=1e-10)


def write_nifti(own: Own) -> dict[str, str]:
    """Each participant's volumes, with both regions somewhere in them, and masks of 0 and 1."""
    rng = np.random.default_rng(2)
    places = rng.permutation(200)
    where = {"EarlyV": np.sort(places[:40]), "IT": np.sort(places[40:65])}
    for participant in PARTICIPANTS:
        volumes = rng.standard_normal((200, len(NAMES)))
        volumes[-1] = np.nan
        for region, voxels in where.items():
            volumes[voxels] = own.patterns[participant, region].T
            mask = np.zeros(200, dtype=np.uint8)
            mask[voxels] = 1
            image = nibabel.Nifti1Image(mask.reshape(5, 8, 5), np.eye(4))
            image.to_filename(own.folder / f"{participant}_{region}.nii.gz")
        nibabel.Nifti1Image(volumes.reshape(5, 8, 5, -1), np.eye(4)).to_filename(own.folder / f"{participant}.nii.gz")
    return {
        "files": str(own.folder / "{participant}.nii.gz"),
        "masks": str(own.folder / "{participant}_{region}.nii.gz"),
    }


def test_nifti_volumes_with_masks(own):
    templates = write_nifti(own)
    check(own, **templates, atol=1e-6)
    masked = nibabel.load(own.folder / "sub-02_IT.nii.gz").get_fdata().astype(bool)
    volumes = nibabel.load(own.folder / "sub-02.nii.gz").get_fdata()
    volumes[tuple(np.argwhere(masked)[3])] = np.nan
    nibabel.Nifti1Image(volumes, np.eye(4)).to_filename(own.folder / "sub-02.nii.gz")
    with pytest.raises(ValueError, match=r"sub-02: the pattern of 6 stimuli .* not finite, in 1 of 25 voxels"):
        check(own, **templates)


# ---- distances and similarities --------------------------------------------------------------------------------------


def save_rsatoolbox(path, array) -> None:
    rdms = RDMs(
        pdist(array, "correlation"), "correlation", pattern_descriptors={"stimulus": NAMES, "index": np.arange(6)}
    )
    rdms.save(str(path), overwrite=True)


def save_named(path, array) -> None:
    pd.DataFrame(1 - np.corrcoef(array), NAMES, [f"{name}.png" for name in NAMES]).to_csv(path)


DISTANCES = {
    "npy": (".npy", lambda path, array: np.save(path, 1 - np.corrcoef(array)), {}),
    "npy, vector of pdist": (
        ".npy",
        lambda path, array: np.save(path, pdist(array, "correlation")),
        {"triangle": "upper"},
    ),
    "npy, lower": (".npy", lambda path, array: np.save(path, 1 - np.corrcoef(array)[LOWER]), {"triangle": "lower"}),
    "npy, float32, no diagonal": (
        ".npy",
        lambda path, array: np.save(path, (1 - np.corrcoef(array) + np.diag([np.nan] * 6)).astype(np.float32)),
        {"atol": 1e-6},
    ),
    "mat": (".mat", lambda path, array: scipy.io.savemat(path, {"rdm": 1 - np.corrcoef(array)}), {}),
    "mat 7.3, vector of pdist": (
        ".mat",
        lambda path, array: save_mat73(path, pdist(array, "correlation")[None]),
        {"triangle": "upper"},
    ),
    "mat, D(tril(true(n), -1))": (
        ".mat",
        lambda path, array: scipy.io.savemat(path, {"d": (1 - np.corrcoef(array)).T[np.tri(6, k=-1, dtype=bool).T]}),
        {"triangle": "upper"},
    ),
    "csv": (".csv", lambda path, array: np.savetxt(path, 1 - np.corrcoef(array), delimiter=", "), {}),
    "csv with names": (".csv", save_named, {}),
    "csv, column": (
        ".csv",
        lambda path, array: pd.DataFrame({"distance": pdist(array, "correlation")}).to_csv(path, index=False),
        {"triangle": "upper"},
    ),
    "rsatoolbox": (".h5", save_rsatoolbox, {}),
}


@pytest.mark.parametrize(("suffix", "save", "options"), DISTANCES.values(), ids=DISTANCES)
def test_distances_of_every_kind_of_file(own, suffix, save, options):
    check(own, files=own.write(save, "{participant}_{region}" + suffix), kind="rdm", **options)
    assert read_patterns(own.brain, "IT") == {}


def test_similarities(own):
    check(own, files=own.write(np.save, change=np.corrcoef), kind="rsm")


def test_participants_of_one_array(own):
    """(participants, n, n), and RDMs of rsatoolbox, which are vectors."""
    for region in REGIONS:
        stack = np.stack([pdist(own.patterns[participant, region], "correlation") for participant in PARTICIPANTS])
        np.save(own.folder / f"{region}.npy", [squareform(vector) for vector in stack])
        RDMs(stack).save(str(own.folder / f"{region}.hdf5"))
    check(own, files=str(own.folder / "{region}.npy"), kind="rdm")
    check(own, files=str(own.folder / "{region}.hdf5"), kind="rdm")


def test_most_similar_pair_is_logged(own, caplog):
    """Nothing tells whether a vector holds distances or similarities; whoever knows the stimuli sees it."""
    caplog.set_level("INFO")
    own.patterns["sub-01", "IT"][4] = own.patterns["sub-01", "IT"][1] + 0.1 * own.patterns["sub-01", "IT"][0]
    for kind, change, size in (("rdm", lambda a: 1 - np.corrcoef(a), "small"), ("rsm", np.corrcoef, "large")):
        own.write(np.save, change=change)
        own.import_all(kind=kind)
        line = next(text for text in caplog.messages if f"participant sub-01: {kind}, found" in text and "IT" in text)
        assert f"{size} means similar; the most similar pair: kite.png and bike.png" in line


def test_other_distances_are_scaled(own):
    """r is the same as with the distances, whatever their unit; some of cross-validated distances are negative."""
    files = own.write(np.save, change=lambda array: squareform(pdist(array)) * 1000)
    check(
        own,
        own.expect(lambda array: squareform(pdist(array)) / pdist(array).max()),
        kind="rdm",
        files=files,
        distance="other",
    )
    files = own.write(np.save, change=lambda array: squareform(pdist(array) - np.sort(pdist(array))[2]))
    regions = own.import_all(kind="rdm", files=files, distance="other")
    for region in regions:
        for rsv, participant in zip(region.rsvs, PARTICIPANTS, strict=True):
            distances = squareform(pdist(own.patterns[participant, region.name]))[LOWER]
            assert np.corrcoef(rsv, distances)[0, 1] == pytest.approx(-1) and (rsv.min(), rsv.max()) == (0, 1)


# ---- stimuli, participants, paths ------------------------------------------------------------------------------------


def test_stimuli_are_written_in_the_order_of_the_file(own):
    own.write(np.save)
    own.import_all()
    assert [path.stem for path in list_stimuli(own.folder / "stimuli")] == [
        f"{i + 1:02d}_{name}" for i, name in enumerate(NAMES)
    ]
    found = np.asarray(Image.open(own.folder / "stimuli/03_apple.png"))
    assert_allclose(found, np.asarray(Image.open(own.folder / "images/apple.png")), rtol=0, atol=0)


def test_stimuli_that_are_not_square_are_told(own, warnings_of):
    """Of those only the central square is shown."""
    own.write(np.save)
    for name in NAMES:
        Image.new("RGB", (60, 60)).save(own.folder / f"images/{name}.png")
    own.import_all()
    assert warnings_of() == []
    Image.new("RGB", (60, 50)).save(own.folder / "images/kite.png")
    own.import_all()
    (found,) = warnings_of()
    assert (
        "images: 1 of 6 stimuli are not square" in found and "central square, among them of kite.png (60 x 50" in found
    )


def test_without_order_names_are_sorted(own):
    own.write(np.save, change=lambda array: array[np.argsort(NAMES)])
    own.import_all(order=None)
    assert [name[3:] for name in read_brain(own.brain)[0]] == sorted(NAMES)


def test_more_than_99_stimuli_keep_their_order(own):
    rng = np.random.default_rng(0)
    for i in range(101):
        Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(own.folder / f"images/x{i}.png")
    (own.folder / "order.txt").write_text("\n".join(f"x{i}" for i in range(101)))
    own.patterns = {key: rng.standard_normal((101, 9)) for key in own.patterns}
    own.write(np.save)
    own.import_all()
    names = read_brain(own.brain)[0]
    assert [path.stem for path in list_stimuli(own.folder / "stimuli")] == names
    assert names[99:] == ["100_x99", "101_x100"]


def test_participant_who_lacks_a_region_is_left_out_of_it(own, warnings_of):
    own.write(np.save)
    (own.folder / "sub-02_IT.npy").unlink()
    regions = own.import_all(missing="leave_out")
    assert [region.participants for region in regions] == [PARTICIPANTS, ["sub-01", "sub-03"]]
    assert_allclose(regions[1].rsvs, own.expect()["IT"][[0, 2]], rtol=0, atol=1e-12)
    assert [text for text in warnings_of() if "region IT, participant sub-02" in text and "left out" in text]
    measure_noise_ceilings(own.brain, own.folder / "ceilings.csv", n_splits=10, seed=0)
    assert list(read_ceilings(own.folder / "ceilings.csv")["n_participants"]) == [3, 2]


def test_one_participant_has_no_noise_ceiling(own, warnings_of):
    own.write(np.save)
    regions = own.import_all(participants=["sub-02"])
    assert_allclose(regions[1].rsvs, own.expect()["IT"][1:2], rtol=0, atol=1e-12)
    assert [text for text in warnings_of() if "one participant: no noise ceiling" in text]
    measure_noise_ceilings(own.brain, own.folder / "ceilings.csv", n_splits=10, seed=0)
    table = pd.read_csv(own.folder / "ceilings.csv")
    assert table["r"].isna().all() and set(table["note"]) == {"one participant"}


def test_missing_files_are_named_before_anything_runs(own):
    block = own.make_block()
    own.write(np.save)
    (own.folder / "sub-02_IT.npy").unlink()
    study = STUDY | {"brains": {"mine": block.model_dump()}}
    (line,) = missing_paths(load_config(study), set(), {"mine"}, set())
    assert line == f"  brains.mine.files: set it to a file of IT (found: {own.folder}/sub-02_IT.npy)"
    study["brains"]["mine"]["missing"] = "leave_out"
    assert missing_paths(load_config(study), set(), {"mine"}, set()) == []
    for participant in PARTICIPANTS:
        (own.folder / f"{participant}_IT.npy").unlink(missing_ok=True)
    (own.folder / "order.txt").unlink()
    found = missing_paths(load_config(study), set(), {"mine"}, set())
    assert len(found) == 4 and "brains.mine.order: set it to the file of the stimuli's order" in found[0]


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
        match=r"sub-01\.nii\.gz: NIfTI files are read by nilearn.*install the version that envs/requirements.in names",
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
