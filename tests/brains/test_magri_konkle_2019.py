import numpy as np
import pytest
import scipy.io
from mat73 import save_mat73
from numpy.testing import assert_allclose
from PIL import Image

from ipcl_core.brains.published import import_magri_konkle_2019
from ipcl_core.brains.store import read_brain
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
