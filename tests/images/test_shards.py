import hashlib
import os
import shutil
import signal
from collections import namedtuple
from pathlib import Path

import pytest
from conftest import N_PICTURES, convert
from ffcv.writer import DatasetWriter
from PIL import Image

from ipcl_core.config import Preprocessing
from ipcl_core.files import read_json
from ipcl_core.images.beton import check_beton, join_shards
from ipcl_core.images.decoding import encode_images, read_image
from ipcl_core.images.ffcv_names import IntField, Reader, RGBImageField
from ipcl_core.images.shards import CorruptImageError, encode_shard, estimate_bytes, list_splits, read_images
from ipcl_core.views.loader import ViewLoader

STORAGE = {"shortest_side": None, "write_mode": "raw", "jpeg_quality": 90}


def reader_start(beton: Path) -> int:
    """Where the images' metadata end."""
    reader = Reader(str(beton))
    return beton.read_bytes().index(reader.metadata.tobytes()) + reader.metadata.nbytes


def read_stored(beton: Path) -> list[tuple]:
    """Every image as FFCV's reader finds it: mode, height, width, label, bytes."""
    reader, content = Reader(str(beton)), beton.read_bytes()
    size = dict(zip(reader.alloc_table["ptr"].tolist(), reader.alloc_table["size"].tolist(), strict=True))
    return [
        (*row["f0"].tolist()[:3], int(row["f1"]), content[(at := int(row["f0"]["data_ptr"])) : at + size[at]])
        for row in reader.metadata
    ]


class Pictures:
    """The pictures of a converted split as FFCV's writer takes them."""

    def __init__(self, paths, shortest_side):
        self.rows = [row for row in read_images(paths.manifest).itertuples() if row.label >= 0]
        self.folder, self.shortest_side = paths.folder, shortest_side

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int):
        return read_image(self.folder / self.rows[index].path, self.shortest_side), self.rows[index].label


@pytest.mark.parametrize("mode", ["raw", "jpg", "smart"])
def test_file_holds_the_bytes_that_ffcvs_writer_writes(image_folder, tmp_path, mode):
    paths = convert(image_folder, tmp_path, write_mode=mode, shortest_side=100, jpeg_quality=80)
    image = RGBImageField(write_mode=mode, smart_threshold=128 * 128 * 3, jpeg_quality=80)
    writer = DatasetWriter(str(tmp_path / "ffcv.beton"), {"image": image, "label": IntField()}, num_workers=1)
    writer.from_indexed_dataset(Pictures(paths, 100))
    assert len(set(read_stored(paths.beton))) == N_PICTURES
    assert read_stored(paths.beton) == read_stored(tmp_path / "ffcv.beton")
    assert paths.beton.stat().st_size == (tmp_path / "ffcv.beton").stat().st_size
    assert [d.tobytes() for d in Reader(str(paths.beton)).field_descriptors] == [
        d.tobytes() for d in Reader(str(tmp_path / "ffcv.beton")).field_descriptors
    ]


@pytest.mark.parametrize(("width", "raw"), [(128, True), (129, False)])
def test_smart_keeps_the_pixels_of_images_up_to_128_by_128(tmp_path, width, raw):
    Image.new("RGB", (width, 128), "green").save(tmp_path / "a.png")
    (encoded,) = encode_images([tmp_path / "a.png"], shortest_side=None, write_mode="smart", jpeg_quality=80)
    assert (len(encoded.stored) == 3 * width * 128) == raw


@pytest.mark.parametrize("split,shortest_side,mode", [("raw_split", None, "raw"), ("jpg_split", 64, "jpg")])
def test_conversion_records_what_it_wrote(request, image_folder, split, shortest_side, mode):
    paths = request.getfixturevalue(split)
    manifest = read_images(paths.manifest)
    assert list(manifest.columns) == ["path", "class", "label", "sha256", "refused"]
    kept, refused = manifest[:N_PICTURES], manifest[N_PICTURES:]

    expected = sorted(str(path.relative_to(image_folder)) for path in image_folder.rglob("*.png"))
    expected.remove("b/broken.png")
    assert kept["path"].tolist() == expected
    assert kept["class"].tolist() == [path[0] for path in expected]
    assert kept["label"].tolist() == ["abc".index(path[0]) for path in expected]
    assert kept["sha256"].tolist() == [hashlib.sha256((image_folder / p).read_bytes()).hexdigest() for p in expected]
    assert (kept["refused"] == "").all()

    assert refused[["path", "class", "label", "sha256"]].to_numpy().tolist() == [["b/broken.png", "b", -1, ""]]
    assert "UnidentifiedImageError" in refused["refused"].item()

    assert read_json(paths.summary) == {
        "n_images": N_PICTURES,
        "n_refused": 1,
        "n_bytes": paths.beton.stat().st_size,
        "classes": ["a", "b", "c"],
        "shortest_side": shortest_side,
        "write_mode": mode,
        "jpeg_quality": 90,
        "index_sha256": hashlib.sha256(paths.beton.read_bytes()[: reader_start(paths.beton)]).hexdigest(),
        "sha256": hashlib.sha256(paths.beton.read_bytes()).hexdigest(),
    }
    metadata = Reader(str(paths.beton)).metadata
    assert metadata["f1"].tolist() == kept["label"].tolist()
    for path, row in zip(expected, metadata["f0"], strict=True):
        assert (row["height"], row["width"]) == read_image(image_folder / path, shortest_side).shape[:2]


def test_shards_and_processes_change_no_byte(raw_split, image_folder, tmp_path):
    found = convert(image_folder, tmp_path, n_shards=3, n_workers=2)
    for name in ("beton", "manifest", "summary"):
        assert getattr(found, name).read_bytes() == getattr(raw_split, name).read_bytes()


def test_more_shards_than_images(photo, tmp_path):
    for name in "ab":
        (tmp_path / "images" / name).mkdir(parents=True)
        photo.resize((9, 9)).save(tmp_path / "images" / name / "x.png")
    found = convert(tmp_path / "images", tmp_path, n_shards=3)
    assert sorted(path.stat().st_size for path in tmp_path.glob("*.bin")) == [0, 3 * 81, 3 * 81]
    assert [label for *_, label, _ in read_stored(found.beton)] == [0, 1]


def test_images_larger_than_a_page_get_larger_pages(photo, tmp_path):
    """FFCV's writer would wait for ever: its pages have 8 MiB."""
    for name, side in (("a", 40), ("b", 1700)):
        (tmp_path / "images" / name).mkdir(parents=True)
        photo.resize((side, side)).save(tmp_path / "images" / name / "x.png", compress_level=1)
    found = convert(tmp_path / "images", tmp_path)
    assert Reader(str(found.beton)).page_size == 16 << 20
    assert [len(stored) for *_, stored in read_stored(found.beton)] == [3 * 40**2, 3 * 1700**2]
    check_beton(found.beton)


def test_no_image_lies_across_two_pages(photo, tmp_path):
    for i in range(30):
        (tmp_path / "images" / "ab"[i % 2]).mkdir(parents=True, exist_ok=True)
        side = 700 + 10 * i
        photo.resize((side, side)).save(tmp_path / "images" / "ab"[i % 2] / f"{i}.bmp")
    reader = Reader(str(convert(tmp_path / "images", tmp_path).beton))
    first, last = reader.alloc_table["ptr"], reader.alloc_table["ptr"] + reader.alloc_table["size"] - 1
    assert (first // reader.page_size == last // reader.page_size).all()
    assert len(set((first // reader.page_size).tolist())) > 3 and (first[1:] > last[:-1]).all()


# ---- what goes wrong -------------------------------------------------------------------------------------------------


def test_corrupt_image_stops_the_conversion(image_folder, tmp_path):
    with pytest.raises(CorruptImageError, match="1 of 24 images cannot be decoded") as error:
        convert(image_folder, tmp_path, on_corrupt="error")
    assert str(image_folder / "b" / "broken.png") in str(error.value)
    assert "on_corrupt: skip" in str(error.value)
    assert [path.name for path in tmp_path.iterdir()] == ["images.csv"]


def test_class_of_which_no_image_is_left_is_told(image_folder, tmp_path, warnings_of):
    """Its output would be trained on nothing."""
    shutil.copytree(image_folder, tmp_path / "in")
    for path in (tmp_path / "in" / "b").iterdir():
        path.write_bytes(b"")
    (tmp_path / "out").mkdir()
    convert(tmp_path / "in", tmp_path / "out")
    assert warnings_of()[-1] == f"{tmp_path}/out/images.csv: no image is left of 1 class(es), among them 'b'"


def test_no_image_left_is_an_error(tmp_path):
    for name in "ab":
        (tmp_path / "images" / name).mkdir(parents=True)
        (tmp_path / "images" / name / "x.png").write_bytes(b"")
    with pytest.raises(ValueError, match=r"images.csv: none of the 2 images can be decoded"):
        convert(tmp_path / "images", tmp_path)


class Killer:
    """Whoever unpickles it is killed."""

    def __reduce__(self):
        return signal.raise_signal, (signal.SIGKILL,)


def test_killed_process_is_an_error_and_leaves_no_file(raw_split, image_folder, tmp_path, monkeypatch):
    monkeypatch.setattr("ipcl_core.images.shards.encode_images", Killer())
    with pytest.raises(RuntimeError, match="killed from outside, perhaps because memory ran out"):
        convert(image_folder, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["images.csv"]
    monkeypatch.undo()
    assert convert(image_folder, tmp_path).beton.read_bytes() == raw_split.beton.read_bytes()


def test_shards_of_another_list_are_refused(image_folder, tmp_path):
    found = convert(image_folder, tmp_path, n_shards=2)
    images, shards = tmp_path / "images.csv", [tmp_path / "0.bin", tmp_path / "1.bin"]
    options = {"shard": 1, "n_shards": 3, "storage": STORAGE, "on_corrupt": "skip", "n_workers": 1}
    encode_shard(image_folder, images, shards[1], tmp_path / "1.csv", **options)
    found.beton.unlink()
    with pytest.raises(ValueError, match=r"the shards are not those of .*images.csv; remove the folder and repeat"):
        join_shards(images, shards, found.beton, found.manifest, found.summary, train_images=images, storage=STORAGE)
    assert not found.beton.exists()


# ---- both splits, and the disk ---------------------------------------------------------------------------------------


def list_both(folder, target, storage=STORAGE) -> dict[str, Path]:
    lists = {split: target / split / "images.csv" for split in ("train", "val")}
    list_splits({"train": folder, "val": folder}, lists, val_labels=None, storage=storage)
    return lists


def test_estimate_is_the_size_of_the_encoded_images(image_folder, tmp_path):
    """With fewer images than the sample has, the estimate is exact, the damaged picture counting as a mean one."""
    paths = list(image_folder.rglob("*.png"))
    convert(image_folder, tmp_path)
    sizes = read_images(tmp_path / "0.csv").query("refused == ''")["n_bytes"]
    assert estimate_bytes(paths, STORAGE) == pytest.approx(24 * sizes.mean(), rel=1e-12)


def test_lists_and_estimate(image_folder, tmp_path, caplog):
    caplog.set_level("INFO")
    lists = list_both(image_folder, tmp_path)
    assert len(read_images(lists["train"])) == len(read_images(lists["val"])) == 24
    assert "train 24 images, about 0.00 GB; val 24 images" in caplog.text and "GB are free" in caplog.text


def test_images_that_cannot_be_decoded_are_told_before_the_work(image_folder, tmp_path, caplog):
    """By the sample: one is a warning, all are an error."""
    list_both(image_folder, tmp_path)
    assert "1 of 24 images that were looked at cannot be decoded, among them " in caplog.text
    assert "b/broken.png: UnidentifiedImageError: 13 bytes that are no JPEG" in caplog.text
    for name in ("a/1.jpg", "b/1.jpg"):
        (tmp_path / "pointers" / name).parent.mkdir(parents=True)
        (tmp_path / "pointers" / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\n")
    with pytest.raises(CorruptImageError, match=r"2 of 2 images .* among them .*a/1\.jpg: .* a pointer of Git LFS"):
        list_both(tmp_path / "pointers", tmp_path)


def test_full_disk_is_told_before_the_work(image_folder, tmp_path, monkeypatch):
    free = int(3.9 * estimate_bytes(list(image_folder.rglob("*.png")), STORAGE))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(free))
    with pytest.raises(OSError, match=r"train: not enough space. train 24 images, .* are needed; 0\.00 GB are free"):
        list_both(image_folder, tmp_path)
    assert not list(tmp_path.rglob("*.csv"))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(free * 2))
    list_both(image_folder, tmp_path)


Usage = namedtuple("Usage", "free")


# ---- a file that is not what it should be ----------------------------------------------------------------------------


@pytest.fixture
def copied(raw_split, tmp_path) -> Path:
    """A copy of a good .beton file beside its summary."""
    shutil.copy(raw_split.summary, tmp_path / "a.json")
    return Path(shutil.copy(raw_split.beton, tmp_path / "a.beton"))


def refuse(beton: Path, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_beton(beton)
    with pytest.raises(ValueError, match=message):
        ViewLoader(beton, batch_size=4, preprocessing=Preprocessing(image_size=64))


def test_good_file_passes(copied):
    check_beton(copied)
    copied.with_suffix(".json").unlink()
    check_beton(copied)


@pytest.mark.parametrize("size", [100, 3_000, 9_000_000, -24, -1])
def test_truncated_file_is_refused(copied, size):
    n_bytes = copied.stat().st_size
    os.truncate(copied, size % n_bytes)
    promise = (
        "not a .beton file of FFCV version 2"
        if size == 100
        else f"has {size % n_bytes} bytes where its header promises {n_bytes}"
    )
    refuse(copied, promise)


@pytest.mark.parametrize("content", [b"", bytes(5_000), b"\x89PNG" * 2_000])
def test_file_of_another_kind_is_refused(copied, content):
    copied.write_bytes(content)
    refuse(copied, "a.beton: not a .beton file of FFCV version 2 with the fields image and label")


def test_file_of_another_data_set_is_refused(copied, jpg_split, tmp_path):
    shutil.copy(jpg_split.summary, tmp_path / "a.json")
    assert copied.stat().st_size == jpg_split.beton.stat().st_size
    refuse(copied, "a.beton: not the file that a.json beside it describes; convert the images again")


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"sha256": "0"}', "null", '{"index_sha256"'])
def test_summary_that_is_none_is_refused(copied, content):
    """For example of a file that an older version wrote."""
    copied.with_suffix(".json").write_text(content)
    refuse(copied, r"a\.json: no summary of a\.beton \(\w+: .*\); convert the images again")


@pytest.mark.parametrize(
    ("field", "value"),
    [("data_ptr", 10), ("data_ptr", 2**63), ("data_ptr", 8_500_000), ("height", 60_000), ("width", 1)],
)
def test_image_outside_of_the_file_is_refused(copied, field, value):
    """Else foreign memory would be shown, or the process would crash. No summary: somebody else's file."""
    copied.with_suffix(".json").unlink()
    content, metadata = bytearray(copied.read_bytes()), Reader(str(copied)).metadata.copy()
    at = content.index(metadata.tobytes())
    metadata["f0"][field][3] = value
    content[at : at + metadata.nbytes] = metadata.tobytes()
    copied.write_bytes(content)
    refuse(copied, r"a\.beton: image 3 \(from 0\) does not lie in the file; convert the images again")


def test_changed_label_is_refused(copied):
    content = bytearray(copied.read_bytes())
    content[content.index(Reader(str(copied)).metadata.tobytes()) + 16] += 1
    copied.write_bytes(content)
    assert Reader(str(copied)).metadata["f1"][0] == 1
    refuse(copied, "a.beton: not the file that a.json beside it describes")
