import numpy as np
import pytest
from numpy.testing import assert_allclose

from ipcl_core.brains.store import Region, read_brain, write_brain
from ipcl_core.images.decoding import list_stimuli


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
