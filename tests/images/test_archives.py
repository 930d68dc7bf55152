"""The same few pictures in folders and in the archives in which people have ImageNet."""

import bz2
import gzip
import io
import json
import lzma
import re
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from conftest import convert, list_labelled
from test_ground_truth import NAMES, flat

from ipcl_core.images.archives import index_archives, list_archives, locate
from ipcl_core.images.datasets import compare_images, label_splits
from ipcl_core.images.decoding import encode_images

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
Files = list[tuple[str, bytes]]
assert flat  # a fixture


def add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    archive.addfile(info, io.BytesIO(content))


def write_official(place: Path, files: Files, name_class: Callable) -> Path:
    """A .tar of one .tar a class, as ILSVRC2012_img_train.tar; the classes and pictures in another order than their names'."""
    with tarfile.open(place / "train.tar", "w") as outer:
        for label in "cab":
            content = io.BytesIO()
            with tarfile.open(fileobj=content, mode="w") as inner:
                for name, picture in reversed(files):
                    if name.startswith(f"{label}/"):
                        add(inner, name.split("/")[1], picture)
            add(outer, f"{label}.tar", content.getvalue())
    return place / "train.tar"


def write_folders(place: Path, files: Files, name_class: Callable) -> Path:
    """A .tar of the folder."""
    with tarfile.open(place / "folders.tar", "w") as archive:
        for name, picture in files:
            add(archive, f"imagenet/train/{name}", picture)
    return place / "folders.tar"


def write_webdataset(place: Path, files: Files, name_class: Callable) -> Path:
    """Two shards in random order; the class beside the picture, in the second shard as JSON."""
    order = np.random.default_rng(0).permutation(len(files))
    for shard, part in enumerate(np.array_split(order, 2)):
        with tarfile.open(place / f"train-{shard:04d}.tar", "w") as archive:
            for name, picture in (files[i] for i in part):
                key, label = name.split("/")[1].removesuffix(".png"), name_class(name)
                add(archive, f"{key}.png", picture)
                if shard:
                    add(archive, f"{key}.json", json.dumps({"label": label, "width": 5}).encode())
                else:
                    add(archive, f"{key}.cls", str(label).encode())
    return place


def write_parquet(place: Path, files: Files, name_class: Callable) -> str:
    """Two files in random order, in groups of four rows, beside one of the other split, as Hugging Face writes them."""
    order = np.random.default_rng(1).permutation(len(files))
    for part, rows in enumerate(np.array_split(order, 2)):
        images = [{"bytes": files[i][1], "path": files[i][0].split("/")[1]} for i in rows]
        table = pyarrow.table({"image": images, "label": [name_class(files[i][0]) for i in rows]})
        pyarrow.parquet.write_table(table, place / f"train-0000{part}-of-00002.parquet", row_group_size=4)
    pyarrow.parquet.write_table(table, place / "validation-00000-of-00001.parquet")
    return f"{place}/train-*.parquet"


WRITERS = [write_official, write_folders, write_webdataset, write_parquet]


@pytest.fixture(scope="module")
def files(image_folder) -> Files:
    """The pictures and the file that is none, by their places in the folder."""
    paths = sorted(path for path in image_folder.rglob("*.png"))
    return [(str(path.relative_to(image_folder)), path.read_bytes()) for path in paths]


@pytest.mark.parametrize("write", WRITERS)
def test_archives_give_the_same_bytes_and_manifest_as_folders(write, files, jpg_split, tmp_path):
    """The pictures are encoded in the order of the archives, from some in two shards, and joined in that of their names."""
    (tmp_path / "archives").mkdir()
    place = write(tmp_path / "archives", files, lambda name: name[0])
    n_shards = 2 if write is write_webdataset else 1
    made = convert(place, tmp_path, n_shards=n_shards, write_mode="jpg", shortest_side=64)
    assert made.beton.read_bytes() == jpg_split.beton.read_bytes()
    assert made.manifest.read_bytes() == jpg_split.manifest.read_bytes()
    assert made.summary.read_bytes() == jpg_split.summary.read_bytes()
    assert compare_images(place, made.manifest) == ""
    other = [(name, content[:-1] + b"x" if name == "a/03.png" else content) for name, content in files[:-1]]
    write(tmp_path / "archives", other, lambda name: name[0])
    said = compare_images(place, made.manifest)
    assert "1 changed, among them a/03.png" in said and f"1 not there, among them {files[-1][0]}" in said


@pytest.mark.parametrize("write", [write_webdataset, write_parquet])
def test_classes_that_are_numbers_keep_their_order(write, files, image_folder, tmp_path):
    """2, 9 and 10 sort as numbers, so that the labels are the same."""
    place = write(tmp_path, files, lambda name: {"a": 2, "b": 9, "c": 10}[name[0]])
    found, wanted = (list_labelled(one) for one in (place, image_folder))
    assert found["label"].equals(wanted["label"]) and set(found["class"]) == {"0002", "0009", "0010"}
    assert [Path(path).name for path in found["path"]] == [Path(path).name for path in wanted["path"]]


@pytest.mark.parametrize("write", [write_official, write_parquet])
def test_damaged_picture_is_named(write, files, tmp_path):
    place = write(tmp_path, files, lambda name: name[0])
    table = index_archives(place)
    broken = next(one for one, path in zip(locate(place, table), table["path"], strict=True) if "broken" in path)
    (image,) = encode_images([broken], shortest_side=None, write_mode="raw", jpeg_quality=90)
    assert image.refused.startswith("UnidentifiedImageError: 13 bytes")
    assert re.fullmatch(r".*(train\.tar, byte \d+|\.parquet, row \d+)", str(broken))


def test_official_validation_split(flat, tmp_path):
    """ILSVRC2012_img_val.tar and the development kit as they are distributed."""
    with tarfile.open(tmp_path / "ILSVRC2012_img_val.tar", "w") as archive:
        for name in reversed(NAMES):
            archive.add(flat / f"val/{name}.JPEG", f"{name}.JPEG")
    with tarfile.open(tmp_path / "ILSVRC2012_devkit_t12.tar.gz", "w:gz") as kit:
        for name in ("meta.mat", "ILSVRC2012_validation_ground_truth.txt"):
            kit.add(flat / name, f"ILSVRC2012_devkit_t12/data/{name}")
    labels = flat / "ILSVRC2012_validation_ground_truth.txt"
    wanted = label_splits(flat / "train", flat / "val", labels)["val"]
    val = label_splits(flat / "train", tmp_path / "ILSVRC2012_img_val.tar", tmp_path / "ILSVRC2012_devkit_t12.tar.gz")[
        "val"
    ]
    assert val[["path", "class", "label"]].equals(wanted)
    with pytest.raises(
        ValueError, match=r"img_val\.tar: nothing says the class of ILSVRC2012_val_0000000.\.JPEG; give val_labels"
    ):
        label_splits(flat / "train", tmp_path / "ILSVRC2012_img_val.tar")


def test_one_archive_a_class(flat, tmp_path):
    """What unpacking ILSVRC2012_img_train.tar once leaves; of archives beside class folders nothing is read."""
    (tmp_path / "archives").mkdir()
    for folder in sorted((flat / "train").iterdir()):
        with tarfile.open(tmp_path / f"archives/{folder.name}.tar", "w") as archive:
            archive.add(folder / "a.JPEG", "a.JPEG")
    found = index_archives(tmp_path / "archives")
    assert found["path"].tolist() == ["n01440764/a.JPEG", "n02100735/a.JPEG", "n02119789/a.JPEG"]
    shutil.copy(tmp_path / "archives/n01440764.tar", flat / "train")
    assert list_archives(flat / "train") == []


def test_names_that_are_counted_anew_in_each_archive(tmp_path):
    for shard in "ab":
        with tarfile.open(tmp_path / f"{shard}.tar", "w") as archive:
            add(archive, "000.jpg", b"")
            add(archive, "000.cls", b"7")
    assert index_archives(tmp_path)["path"].tolist() == ["0007/a/000.jpg", "0007/b/000.jpg"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.tar", b"no archive", r"a\.tar: cannot be read: ReadError"),
        ("a.parquet", b"no archive", r"a\.parquet: cannot be read: ArrowInvalid"),
        ("a.tar.gz", b"", "needs .tar or .parquet files, of one kind, not compressed; found .gz"),
        ("b.tar", gzip.compress(b"", mtime=0), r"b\.tar: cannot be read: .*compressed by gzip; .* gunzip it first"),
        (None, b"", "a.tar: its archives hold no image"),
        ("c.tar", bz2.compress(b""), r"c\.tar: cannot be read: .*compressed by bzip2; .* bunzip2 it first"),
        ("d.tar", lzma.compress(b""), r"d\.tar: cannot be read: .*compressed by xz; .* unxz it first"),
        ("e.tar", b"PK\x03\x04", r"e\.tar: cannot be read: .*is a zip archive; unpack it"),
        ("f.tar", b"<!DOCTYPE html>", r"f\.tar: cannot be read: .*is a web page, not the file itself"),
        ("g.parquet", POINTER, r"g\.parquet: cannot be read: .*is a pointer of Git LFS, .* by git lfs pull"),
    ],
)
def test_archive_that_cannot_be_read_is_refused(tmp_path, name, content, message):
    path = tmp_path / (name or "a.tar")
    path.write_bytes(content)
    if name is None:
        tarfile.open(path, "w").close()
    with pytest.raises(ValueError, match=message):
        index_archives(path)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("train-00000-of-00003 train-00002-of-00003", "1 of the 3 archives train-N-of-00003 missing, the first N 1;"),
        (
            "train-00000-of-00009-a1b2 train-00001-of-00009-c3d4",
            "7 of the 9 archives train-N-of-00009 missing, the first N 2, 3, 4;",
        ),
        ("t_1_of_3 t_3_of_3", "1 of the 3 archives t_N_of_3 missing, the first N 2;"),
        ("t-1-of-3 t-2-of-3", "1 of the 3 archives t-N-of-3 missing, the first N 0 or 3;"),
        ("train-0000 train-0003", r"2 of the 4 archives train-N\.parquet missing, the first N 1, 2;"),
        ("1 2 4", r"1 of the 4 archives N\.parquet missing, the first N 3;"),
        (
            "train_0_512px train_1_512px train_3_512px",
            r"1 of the 4 archives train_N_512px\.parquet missing, the first N 2;",
        ),
        ("t-000000.v2 t-000002.v2", r"1 of the 3 archives t-N\.v2\.parquet missing, the first N 1;"),
        ("v1-0-a v1-1-a v2-0-a v2-2-a", r"1 of the 3 archives v2-N-a\.parquet missing, the first N 1;"),
        ("train_0_512px train_1_512px train_2_512px", None),
        ("train_0_256px train_0_512px", None),
        ("shard_0_999 shard_1000_1999", None),
        ("01-01-2021 03-01-2021", None),
        ("01-2021 03-2021", None),
        ("t-1-of-2 t-2-of-2", None),
        ("train-00000-of-00002-a1b2 train-00001-of-00002-c3d4", None),
        ("0 1 2", None),
        ("1 2 3", None),
        ("cats dogs", None),
        ("part0_offset part1_offset", None),
        ("photographs-2021 photographs-2023", None),
        ("2021-01 2021-03", None),
        ("2021-01-01 2021-01-03", None),
        ("n01440764 n02100735", None),
        ("1 3 48460", None),
    ],
)
def test_missing_archive_of_a_series_is_refused(tmp_path, names, message):
    """As a folder and by patterns. Patterns that leave some out or have [ ], and one alone, are taken as they are."""
    files = [tmp_path / f"{name}.parquet" for name in names.split()]
    for file in files:
        file.touch()
    for place in (tmp_path, f"{tmp_path}/*.parquet", f"{tmp_path}/?*.parquet"):
        if message is None:
            assert list_archives(place) == files
            continue
        with pytest.raises(ValueError, match=f": {message} fetch them, or choose some of them by a pattern"):
            list_archives(place)
    assert list_archives(f"{tmp_path}/[!.]*.parquet") == files
    assert list_archives(files[-1]) == files[-1:]


def test_pattern_that_leaves_archives_out_is_taken(tmp_path):
    files = [tmp_path / f"train-{i:05d}-of-00294.parquet" for i in (7, 8, 10)]
    for file in files:
        file.touch()
    assert list_archives(f"{tmp_path}/train-0000*.parquet") == list_archives(f"{tmp_path}/*0000?-of*") == files[:2]


@pytest.mark.parametrize(
    ("names", "refused"),
    [
        ("a-0.tar a-1.tar a-2.tar.gz", "a-2.tar.gz"),
        ("a-0.tar a-1.tar a-2.tar.part", "a-2.tar.part"),
        ("a-0.parquet a-1.parquet.crdownload", "a-1.parquet.crdownload"),
        ("a-0.tar a-1.TAR", "a-1.TAR"),
        ("a.tgz", "a.tgz"),
        ("train.tar.partaa train.tar.partab", "train.tar.partaa"),
        ("train.tar.aa train.tar.ab", "train.tar.aa"),
        ("train.zip labels.csv", "train.zip"),
        ("a-0.tar a-1.tar a-0.idx a-1.tar.json sizes.json README.md a-0.tar.md5", None),
        ("1.jpg 2.jpg val.zip", None),
    ],
)
def test_archives_that_are_not_whole_are_not_passed_over(tmp_path, names, refused):
    """In a folder; a pattern says which ones are meant. Lists and sums may lie beside them."""
    for name in names.split():
        (tmp_path / name).touch()
    readable = [tmp_path / name for name in names.split() if name.endswith((".tar", ".parquet"))]
    if refused is None:
        assert list_archives(tmp_path) == readable
        return
    with pytest.raises(
        ValueError, match=rf"{re.escape(refused)}: is no whole \.tar or \.parquet file .* move it out of "
    ):
        list_archives(tmp_path)
    if readable:
        assert list_archives(f"{tmp_path}/*{readable[0].suffix}") == readable


def test_folder_with_magic_characters_in_its_path(tmp_path):
    for name in ("[a]/x-0.tar", "b*c/x-0.tar", "[a]/x-2.tar"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert list_archives(tmp_path / "b*c") == list_archives(tmp_path / "b*c/x-0.tar") == [tmp_path / "b*c/x-0.tar"]
    with pytest.raises(ValueError, match=r"1 of the 3 archives x-N\.tar missing"):
        list_archives(tmp_path / "[a]")


def test_picture_without_class_among_others_is_refused(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for name in ("0.jpg", "0.cls", "1.jpg"):
            add(archive, name, b"3")
    with pytest.raises(ValueError, match=r"a\.tar: 1\.jpg has no \.cls or \.json that says its class"):
        index_archives(tmp_path)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"image": [{"bytes": b""}]}, r"no column label \(or .*\); there are image"),
        ({"label": [1]}, "needs one column of images"),
    ],
)
def test_parquet_without_images_or_labels_is_refused(tmp_path, columns, message):
    pyarrow.parquet.write_table(pyarrow.table(columns), tmp_path / "a.parquet")
    with pytest.raises(ValueError, match=message):
        index_archives(tmp_path)
