"""Brain data that cannot be right: each case is refused, region and participant or file named, and nothing is written."""

import weakref

import h5py
import numpy as np
import pytest

from ipcl_core.brains import own
from ipcl_core.brains.own import refuse_alike
from ipcl_core.brains.store import Region, read_brain, write_brain
from ipcl_core.files import write_hdf5
from ipcl_core.fits.fit_layers import fit_layers
from ipcl_core.rsa.similarity import vectorize_rsm

STIMULI = ["mug", "bike", "apple", "chair", "kite"]
N_PAIRS = 10


def draw(rows: int = 2, pairs: int = N_PAIRS) -> np.ndarray:
    return np.random.default_rng(0).uniform(-1, 1, (rows, pairs))


def put(value, rsvs: np.ndarray | None = None) -> np.ndarray:
    rsvs = draw() if rsvs is None else rsvs
    rsvs[1, 3] = value
    return rsvs


def constant() -> np.ndarray:
    rsvs = draw()
    rsvs[1] = 0.5
    return rsvs


WHO = "region IT, participant B"
FOUND = f"{WHO}: needs 10 finite similarities for 5 stimuli, found "
CASES = {
    "NaN": (put(np.nan), f"{FOUND}9 of 10"),
    "infinity": (put(-np.inf), f"{FOUND}9 of 10"),
    "a stimulus too few": (
        draw(pairs=6),
        "region IT, participant A: needs 10 finite similarities for 5 stimuli, found 6 of 6",
    ),
    "a stimulus too many": (
        draw(pairs=15),
        "participant A: needs 10 finite similarities for 5 stimuli, found 15 of 15",
    ),
    "transposed": (draw().T, r"found an array of shape \(10, 2\) for A, B"),
    "matrices": (np.zeros((2, 5, 5)), "participant A: needs 10 finite similarities for 5 stimuli, found 25 of 25"),
    "one row": (draw()[0], r"found an array of shape \(10,\) for A, B"),
    "a participant missing": (draw(1), r"found an array of shape \(1, 10\) for A, B"),
    "a participant too many": (draw(3), r"found an array of shape \(3, 10\) for A, B"),
    "nothing": (np.zeros((0, 10)), r"found an array of shape \(0, 10\) for A, B"),
    "complex": (draw().astype(complex), "region IT, participant A: found numbers of type complex128, needs real ones"),
    "objects": (draw().astype(object), "region IT, participant A: found numbers of type object, needs real ones"),
    "texts": (draw().astype(str), "region IT, participant A: found numbers of type <U32, needs real ones"),
    "truth values": (draw() > 0, "region IT, participant A: found numbers of type bool, needs real ones"),
    "distances": (put(1.7), f"{WHO}: needs correlations, from -1 to 1, found .* to 1.7; of distances 1 - r give r"),
    "percent": (put(-35.0), f"{WHO}: needs correlations, from -1 to 1, found -35 to"),
    "constant": (constant(), f"{WHO}: all pairs of stimuli are equally similar"),
}


@pytest.mark.parametrize(("rsvs", "message"), CASES.values(), ids=CASES)
def test_similarities_that_cannot_be_right_are_refused(tmp_path, rsvs, message):
    path = tmp_path / "brain.h5"
    good = Region("EarlyV", draw(), ["A", "B"], group=False)
    with pytest.raises(ValueError, match=message):
        write_brain(path, STIMULI, [good, Region("IT", rsvs, ["A", "B"], group=False)])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("stimuli", "regions", "message"),
    [
        (["mug", "bike", "mug", "chair", "kite"], ["IT"], "needs three or more stimuli, each once; found 5, 4 names"),
        (["mug", "bike"], ["IT"], "needs three or more stimuli, each once; found 2, 2 names"),
        (STIMULI, ["IT", "IT"], "needs one or more regions, each once; found IT, IT"),
        (STIMULI, [], "needs one or more regions, each once; found none"),
    ],
)
def test_names_that_stand_twice_are_refused(tmp_path, stimuli, regions, message):
    with pytest.raises(ValueError, match=message):
        write_brain(tmp_path / "brain.h5", stimuli, [Region(name, draw(), ["A", "B"], False) for name in regions])


@pytest.mark.parametrize(
    ("participants", "group", "message"),
    [
        (["A", "A"], False, r"shape \(2, 10\) for A, A"),
        ([], False, r"shape \(2, 10\) for nobody"),
        (["A", "B"], True, "is one group average, and has 2 rows"),
    ],
)
def test_participants_that_do_not_fit_are_refused(tmp_path, participants, group, message):
    with pytest.raises(ValueError, match=f"region IT: .*{message}"):
        write_brain(tmp_path / "brain.h5", STIMULI, [Region("IT", draw(), participants, group)])


def test_error_about_the_data_is_not_about_the_disk(tmp_path):
    with pytest.raises(ValueError) as error:
        write_brain(tmp_path / "brain.h5", STIMULI, [Region("IT", put(np.nan), ["A", "B"], False)])
    assert not getattr(error.value, "__notes__", [])


def test_a_region_is_let_go_before_the_next_is_made(tmp_path):
    """Those of 10,000 stimuli together need more memory than most machines have."""
    made: list[weakref.ref] = []

    def make(name: str) -> Region:
        assert [one for one in made if one() is not None] == []
        rsvs = [rng.uniform(-1, 1, 10) for _ in "AB"]
        made.extend(map(weakref.ref, rsvs))
        return Region(name, rsvs, ["A", "B"], False)

    rng = np.random.default_rng(0)
    write_brain(tmp_path / "brain.h5", STIMULI, refuse_alike(map(make, ("V1", "V2", "IT"))))
    assert len(made) == 6 and [region.name for region in read_brain(tmp_path / "brain.h5")[1]] == ["V1", "V2", "IT"]


def test_copies_among_many_stimuli_are_refused(monkeypatch):
    """By some of the pairs, where there are more than COMPARED."""
    monkeypatch.setattr(own, "COMPARED", 4)
    regions = [Region("V1", draw(4)[:2], ["A", "B"], False), Region("IT", draw(4)[2:], ["A", "B"], False)]
    regions[1].rsvs[1, :3] = regions[0].rsvs[0, :3]
    assert list(refuse_alike(regions)) == regions
    regions[1].rsvs[1] = np.float32(regions[0].rsvs[0])
    with pytest.raises(
        ValueError, match="region IT, participant B: has the same similarities as region V1, participant A"
    ):
        list(refuse_alike(regions))


def test_one_participant_and_regions_of_other_participants_are_allowed(tmp_path):
    """A region that one participant lacks; one participant has no noise ceiling, and a fit all the same."""
    regions = [Region("V1", draw(), ["A", "B"], False), Region("IT", draw(1), ["B"], False)]
    write_brain(tmp_path / "brain.h5", STIMULI, regions)
    assert [region.participants for region in read_brain(tmp_path / "brain.h5")[1]] == [["A", "B"], ["B"]]


# ---- the file --------------------------------------------------------------------------------------------------------


def write_other(path) -> None:
    with h5py.File(path, "w") as file:
        file["something"] = 1


def write_part(path) -> None:
    write_brain(path, STIMULI, [Region("IT", draw(), ["A", "B"], False)])
    with h5py.File(path, "a") as file:
        del file["regions/IT"]


def write_link(path) -> None:
    """The region stands in another file, which is not there."""
    write_part(path)
    with h5py.File(path, "a") as file:
        file["regions/IT"] = h5py.ExternalLink("/tmp/nothing.h5", "/secret")


def write_torn(path) -> None:
    write_brain(path, STIMULI, [Region("IT", draw(), ["A", "B"], False)])
    path.write_bytes(path.read_bytes()[:1500])


@pytest.mark.parametrize(
    "write",
    [write_other, write_part, write_link, write_torn, lambda path: path.write_text("brain"), lambda p: p.touch()],
)
def test_file_that_is_no_brain_is_refused(tmp_path, write):
    write(tmp_path / "brain.h5")
    with pytest.raises(ValueError, match=r"brain\.h5: is no whole file of brain data"):
        read_brain(tmp_path / "brain.h5")


# ---- models and brains -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shown", [STIMULI[::-1], STIMULI[:4], [*STIMULI[:4], "drum"]])
def test_other_stimuli_or_another_order_are_refused(tmp_path, shown):
    write_brain(tmp_path / "brain.h5", STIMULI, [Region("IT", draw(), ["A", "B"], False)])
    with write_hdf5(tmp_path / "rsm.h5") as file:
        file["stimuli"] = shown
        file["layers/fc"] = np.eye(len(shown))
        file.attrs["layers"] = ["fc"]
    with pytest.raises(ValueError, match=r"rsm\.h5 was made with [45] stimuli that are not the 5 of .*brain\.h5"):
        fit_layers(tmp_path / "rsm.h5", tmp_path / "brain.h5", tmp_path / "fits.csv")
    assert not (tmp_path / "fits.csv").exists()


@pytest.mark.parametrize(
    ("rsm", "message"),
    [
        (
            np.array([[0.0, 1, 2], [1, 0, 3], [2, 3.5, 0]]),
            r"not symmetric: 3 in row 1, column 2 \(from 0\), 3\.5 across",
        ),
        (np.zeros((3, 4)), r"shape \(3, 4\), needs a square matrix"),
        (np.zeros(3), r"shape \(3,\), needs a square matrix"),
        (np.array([[0, np.nan], [1, 0]]), "not symmetric: nan in row 0, column 1"),
        (np.eye(600) + np.eye(600)[590][:, None] * np.eye(600)[580], "not symmetric: 0 in row 580, column 590"),
    ],
)
def test_matrix_that_is_no_rsm_is_refused(rsm, message):
    with pytest.raises(ValueError, match=message):
        vectorize_rsm(rsm)
