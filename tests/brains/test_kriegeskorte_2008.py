import io
import tarfile

import numpy as np
import pytest
import scipy.io
from numpy.testing import assert_allclose
from PIL import Image

from ipcl_core.brains.published import import_kriegeskorte_2008
from ipcl_core.brains.store import read_brain

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
