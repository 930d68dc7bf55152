"""Orders that a file carries, compared with those of the configuration."""

import unicodedata

import numpy as np
import pandas as pd
import pytest
from mat73 import Structs, save_mat73
from own_brains import NAMES, PARTICIPANTS, SHUFFLED, Own, check_names, make_square_own, refuse
from rsatoolbox.data import Dataset
from rsatoolbox.rdm import RDMs
from scipy.spatial.distance import pdist

from ipcl_core.brains.names import Labels, check_order, find_order, find_stimuli
from ipcl_core.brains.stimuli import name_stimuli


@pytest.fixture
def own(tmp_path, photo) -> Own:
    return make_square_own(tmp_path, photo)


READINGS = {
    "suffix": (["a.png", "b", "c.jpg"], ["a", "b.png", "c.png"]),
    "case": (["MUG", "Bike", "apple"], ["mug.png", "bike.png", "Apple.png"]),
    "leading zeros": (["1", "2", "10"], ["001", "002", "010"]),
    "leading zeros in words": (["stim1", "stim02", "stim10"], ["stim_001", "stim_002", "stim_010"]),
    "leading zeros beside others": (["a1", "a02", "b1"], ["a01", "a2", "b001"]),
    "folders": (["/data/x/a.png", "/data/x/b.png", "/data/x/c.png"], ["a", "b", "c"]),
    "Windows folders": (["D:\\x\\a.png", "D:\\x\\b.png", "D:\\y\\c.png"], ["a", "b", "c"]),
    "prefix": (["stim_mug", "stim_bike", "stim_cup"], ["mug", "bike", "cup"]),
    "suffix of all": (["mug.jpg_conv", "bike.jpg_conv", "cup.jpg_conv"], ["mug.jpg", "bike.jpg", "cup.jpg"]),
    "numbered": (["01_mug", "02_bike", "03_cup"], ["mug", "bike", "cup"]),
    "numbers of named ones": (["7", "3", "9"], ["007_mug", "003_bike", "009_cup"]),
    "numbers as floats": (["7.0", "3.0", "9.0"], ["stim7", "stim3", "stim9"]),
    "URLs": (["cup%201.png", "cup%202.png", "cup%2010.png"], ["cup 1", "cup_2", "cup 10"]),
    "without accents": (["Cafe", "muesli", "n"], ["Café", "müesli", "ñ"]),
    "NFD": ([unicodedata.normalize("NFD", name) for name in ("Café", "Müsli", "ñ")], ["Café", "Müsli", "ñ"]),
    "case in one list": (["A1", "a1", "b"], ["A1.png", "a1.png", "b.png"]),
    "zeros in one list": (["1", "01", "2"], ["1", "01", "2"]),
    "fractions": (["c_0.25", "c_0.5", "c_0.05"], ["c_0.25.png", "c_0.5.png", "c_0.05.png"]),
    "subjects": (["hIT | BE | Session: 1", "hIT | KO | Session: 1", "hIT | SN | Session: 2"], ["BE", "KO", "SN"]),
    "subjects by number": (["1", "2", "10"], ["sub-01", "sub-02", "sub-10"]),
    "subjects without a dash": (["S1", "S2", "S10"], ["sub-01", "sub-02", "sub-10"]),
}


@pytest.mark.parametrize(("labels", "names"), READINGS.values(), ids=READINGS)
def test_same_names_are_found(labels, names):
    assert find_order(labels, names) == [0, 1, 2]
    assert find_order(labels, names[::-1]) == [2, 1, 0]
    assert find_order(labels[1:] + labels[:1], names) == [1, 2, 0]


@pytest.mark.parametrize(
    "labels",
    [["car", "tool", "food"], ["10", "20", "30"], ["1", "1", "2"], ["V1", "V2", "V4"], ["m", "b", "c"]],
)
def test_other_names_are_not_found(labels):
    assert None in find_order(labels, ["mug1", "bike2", "cup3"])


def test_names_that_are_partly_there():
    assert find_order(["mug", "Bike", "tea"], ["mug", "bike", "cup"]) == [0, 1, None]


# ---- stimuli ---------------------------------------------------------------------------------------------------------


def save_rdms(own: Own, change=lambda rdms: rdms, **descriptors) -> dict:
    """Each region's RDMs of all participants; return the keys that name them."""
    for region in ("EarlyV", "IT"):
        stack = np.stack([pdist(own.patterns[one, region], "correlation") for one in PARTICIPANTS])
        rdms = RDMs(stack, pattern_descriptors=dict(descriptors))
        change(rdms).save(str(own.folder / f"{region}.hdf5"), overwrite=True)
    return {"files": str(own.folder / "{region}.hdf5"), "kind": "rdm"}


def reorder(rdms: RDMs) -> RDMs:
    rdms.reorder(np.array(SHUFFLED))
    return rdms


def test_reordered_rdms_are_refused(own, warnings_of):
    check_names(own, **save_rdms(own))
    assert warnings_of() == []
    refuse(
        own,
        r"EarlyV\.hdf5: .*: pattern_descriptors/index counts the stimuli in another order \(3, 1, 0, \.\.\.\); put",
        **save_rdms(own, reorder),
    )
    refuse(
        own,
        "by pattern_descriptors/stim number 1 is chair, and mug.png by",
        **save_rdms(own, reorder, stim=NAMES),
    )
    order = own.folder / "order.txt"
    order.write_text("\n".join(NAMES[i] for i in SHUFFLED))
    options = save_rdms(own, reorder, stim=[name.upper() for name in NAMES])
    own.patterns = {key: array[SHUFFLED] for key, array in own.patterns.items()}
    check_names(own, **options)  # the names are right, whatever the index counts


def test_numbers_by_which_rsatoolbox_sorts_need_names(own, warnings_of):
    """Nothing tells what they mean, and the order before is lost; `order` can say it."""
    refuse(
        own,
        r"EarlyV\.hdf5: .*: pattern_descriptors/cond gives the stimuli as numbers \(0, 1, 2, .* a line for each row",
        **save_rdms(own, cond=np.arange(6)),
    )
    check_names(own, **save_rdms(own, cond=np.arange(6), stim=NAMES))
    order = own.folder / "order.txt"
    order.write_text("".join(f"{i}\t{name}.png\n" for i, name in enumerate(NAMES)))
    check_names(own, **save_rdms(own, cond=np.arange(6)))
    assert warnings_of() == []
    order.write_text("".join(f"{i}\t{name}.png\n" for i, name in zip(SHUFFLED, NAMES, strict=True)))
    refuse(own, f"by pattern_descriptors/cond number 1 is 0, and {SHUFFLED[0]} by", **save_rdms(own, cond=np.arange(6)))


def test_whole_numbers_are_compared_with_numbers_in_names(own, warnings_of):
    numbers = [12, 3, 40, 7, 101, 5]
    for name, number in zip(NAMES, numbers, strict=True):
        (own.folder / f"images/{name}.png").rename(own.folder / f"images/obj{number:03d}_v1.png")
    order = own.folder / "order.txt"
    order.write_text("\n".join(f"obj{number:03d}_v1" for number in numbers))
    check_names(own, **save_rdms(own, cond=numbers))
    assert warnings_of() == []
    refuse(own, "by pattern_descriptors/cond number 1 is 3, and obj012_v1 by", **save_rdms(own, cond=sorted(numbers)))
    refuse(own, "counts the stimuli in another order", **save_rdms(own, cond=[2, 1, 0, 3, 4, 5]))
    order.write_text("\n".join(f"obj{number:03d}_v1" for number in sorted(numbers)))
    own.patterns = {key: array[np.argsort(numbers)] for key, array in own.patterns.items()}
    check_names(own, **save_rdms(own, cond=sorted(numbers)))


def test_conditions_that_count_from_0_in_another_order(own):
    """Names count from 1; a list that only stands beside the values is compared as a descriptor is."""
    (own.folder / "order.txt").write_text("".join(f"{i + 1}_{name}.png\n" for i, name in enumerate(NAMES)))
    for i, name in enumerate(NAMES):
        (own.folder / f"images/{name}.png").rename(own.folder / f"images/{i + 1}_{name}.png")
    files = own.write(lambda path, a: np.savez(path, a=a[SHUFFLED], c=np.array(SHUFFLED)), "{participant}_{region}.npz")
    refuse(own, "by c number 1 is 3, and 1_mug.png by", files=f"{files}#a")


def test_lists_of_python_objects_are_passed_over(own, warnings_of):
    own.write(lambda path, a: np.savez(path, a=a, names=np.array(NAMES, object)), "{participant}_{region}.npz")
    check_names(own, files=str(own.folder / "{participant}_{region}.npz#a"))
    assert len(found := warnings_of()) == 6 and "names holds Python objects, which are not read: nothing is" in found[0]


def test_conditions_that_count_from_0_fit_names_that_count_from_1(own, warnings_of):
    for i, name in enumerate(NAMES):
        (own.folder / f"images/{name}.png").rename(own.folder / f"images/x{(i + 2) % 6 + 1}.png")
    (own.folder / "order.txt").write_text("\n".join(f"x{(i + 2) % 6 + 1}" for i in range(6)))
    check_names(own, **save_rdms(own, cond=[(i + 2) % 6 for i in range(6)]))
    assert warnings_of() == []


def test_names_of_few_stimuli_are_refused_and_categories_are_said(own, warnings_of):
    others = ["mug", "bike", "w", "x", "y", "z"]
    refuse(
        own,
        "pattern_descriptors/stim names 6 stimuli, the configuration 6; w is no stimulus",
        **save_rdms(own, stim=others),
    )
    check_names(own, **save_rdms(own, category=["tool", "tool", "food", "tool", "mug", "mug"]))
    assert any("category (tool, tool, food, ...) could not be compared" in text for text in warnings_of())


@pytest.mark.parametrize("variable", ["", "#measurements"])
def test_names_of_a_dataset_are_compared(own, variable, warnings_of):
    def save(path, array) -> None:
        data = Dataset(array[order], obs_descriptors={"stim": np.array(NAMES)[order].tolist()})
        data.save(str(path), file_type="hdf5", overwrite=True)

    order = list(range(6))
    files = own.write(save, "{participant}_{region}.h5")
    check_names(own, files=files + variable)
    assert warnings_of() == []
    order = SHUFFLED
    own.write(save, "{participant}_{region}.h5")
    refuse(own, "by obs_descriptors/stim number 1 is chair, and mug.png by", files=files + variable)


CSV = {
    "case": str.upper,
    "prefix": "stim_{}".format,
    "numbered": lambda name: f"{NAMES.index(name) + 1:03d}_{name}.jpg",
    "folder": "D:\\images\\{}.png".format,
}


@pytest.mark.parametrize("rename", CSV.values(), ids=CSV)
def test_names_in_a_csv_are_compared(own, rename, warnings_of):
    def save(path, array) -> None:
        pd.DataFrame(array[order], [rename(NAMES[i]) for i in order]).to_csv(path)

    order = list(range(6))
    files = own.write(save, "{participant}_{region}.csv")
    check_names(own, files=files)
    assert warnings_of() == []
    order = SHUFFLED
    own.write(save, "{participant}_{region}.csv")
    refuse(own, "the stimuli stand in another order: by the first column number 1 is", files=files)


def test_numbers_without_zeros_in_a_csv_are_compared(own):
    for i, name in enumerate(NAMES):
        (own.folder / f"images/{name}.png").rename(own.folder / f"images/{6 - i:03d}.png")
    (own.folder / "order.txt").write_text("\n".join(f"{6 - i:03d}.png" for i in range(6)))
    files = own.write(
        lambda path, array: pd.DataFrame(array, range(6, 0, -1)).to_csv(path), "{participant}_{region}.csv"
    )
    check_names(own, files=files)
    own.write(lambda path, array: pd.DataFrame(array[::-1], range(1, 7)).to_csv(path), "{participant}_{region}.csv")
    refuse(own, r"by the first column number 1 is 1, and 006\.png by", files=files)


def test_names_along_the_voxels_are_refused(own):
    own.patterns = {key: array[:, :6] for key, array in own.patterns.items()}
    files = own.write(
        lambda path, array: pd.DataFrame(array.T, columns=NAMES).to_csv(path, index=False), "{participant}_{region}.csv"
    )
    check_names(own, files=files, axes="voxels x stimuli")
    refuse(
        own,
        r"the names of the stimuli stand along the axis of the voxels; see axes \(the first row: mug, ",
        files=files,
    )


def test_names_in_another_unicode_form(own, warnings_of):
    (own.folder / "images/mug.png").rename(own.folder / "images" / unicodedata.normalize("NFD", "Süßkäse.png"))
    (own.folder / "order.txt").write_text("\n".join(["Süßkäse.png", *NAMES[1:]]), encoding="utf-8")
    labels = [unicodedata.normalize("NFD", "Süßkäse"), *NAMES[1:]]

    def save(path, array) -> None:
        pd.DataFrame(array, labels).to_csv(path)

    files = own.write(save, "{participant}_{region}.csv")
    check_names(own, files=files)
    assert warnings_of() == []
    labels = labels[1:] + labels[:1]
    own.write(save, "{participant}_{region}.csv")
    refuse(own, "number 1 is bike, and Süßkäse.png by", files=files)


@pytest.mark.parametrize(
    "names",
    [
        ["3", "1", "2", "4"],
        ["0004.png", "0003.png", "0002.png", "0001.png"],
        ["img_4", "img_3", "img_2", "img_1"],
        ["Käse", "Öl", "Straße", "ça"],
        ["犬", "猫", "が", "か"],
        ["кот", "дом", "пёс", "лес"],
        ["mug", "bike", "cup", "kite"],
        [letter * 250 for letter in "abcd"],
    ],
)
def test_the_number_of_a_stimulus_is_no_name(names):
    stimuli = name_stimuli(names)
    assert all(name.isascii() and len(name) < 250 for name in stimuli)
    for labels in (names, [f"{name.removesuffix('.png')}.jpg" for name in names], stimuli):
        order = [1, 3, 0, 2]
        assert find_stimuli([labels[i] for i in order], stimuli) == order
    bare = all(not any(map(str.isdecimal, name)) for name in names)
    assert (find_stimuli(["2", "4", "1", "3"], stimuli) == [1, 3, 0, 2]) is bare


# ---- participants ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("names", [["sub-02", "sub-03", "sub-01"], [2, 3, 1], ["S2", "S3", "S1"]])
def test_participants_in_another_order_are_refused(own, names):
    def name(rdms: RDMs) -> RDMs:
        rdms.rdm_descriptors["subject"] = [names[i] for i in order]
        return rdms

    order = [2, 0, 1]
    check_names(own, **save_rdms(own, name))
    order = [0, 1, 2]
    refuse(
        own,
        r"EarlyV\.hdf5: region EarlyV: the participants stand in another order: by rdm_.*/subject",
        **save_rdms(own, name),
    )


def test_rdms_in_another_order_are_refused(own):
    refuse(
        own,
        r"the participants stand in another order: by rdm_descriptors/index number 1 is 1, and sub-01",
        **save_rdms(own, lambda rdms: rdms[[1, 2, 0]]),
    )


def test_participants_of_a_struct_array_are_compared(own):
    def save(order) -> None:
        for region in ("EarlyV", "IT"):
            each = [
                {"RDM": 1 - np.corrcoef(own.patterns[one, region]), "name": f"{region} | {one}"} for one in PARTICIPANTS
            ]
            save_mat73(own.folder / f"{region}.mat", RDMs=Structs([each[i] for i in order]))

    options = {"files": str(own.folder / "{region}.mat#RDMs.RDM"), "kind": "rdm"}
    save([0, 1, 2])
    check_names(own, **options)
    save([1, 0, 2])
    refuse(own, r"by name number 1 is EarlyV \| sub-02, and sub-01 by", **options)


def test_file_of_another_participant_is_refused(own):
    def save(path, array) -> None:
        rdms = RDMs(pdist(array, "correlation"), rdm_descriptors={"subject": [names[path.stem[:6]]]})
        rdms.save(str(path), overwrite=True)

    names = dict(zip(PARTICIPANTS, PARTICIPANTS, strict=True))
    options = {"files": str(own.folder / "{participant}_{region}.h5"), "kind": "rdm"}
    own.write(save, "{participant}_{region}.h5")
    check_names(own, **options)
    names["sub-01"] = "sub-02"
    own.write(save, "{participant}_{region}.h5")
    refuse(own, r"participant sub-01: by rdm_descriptors/subject these are the values of sub-02", **options)


def test_second_list_of_the_same_stimuli(own, warnings_of):
    """Where one list has all names in their order, another of a few of them is of something else; not along an axis."""
    check_names(own, **save_rdms(own, object=["mug", "v", "w", "x", "y", "z"], stim=NAMES))
    assert warnings_of() == []

    def save(path, array) -> None:
        pd.DataFrame(1 - np.corrcoef(array), [*NAMES[:5], "bus"], NAMES).to_csv(path)

    files = own.write(save, "{participant}_{region}.csv")
    refuse(own, "the first column names 6 stimuli, the configuration 6; bus is no stimulus", files=files, kind="rdm")


def test_a_list_is_said_once(warnings_of):
    said: set = set()
    labels = [Labels("category", ("a", "b", "c"), belongs="stimulus")]
    for who in ("V1", "IT"):
        check_order(labels, ["x", "y", "z"], "stimulus", who, said)
    assert len(warnings_of()) == 1


@pytest.mark.parametrize("name", ["{region} | {participant} | Session: 1", "{region}"])
def test_rdms_of_another_region_are_refused(own, name):
    """By what the RDMs of all participants are called."""

    def save(regions) -> None:
        for region, held in zip(("EarlyV", "IT"), regions, strict=True):
            each = [
                {
                    "RDM": 1 - np.corrcoef(own.patterns[one, held]),
                    "name": name.format(region=held, participant=one),
                }
                for one in PARTICIPANTS
            ]
            save_mat73(own.folder / f"{region}.mat", RDMs=Structs(each))

    options = {"files": str(own.folder / "{region}.mat#RDMs.RDM"), "kind": "rdm"}
    save(["EarlyV", "IT"])
    check_names(own, **options)
    save(["IT", "EarlyV"])
    refuse(own, r"EarlyV\.mat#RDMs\.RDM: region EarlyV.*: by name these are the values of IT", **options)
