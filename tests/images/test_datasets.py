import os
import shutil
import tarfile
from typing import get_args

import numpy as np
import pytest
from conftest import convert, save_picture
from PIL import Image

from ipcl_core.config import Torchvision
from ipcl_core.files import compute_sha256
from ipcl_core.images.archives import list_archives
from ipcl_core.images.datasets import (
    compare_images,
    export_torchvision,
    label_splits,
    list_images,
    list_split,
)
from ipcl_core.images.shards import CorruptImageError

# ---- listing ---------------------------------------------------------------------------------------------------------


def test_images_are_listed_by_class_and_name(tmp_path):
    for name in ("dog/b.PNG", "dog/a.jpg", "dog/deep/er.webp", "cat/z.jpeg", "Zebra/1.bmp"):
        save_picture(tmp_path / name)
    (tmp_path / "cat" / "notes.txt").write_text("no picture")
    found = list_images(tmp_path)
    assert list(found.itertuples(index=False, name=None)) == [
        ("Zebra/1.bmp", "Zebra"),
        ("cat/z.jpeg", "cat"),
        ("dog/a.jpg", "dog"),
        ("dog/b.PNG", "dog"),
        ("dog/deep/er.webp", "dog"),
    ]


def test_missing_folder_is_refused(tmp_path):
    with pytest.raises(ValueError, match="nowhere: no such folder; it should hold one sub-folder of images a class"):
        list_images(tmp_path / "nowhere")


@pytest.mark.parametrize("names", [[], ["cat"]])
def test_fewer_than_two_classes_are_refused(tmp_path, names):
    for name in names:
        save_picture(tmp_path / name / "a.png")
    with pytest.raises(ValueError, match=rf"found {len(names)} class folder\(s\); at least two are needed"):
        list_images(tmp_path)


def test_class_without_images_is_refused(tmp_path):
    save_picture(tmp_path / "cat" / "a.png")
    (tmp_path / "dog").mkdir()
    (tmp_path / "dog" / "a.txt").write_text("no picture")
    with pytest.raises(ValueError, match=r"dog: holds no image \(.*\.jpg"):
        list_images(tmp_path)


def test_class_that_may_not_be_read_is_an_error(tmp_path, monkeypatch):
    """Else the data set would be smaller than what lies there."""
    monkeypatch.chdir(tmp_path)  # pytest's folder above it is its user's alone
    for name in ("cat/a.png", "dog/a.png", "dog/deep/b.png"):
        save_picture(tmp_path / name)
    user = os.geteuid()
    tmp_path.chmod(0o755)
    (tmp_path / "dog/deep").chmod(0)
    if user == 0:
        os.seteuid(65534)  # nobody
    try:
        with pytest.raises(PermissionError, match="dog/deep"):
            list_images(".")
    finally:
        os.seteuid(user)
        (tmp_path / "dog/deep").chmod(0o755)


def test_hidden_files_and_folders_are_passed_over(tmp_path):
    for name in ("cat/a.png", "dog/a.png", "dog/.a.png", ".git/a.png", "dog/.cache/a.png"):
        save_picture(tmp_path / name)
    assert list_images(tmp_path)["path"].tolist() == ["cat/a.png", "dog/a.png"]


@pytest.mark.parametrize("packed", [False, True])
def test_folders_of_a_system_are_no_classes(tmp_path, packed):
    """Synology's thumbnails are pictures in folders of their own, beside the classes and in them."""
    for name in (
        "cat/a.png",
        "dog/a.png",
        "@eaDir/b.png",
        "dog/@eaDir/a.png/SYNOFILE_THUMB_M.jpg",
        "__MACOSX/cat/a.png",
    ):
        save_picture(tmp_path / "train" / name)
    if packed:
        shutil.make_archive(str(tmp_path / "x"), "tar", tmp_path / "train")
    assert list_split(tmp_path / ("x.tar" if packed else "train"))["path"].tolist() == ["cat/a.png", "dog/a.png"]
    (tmp_path / "@eaDir").mkdir()
    shutil.rmtree(tmp_path / "train")
    assert list_archives(tmp_path) == ([tmp_path / "x.tar"] if packed else [])


def test_what_is_no_image_by_its_name_is_told(tmp_path, caplog):
    for name in ("cat/a.png", "dog/a.png"):
        save_picture(tmp_path / name)
    for name in ("notes.txt", "b.csv"):
        (tmp_path / "dog" / name).touch()
    assert list_images(tmp_path)["path"].tolist() == ["cat/a.png", "dog/a.png"]
    assert "dog: 2 entries are no images by their names, among them b.csv" in caplog.text


def test_pictures_that_cannot_be_decoded_are_not_passed_over(tmp_path):
    names = [f"b{suffix}" for suffix in (".AVIF", ".heic", ".jp2", ".tga")]
    for name in ("cat/a.png", "dog/a.png"):
        save_picture(tmp_path / name)
    for name in names:
        (tmp_path / "dog" / name).write_bytes(b"x")
    assert list_images(tmp_path)["path"].tolist() == ["cat/a.png", "dog/a.png", *(f"dog/{name}" for name in names)]
    with pytest.raises(
        CorruptImageError, match=r"4 of 6 images cannot be decoded.*\n.*dog/b\.AVIF: UnidentifiedImageError"
    ):
        convert(tmp_path, tmp_path / "target", on_corrupt="error")


@pytest.mark.parametrize("n", [1, 3, 4, 9])
def test_images_beside_the_class_folders_are_said_and_many_refused(tmp_path, caplog, n):
    """Of an interrupted sorting of ImageNet's validation images, most lie there."""
    for name in ("cat/a.png", "dog/a.png", *(f"ILSVRC2012_val_{i}.JPEG" for i in range(n)), ".hidden.png"):
        save_picture(tmp_path / name)
    for name in ("n01440764.tar", ".DS_Store"):
        (tmp_path / name).touch()
    if n > 3:
        message = (
            rf"{n} images lie beside the class folders, among them ILSVRC2012_val_0\.JPEG; was the sorting into classes"
        )
        with pytest.raises(ValueError, match=message):
            list_images(tmp_path)
        return
    assert list_images(tmp_path)["path"].tolist() == ["cat/a.png", "dog/a.png"]
    said = f"{n + 1} files beside the class folders are passed over, {n} images among them, the first ILSVRC2012_val_0.JPEG"
    assert said in caplog.text


@pytest.mark.parametrize("name", ["n01484850.tar", "n01484850.tar.gz", "n01484850.zip"])
def test_interrupted_unpacking_is_refused(tmp_path, name):
    """Of ImageNet's archives of classes each needs a folder, where some have one; one that has is passed over."""
    for folder in ("n01440764", "n01443537"):
        save_picture(tmp_path / folder / "a.png")
    (tmp_path / "n01440764.tar").touch()
    assert len(list_images(tmp_path)) == 2
    (tmp_path / name).touch()
    with pytest.raises(ValueError, match=rf"{name}: is one of 1 archives of classes that have no folder, as others"):
        list_images(tmp_path)


def test_linked_folder_of_images_is_refused(tmp_path):
    for name in ("cat/a.png", "dog/a.png"):
        save_picture(tmp_path / name)
    (tmp_path / "dog" / "linked").symlink_to(tmp_path / "cat")
    with pytest.raises(ValueError, match="dog/linked: is a link to a folder"):
        list_images(tmp_path)


def test_linked_class_and_broken_link_are_listed(tmp_path):
    save_picture(tmp_path / "elsewhere" / "a.png")
    save_picture(tmp_path / "data" / "cat" / "a.png")
    (tmp_path / "data" / "cat" / "broken.png").symlink_to("nowhere")
    (tmp_path / "data" / "dog").symlink_to(tmp_path / "elsewhere")
    assert list_images(tmp_path / "data")["path"].tolist() == ["cat/a.png", "cat/broken.png", "dog/a.png"]


def test_name_that_is_not_utf8_is_refused(tmp_path):
    for name in ("cat/a.png", "dog/a.png"):
        save_picture(tmp_path / name)
    (tmp_path / "dog" / os.fsdecode(b"caf\xe9.png")).write_bytes(b"")
    with pytest.raises(ValueError, match=r"dog: the name b'caf\\xe9.png' is not UTF-8; rename it"):
        list_images(tmp_path)


@pytest.mark.parametrize("name", ["cat\r/a.png", "cat/a\r.png"])
@pytest.mark.parametrize("packed", [False, True])
def test_carriage_return_in_a_name_is_refused(tmp_path, name, packed):
    """A list of images is a CSV, whose rows it would end."""
    for one in (name, "dog/a.png"):
        save_picture(tmp_path / "train" / one)
    place = tmp_path / "train.tar" if packed else tmp_path / "train"
    with tarfile.open(tmp_path / "train.tar", "w") as archive:
        archive.add(tmp_path / "train", "train")
    with pytest.raises(
        ValueError, match=r"train.*: the name 'cat.*\\r.*' holds a carriage return, as names from a list"
    ):
        list_split(place)


def test_images_behind_a_linked_class_are_compared_too(tmp_path):
    save_picture(tmp_path / "elsewhere/b/1.png")
    save_picture(tmp_path / "val/a/1.png")
    (tmp_path / "val/b").symlink_to(tmp_path / "elsewhere/b")
    table = list_images(tmp_path / "val")
    table.assign(sha256=compute_sha256(tmp_path / "val/a/1.png")).to_csv(tmp_path / "val.csv", index=False)
    assert compare_images(tmp_path / "val", tmp_path / "val.csv") == ""
    save_picture(tmp_path / "elsewhere/b/1.png", (5, 5))
    assert "1 changed, among them b/1.png" in compare_images(tmp_path / "val", tmp_path / "val.csv")


# ---- both splits -----------------------------------------------------------------------------------------------------


def make_splits(folder, train: str, val: str):
    for split, names in (("train", train), ("val", val)):
        for name in names.split():
            save_picture(folder / split / name)
    return folder / "train", folder / "val"


@pytest.mark.parametrize(
    ("size", "said"),
    [
        ((4, 3), ["{}/val: the validation image dog/1.png is among the training images too ({}/train/dog/1.png)"]),
        ((5, 3), []),
    ],
)
def test_image_of_both_folders_is_told(tmp_path, warnings_of, size, said):
    """By its bytes; another one of the same name is none, nor is a link to nothing."""
    train, val = make_splits(tmp_path, "cat/1.png dog/1.png", "cat/2.png")
    save_picture(val / "dog/1.png", size)
    for split in (train, val):
        (split / "cat/broken.png").symlink_to("nowhere")
    label_splits(train, val)
    assert warnings_of() == [text.format(tmp_path, tmp_path) for text in said]


@pytest.mark.parametrize("val", ["val", "Test"])
def test_folder_of_both_splits_is_refused(tmp_path, val):
    make_splits(tmp_path, "cat/1.png dog/1.png", "cat/2.png dog/2.png")
    (tmp_path / "val").rename(tmp_path / val)
    with pytest.raises(
        ValueError, match=r"its sub-folders are splits, not classes; write train: .*/train and val: .*/(val|Test)"
    ):
        list_images(tmp_path)


def test_labels_are_those_of_the_training_classes(tmp_path, caplog):
    """Without an image of `bird`, `cat` and `dog` keep their labels in the validation split."""
    images = label_splits(*make_splits(tmp_path, "dog/1.png bird/1.png cat/1.png", "dog/2.png cat/2.png"))
    assert images["train"]["label"].tolist() == [0, 1, 2] and images["train"]["class"].tolist() == [
        "bird",
        "cat",
        "dog",
    ]
    assert images["val"]["label"].tolist() == [1, 2] and images["val"]["class"].tolist() == ["cat", "dog"]
    assert "val: no image of 1 class(es) of" in caplog.text and "'bird'" in caplog.text


@pytest.mark.parametrize(("names", "said"), [("0 1 2 10", "10 before 2"), ("00 01 02 10", ""), ("0 1 2 10 dog", "")])
def test_numbers_that_are_sorted_as_texts_are_told(tmp_path, caplog, names, said):
    """The labels are those of torchvision's ImageFolder all the same."""
    for name in names.split():
        for split in ("train", "val"):
            save_picture(tmp_path / split / name / f"{split}.png")
    train = label_splits(tmp_path / "train", tmp_path / "val")["train"]
    assert train["class"].tolist() == sorted(names.split()) and train["label"].tolist() == list(
        range(len(names.split()))
    )
    assert said in caplog.text and bool(said) == ("order of texts" in caplog.text)


def test_class_that_training_has_not_is_refused(tmp_path):
    folders = make_splits(tmp_path, "cat/1.png dog/1.png", "cat/2.png dog/2.png eel/2.png")
    with pytest.raises(ValueError, match=r"val: 1 class\(es\) that .*train has not, among them 'eel'"):
        label_splits(*folders)


# ---- torchvision's data sets, from files in their layouts ------------------------------------------------------------


def write_idx(path, array: np.ndarray) -> None:
    """Yann LeCun's format: type and dimensions, then the bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    header = bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape)
    path.write_bytes(header + array.tobytes())


def test_fashion_mnist_is_exported(tmp_path):
    rng = np.random.default_rng(0)
    pixels, labels = {}, {}
    for split, name, n in (("train", "train", 30), ("val", "t10k", 20)):
        pixels[split] = rng.integers(0, 256, (n, 28, 28)).astype(np.uint8)
        labels[split] = rng.permutation(np.arange(n, dtype=np.uint8) % 10)
        write_idx(tmp_path / f"FashionMNIST/raw/{name}-images-idx3-ubyte", pixels[split])
        write_idx(tmp_path / f"FashionMNIST/raw/{name}-labels-idx1-ubyte", labels[split])
    export_torchvision("FashionMNIST", tmp_path, tmp_path / "images", download=False)
    images = label_splits(tmp_path / "images/train", tmp_path / "images/val")
    for split, table in images.items():
        numbers = [int(path[-10:-4]) for path in table["path"]]
        assert sorted(numbers) == list(range(len(labels[split])))
        assert table["label"].tolist() == labels[split][numbers].tolist()
        for number, path in zip(numbers, table["path"], strict=True):
            assert (np.asarray(Image.open(tmp_path / "images" / split / path)) == pixels[split][number]).all()
    assert set(images["val"]["class"]) >= {"0000_T_shirt_top", "0009_Ankle_boot"}


def test_imagenette_is_exported(tmp_path):
    for split, names in (("train", "ab"), ("val", "c")):
        for synset in ("n01440764", "n03888257"):
            for name in names:
                save_picture(tmp_path / "imagenette2" / split / synset / f"{name}.JPEG", (40, 30))
    export_torchvision("Imagenette", tmp_path, tmp_path / "images", download=False)
    images = label_splits(tmp_path / "images/train", tmp_path / "images/val")
    assert images["val"]["path"].tolist() == ["0000_tench/000000.png", "0001_parachute/000001.png"]
    assert images["train"]["label"].tolist() == [0, 0, 1, 1]
    assert Image.open(tmp_path / "images/train" / images["train"]["path"][0]).size == (40, 30)


@pytest.mark.parametrize("name", get_args(Torchvision.model_fields["name"].annotation))
def test_data_set_that_is_not_there_is_refused(tmp_path, name):
    with pytest.raises(ValueError, match=rf"torchvision finds no {name} there: .*[Nn]ot found"):
        export_torchvision(name, tmp_path, tmp_path / "images", download=False)
    assert not (tmp_path / "images").exists()
