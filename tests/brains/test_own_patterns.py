"""One's own brain data as patterns: every layout of the files gives the similarities that were put in."""

import h5py
import nibabel
import numpy as np
import pandas as pd
import pytest
import scipy.io
from mat73 import Structs, save_mat73
from numpy.testing import assert_allclose
from own_brains import NAMES, PARTICIPANTS, REGIONS, Own, check, make_own
from scipy.sparse import csc_matrix

from ipcl_core.brains.patterns import whiten_noise
from ipcl_core.brains.store import read_patterns

LOWER = np.tril_indices(len(NAMES), -1)


@pytest.fixture
def own(tmp_path, photo) -> Own:
    return make_own(tmp_path, photo)


def save_h5(path, array) -> None:
    with h5py.File(path, "w") as file:
        file["other"] = 1
        file["runs/betas"] = array


PATTERNS = {
    "npy": (".npy", np.save, ""),
    "npz": (".npz", lambda path, array: np.savez(path, betas=array, other=1), "#betas"),
    "npz of one array": (".npz", lambda path, array: np.savez(path, betas=array), ""),
    "mat": (".mat", lambda path, array: scipy.io.savemat(path, {"runs": {"betas": array, "n": 1}}), "#runs/betas"),
    "mat of one array": (".mat", lambda path, array: scipy.io.savemat(path, {"betas": array}), ""),
    "sparse mat": (".mat", lambda path, array: scipy.io.savemat(path, {"betas": csc_matrix(array)}), ""),
    "sparse in a struct": (".mat", lambda path, array: scipy.io.savemat(path, {"d": {"b": csc_matrix(array)}}), "#d/b"),
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
    structs = {
        region: {f"p{i}": own.patterns[participant, region] for i, participant in enumerate(PARTICIPANTS)}
        for region in REGIONS
    }
    save_mat73(own.folder / "all.mat", **structs)
    with h5py.File(own.folder / "all.h5", "w") as file:
        for (participant, region), array in own.patterns.items():
            file[f"{region}/{participant}"] = array
    check(own, files=str(own.folder / "all.h5#{region}/{participant}"))
    expected = {region: own.expect()[region][[1]] for region in REGIONS}
    files = str(own.folder / "all.mat#{region}/p1")
    for region in own.import_all(files=files, participants=["sub-02"]):
        assert_allclose(region.rsvs, expected[region.name], rtol=0, atol=1e-12)


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


def make_cells(values: list, shape: tuple[int, int] = (1, -1)) -> np.ndarray:
    cells = np.empty(len(values), dtype=object)
    cells[:] = values
    return cells.reshape(shape)


def save_mat(path, **variables) -> None:
    """The same as `save_mat73` by scipy, in version 5."""
    for name, value in variables.items():
        if isinstance(value, Structs):
            variables[name] = np.empty(value.shape, dtype=[(key, object) for key in value[0]])
            for key in value[0]:
                variables[name][key] = make_cells([one[key] for one in value], value.shape)
    scipy.io.savemat(path, variables)


VERSIONS = pytest.mark.parametrize("save", [save_mat, save_mat73], ids=["version 5", "version 7.3"])


@VERSIONS
@pytest.mark.parametrize("shape", [(1, 3), (3, 1)])
def test_cell_array_in_either_version(own, save, shape, warnings_of):
    """[] stands for a participant without the region; an element can be taken by its number."""
    for region in REGIONS:
        arrays = [own.patterns[participant, region] for participant in PARTICIPANTS]
        save(own.folder / f"{region}.mat", betas=make_cells(arrays, shape))
    files = str(own.folder / "{region}.mat#betas")
    check(own, files=files)
    check(own, files=files.replace("{region}.mat#betas", "{region}.mat"))
    (region,) = own.import_all(files=files + "(2)", participants=["sub-02"], regions=["IT"])
    assert_allclose(region.rsvs[0], own.expect()["IT"][1], rtol=0, atol=1e-12)
    arrays[1] = np.zeros((0, 0))
    save(own.folder / "IT.mat", betas=make_cells(arrays, shape))
    with pytest.raises(
        ValueError, match=r"IT\.mat#betas: region IT, participant sub-02: holds an empty array, \[\]; where"
    ):
        own.import_all(files=files)
    assert [len(region.rsvs) for region in own.import_all(files=files, missing="leave_out")] == [3, 2]


@VERSIONS
def test_struct_arrays(own, save):
    """RSA toolbox for MATLAB: RDMs(1, participant).RDM, or RDMs(participant, session).RDM."""
    for region in REGIONS:
        each = [{"RDM": 1 - np.corrcoef(own.patterns[participant, region])} for participant in PARTICIPANTS]
        other = [{"RDM": np.eye(6)} for _ in PARTICIPANTS]
        both = [one for pair in zip(other, each, strict=True) for one in pair]
        save(own.folder / f"{region}.mat", RDMs=Structs(each), sessions=Structs(both, (3, 2)))
    files = str(own.folder / "{region}.mat#")
    for name in ("RDMs.RDM", "RDMs/RDM", "sessions(:,2).RDM", "sessions(:,2)/RDM"):
        check(own, files=files + name, kind="rdm")
    names = {"participants": ["1", "2", "3"], "kind": "rdm"}
    for name in ("RDMs(1,{participant}).RDM", "RDMs({participant}).RDM", "sessions({participant},2).RDM"):
        for region in own.import_all(files=files + name, **names):
            assert_allclose(region.rsvs, own.expect()[region.name], rtol=0, atol=1e-12)
    for region in own.import_all(files=files + "sessions(5).RDM", participants=["sub-02"], kind="rdm"):
        assert_allclose(region.rsvs[0], own.expect()[region.name][1], rtol=0, atol=1e-12)  # counted down the columns
    for name, message in {
        "sessions.RDM": r"sessions has 3 x 2 elements; say which row or column, as in .*\.mat#sessions\(:,1\)\.RDM",
        "RDMs": r"RDMs is a struct; say which field, as in EarlyV\.mat#RDMs/RDM",
        "RDMs(4).RDM": r"RDMs\(4\) is not there: index 3 is out of bounds",
        "RDMs.RDN": r"holds no RDN \(did you mean RDM\?\); there are RDM",
    }.items():
        with pytest.raises(ValueError, match=message):
            own.import_all(files=files + name, kind="rdm")


def save_volumes(path, array) -> None:
    """GLMsingle's betas: X x Y x Z x conditions, in MATLAB's order of axes."""
    save_mat73(path, modelmd=array.T.reshape(5, 1, -1, 6), R2=np.ones((5, 1, array.shape[1] // 5)))


def test_volumes_of_glmsingle(own):
    files = own.write(save_volumes, "{participant}_{region}.mat") + "#modelmd"
    check(own, files=files, axes="voxels x stimuli")
    check(
        own, files=files, axes="voxels x stimuli", reliability=files.replace("modelmd", "R2"), reliability_threshold=0.5
    )
    files = own.write(lambda path, array: save_h5(path, array.T.reshape(5, 1, -1, 6)), "{participant}_{region}.hdf5")
    check(own, files=files + "#runs/betas", axes="voxels x stimuli")
    files = own.write(np.save, change=lambda array: array.reshape(6, 5, 1, -1))
    check(own, files=files)


def test_participants_as_the_last_axis(own):
    for region in REGIONS:
        stack = np.stack([1 - np.corrcoef(own.patterns[participant, region]) for participant in PARTICIPANTS], -1)
        np.save(own.folder / f"{region}.npy", stack)
        np.save(own.folder / f"{region}_pairs.npy", stack[LOWER])
    options = {"files": str(own.folder / "{region}.npy"), "kind": "rdm"}
    with pytest.raises(
        ValueError, match=r"shape \(6, 6, 3\); .*; if they are the last axis, give participants_axis: last"
    ):
        own.import_all(**options)
    check(own, **options, participants_axis="last")
    options["files"] = str(own.folder / "{region}_pairs.npy")
    check(own, **options, participants_axis="last", triangle="lower")


@pytest.mark.parametrize("normalization", ["univariate", "multivariate"])
def test_half_precision_is_read_in_double(own, normalization):
    """Sums of squares in half precision lose digits, or overflow."""
    rng = np.random.default_rng(5)
    folder, residuals = own.folder, {}
    for (participant, region), array in own.patterns.items():
        noise = (100 * rng.standard_normal((300, array.shape[1]))).astype(np.float16)
        np.save(folder / f"{participant}_{region}_e.npy", noise)
        np.save(folder / f"{participant}_{region}.npy", array.astype(np.float16))
        residuals[participant, region] = noise.astype(np.float64)
        own.patterns[participant, region] = array.astype(np.float16).astype(np.float64)
    check(own)
    if normalization == "univariate":
        own.patterns = {key: array / residuals[key].std(0, ddof=1) for key, array in own.patterns.items()}
    else:
        own.patterns = {key: whiten_noise(array, residuals[key], "") for key, array in own.patterns.items()}
    residuals_of = str(folder / "{participant}_{region}_e.npy")
    check(own, residuals=residuals_of, noise_normalization=normalization)
    assert read_patterns(own.brain, "IT")["sub-01"].dtype == np.float64


def test_voxels_that_are_constant_within_each_run_are_left_out(own, warnings_of):
    """Constancy is that of the runs' mean, which is compared: a run's own level would correlate all stimuli."""
    expected = own.expect()
    for run in (0, 1):
        for key, array in own.patterns.items():
            levels = 2000 * np.random.default_rng(run).standard_normal(7) * np.ones((6, 1))
            np.save(own.folder / "{}_{}_{}.npy".format(*key, run), np.column_stack([array + (2 * run - 1), levels]))
    check(own, expected, files=str(own.folder / "{participant}_{region}_{run}.npy"), runs=["0", "1"])
    assert "region IT, participant sub-02: 7 of 32 voxels hold one number for all stimuli" in "".join(warnings_of())


@pytest.mark.parametrize("factor, warned", [(8, False), (0.01, True), (1e8, True)])
def test_participants_in_another_unit_are_named(own, warnings_of, factor, warned):
    own.patterns["sub-02", "IT"] *= factor
    own.write(np.save)
    check(own)
    said = [message for message in warnings_of() if "one unit" in message]
    assert len(said) == warned and all("region IT" in message and "sub-02" in message for message in said)


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
    for path in own.folder.glob("*_r.npy"):  # a mask
        np.save(path, np.load(path) > 0.3)
    check(own, files=files, reliability=str(own.folder / "{participant}_{region}_r.npy"), reliability_threshold=0.5)
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


def test_fifth_axis_and_rounded_affines(own):
    """Volumes X x Y x Z x 1 x n, as some programs write them; masks whose affine another program has rounded, or moved."""
    templates = write_nifti(own)
    for path in own.folder.glob("sub-0?.nii.gz"):
        volumes = nibabel.load(path).get_fdata()
        nibabel.Nifti1Image(volumes[:, :, :, None], np.eye(4)).to_filename(path)
    for moved in (1e-4, 0.1):
        for path in own.folder.glob("sub-0?_*.nii.gz"):
            mask = nibabel.load(path).get_fdata().astype(np.uint8)
            nibabel.Nifti1Image(mask, np.eye(4) + moved * np.eye(4, k=3)).to_filename(path)
        if moved < 0.01:
            check(own, **templates, atol=1e-6)
    with pytest.raises(ValueError, match=r"affines differ by up to 0\.1 mm; resample the mask to the volumes"):
        own.import_all(**templates)
    for other in own.folder.glob("sub-0?_*.nii.gz"):
        nibabel.Nifti1Image(np.ones((5, 8, 4), np.uint8), np.eye(4)).to_filename(other)
    with pytest.raises(ValueError, match=r"the mask has \(5, 8, 4\) voxels, a volume \(5, 8, 5\)"):
        own.import_all(**templates)


@pytest.mark.parametrize("values", [[0, 1, 2], np.linspace(0, 1, 50)])
def test_masks_of_more_than_two_numbers_are_refused(own, values):
    templates = write_nifti(own)
    mask = np.resize(values, (5, 8, 5)).astype(np.float32)
    nibabel.Nifti1Image(mask, np.eye(4)).to_filename(own.folder / "sub-02_IT.nii.gz")
    message = rf"sub-02\.nii\.gz: cannot be read: \S+sub-02_IT\.nii\.gz: a mask of {len(values)} numbers, 0 to "
    with pytest.raises(ValueError, match=message):
        own.import_all(**templates)


def test_pointer_in_place_of_a_mask(own):
    templates = write_nifti(own)
    (own.folder / "sub-02_IT.nii.gz").write_text("version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(ValueError, match=r"sub-02_IT\.nii\.gz: is a pointer of Git LFS, not the file itself"):
        own.import_all(**templates)


def test_complex_volumes_are_refused(own):
    """Their imaginary part would be dropped."""
    templates = write_nifti(own)
    volumes = nibabel.load(own.folder / "sub-02.nii.gz").get_fdata().astype(np.complex64) + 1j
    nibabel.Nifti1Image(volumes, np.eye(4)).to_filename(own.folder / "sub-02.nii.gz")
    with pytest.raises(
        ValueError, match=r"sub-02\.nii\.gz: cannot be read .*: found numbers of type complex64, needs real"
    ):
        own.import_all(**templates)
