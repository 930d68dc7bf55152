import hashlib
import json

import numpy as np
import pandas as pd
import pytest
from conftest import N_PICTURES, convert
from ffcv.reader import Reader
from numpy.testing import assert_allclose
from PIL import Image

from ipcl_core.datasets import CorruptImageError, convert_split, list_images
from ipcl_core.files import read_json
from ipcl_core.images import read_image


@pytest.fixture(scope="module")
def picture(photo) -> Image.Image:
    """A crop of 90 x 60 pixels."""
    return photo.crop((150, 100, 240, 160))


def save(path, size=(4, 3)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, "red").save(path)


# ---- listing ---------------------------------------------------------------------------------------------------------


def test_images_are_listed_by_class_and_name(tmp_path):
    for name in ("dog/b.PNG", "dog/a.jpg", "dog/deep/er.webp", "cat/z.jpeg", "Zebra/1.bmp"):
        save(tmp_path / name)
    (tmp_path / "cat" / "notes.txt").write_text("no picture")
    (tmp_path / "readme.png").write_text("not in a class")
    found = list_images(tmp_path)
    assert list(found.itertuples(index=False, name=None)) == [
        ("Zebra/1.bmp", "Zebra", 0),
        ("cat/z.jpeg", "cat", 1),
        ("dog/a.jpg", "dog", 2),
        ("dog/b.PNG", "dog", 2),
        ("dog/deep/er.webp", "dog", 2),
    ]


def test_missing_folder_is_refused(tmp_path):
    with pytest.raises(ValueError, match="nowhere: no such folder; it should hold one sub-folder of images a class"):
        list_images(tmp_path / "nowhere")


@pytest.mark.parametrize("names", [[], ["cat"]])
def test_fewer_than_two_classes_are_refused(tmp_path, names):
    for name in names:
        save(tmp_path / name / "a.png")
    with pytest.raises(ValueError, match=rf"found {len(names)} class folder\(s\); at least two are needed"):
        list_images(tmp_path)


def test_class_without_images_is_refused(tmp_path):
    save(tmp_path / "cat" / "a.png")
    (tmp_path / "dog").mkdir()
    (tmp_path / "dog" / "a.txt").write_text("no picture")
    with pytest.raises(ValueError, match=r"dog: holds no image \(.*\.jpg"):
        list_images(tmp_path)


# ---- decoding --------------------------------------------------------------------------------------------------------


def check(path, expected: np.ndarray, atol: float = 0) -> None:
    found = read_image(path)
    assert found.dtype == np.uint8
    assert found.shape == expected.shape
    assert_allclose(found.astype(int), expected.astype(int), rtol=0, atol=atol)


def test_rgb_image_is_exact(tmp_path, picture):
    picture.save(tmp_path / "a.png")
    check(tmp_path / "a.png", np.asarray(picture))


def test_grey_image(tmp_path, picture):
    grey = picture.convert("L")
    grey.save(tmp_path / "a.png")
    check(tmp_path / "a.png", np.repeat(np.asarray(grey)[:, :, None], 3, 2))


def test_black_and_white_image(tmp_path, picture):
    binary = picture.convert("1")
    binary.save(tmp_path / "a.png")
    check(tmp_path / "a.png", np.repeat(255 * np.asarray(binary)[:, :, None].astype(int), 3, 2))


def test_palette_image(tmp_path, picture):
    palette = picture.quantize(16)
    palette.save(tmp_path / "a.png")
    colors = np.array(palette.getpalette()[: 3 * 16]).reshape(-1, 3)
    check(tmp_path / "a.png", colors[np.asarray(palette)])


def test_palette_image_with_a_transparent_colour(tmp_path, picture):
    palette = picture.quantize(16)
    palette.save(tmp_path / "a.png", transparency=5)
    colors = np.array(palette.getpalette()[: 3 * 16]).reshape(-1, 3)
    colors[5] = 255
    assert (np.asarray(palette) == 5).any()
    check(tmp_path / "a.png", colors[np.asarray(palette)])


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparent_pixels_become_white(tmp_path, picture, mode):
    image = picture.convert(mode)
    alpha = np.zeros((60, 90), np.uint8)
    alpha[:, 30:60], alpha[:, 60:] = 255, 51
    image.putalpha(Image.fromarray(alpha))
    image.save(tmp_path / "a.png")
    color = np.asarray(picture.convert(mode[:-1]).convert("RGB")).astype(float)
    expected = np.where(alpha[:, :, None] == 0, 255, color)
    expected[:, 60:] = 0.2 * color[:, 60:] + 0.8 * 255
    check(tmp_path / "a.png", np.round(expected), atol=1)
    assert (read_image(tmp_path / "a.png")[:, :30] == 255).all()


def test_sixteen_bit_grey_image_is_scaled(tmp_path):
    levels = np.linspace(0, 65535, 60 * 90).astype(np.uint16).reshape(60, 90)
    Image.fromarray(levels).save(tmp_path / "a.png")
    check(tmp_path / "a.png", np.repeat((levels // 256)[:, :, None], 3, 2))


def test_cmyk_image(tmp_path, picture):
    cmyk = picture.convert("CMYK")
    cmyk.save(tmp_path / "a.tif")
    check(tmp_path / "a.tif", np.asarray(picture), atol=1)
    cmyk.save(tmp_path / "a.jpg", quality=95)
    assert np.abs(read_image(tmp_path / "a.jpg").astype(int) - np.asarray(picture)).mean() < 4


@pytest.mark.parametrize(
    "orientation,turn",
    [
        (1, None),
        (2, Image.Transpose.FLIP_LEFT_RIGHT),
        (3, Image.Transpose.ROTATE_180),
        (6, Image.Transpose.ROTATE_270),
        (8, Image.Transpose.ROTATE_90),
    ],
)
def test_exif_rotation_is_applied(tmp_path, picture, orientation, turn):
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture.save(tmp_path / "a.png", exif=exif)
    check(tmp_path / "a.png", np.asarray(picture if turn is None else picture.transpose(turn)))


@pytest.mark.parametrize("size", [(90, 60), (60, 90), (64, 64), (300, 41)])
@pytest.mark.parametrize("shortest_side", [20, 41, 64, 1000])
def test_shortest_side(tmp_path, photo, size, shortest_side):
    """Shrunk to the shortest side with the shape kept; never enlarged."""
    photo.resize(size).save(tmp_path / "a.png")
    height, width = read_image(tmp_path / "a.png", shortest_side).shape[:2]
    assert min(width, height) == min(*size, shortest_side)
    if shortest_side >= min(size):
        assert (width, height) == size
    assert_allclose(width / height, size[0] / size[1], rtol=0.5 / min(width, height), atol=0)


def test_rotated_image_is_shrunk_by_its_shortest_side(tmp_path, picture):
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.save(tmp_path / "a.jpg", exif=exif)
    assert read_image(tmp_path / "a.jpg", 30).shape == (45, 30, 3)


def test_shrinking_is_antialiased(tmp_path):
    """A chequerboard of single pixels becomes grey, and not black or white."""
    board = (np.indices((64, 64)).sum(0) % 2 * 255).astype(np.uint8)
    Image.fromarray(board).save(tmp_path / "a.png")
    assert np.abs(read_image(tmp_path / "a.png", 16)[2:-2, 2:-2].astype(int) - 127).max() <= 2


@pytest.mark.parametrize("content", [b"", b"not a picture", b"\x89PNG\r\n\x1a\n" + bytes(30)])
def test_broken_file_cannot_be_decoded(tmp_path, content):
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises((OSError, ValueError, SyntaxError)):
        read_image(tmp_path / "a.png")


def test_truncated_file_cannot_be_decoded(tmp_path, picture):
    for name in ("a.png", "a.jpg"):
        picture.save(tmp_path / name)
        content = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(content[: len(content) // 2])
        with pytest.raises(OSError, match="truncated"):
            read_image(tmp_path / name)


# ---- conversion ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("split,shortest_side,mode", [("raw_split", None, "raw"), ("jpg_split", 64, "jpg")])
def test_conversion_records_what_it_wrote(request, image_folder, split, shortest_side, mode):
    paths = request.getfixturevalue(split)
    manifest = pd.read_csv(paths.manifest, keep_default_na=False)
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
        "classes": ["a", "b", "c"],
        "shortest_side": shortest_side,
        "write_mode": mode,
        "jpeg_quality": 90,
        "sha256": hashlib.sha256(paths.beton.read_bytes()).hexdigest(),
    }
    metadata = Reader(str(paths.beton)).metadata
    assert metadata["f1"].tolist() == kept["label"].tolist()
    for path, row in zip(expected, metadata["f0"], strict=True):
        assert (row["height"], row["width"]) == read_image(image_folder / path, shortest_side).shape[:2]


def test_corrupt_image_stops_the_conversion(image_folder, tmp_path):
    with pytest.raises(CorruptImageError, match="1 of 24 images cannot be decoded") as error:
        convert(image_folder, tmp_path, on_corrupt="error")
    assert str(image_folder / "b" / "broken.png") in str(error.value)
    assert "on_corrupt: skip" in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_summary_is_json(raw_split):
    assert json.loads(raw_split.summary.read_text()) == read_json(raw_split.summary)


def _find_no_fault(path):
    return "0" * 64, ""


def test_image_that_fails_while_writing_is_an_error_and_leaves_no_file(image_folder, tmp_path, monkeypatch):
    """FFCV's writer would wait for ever for its worker."""
    monkeypatch.setattr("ipcl_core.datasets.check_image", _find_no_fault)
    paths = [tmp_path / f"train.{suffix}" for suffix in ("beton", "csv", "json")]
    options = {"shortest_side": 32, "write_mode": "raw", "jpeg_quality": 90, "on_corrupt": "error", "n_workers": 1}
    with pytest.raises(CorruptImageError, match=r"not while writing: .*broken\.png: UnidentifiedImageError"):
        convert_split(image_folder, *paths, **options)
    assert not list(tmp_path.iterdir())
