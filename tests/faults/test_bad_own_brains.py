"""One's own brain data that cannot be right: each case names the file, what was found, what would be right."""

import h5py
import numpy as np
import pandas as pd
import pytest
from own_brains import NAMES, check, put, refuse
from scipy.spatial.distance import pdist, squareform

N = len(NAMES)


def edit(array: np.ndarray, index, value) -> np.ndarray:
    array = np.array(array)
    array[index] = value
    return array


WHO = r"/sub-02_IT\.npy: region IT, participant sub-02"
PATTERNS = {
    "NaN voxels": (
        lambda a: edit(a, ([1, 1, 4], [3, 8, 8]), np.nan),
        r": the pattern of 2 stimuli \(bike.png, kite.png\) holds numbers that are not finite, in 2 of 25 voxels; leave these",
    ),
    "infinity": (
        lambda a: edit(a, (0, 0), np.inf),
        r": the pattern of 1 stimuli \(mug.png\) .* not finite, in 1 of 25 voxels",
    ),
    "constant pattern": (
        lambda a: edit(a, 2, 7.0),
        r": the pattern of 1 stimuli \(apple.png\) is the same in every voxel",
    ),
    "an RDM": (
        lambda a: 1 - np.corrcoef(a),
        ": the array is square and symmetric, its diagonal is .*; give kind: rdm or rsm",
    ),
    "an RSM": (np.corrcoef, ": the array is square and symmetric, its diagonal is 1, as of distances or similarities"),
    "too few voxels": (lambda a: a[:, :9], ": 9 voxels are left; at least 10 are needed"),
    "no voxel": (lambda a: a[:, :0], ": 0 voxels are left; at least 10 are needed"),
    "transposed": (lambda a: a.T, r": found an array of shape \(25, 6\), needs 6 stimuli x voxels; is it transposed\?"),
    "a stimulus too few": (lambda a: a[:5], r": found an array of shape \(5, 25\), needs 6 stimuli x voxels$"),
    "a stimulus too many": (
        lambda a: a[[0, *range(6)]],
        r": found an array of shape \(7, 25\), needs 6 stimuli x voxels$",
    ),
    "one axis": (lambda a: a[0], r": found an array of shape \(25,\), needs 6 stimuli x voxels$"),
    "runs": (lambda a: a[None], r": found an array of shape \(1, 6, 25\), needs 6 stimuli x voxels$"),
    "complex": (lambda a: a + 1j, ": found numbers of type complex128, needs real ones"),
    "truth values": (lambda a: a > 0, ": found numbers of type bool, needs real ones"),
    "texts": (lambda a: a.astype(str), ": found numbers of type <U[0-9]+, needs real ones"),
}


@pytest.mark.parametrize(("change", "message"), PATTERNS.values(), ids=PATTERNS)
def test_patterns_that_cannot_be_right(own, change, message):
    put(own, change(own.patterns["sub-02", "IT"]))
    refuse(own, WHO + message, min_voxels=10)


def test_patterns_declared_with_the_wrong_axes(own):
    refuse(own, r"needs voxels x 6 stimuli; is it transposed\?", axes="voxels x stimuli")


def test_reliability_that_does_not_fit(own):
    template = str(own.folder / "{participant}_{region}_r.npy")
    options = {"reliability": template, "reliability_threshold": 0.3}
    own.write(np.save, "{participant}_{region}_r.npy", lambda array: np.ones(array.shape[1]))
    put(own, np.ones(24), "sub-02_IT_r.npy")
    refuse(own, WHO + r": reliabilities of shape \(24,\) for 25 voxels", **options)
    put(own, np.full(25, 0.3), "sub-02_IT_r.npy")
    refuse(own, WHO + ": 0 voxels are left; at least 2 are needed", **options)
    (own.folder / "sub-02_IT_r.npy").unlink()
    refuse(own, r"region IT, participant sub-02: .*/sub-02_IT_r\.npy: there is no such file", **options)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.ones((9, 24)), r": found residuals of shape \(9, 24\), needs two or more samples of 25 voxels"),
        (np.ones((1, 25)), r": found residuals of shape \(1, 25\), needs two"),
        (np.zeros((25, 9)), r": found residuals of shape \(25, 9\), needs two"),
        (edit(np.eye(25), (slice(None), [2, 7]), 0.5), ": the residuals of 2 of 25 voxels are constant or not finite"),
        (edit(np.eye(25), (3, 4), np.nan), ": the residuals of 1 of 25 voxels are constant or not finite"),
        (1j * np.eye(25), ", residuals: found numbers of type complex128"),
    ],
)
def test_residuals_that_do_not_fit(own, array, message):
    own.write(np.save, "{participant}_{region}_e.npy", lambda patterns: np.eye(50, patterns.shape[1]))
    put(own, array, "sub-02_IT_e.npy")
    refuse(own, WHO + message, residuals=str(own.folder / "{participant}_{region}_e.npy"))


DISTANCES = {
    "an RSM": (lambda d: 1 - d, ": its diagonal is 1, as of an RSM; give kind: rsm, or 1 - r"),
    "a diagonal of neither": (
        lambda d: d + 0.5 * np.eye(N),
        r": the diagonal of an RDM is 0, found 0\.5 to 0\.5",
    ),
    "not symmetric": (
        lambda d: edit(d, (1, 0), 0.125),
        r": the matrix is not symmetric: [0-9.]+ in row 0, column 1 \(from 0\), 0\.125 across",
    ),
    "NaN": (lambda d: edit(d, ([0, 3], [3, 0]), np.nan), ": 1 of 15 pairs hold no finite number"),
    "infinity": (lambda d: edit(d, ([0, 3], [3, 0]), np.inf), ": 1 of 15 pairs hold no finite number"),
    "constant": (lambda d: 1 - np.eye(N), ": all 15 pairs hold 1, so that nothing correlates with them"),
    "Euclidean": (lambda d: 30 * d, ": distances 1 - r lie between 0 and 2, found .*; give distance: other"),
    "negative": (
        lambda d: d - 1 + np.eye(N),
        ": distances are not negative, found .*; correlations, or their Fisher z, are similarities",
    ),
    "other stimuli": (
        lambda d: d[:5, :5],
        r": found an array of shape \(5, 5\); that is for 5 stimuli, needs \(6, 6\)",
    ),
    "no square": (lambda d: d[:5], r": found an array of shape \(5, 6\), needs \(6, 6\) or \(15,\) for 6 stimuli"),
    "vector": (
        lambda d: d[np.tril_indices(N, -1)],
        ": holds 15 pairs in an order that must be declared: triangle: upper .* or lower",
    ),
    "vector with the diagonal": (
        lambda d: d[np.tril_indices(N)],
        r": found an array of shape \(21,\), as of the pairs and the diagonal",
    ),
    "vector of others": (lambda d: np.arange(10.0), r": found an array of shape \(10,\); that is for 5 stimuli"),
    "complex": (lambda d: d + 0j, ": found numbers of type complex128"),
    "a number": (lambda d: np.float64(0.5), r": found an array of shape \(\), needs \(6, 6\)"),
}


@pytest.mark.parametrize(("change", "message"), DISTANCES.values(), ids=DISTANCES)
def test_distances_that_cannot_be_right(own, change, message):
    own.write(np.save, change=lambda array: 1 - np.corrcoef(array))
    put(own, change(1 - np.corrcoef(own.patterns["sub-02", "IT"])))
    refuse(own, WHO + f"(?:{message})", kind="rdm")


SIMILARITIES = {
    "an RDM": (
        lambda r: 1 - r,
        r": its diagonal is 0, as of an RDM \(give kind: rdm if small numbers mean similar\), or of",
    ),
    "a diagonal of 0": (
        lambda r: r - np.eye(N),
        r": its diagonal is 0, and others are negative, down to -0\.\d+: correlations, or .* z give the hyperbolic tangent",
    ),
    "Fisher's z": (
        lambda r: np.arctanh(r - 1e-3 * np.eye(N)) + np.diag([np.inf] * N),
        ": its diagonal is infinite, as of Fisher's z; give their hyperbolic tangent",
    ),
    "large Fisher's z": (
        lambda r: edit(2 * r - np.eye(N), ([0, 1], [1, 0]), 1.25),
        r": an RSM holds correlations, from -1 to 1, found .* to 1\.25; of Fisher's z give their hyperbolic tangent",
    ),
    "covariances": (lambda r: 9 * r, r": the diagonal of an RSM is 1, found 9 to 9"),
    "distances without a diagonal": (
        lambda r: 1 - r + np.diag([np.nan] * N),
        ": an RSM holds correlations, from -1 to 1, found .*, of distances kind: rdm",
    ),
}


@pytest.mark.parametrize(("change", "message"), SIMILARITIES.values(), ids=SIMILARITIES)
def test_similarities_that_cannot_be_right(own, change, message):
    own.write(np.save, change=np.corrcoef)
    put(own, change(np.corrcoef(own.patterns["sub-02", "IT"])))
    refuse(own, WHO + message, kind="rsm")


def test_file_of_another_region(own):
    files = own.write(lambda path, array: np.savez(path, betas=array, roi="V1, left"), "{participant}_{region}.npz")
    check(own, files=f"{files}#betas")
    own.write(lambda path, array: np.savez(path, betas=array, roi="EarlyV"), "{participant}_{region}.npz")
    (own.folder / "brain.h5").unlink()
    with pytest.raises(ValueError, match=r"sub-01_IT\.npz#betas: region IT.*: by roi these are the values of EarlyV"):
        own.import_all(files=f"{files}#betas")


@pytest.mark.parametrize("axes", ["stimuli x voxels", "voxels x stimuli"])
def test_voxels_in_another_order(own, axes):
    """By the names that a CSV gives them, in another run, the reliability and the residuals."""
    rng = np.random.default_rng(0)

    def save(path, array, names, voxels) -> None:
        table = pd.DataFrame(array, names, voxels)
        (table if axes.startswith("stimuli") else table.T).to_csv(own.folder / path)

    def write(**orders) -> None:
        for (participant, region), array in own.patterns.items():
            voxels = [f"v{i}" for i in range(array.shape[1])]
            for run in "12":
                noisy = array + 0.1 * rng.standard_normal(array.shape)
                save(f"{participant}_{region}_{run}.csv", noisy, NAMES, voxels[:: orders.get(run, 1)])
            save(f"noise_{participant}_{region}.csv", noisy - array, NAMES, voxels[:: orders.get("residuals", 1)])
            reliable = pd.DataFrame({"r": np.ones(len(voxels))}, voxels[:: orders.get("reliability", 1)])
            reliable.to_csv(own.folder / f"r_{participant}_{region}.csv")

    options = {"files": str(own.folder / "{participant}_{region}_{run}.csv"), "runs": ["1", "2"], "axes": axes}
    options |= {"reliability": str(own.folder / "r_{participant}_{region}.csv"), "reliability_threshold": 0.5}
    options |= {"residuals": str(own.folder / "noise_{participant}_{region}.csv")}
    for wrong in ("2", "reliability", "residuals"):
        write(**{wrong: -1})
        refuse(own, "the voxels of another run, of .* another order: number 1 is v39 there, and v0 here", **options)
    write()
    own.import_all(**options)


def test_covariances_are_no_residuals(own):
    own.write(np.save)
    own.write(lambda path, array: np.save(path, np.cov(array.T)), "noise_{participant}_{region}.npy")
    message = "the residuals are square and symmetric, as covariances of the 40 voxels are"
    refuse(own, message, residuals=str(own.folder / "noise_{participant}_{region}.npy"))


def test_reliabilities_in_percent_are_told(own, warnings_of):
    own.write(np.save)
    own.write(lambda path, array: np.save(path, np.full(array.shape[1], 90)), "r_{participant}_{region}.npy")
    options = {"reliability": str(own.folder / "r_{participant}_{region}.npy"), "reliability_threshold": 0.5}
    check(own, **options)
    assert "sub-01: reliabilities up to 90; is the threshold, 0.5, of the same unit?" in warnings_of()[0]


SMALL = {
    "not symmetric": (lambda d: edit(d, (1, 0), d.max()), ": the matrix is not symmetric"),
    "a diagonal": (lambda d: d + np.diag([d.max()] * N), ": the diagonal of an RDM is 0, found"),
    "negative": (lambda d: edit(d, ([0, 1], [1, 0]), -d.max()), ": distances are not negative, found"),
}


@pytest.mark.parametrize(("change", "message"), SMALL.values(), ids=SMALL)
@pytest.mark.parametrize("size", [1e-13, 1e5])
def test_distances_on_any_scale_are_checked(own, change, message, size):
    """Teslas, or whole numbers of a scanner; what is rounding follows from the scale."""
    own.write(np.save, change=lambda array: size * squareform(pdist(array)) + 1e-5 * size * np.eye(N))
    put(own, change(size * squareform(pdist(own.patterns["sub-02", "IT"]))))
    refuse(own, WHO + message, kind="rdm", distance="other")


def test_distances_of_which_none_is_positive(own):
    own.write(np.save, change=lambda array: -squareform(pdist(array)))
    refuse(own, "no distance is positive, found .*; similarities are kind: rsm", kind="rdm", distance="crossvalidated")


def test_square_patterns_of_small_numbers_are_no_rsm(own):
    """As many sensors as stimuli, in teslas."""
    for key, array in own.patterns.items():
        own.patterns[key] = 1e-13 * array[:, :N]
    own.write(np.save)
    check(own)


def test_stimulus_that_a_table_names_twice(own):
    def save(path, array) -> None:
        pd.DataFrame(array, [*NAMES[:4], "mug", "drum"]).to_csv(path)

    files = own.write(save, "{participant}_{region}.csv")
    refuse(own, "the first column names mug more than once; each stimulus stands once", files=files)


def test_links_in_a_file(own):
    """A variable may be a link; one to nothing is named, also where participants may lack a region, or passed over."""

    def save(path, array) -> None:
        with h5py.File(path, "w") as file:
            file["all/betas"], file["betas"] = array, h5py.SoftLink("/all/betas")
            file["gone"], file["away"] = h5py.SoftLink("/nothing"), h5py.ExternalLink("no.h5", "betas")

    files = own.write(save, "{participant}_{region}.h5")
    for name, target in (("gone", "/nothing"), ("away", "no.h5#betas")):
        message = f"h5: {name} is a link to {target}, which is not there"
        refuse(own, message, files=f"{files}#{name}", missing="leave_out")
    for name in ("betas", "all/betas"):
        check(own, files=f"{files}#{name}")


def test_negative_distances_are_declared(own):
    """Similarities that are taken for distances turn every result round."""
    own.write(np.save, change=lambda array: np.arctanh(np.corrcoef(array) - np.eye(N)))
    refuse(
        own,
        "Fisher z, are similarities .* cross-validated distances are distance: crossvalidated",
        kind="rdm",
        distance="other",
    )


@pytest.mark.parametrize("value", [-999, 1e20])
def test_values_that_stand_for_missing_ones(own, value):
    own.write(np.save)
    array = own.patterns["sub-02", "IT"].copy()
    array[2, 3], array[4, 7] = value, value
    put(own, array)
    refuse(
        own,
        rf"{WHO}: {value:g} stands in 2 of 25 voxels, 2 times, .*: it seems to stand for missing ones".replace(
            "+", r"\+"
        ),
    )
    for name in own.folder.glob("*.npy"):
        np.save(name, np.abs(np.round(np.load(name))))
    own.import_all()  # whole numbers can be counts


@pytest.mark.parametrize(
    ("value", "change"), [(-999, np.round), (-(2**15), lambda a: np.round(300 * a)), (2**16 - 1, np.abs)]
)
def test_whole_numbers_that_stand_for_missing_ones(own, value, change):
    """Of betas that are saved as integers, times 300 as in NSD; -999 among numbers that are no counts."""
    own.write(np.save, change=lambda array: np.round(change(array)).astype(int))
    array = np.round(change(own.patterns["sub-02", "IT"])).astype(int)
    array[2, 3], array[4, 7] = value, value
    put(own, array)
    refuse(own, f"{WHO}: {value:.6g} stands in 2 of 25 voxels, 2 times, .*: it seems to stand for missing ones")


def test_patterns_in_place_of_residuals(own):
    files = own.write(np.save)
    refuse(own, r"participant sub-01, residuals: holds the same numbers as \S+/sub-01_EarlyV\.npy", residuals=files)


def test_folder_with_a_number_sign(own):
    (own.folder / "set #2").mkdir()
    check(own, files=own.write(np.save, "set #2/{participant}_{region}.npy"))
    np.savez(own.folder / "set #2/all.npz", **{f"{p}_{r}": array for (p, r), array in own.patterns.items()})
    check(own, files=str(own.folder / "set #2/all.npz#{participant}_{region}"))


@pytest.mark.parametrize("size", [1e200, 1e-200])
def test_numbers_that_cannot_be_squared(own, size):
    own.write(np.save, change=lambda array: size * array)
    refuse(own, "numbers up to .* cannot be squared; scale them")


# ---- participants ----------------------------------------------------------------------------------------------------


def test_participant_who_lacks_a_region(own):
    (own.folder / "sub-02_IT.npy").unlink()
    refuse(own, r"region IT, participant sub-02: .*/sub-02_IT\.npy: there is no such file; .* give missing: leave_out")


def test_region_that_nobody_has(own):
    refuse(
        own,
        "no participant has region V4; the first of 3: region V4, participant sub-01",
        regions=["V4"],
        missing="leave_out",
    )


@pytest.mark.parametrize("n", [2, 4])
def test_stack_of_other_participants(own, n):
    np.save(own.folder / "IT.npy", np.stack([1 - np.corrcoef(own.patterns["sub-01", "IT"])] * n))
    message = (
        rf"IT\.npy: region IT: found an array of shape \({n}, 6, 6\); .* the first axis is that of the 3 participants"
    )
    refuse(own, message, regions=["IT"], files=str(own.folder / "{region}.npy"), kind="rdm")
