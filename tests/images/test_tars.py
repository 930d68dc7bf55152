"""Archives as people make them: what a folder would give, or a refusal that says what is wrong."""

import os
import shlex
import subprocess
import tarfile
import tempfile
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from conftest import list_labelled
from test_archives import add

from ipcl_core.config.missing_paths import _find_fault
from ipcl_core.images.archives import index_archives, locate
from ipcl_core.images.datasets import compare_images, label_splits, list_images, list_split
from ipcl_core.images.decoding import encode_images


def fill(folder: Path, names: str) -> Path:
    """Files that hold their own names."""
    for name in names.split():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"picture {name}")
    return folder


def write_tar(path: Path, members: dict[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, content in members.items():
            add(archive, name, content)
    return path


def archive(members: dict[str, bytes]) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        return write_tar(Path(folder) / "x.tar", members).read_bytes()


def write_parquet(path: Path, images: list, **columns: list) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(pyarrow.table({"image": images, **columns}), path)
    return path


@pytest.mark.parametrize(
    ("names", "root", "pack"),
    [
        ("a/1.jpg b/1.jpg", ".", "-C {} -cf x.tar ."),
        ("n01443537/images/1.JPEG n01629819/images/1.JPEG", "data/train", "-C {} -cf x.tar data"),
        ("a/one/1.jpg a/two/2.jpg b/3.jpg b/.hidden.jpg b/.cache/4.jpg", ".", "-C {} -cf x.tar a b"),
        ("logo.png notes.txt a/1.jpg b/1.jpg", "train", "-C {} -cf x.tar train"),
        ("a/1.x.jpg büro/2.jpg b/a.txt b/3.jpg", ".", "--format=posix -C {} -cf x.tar b büro a"),
        (
            "n01443537/1.jpg n01629819/deep/1.jpg",
            ".",
            "-C {0}/n01443537 -cf x/n01443537.tar . && tar -C {0} -cf x/n01629819.tar n01629819",
        ),
        (
            "n01443537/1.jpg n01629819/1.jpg",
            ".",
            "-C {0}/n01443537 -cf n01443537.tar . && tar -C {0} -cf n01629819.tar n01629819 && tar -cf x.tar ./n0*.tar",
        ),
    ],
)
def test_tar_of_a_folder_is_listed_as_the_folder(names, root, pack, tmp_path):
    """Made by GNU tar."""
    folder = fill(tmp_path / "folder" / root, names)
    if ".hidden" in names:
        os.link(folder / "b/3.jpg", folder / "a/hard.jpg")
        (folder / "b/soft.jpg").symlink_to("../a/hard.jpg")
        (folder / "a/of_hidden.jpg").symlink_to("../b/.hidden.jpg")
    (tmp_path / "x").mkdir()
    subprocess.run(f"tar {pack.format(shlex.quote(f'{tmp_path}/folder'))}", shell=True, cwd=tmp_path, check=True)
    place = tmp_path / "x.tar" if (tmp_path / "x.tar").exists() else tmp_path / "x"
    found, wanted = list_labelled(place), list_images(folder)
    assert found[["path", "class"]].equals(wanted)
    assert [one.read_bytes() for one in locate(place, found)] == [one.read_bytes() for one in locate(folder, wanted)]


def cut(path: Path, n_bytes: int) -> Path:
    os.truncate(path, n_bytes)
    return path


def link(folder: Path, target: str, *options: str) -> Path:
    fill(folder, "a/1.jpg b/1.jpg")
    (folder / "a/2.jpg").symlink_to(target)
    with (folder / "b/sparse.jpg").open("wb") as file:
        file.truncate(1 << 20)
    subprocess.run(["tar", *options, "-cf", folder / "x.tar", "a", "b"], cwd=folder, check=True)
    return folder / "x.tar"


OFFICIAL = {"a.tar": bytes(1024), "b.tar": bytes(1024)}
PICTURES = {"a/1.jpg": b"1", "b/1.jpg": b"2"}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda f: cut(write_tar(f / "x.tar", OFFICIAL), 1536), r"x\.tar: .* cut or damaged at byte 1536, where"),
        (lambda f: cut(write_tar(f / "x.tar", PICTURES), 1500), r"x\.tar: cannot be read"),
        (lambda f: write_tar(f / "x.tar", {"a.tar": b"none" * 256}), r"x\.tar: .*: a\.tar: "),
        (
            lambda f: write_tar(f / "x.tar", {"a.tar": bytes(1024) + b"more"}),
            r"a\.tar: something follows its end at byte 512",
        ),
        (
            lambda f: write_tar(f / "x.tar", {"a.tar": archive({"1.jpg": b"1"}), "b.tar": archive({"1.txt": b"1"})}),
            r"x\.tar: .*b\.tar: holds no image",
        ),
        (
            lambda f: write_tar(f / "x.tar", {"a.tar": archive({"1.jpg": b"1"}), "b.tar.gz": b"1"}),
            r"x\.tar: .*b\.tar\.gz: beside \.tar files, and cannot be read; unpack x\.tar, and this",
        ),
        (
            lambda f: (
                write_tar(f / "n01440764.tar", {"1.jpg": b"1"})
                and write_tar(f / "n01443537.tar", {"1.txt": b""}).parent
            ),
            r"n01443537\.tar: holds no image",
        ),
        (lambda f: write_tar(f / "x.tar", {"a/../b/1.jpg": b""}), r"a/\.\./b/1\.jpg is there twice, or has \.\."),
        (
            lambda f: write_tar(f / "x.tar", {"b\udcfcro/1.jpg": b""}),
            r"the name b'b\\xfcro/1\.jpg' is not UTF-8; rename it",
        ),
        (
            lambda f: link(f, "/elsewhere/1.jpg"),
            r"a/2\.jpg is a link to /elsewhere/1\.jpg, .* make it with tar --dereference",
        ),
        (lambda f: link(f, "../b"), r"a/2\.jpg is a link to b, which is no file in the archive"),
        (lambda f: link(f, "1.jpg", "--sparse"), r"b/sparse\.jpg is stored without its zeros"),
        (
            lambda f: write_tar(f / "x.tar", dict.fromkeys(["0.png", "1.png", "2.png", "3.png", *PICTURES], b"")),
            r"x\.tar: 4 images lie beside the class folders, among them 0\.png",
        ),
        (
            lambda f: write_tar(
                f / "i.tar", {f"i/{s}/{name}": b"" for name in PICTURES for s in ("train", "Val", "test")}
            ),
            r"i\.tar: holds images of several splits, i/Val and i/test and i/train; unpack it and write "
            r"train: .*/i/train and val: .*/i/Val$",
        ),
        (
            lambda f: fill(f, "training.tar valid.tar"),
            r"several splits, training\.tar, valid\.tar; write train: .*/training\.tar and val: .*/valid\.tar$",
        ),
        (
            lambda f: fill(f, "in1k-train-0.tar in1k-train-1.tar in1k-validation-0.tar"),
            r"write train: .*/in1k-train-\*\.tar and val: .*/in1k-validation-\*\.tar$",
        ),
        (
            lambda f: fill(f, "train-00-of-01.parquet test-00-of-01.parquet") / "*",
            r"\*: names archives .* write train: .*/train-\*\.parquet and val: .*/test-\*\.parquet$",
        ),
        (lambda f: f / "x-{0000..0146}.tar", r"x-\{0000\.\.0146\}\.tar: braces are not expanded; write .*/x-\*\.tar"),
    ],
)
def test_what_would_give_other_images_than_a_folder_is_refused(make, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        list_split(make(tmp_path))


def test_splits_that_share_an_archive_or_an_image_are_refused(tmp_path):
    """A copy of one picture; pictures of one name and size but other bytes are none."""
    train = write_tar(tmp_path / "t.tar", PICTURES | {"b/2.jpg": b"3"})
    folder = fill(tmp_path / "val", "a/2.jpg b/1.jpg")
    (folder / "b/1.jpg").write_bytes(b"x")
    other = write_tar(tmp_path / "v.tar", {f"v/{name}": b"4" for name in PICTURES})
    for val in (folder, other):
        assert len(label_splits(train, val)["val"]) == 2
    (folder / "b/1.jpg").write_bytes(b"2")
    with pytest.raises(
        ValueError, match=r"val: the validation image b/1\.jpg is among the training images too .*t\.tar"
    ):
        label_splits(train, folder)
    with pytest.raises(ValueError, match=r"/t\.tar: is among the archives of train and of val; give each the pattern"):
        label_splits(train, tmp_path / "t.ta[r]")


def test_validation_images_of_a_list_may_lie_in_folders(tmp_path):
    """Which are no classes then."""
    train, val = fill(tmp_path / "train", "a/1.jpg b/1.jpg"), fill(tmp_path / "val", "x/1.jpg y/2.jpg y/z/3.jpg")
    (tmp_path / "val.csv").write_text("image,class\n1,b\n2,a\n3,b\n")
    place = write_tar(
        tmp_path / "v.tar", {f"v/{path.relative_to(val)}": path.read_bytes() for path in val.rglob("*.jpg")}
    )
    found, wanted = (label_splits(train, one, tmp_path / "val.csv")["val"] for one in (place, val))
    assert found[wanted.columns].equals(wanted)
    for table in (found, wanted):
        table.assign(sha256="").to_csv(tmp_path / "manifest.csv")
        assert compare_images(place, tmp_path / "manifest.csv") == ""


@pytest.mark.parametrize(
    ("members", "paths"),
    [
        ("0.input.jpg 0.cls 1.input.jpg 1.CLS", ["0000/0.input.jpg", "0001/1.input.jpg"]),
        ("0.jpg 0.seg.png 0.cls 1.JPG 1.cls", ["0000/0.jpg", "0001/1.JPG"]),
        ("v.1/0.x.jpg v.1/0.x.cls v.1/1.jpg v.1/1.cls", ["0000/0.x.jpg", "0001/1.jpg"]),
        ("x/0.jpg x/0.cls y/0.jpg y/0.cls y/1.jpg y/1.cls", ["0000/x/0.jpg", "0000/y/0.jpg", "0001/y/1.jpg"]),
    ],
)
def test_samples_of_a_webdataset_go_by_their_keys(members, paths, tmp_path):
    """Here the class is the first digit of the member's name."""
    contents = {name: Path(name).name[0].encode() for name in members.split()}
    assert list_split(write_tar(tmp_path / "x.tar", contents))["path"].tolist() == paths


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"0.cls.txt": b"3"}, r"x\.tar: nothing says the class of 0\.jpg; .* beside them are cls\.txt"),
        ({"0.json": b'{"labels": 3}'}, r"\.cls or \.json \(cls, label, .*beside them are json \(labels\)"),
        ({"0.json": b'{"label": null}'}, r"0\.json: None is no class; a class is a whole number from 0, or a text"),
        ({"0.json": b'{"label": [1]}'}, r"0\.json: \[1\] is no class"),
        ({"0.json": b"{"}, r"x\.tar: .*: 0\.json: "),
        ({"0.cls": b""}, r"0\.cls: '' is no class"),
        ({"0.cls": b"-1"}, r"0\.cls: '-1' is no class"),
        ({"0.cls": b"1", "0.png": b""}, r"x\.tar: the sample 0 has several pictures, 0\.jpg, 0\.png"),
    ],
)
def test_samples_whose_class_is_not_clear_are_refused(members, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        list_split(write_tar(tmp_path / "x.tar", {"0.jpg": b""} | members))


@pytest.mark.parametrize(
    ("names", "classes"),
    [
        ("part0/cat/1.jpg part0/dog/2.jpg part1/cat/3.jpg", "part0, part1 would be .* with the classes cat, dog; put"),
        (
            "train_0/cat/1.jpg train_1/dog/1.jpg",
            "train_0, train_1 would be .* parts of a split, with the classes cat, dog",
        ),
        ("set1/1.jpg set2/1.jpg", ["set1", "set2"]),
        ("set1/images/1.jpg set2/images/1.jpg", ["set1", "set2"]),
        ("object1/day/1.jpg object1/night/2.jpg object2/day/3.jpg", ["object1", "object2"]),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_parts_of_a_split_are_no_classes(names, classes, packed, tmp_path):
    """Each in an archive of its own, or in a folder."""
    place = tmp_path / "place"
    for name in names.split():
        part = name.split("/")[0]
        if packed:
            members = {one: one.encode() for one in names.split() if one.startswith(f"{part}/")}
            write_tar(place / f"{part}.tar", members)
        else:
            fill(place, name)
    if isinstance(classes, list):
        assert sorted(set(list_split(place)["class"])) == classes
        return
    with pytest.raises(ValueError, match=f"place: {classes}"):
        list_split(place)


def test_class_with_a_slash_is_compared_with_its_manifest(tmp_path):
    members = {"0.jpg": b"a", "0.cls": b"cat/tabby", "1.jpg": b"b", "1.cls": b"cat"}
    place = write_tar(tmp_path / "x.tar", members)
    list_split(place).assign(sha256="").to_csv(tmp_path / "manifest.csv")
    assert compare_images(place, tmp_path / "manifest.csv") == ""


def test_mark_of_utf8_is_no_part_of_a_class(tmp_path):
    """As editors on Windows write it."""
    members = {"0.jpg": b"", "0.cls": b"\xef\xbb\xbf0\r\n", "1.jpg": b"", "1.json": b'\xef\xbb\xbf{"label": 1}'}
    assert list_split(write_tar(tmp_path / "x.tar", members))["class"].tolist() == ["0000", "0001"]


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        ([0.0, 10.0, 2.0], ["0000", "0002", "0010"]),
        ([9999, 10000, 7], ["00007", "09999", "10000"]),
        (["dog", "7", "cat"], ["0007", "cat", "dog"]),
        ([0, None, 1], r"x\.parquet: .*row 1, column label: None is no class"),
        ([0, -1, 1], r"row 1, column label: -1 is no class"),
        ([0.0, 0.5], r"row 1, column label: 0\.5 is no class"),
        ([0, 1, [2]], None),
    ],
)
def test_labels_are_whole_numbers_or_texts(labels, classes, tmp_path):
    if classes is None:
        labels, classes = [[one] for one in (0, 1)], r"row 0, column label: \[0\] is no class"
    path = write_parquet(tmp_path / "x.parquet", [{"bytes": b"", "path": "0.png"} for _ in labels], label=labels)
    if isinstance(classes, str):
        with pytest.raises(ValueError, match=classes):
            list_split(path)
        return
    assert sorted(list_split(path)["class"]) == classes
    assert {Path(one).name[:9] for one in list_split(path)["path"]} <= {"0.png"}


def test_validation_classes_have_as_many_digits_as_those_of_training(tmp_path):
    """And one file's labels are floating-point numbers, as pandas writes them; all rows have one path."""
    paths = [{"bytes": b"", "path": "0.png"}] * 2
    for name, labels in {"t/a": [10000, 3], "t/b": [7.0, 3.0], "v/a": [3, 7]}.items():
        write_parquet(tmp_path / f"{name}.parquet", paths, cls=labels)
    images = label_splits(tmp_path / "t", tmp_path / "v")
    assert images["train"]["path"].tolist() == [
        "00003/a_0000001.png",
        "00003/b_0000001.png",
        "00007/b_0000000.png",
        "10000/a_0000000.png",
    ]
    assert images["val"][["path", "label"]].to_numpy().tolist() == [["00003/0.png", 0], ["00007/0.png", 1]]


def test_row_without_bytes_is_refused_as_damaged(tmp_path):
    place = write_parquet(
        tmp_path / "x.parquet",
        [{"bytes": b"1", "path": "1.jpg"}, {"bytes": None, "path": "2.jpg"}, None],
        label=[0, 1, 1],
    )
    images = encode_images(locate(place, index_archives(place)), shortest_side=None, write_mode="raw", jpeg_quality=90)
    assert [one.refused.split(":")[0] for one in images] == ["UnidentifiedImageError", "OSError", "OSError"]
    assert images[1].refused.endswith("x.parquet, row 1: holds no bytes of an image, at most its path")


def test_braces_are_explained_before_a_study_starts(tmp_path):
    assert _find_fault(f"{tmp_path}/x-{{0..9}}.tar").endswith(
        "which is not there; braces are not expanded, write * for what varies"
    )
    for path in ("~/imagenet/train", "$DATA/train"):
        assert _find_fault(path) == f"{path}, which is not there; ~ and $ are not expanded, write the path out"
