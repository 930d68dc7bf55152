import io
import tarfile

import numpy as np
import pytest
import scipy.io
from mat73 import save_mat73
from numpy.testing import assert_allclose
from PIL import Image

from ipcl_core.brains.published import import_kriegeskorte_2008, import_magri_konkle_2019
from ipcl_core.brains.store import Region, read_brain, write_brain
from ipcl_core.config import MagriKonkle2019
from ipcl_core.images.decoding import list_stimuli
from ipcl_core.rsa.similarity import vectorize_rsm

CONDITIONS = ["mug", "Bike (red).jpg", "apple", "chair2", "kite", "drum"]
NAMES = ["01_mug", "02_Bike_red_", "03_apple", "04_chair2", "05_kite", "06_drum"]
N = len(CONDITIONS)
N_VOXELS = {"EarlyV": (40, 25, 60), "pOTC": (30, 31, 32), "aOTC": (12, 9, 20)}


def draw_rsm(rng: np.random.Generator) -> np.ndarray:
    """A (6, 6) matrix of correlations."""
    covariance = np.cov(rng.standard_normal((N, 8)))
    scale = np.sqrt(np.diag(covariance))
    return covariance / scale[:, None] / scale


def make_patterns(rng: np.random.Generator, rsm: np.ndarray, n_voxels: int) -> np.ndarray:
    """Voxels x stimuli whose columns have exactly these correlations, with means and scales of their own."""
    basis = rng.standard_normal((n_voxels, N))
    basis, _ = np.linalg.qr(basis - basis.mean(0))  # orthonormal columns with mean 0
    return (basis @ np.linalg.cholesky(rsm).T) * rng.uniform(1, 20, N) + rng.uniform(-5, 5, N)


def make_cell(values: list) -> np.ndarray:
    """A MATLAB cell array."""
    cell = np.empty((1, len(values)), dtype=object)
    cell[0, :] = values
    return cell


def save_mat(path, **variables) -> None:
    scipy.io.savemat(path, variables)


class Study:
    """ExploringObjectsData_SECTORS.mat and its stimuli, made by the rule: 3 participants, known RSMs."""

    save = staticmethod(save_mat)

    def __init__(self, folder, photo):
        rng = np.random.default_rng(0)
        self.betas, self.images = folder / "ExploringObjectsData_SECTORS.mat", folder / "images"
        self.stimuli, self.brain = folder / "stimuli", folder / "brain.h5"
        self.regions = {"EarlyV": "EarlyV", "posterior": "pOTC", "anterior": "aOTC"}
        self.rsms = {sector: [draw_rsm(rng) for _ in sizes] for sector, sizes in N_VOXELS.items()}
        self.patterns = {
            sector: [make_patterns(rng, rsm, n) for rsm, n in zip(self.rsms[sector], sizes, strict=True)]
            for sector, sizes in N_VOXELS.items()
        }
        self.images.mkdir()
        for i, name in enumerate(CONDITIONS):
            stem = name.removesuffix(".jpg")
            photo.crop((50 * i, 60 * i, 50 * i + 60, 60 * i + 50)).save(self.images / f"{stem}.png")
        (self.images / "readme.txt").write_text("no stimulus")

        self.reliability = {sector: [np.ones(n) for n in sizes] for sector, sizes in N_VOXELS.items()}

    def write(self, name: str = "SECTORS", **changes) -> None:
        """Write the .mat file, with some fields of the struct replaced or (None) left out."""
        struct = {
            "Betas": {sector: make_cell(arrays) for sector, arrays in self.patterns.items()},
            "Reliability": {sector: make_cell(arrays) for sector, arrays in self.reliability.items()},
            "conditions": make_cell(CONDITIONS).T,
        } | changes
        struct = {key: value for key, value in struct.items() if value is not None}
        self.save(self.betas, **{name: struct})

    def import_all(self, **options) -> None:
        places = {"betas": str(self.betas), "stimuli": str(self.images)}
        block = {"source": "magri_konkle_2019", "title": "Objects", "regions": self.regions} | places | options
        import_magri_konkle_2019(MagriKonkle2019.model_validate(block), self.stimuli, self.brain)


@pytest.fixture
def study(tmp_path, photo) -> Study:
    return Study(tmp_path, photo)


# ---- Magri and Konkle 2019 -------------------------------------------------------------------------------------------


def test_similarities_are_those_that_were_put_in(study):
    study.write()
    study.import_all()
    stimuli, regions = read_brain(study.brain)
    assert stimuli == NAMES
    assert [region.name for region in regions] == ["EarlyV", "posterior", "anterior"]
    for region in regions:
        assert region.participants == ["01", "02", "03"]
        assert not region.group
        expected = [vectorize_rsm(rsm) for rsm in study.rsms[study.regions[region.name]]]
        assert_allclose(region.rsvs, expected, rtol=0, atol=1e-12)


def test_stimuli_are_written_in_the_order_of_the_conditions(study):
    study.write()
    study.import_all()
    assert list(list_stimuli(study.stimuli)) == NAMES
    for condition, name in zip(CONDITIONS, NAMES, strict=True):
        found = np.asarray(Image.open(study.stimuli / f"{name}.png"))
        expected = np.asarray(Image.open(study.images / f"{condition.removesuffix('.jpg')}.png"))
        assert_allclose(found, expected, rtol=0, atol=0)


def test_order_of_the_regions_is_the_configurations(study):
    study.regions = {"anterior": "aOTC", "EarlyV": "EarlyV"}
    study.write()
    study.import_all()
    assert [region.name for region in read_brain(study.brain)[1]] == ["anterior", "EarlyV"]


def test_gradient_file_is_read_the_same(study):
    study.write("GRADIENT")
    study.import_all()
    assert [region.name for region in read_brain(study.brain)[1]] == ["EarlyV", "posterior", "anterior"]


def test_file_of_version_73_is_read_the_same(study):
    study.save = save_mat73
    study.write()
    study.import_all(reliability_threshold=0.3)
    stimuli, regions = read_brain(study.brain)
    assert stimuli == NAMES
    for region in regions:
        expected = [vectorize_rsm(rsm) for rsm in study.rsms[study.regions[region.name]]]
        assert_allclose(region.rsvs, expected, rtol=0, atol=1e-12)


def test_unreliable_voxels_are_left_out(study):
    """Among the voxels with the known RSM lie others, as reliable as the threshold or without a reliability."""
    rng = np.random.default_rng(1)
    for sector, arrays in study.patterns.items():
        for i, array in enumerate(arrays):
            order = rng.permutation(len(array) + 9)
            arrays[i] = np.concatenate([array, rng.standard_normal((9, N))])[order]
            low = [0.3] * 4 + [-0.2] * 4 + [np.nan]
            study.reliability[sector][i] = np.concatenate([rng.uniform(0.31, 0.9, len(array)), low])[order]
    study.write()
    study.import_all(reliability_threshold=0.3)
    for region in read_brain(study.brain)[1]:
        expected = [vectorize_rsm(rsm) for rsm in study.rsms[study.regions[region.name]]]
        assert_allclose(region.rsvs, expected, rtol=0, atol=1e-12)
    study.import_all()
    assert not np.allclose(read_brain(study.brain)[1][0].rsvs, expected, atol=0.05)


def test_participants_can_be_left_out(study):
    study.patterns["pOTC"][1] = np.ones((3, 2))  # nobody looks at it
    study.write()
    study.import_all(left_out=[2])
    for region in read_brain(study.brain)[1]:
        assert region.participants == ["01", "03"]
        rsms = study.rsms[study.regions[region.name]]
        assert_allclose(region.rsvs, [vectorize_rsm(rsms[0]), vectorize_rsm(rsms[2])], rtol=0, atol=1e-12)


def test_transparent_stimulus_is_put_on_the_background(study, warnings_of):
    Image.new("RGBA", (60, 50), (10, 20, 30, 0)).save(study.images / "apple.png")
    study.write()
    study.import_all(background="#404142")
    name = next(name for name in NAMES if name.endswith("apple"))
    assert (np.asarray(Image.open(study.stimuli / f"{name}.png")) == [64, 65, 66]).all()
    assert any("1 of 6 stimuli have transparent pixels, among them apple.png" in text for text in warnings_of())


def test_transparent_stimulus_is_put_on_white(study):
    Image.new("RGBA", (8, 8), (10, 20, 30, 0)).save(study.images / "apple.png")
    study.write()
    study.import_all()
    name = next(name for name in NAMES if name.endswith("apple"))
    assert (np.asarray(Image.open(study.stimuli / f"{name}.png")) == 255).all()


def refuse(study: Study, message: str, **options) -> None:
    with pytest.raises(ValueError, match=message):
        study.import_all(**options)
    assert not study.brain.exists()


def test_unknown_region_is_refused(study):
    study.write()
    study.regions["V1"] = "V1"
    refuse(study, r"SECTORS.mat: V1: no such region under Betas; there are EarlyV, pOTC, aOTC")


@pytest.mark.parametrize("shape", [(30, N - 1), (N, 30), (N, 1)])
def test_array_of_the_wrong_shape_is_refused(study, shape):
    study.patterns["pOTC"][1] = np.ones(shape)
    study.write()
    message = r"SECTORS.mat: pOTC, participant 2: found an array of shape \(.*\), needs voxels x 6 stimuli"
    refuse(study, message + ("; is it transposed" if shape == (N, 30) else ""))


@pytest.mark.parametrize("dtype", [np.complex128, object])
def test_numbers_that_are_not_real_are_refused(study, dtype):
    study.patterns["pOTC"][1] = study.patterns["pOTC"][1].astype(dtype)
    study.write()
    refuse(study, "SECTORS.mat: pOTC, participant 2: found numbers of type .*, needs real ones")


def test_missing_image_is_refused(study):
    study.write()
    (study.images / "apple.png").unlink()
    (study.images / "kite.png").unlink()
    refuse(
        study, r"images: no image for 2 of 6 conditions, among them 'apple'; the 4 images there need the conditions'"
    )


def test_two_images_of_one_condition_are_refused(study):
    study.write()
    Image.new("RGB", (8, 8)).save(study.images / "apple.jpg")
    refuse(study, "images: apple.jpg and apple.png are images of one condition")


def test_image_that_cannot_be_decoded_is_refused(study):
    study.write()
    content = (study.images / "apple.png").read_bytes()
    (study.images / "apple.png").write_bytes(content[:-200])
    refuse(study, "apple.png: cannot be decoded: .*truncated")


@pytest.mark.parametrize("field", ["Betas", "conditions"])
def test_struct_without_its_fields_is_refused(study, field):
    study.write(**{field: None})
    refuse(study, r"SECTORS.mat: SECTORS needs the fields Betas \(with a field a region\) and conditions")


def test_file_without_the_struct_is_refused(study):
    study.write("VOXELS")
    refuse(study, "SECTORS.mat: needs a struct SECTORS or GRADIENT, and holds VOXELS")


def write_torn(path) -> None:
    scipy.io.savemat(path, {"SECTORS": np.ones((50, 50))})
    path.write_bytes(path.read_bytes()[:900])


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda path: path.write_text("betas" * 60), "cannot be read: "),
        (lambda path: path.write_bytes(b""), "cannot be read: "),
        (write_torn, "cannot be read: "),
        (
            lambda path: path.write_bytes(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + bytes(400)),
            "cannot be read: ",
        ),
    ],
    ids=["text", "empty", "torn", "torn version 7.3"],
)
def test_file_that_is_no_whole_mat_file_is_refused(study, write, message):
    write(study.betas)
    refuse(study, rf"SECTORS\.mat: {message}")


def test_condition_that_is_there_twice_is_refused(study):
    study.write(conditions=make_cell([*CONDITIONS[:-1], CONDITIONS[0]]).T)
    refuse(study, "the conditions hold a name twice")


def test_voxels_without_a_number_are_refused(study):
    study.patterns["aOTC"][2][4, 3] = np.nan
    study.write()
    refuse(
        study, rf"aOTC, participant 3: the pattern of 1 stimuli \({CONDITIONS[3]}\) holds numbers that are not finite"
    )


def test_constant_pattern_is_refused(study):
    study.patterns["aOTC"][0][:, 2] = 7
    study.write()
    refuse(study, rf"aOTC, participant 1: the pattern of 1 stimuli \({CONDITIONS[2]}\) is the same in every voxel")


def test_too_few_voxels_are_refused(study):
    study.write()
    refuse(study, "SECTORS.mat: aOTC, participant 2: 9 voxels are left; at least 10 are needed", min_voxels=10)
    study.reliability["pOTC"][0][1:] = 0
    study.write()
    refuse(study, "pOTC, participant 1: 1 voxels are left; at least 2 are needed", reliability_threshold=0.3)


def test_reliability_that_does_not_fit_is_refused(study):
    study.reliability["pOTC"][1] = np.ones(5)
    study.write()
    refuse(study, r"pOTC, participant 2: reliabilities of shape \(5,\) for 31 voxels", reliability_threshold=0.3)
    study.reliability["pOTC"].pop()
    study.write()
    refuse(study, "pOTC: reliabilities of 2 participants, betas of 3", reliability_threshold=0.3)
    study.write(Reliability=None)
    refuse(study, "EarlyV: no such region under Reliability; there are none", reliability_threshold=0.3)


def test_fewer_than_two_participants_are_refused(study):
    study.write()
    refuse(study, r"EarlyV: 1 participant\(s\) left; a noise ceiling needs at least two", left_out=[1, 3])
    refuse(study, "EarlyV: participant 4 is to be left out; there are 1 to 3", left_out=[4])
    for arrays in study.patterns.values():
        del arrays[1:]
    study.write()
    refuse(study, r"EarlyV: 1 participant\(s\) left; a noise ceiling needs at least two")


# ---- Kriegeskorte et al. 2008 ----------------------------------------------------------------------------------------

CATEGORIES = ["human body part", "inanimate natural", "animal face", "inanimate artificial", "inanimate natural"]


def draw_distances(rng: np.random.Generator) -> np.ndarray:
    """A (5, 5) matrix of distances."""
    distances = rng.uniform(0, 2, (5, 5))
    return np.tril(distances, -1) + np.tril(distances, -1).T


def make_struct(*rows: dict) -> np.ndarray:
    """A MATLAB struct array of one row."""
    struct = np.zeros((1, len(rows)), [(key, object) for key in rows[0]])
    for i, row in enumerate(rows):
        struct[0, i] = tuple(row.values())
    return struct


@pytest.mark.parametrize(("subset", "kept"), [("all", [0, 1, 2, 3, 4]), ("inanimate", [1, 3, 4])])
def test_92_objects_by_hand(tmp_path, subset, kept):
    """Five objects in the published layout: similarity is 1 minus the mean distance of a participant's two sessions."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (5, 8, 8, 3), np.uint8)
    scans = [[draw_distances(rng), draw_distances(rng)] for _ in range(4)]
    models = {"monkeyIT": draw_distances(rng), "EVA": draw_distances(rng)}
    judgments = {f"subject{i}": draw_distances(rng) for i in (1, 2, 3)}
    people = ["BE", "KO", "SN", "TI"]
    sessions = [
        make_struct(*({"RDM": rdm, "name": f"hIT | {who} | Session: {i}"} for i, rdm in enumerate(rdms, 1)))
        for who, rdms in zip(people, scans, strict=True)
    ]
    contents = {
        "Kriegeskorte_Neuron2008_supplementalData.mat": {
            "stimuli_92objs": make_struct(
                *({"image": image, "category": name} for image, name in zip(images, CATEGORIES, strict=True))
            )
        },
        "92_brainRDMs.mat": {"RDMs": np.stack(sessions, axis=1)},  # (1, 4 participants, 2 sessions)
        "92_behavRDMs.mat": {
            "rdms_behav_92": make_struct(*({"RDM": rdm, "name": f"simJudge | {who}"} for who, rdm in judgments.items()))
        },
        "92_modelRDMs.mat": {"Models": make_struct(*({"RDM": rdm, "name": name} for name, rdm in models.items()))},
    }
    with tarfile.open(tmp_path / "package.tar.gz", "w:gz") as file:
        for name, content in contents.items():
            scipy.io.savemat(stream := io.BytesIO(), content)
            member = tarfile.TarInfo(f"rsatoolbox-0.0.4/demos/92imageData/{name}")
            member.size = len(stream.getvalue())
            file.addfile(member, io.BytesIO(stream.getvalue()))
    import_kriegeskorte_2008(tmp_path / "package.tar.gz", subset, tmp_path / "stimuli", tmp_path / "brain.h5")
    stimuli, (early, it, behaviour) = read_brain(tmp_path / "brain.h5")
    assert stimuli == [f"{i + 1:02d}_{CATEGORIES[i].replace(' ', '_')}" for i in kept]
    for name, i in zip(stimuli, kept, strict=True):
        assert_allclose(np.asarray(Image.open(tmp_path / "stimuli" / f"{name}.png")), images[i], rtol=0, atol=0)
    pairs = [(a, b) for i, a in enumerate(kept) for b in kept[:i]]
    expected = [[1 - (first[pair] + second[pair]) / 2 for pair in pairs] for first, second in scans]
    assert (it.name, it.participants, it.group) == ("IT", people, False)
    assert_allclose(it.rsvs, expected, rtol=0, atol=1e-12)
    assert (early.name, early.participants, early.group) == ("EarlyV", ["group average"], True)
    assert_allclose(early.rsvs, [[1 - models["EVA"][pair] for pair in pairs]], rtol=0, atol=1e-12)
    assert (behaviour.name, behaviour.participants, behaviour.group) == ("Behaviour", list(judgments), False)
    judged = [[1 - judgments[who][pair] for pair in pairs] for who in judgments]
    for given, expected in zip(
        behaviour.rsvs, judged, strict=True
    ):  # scaled to [-1, 1] at most, which no correlation sees
        assert np.corrcoef(given, expected)[0, 1] == pytest.approx(1, abs=1e-12)


# ---- the file --------------------------------------------------------------------------------------------------------


def test_brain_file_round_trip(tmp_path):
    rng = np.random.default_rng(0)
    regions = [
        Region("zeta", rng.uniform(-1, 1, (4, 3)), ["BE", "KO", "SN", "TI"], group=False),
        Region("alpha", rng.uniform(-1, 1, (1, 3)), ["group average"], group=True),
    ]
    write_brain(tmp_path / "brain.h5", ["a", "b", "ç"], regions)
    stimuli, found = read_brain(tmp_path / "brain.h5")
    assert stimuli == ["a", "b", "ç"]
    for region, expected in zip(found, regions, strict=True):
        assert (region.name, region.participants, region.group) == (
            expected.name,
            expected.participants,
            expected.group,
        )
        assert_allclose(region.rsvs, expected.rsvs, rtol=0, atol=0)


@pytest.mark.parametrize("rsv,found", [([0.1, 0.2], "2 of 2"), ([0.1, np.nan, 0.3], "2 of 3"), ([0.1] * 6, "6 of 6")])
def test_vector_that_does_not_fit_is_refused(tmp_path, rsv, found):
    regions = [Region("IT", np.array([rsv]), ["BE"], group=False)]
    message = f"region IT, participant BE: needs 3 finite similarities for 3 stimuli, found {found}"
    with pytest.raises(ValueError, match=message):
        write_brain(tmp_path / "brain.h5", ["a", "b", "c"], regions)
    assert not (tmp_path / "brain.h5").exists()


def test_participants_without_vectors_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"region IT: .* shape \(1, 3\) for BE, KO"):
        write_brain(tmp_path / "brain.h5", ["a", "b", "c"], [Region("IT", np.ones((1, 3)), ["BE", "KO"], group=False)])


def test_hidden_files_are_no_stimuli(tmp_path):
    for name in ("b.png", ".DS_Store", "a.png", "10_c.png", "9_d.png"):
        (tmp_path / name).write_bytes(b"")
    assert list(list_stimuli(tmp_path)) == ["10_c", "9_d", "a", "b"]
