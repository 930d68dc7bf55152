"""One's own brain data: every layout of the files gives the similarities that were put in."""

import re
import shutil
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
from mat73 import Structs, save_mat73
from numpy.testing import assert_allclose
from own_brains import NAMES, PARTICIPANTS, REGIONS, Own, make_own
from PIL import Image
from rsatoolbox.rdm import RDMs
from scipy.sparse import csc_matrix
from scipy.spatial.distance import pdist, squareform

from ipcl_core.brains.patterns import whiten_noise
from ipcl_core.brains.store import read_brain, read_patterns
from ipcl_core.config import OwnBrain, load_config, missing_paths
from ipcl_core.files import read_csv
from ipcl_core.fits.statistics import measure_noise_ceilings
from ipcl_core.images.decoding import list_stimuli
from ipcl_core.report.table1 import choose_ceilings

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
        ValueError, match=r"shape \(6, 6, 3\), .*; if they are the last axis, give participants_axis: last"
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
    with pytest.raises(ValueError, match="affine"):
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
        lambda path, array: save_mat73(path, d=pdist(array, "correlation")),
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


def test_distances_that_a_file_names(own):
    """rsatoolbox says which distances they are; small Euclidean ones could be taken for 1 - r."""

    def save(path, array) -> None:
        RDMs(pdist(array) / 100, dissimilarity_measure="squared euclidean").save(str(path), overwrite=True)

    files = own.write(save, "{participant}_{region}.h5")
    with pytest.raises(ValueError, match="by the file its distances are 'squared euclidean'; give distance: other, or"):
        own.import_all(kind="rdm", files=files)
    expected = own.expect(lambda array: squareform(pdist(array)) / pdist(array).max())
    check(own, expected, kind="rdm", files=files, distance="other")


def test_most_similar_pair_is_logged(own, caplog):
    """Nothing tells whether a vector holds distances or similarities; whoever knows the stimuli sees it."""
    caplog.set_level("INFO")
    own.patterns["sub-01", "IT"][4] = own.patterns["sub-01", "IT"][1] + 0.1 * own.patterns["sub-01", "IT"][0]
    for kind, change, size in (("rdm", lambda a: 1 - np.corrcoef(a), "small"), ("rsm", np.corrcoef, "large")):
        own.write(np.save, change=change)
        own.import_all(kind=kind)
        line = next(text for text in caplog.messages if f"participant sub-01: {kind}, found" in text and "IT" in text)
        assert f"{size} means similar; the most similar pair: kite.png and bike.png" in line


SUSPECT = {
    "small distances": (
        "rdm",
        "correlation",
        lambda d: 0.03 * d / d.max(),
        r"found 0\.\d+ to 0\.03; of other distances give",
    ),
    "small similarities": (
        "rsm",
        "correlation",
        lambda d: 0.03 * d / d.max(),
        r"correlations are seldom all so small, found",
    ),
    "evenly spaced": (
        "rdm",
        "correlation",
        lambda d: (d.argsort().argsort() + 1) / 15,
        "spaced, found 0.0667 to 1, as ranks",
    ),
    "negative distances": (
        "rdm",
        "crossvalidated",
        lambda d: d - d.mean(),
        r"\d\d% of the distances are negative, found -",
    ),
}


@pytest.mark.parametrize(("kind", "distance", "change", "message"), SUSPECT.values(), ids=SUSPECT)
def test_range_that_hardly_ever_is_is_said(own, kind, distance, change, message, warnings_of):
    files = own.write(np.save, change=lambda array: change(pdist(array, "correlation")))
    own.import_all(kind=kind, files=files, distance=distance, triangle="upper")
    found = [text for text in warnings_of() if re.search(message, text)]
    assert len(found) == 6 and "sub-02_IT.npy" in found[4]


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
    regions = own.import_all(kind="rdm", files=files, distance="crossvalidated")
    for region in regions:
        for rsv, participant in zip(region.rsvs, PARTICIPANTS, strict=True):
            distances = squareform(pdist(own.patterns[participant, region.name]))[LOWER]
            assert np.corrcoef(rsv, distances)[0, 1] == pytest.approx(-1) and (rsv.min(), rsv.max()) == (0, 1)


# ---- stimuli, participants, paths ------------------------------------------------------------------------------------


def test_stimuli_are_written_in_the_order_of_the_file(own):
    own.write(np.save)
    own.import_all()
    assert list(list_stimuli(own.folder / "stimuli")) == [f"{i + 1:02d}_{name}" for i, name in enumerate(NAMES)]
    found = np.asarray(Image.open(own.folder / "stimuli/03_apple.png"))
    assert_allclose(found, np.asarray(Image.open(own.folder / "images/apple.png")), rtol=0, atol=0)


def test_stimuli_that_are_not_square_are_told(own, warnings_of):
    """Of those only the central square is shown."""
    own.write(np.save)
    for name in NAMES:
        Image.new("RGB", (60, 60)).save(own.folder / f"images/{name}.png")
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
    for name in NAMES:
        Image.new("RGB", (60, 60), "red").save(own.folder / f"images/{name}.png")
    Image.new("RGBA", (60, 60), (1, 2, 3, 255)).save(own.folder / "images/mug.png")  # an alpha that hides nothing
    own.import_all()
    assert warnings_of() == []
    Image.new(mode, (60, 60), value).save(own.folder / "images/kite.png")
    for background, level in ({}, 255), ({"background": "gray"}, 128), ({"background": "#010101"}, 1):
        own.import_all(**background)
        assert (np.asarray(Image.open(own.folder / "stimuli/05_kite.png")) == level).all()
        assert (np.asarray(Image.open(own.folder / "stimuli/01_mug.png")) == [1, 2, 3]).all()
    found = warnings_of()
    assert (
        len(found) == 3
        and "1 of 6 stimuli have transparent pixels, among them kite.png; they become white," in found[0]
    )


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
