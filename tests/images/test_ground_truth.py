"""A validation split of one flat folder, whose labels are in a list beside it."""

import hashlib
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from conftest import save_picture
from torchvision.datasets import imagenet

from ipcl_core.files import compute_sha256
from ipcl_core.images.datasets import (
    compare_images,
    label_splits,
    list_flat_images,
    read_labels,
)

NAMES = [f"ILSVRC2012_val_{i:08d}" for i in range(1, 6)]
SYNSETS = {1: "n02119789", 2: "n02100735", 3: "n01440764", 4: "n00001740"}  # the numbers are not in the names' order
NUMBERS = [3, 1, 2, 2, 1]


@pytest.fixture
def flat(tmp_path):
    """(train, val) with three synsets and five images in one folder, and the development kit's files beside."""
    for name in ("n02119789/a.JPEG", "n02100735/a.JPEG", "n01440764/a.JPEG"):
        save_picture(tmp_path / "train" / name)
    for name in NAMES:
        save_picture(tmp_path / "val" / f"{name}.JPEG")
    (tmp_path / "ILSVRC2012_validation_ground_truth.txt").write_text("".join(f"{n}\n" for n in NUMBERS))
    kinds = [("ILSVRC2012_ID", "O"), ("WNID", "O"), ("words", "O"), ("gloss", "O"), ("num_children", "O")]
    rows = [(number, wnid, "words", "gloss", 3 if number == 4 else 0) for number, wnid in SYNSETS.items()]
    scipy.io.savemat(tmp_path / "meta.mat", {"synsets": np.array(rows, kinds)[:, None]})
    kaggle = [f"{name},{SYNSETS[n]} 85 1 499 272 {SYNSETS[n]} 5 5 9 9" for name, n in zip(NAMES, NUMBERS, strict=True)]
    (tmp_path / "LOC_val_solution.csv").write_text("\n".join(["ImageId,PredictionString", *reversed(kaggle)]) + "\n")
    return tmp_path


@pytest.mark.parametrize("labels", ["LOC_val_solution.csv", "ILSVRC2012_validation_ground_truth.txt"])
def test_flat_validation_split(flat, labels):
    val = label_splits(flat / "train", flat / "val", flat / labels)["val"]
    assert val["path"].tolist() == [f"{name}.JPEG" for name in NAMES]
    assert val["class"].tolist() == ["n01440764", "n02119789", "n02100735", "n02100735", "n02119789"]
    assert val["label"].tolist() == [0, 2, 1, 1, 2]


def test_flat_validation_split_is_compared_with_its_manifest(flat):
    """There an image beside the others is one too many; in a folder of classes it is passed over."""
    labels = flat / "ILSVRC2012_validation_ground_truth.txt"
    for split, table in label_splits(flat / "train", flat / "val", labels).items():
        sha256 = [compute_sha256(flat / split / path) for path in table["path"]]
        table.assign(sha256=sha256).to_csv(flat / f"{split}.csv", index=False)
        assert compare_images(flat / split, flat / f"{split}.csv") == ""
        (flat / split / "other.JPEG").touch()
    assert compare_images(flat / "train", flat / "train.csv") == ""
    assert compare_images(flat / "val", flat / "val.csv").endswith("1 not in the manifest, among them other.JPEG")


def test_classes_are_those_that_torchvision_reads(flat, monkeypatch):
    labels = flat / "ILSVRC2012_validation_ground_truth.txt"
    with tarfile.open(flat / "devkit.tar.gz", "w:gz") as archive:
        for path in (labels, flat / "meta.mat"):
            archive.add(path, f"ILSVRC2012_devkit_t12/data/{path.name}")
    md5 = hashlib.md5((flat / "devkit.tar.gz").read_bytes()).hexdigest()
    monkeypatch.setitem(imagenet.ARCHIVE_META, "devkit", ("devkit.tar.gz", md5))
    imagenet.parse_devkit_archive(flat)
    _, expected = imagenet.load_meta_file(flat)
    assert list(read_labels(labels, NAMES).items()) == list(zip(NAMES, expected, strict=True))


def refuse(folder, labels, content, message):
    if content is not None:
        (folder / labels).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ValueError, match=message):
        list_flat_images(folder / "val", folder / labels)


@pytest.mark.parametrize(
    "labels,content,message",
    [
        (
            "a.csv",
            "image,class\nILSVRC2012_val_00000001.JPEG,x\n",
            "no class for 4 images of .*val, among them .*02.JPEG",
        ),
        (
            "a.csv",
            "image,class\n" + "".join(f"{n},x\n" for n in [*NAMES, "more"]),
            "1 images of .*a.csv are not there.*more",
        ),
        (
            "a.csv",
            "image,class\n" + "".join(f"{n},x\n" for n in [*NAMES, NAMES[0]]),
            "'.*0001' has no class or is there twice",
        ),
        ("a.csv", "image,class\n" + "".join(f"{n},\n" for n in NAMES), "'.*0001' has no class or is there twice"),
        (
            "a.csv",
            "image\n" + "".join(f"{n}\n" for n in NAMES),
            "found the columns image; needs an image and its class",
        ),
        (
            "a.csv",
            "".join(f"{n}.JPEG,x\n" for n in NAMES),
            "a.csv: begins with the image .*0001.JPEG; write a header above",
        ),
        ("A.CSV", "image\n", "found the columns image; needs an image and its class"),
        ("a.csv", b"", "a.csv: cannot be read as a table in UTF-8: No columns"),
        ("a.csv", "image,class\nbüro,x\n".encode("latin-1"), "a.csv: cannot be read as a table in UTF-8: "),
        ("a.txt", "1\n2\n3\n2\né\n".encode("latin-1"), "a.txt: '.' is not among the 3 numbers"),
        ("a.txt", "1\n2\n3\n", "a.txt: 3 lines for 5 images"),
        ("a.txt", "1\n2\n3\n2\n4\n", "a.txt: '4' is not among the 3 numbers of .*meta.mat"),
        ("a.txt", "1\n2\n3\n2\nx\n", "a.txt: 'x' is not among the 3 numbers of .*meta.mat"),
        ("a.dat", "", "a.dat: needs a .csv of images and classes, or the ground truth"),
    ],
)
def test_labels_that_do_not_fit_are_refused(flat, labels, content, message):
    refuse(flat, labels, content, message)


def test_ground_truth_without_its_synsets_is_refused(flat):
    (flat / "meta.mat").unlink()
    refuse(flat, "ILSVRC2012_validation_ground_truth.txt", None, r"or the ground truth \(.txt\) beside meta.mat")


@pytest.mark.parametrize(
    "write", [lambda path: path.write_bytes(b"junk" * 100), lambda path: scipy.io.savemat(path, {"other": 1})]
)
def test_ground_truth_with_other_synsets_is_refused(flat, write):
    write(flat / "meta.mat")
    refuse(
        flat,
        "ILSVRC2012_validation_ground_truth.txt",
        None,
        r"meta\.mat: is not the development kit's table of synsets",
    )


@pytest.mark.parametrize(
    "names",
    ["val/val_{}.JPEG", "val/{}_n0144{}.JPEG", "val/{odd}/ILSVRC2012_val_{:08d}.JPEG", "val/2012_{}.JPEG"],
)
def test_ground_truth_goes_by_the_numbers_in_the_names(flat, names):
    """Also where the names sort otherwise: 10 before 2, or in folders."""
    shutil.rmtree(flat / "val")
    numbers = [1, 3, 2, 1, 2, 3, 1, 1, 2, 3, 3]
    for i in range(1, 12):
        save_picture(flat / names.format(i, i, odd="b" if i % 2 else "a"))
    labels = flat / "ILSVRC2012_validation_ground_truth.txt"
    labels.write_text("".join(f"{number}\n" for number in numbers))
    val = list_flat_images(flat / "val", labels)
    stems = val["path"].str.replace(r".*/", "", regex=True)
    for i, number in enumerate(numbers, 1):
        name = Path(names.format(i, i, odd="")).name
        assert val["class"][stems == name].tolist() == [SYNSETS[number]]


def test_ground_truth_of_images_that_are_numbered_otherwise_is_refused(flat):
    (flat / "val" / f"{NAMES[0]}.JPEG").rename(flat / "val" / "ILSVRC2012_val_00000007.JPEG")
    with pytest.raises(
        ValueError, match=r"ground_truth\.txt: line N is .*_00000002 and the others are not numbered from 1 to 5"
    ):
        list_flat_images(flat / "val", flat / "ILSVRC2012_validation_ground_truth.txt")


def test_names_with_dots_in_a_list(tmp_path):
    for name in ("x.1.jpg", "x.2.PNG", "y.jpeg"):
        save_picture(tmp_path / "val" / name)
    (tmp_path / "l.csv").write_text("image,class\nx.1,a\nold/x.2.PNG,b\ny,c\n")
    assert list_flat_images(tmp_path / "val", tmp_path / "l.csv")["class"].tolist() == ["a", "b", "c"]


def test_class_of_several_words_in_a_list(tmp_path):
    """Not the class of its first word, which is there too."""
    names = ["sea/1.png", "sea lion/1.png"]
    for name in names:
        save_picture(tmp_path / "train" / name)
    for name in ("a.png", "b.png"):
        save_picture(tmp_path / "val" / name)
    (tmp_path / "l.csv").write_text("image,class\na,sea lion\nb, sea \n")
    val = label_splits(tmp_path / "train", tmp_path / "val", tmp_path / "l.csv")["val"]
    assert val["class"].tolist() == ["sea lion", "sea"]


@pytest.mark.parametrize("other", ["a.png", "masks/a.jpg"])
def test_images_that_a_list_cannot_tell_apart_are_refused(tmp_path, other):
    """As masks beside the photographs: they would be images of the same class."""
    for name in ("a.jpg", "b.jpg", other):
        save_picture(tmp_path / "val" / name)
    (tmp_path / "l.csv").write_text("image,class\na.jpg,cat\nb.jpg,dog\n")
    with pytest.raises(ValueError, match=rf"val: a.jpg and {other} have one name, which .*l.csv cannot tell apart"):
        list_flat_images(tmp_path / "val", tmp_path / "l.csv")
