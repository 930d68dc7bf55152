"""One's own brain data as distances or similarities: every kind of file gives the similarities that were put in."""

import re

import numpy as np
import pandas as pd
import pytest
import scipy.io
from mat73 import save_mat73
from own_brains import NAMES, PARTICIPANTS, REGIONS, Own, check, make_own
from rsatoolbox.rdm import RDMs
from scipy.spatial.distance import pdist, squareform

from ipcl_core.brains.store import read_patterns

LOWER = np.tril_indices(len(NAMES), -1)


@pytest.fixture
def own(tmp_path, photo) -> Own:
    return make_own(tmp_path, photo)


def save_rsatoolbox(path, array) -> None:
    rdms = RDMs(
        pdist(array, "correlation"), "correlation", pattern_descriptors={"stimulus": NAMES, "index": np.arange(6)}
    )
    rdms.save(str(path), overwrite=True)


def save_named(path, array) -> None:
    pd.DataFrame(1 - np.corrcoef(array), NAMES, [f"{name}.png" for name in NAMES]).to_csv(path)


def leave_out(array, triangle=np.triu) -> pd.DataFrame:
    """RDM without its diagonal, or without the lower triangle too."""
    return pd.DataFrame(1 - np.corrcoef(array)).mask(triangle(np.ones((6, 6))) == 0).mask(np.eye(6) == 1)


def save_half(path, array) -> None:
    leave_out(array).set_axis(NAMES).set_axis(NAMES, axis=1).to_csv(path)


DISTANCES = {
    "npy, upper triangle of NaN": (".npy", lambda path, array: np.save(path, leave_out(array).T), {}),
    "csv, empty cells": (
        ".csv",
        lambda path, array: leave_out(array, lambda one: one).to_csv(path, header=False, index=False),
        {},
    ),
    "csv, half of it empty, with names": (".csv", save_half, {}),
    "csv, NA as R writes": (
        ".csv",
        lambda path, array: leave_out(array).to_csv(path, header=False, index=False, na_rep="NA"),
        {},
    ),
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
    "csv, numbered by pandas": (".csv", lambda path, array: pd.DataFrame(1 - np.corrcoef(array)).to_csv(path), {}),
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
    "squares": ("rsm", "correlation", lambda d: (1 - d) ** 2, "many are near 0, found"),
    "1 less squares": ("rdm", "correlation", lambda d: 1 - (1 - d) ** 2, "many are near 0, found"),
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
