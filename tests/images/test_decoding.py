import os
import struct
from io import BytesIO

import cv2
import numpy as np
import pytest
from conftest import convert
from numpy.testing import assert_allclose
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from torchvision.datasets.folder import default_loader

from ipcl_core.images.decoding import encode_images, read_image
from ipcl_core.images.shards import read_images


@pytest.fixture(scope="module")
def picture(photo) -> Image.Image:
    """A crop of 90 x 60 pixels."""
    return photo.crop((150, 100, 240, 160))


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
    levels[:30] = 1234
    Image.fromarray(levels).save(tmp_path / "a.png", transparency=1234)
    levels[:30] = 65535  # white, the background
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
        (4, Image.Transpose.FLIP_TOP_BOTTOM),
        (5, Image.Transpose.TRANSPOSE),
        (6, Image.Transpose.ROTATE_270),
        (7, Image.Transpose.TRANSVERSE),
        (8, Image.Transpose.ROTATE_90),
    ],
)
def test_exif_rotation_is_applied(tmp_path, picture, orientation, turn):
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture.save(tmp_path / "a.png", exif=exif)
    check(tmp_path / "a.png", np.asarray(picture if turn is None else picture.transpose(turn)))


def make_exif(orientation: bytes, *, more: bytes = b"", n: int = 1) -> bytes:
    """EXIF of one folder of `n` entries, little-endian: orientation's 12 bytes, then `more`."""
    return b"Exif\0\0II*\0\x08\0\0\0" + n.to_bytes(2, "little") + orientation + more


def make_entry(tag: int, kind: int, count: int, value: bytes) -> bytes:
    return struct.pack("<HHI4s", tag, kind, count, value)


TURNED = make_entry(0x0112, 3, 1, b"\x06\0")
ODD_EXIF = {  # what Pillow cannot write again, or cannot read -> whether the picture is turned
    "reference of GPS of unknown type": (
        make_exif(TURNED, n=2, more=make_entry(0x8825, 4, 1, b"\x26\0\0\0") + 4 * b"\0" + b"\x02\0"
                  + make_entry(1, 7, 1, b"N") + make_entry(5, 2, 2, b"0\0") + 4 * b"\0"),
        True,
    ),
    "entry that lies outside": (make_exif(TURNED, n=2, more=make_entry(0x010F, 2, 900, b"\xff\xff\0\0") + 4 * b"\0"), True),
    "cut off": (make_exif(TURNED[:7]), False),
    "no folder": (b"Exif\0\0II*\0\xff\xff\xff\0", False),
    "other bytes": (b"Exif\0\0\x01\x02\x03\x04\x05\x06\x07\x08", False),
    "empty": (b"Exif\0\0", False),
    "orientation 0": (make_exif(make_entry(0x0112, 3, 1, b"\0\0") + 4 * b"\0"), False),
    "orientation 9": (make_exif(make_entry(0x0112, 3, 1, b"\x09\0") + 4 * b"\0"), False),
    "orientation that is text": (make_exif(make_entry(0x0112, 2, 2, b"6\0") + 4 * b"\0"), False),
    "two orientations": (make_exif(make_entry(0x0112, 3, 2, b"\x06\0\x03\0") + 4 * b"\0"), True),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore")  # of Pillow, of what it cannot read
@pytest.mark.parametrize("name", ODD_EXIF)
def test_of_odd_exif_the_orientation_alone_is_read(tmp_path, picture, name):
    """As torchvision's image folders read such files; EXIF that cannot be read counts as none."""
    exif, turned = ODD_EXIF[name]
    plain = make_bytes(picture, "JPEG")
    length = (len(exif) + 2).to_bytes(2, "big")
    (tmp_path / "a.jpg").write_bytes(plain[:2] + b"\xff\xe1" + length + exif + plain[2:])
    default_loader(str(tmp_path / "a.jpg"))
    with Image.open(BytesIO(plain)) as image:
        check(tmp_path / "a.jpg", np.asarray(image.transpose(Image.Transpose.ROTATE_270) if turned else image))


def test_exif_that_is_an_error_to_read_counts_as_none(tmp_path, picture):
    """As text of a PNG file, by ImageMagick, that is no hexadecimal number."""
    info = PngInfo()
    info.add_text("Raw profile type exif", "\nexif\n      3\nzz")
    picture.save(tmp_path / "a.png", pnginfo=info)
    with Image.open(tmp_path / "a.png") as image, pytest.raises(ValueError, match="hexadecimal"):
        image.getexif()
    check(tmp_path / "a.png", np.asarray(default_loader(str(tmp_path / "a.png"))))


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


@pytest.mark.parametrize("progressive", [False, True])
def test_zeros_in_place_of_the_rest_of_a_picture_are_refused(tmp_path, photo, progressive):
    """As an unfinished download or a full disk leaves them; the decoder makes grey of them. Behind the end they are let be."""
    thumbnail, buffer = Image.Exif(), BytesIO()
    photo.resize((60, 40)).save(buffer, "JPEG")
    thumbnail[0x927C] = buffer.getvalue()  # a whole picture with an end of its own, before the scans
    photo.save(tmp_path / "a.jpg", progressive=progressive, exif=thumbnail)
    whole = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "b.jpg").write_bytes(whole + b"trailer" + bytes(100))
    assert np.array_equal(read_image(tmp_path / "b.jpg"), read_image(tmp_path / "a.jpg"))
    n = len(whole) // 4
    (tmp_path / "c.jpg").write_bytes(whole[:-n] + bytes(n))
    with pytest.raises(
        ValueError, match=rf"the last {n} of {len(whole)} bytes are zeros and the picture has no end; fetch"
    ):
        read_image(tmp_path / "c.jpg")


# ---- odd files among others: what becomes of each, and that it stops none of the others ------------------------------


def make_bytes(image: Image.Image, kind: str, **options) -> bytes:
    buffer = BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def turn_exif(picture) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return make_bytes(picture, "JPEG", exif=exif)


def animate(picture, kind: str) -> bytes:
    frames = [picture, picture.transpose(Image.Transpose.ROTATE_180)]
    return make_bytes(frames[0], kind, save_all=True, append_images=frames[1:])


def make_bomb(picture) -> bytes:
    return make_bytes(Image.new("1", (13_000, 13_000)), "PNG")


NAME = "ü" * 120 + ".png"  # 244 bytes; file systems take 255
ODD = {  # name -> content of the picture, what is expected: (height, width), or words of the refusal
    "plain.png": (lambda p: make_bytes(p, "PNG"), (60, 90)),
    "a png.JPEG": (lambda p: make_bytes(p, "PNG"), (60, 90)),
    "cmyk.jpg": (lambda p: make_bytes(p.convert("CMYK"), "JPEG"), (60, 90)),
    "grey.jpg": (lambda p: make_bytes(p.convert("L"), "JPEG"), (60, 90)),
    "progressive.jpg": (lambda p: make_bytes(p, "JPEG", progressive=True), (60, 90)),
    "commented.jpg": (lambda p: make_bytes(p, "JPEG", comment=b"c" * 60_000), (60, 90)),
    "sixteen bits.png": (
        lambda p: make_bytes(Image.fromarray(np.asarray(p)[..., 0] * np.uint16(257)), "PNG"),
        (60, 90),
    ),
    "palette.png": (lambda p: make_bytes(p.quantize(16), "PNG"), (60, 90)),
    "alpha.png": (lambda p: make_bytes(p.convert("RGBA"), "PNG"), (60, 90)),
    "rotated.jpg": (turn_exif, (90, 60)),
    "animated.gif": (lambda p: animate(p, "GIF"), (60, 90)),
    "animated.webp": (lambda p: animate(p, "WEBP"), (60, 90)),
    "one pixel.png": (lambda p: make_bytes(p.resize((1, 1)), "PNG"), (1, 1)),
    "thin.png": (lambda p: make_bytes(p.resize((1, 20_000)), "PNG"), (20_000, 1)),
    "wide.png": (lambda p: make_bytes(p.resize((20_000, 1)), "PNG"), (1, 20_000)),
    "same stem.png": (lambda p: make_bytes(p.resize((9, 9)), "PNG"), (9, 9)),
    "same stem.jpg": (lambda p: make_bytes(p.resize((8, 8)), "JPEG"), (8, 8)),
    "語 $(touch x);\n'\"\\.png": (lambda p: make_bytes(p, "PNG"), (60, 90)),
    NAME: (lambda p: make_bytes(p, "PNG"), (60, 90)),
    "NA.png": (lambda p: make_bytes(p, "PNG"), (60, 90)),
    "truncated.jpg": (lambda p: make_bytes(p, "JPEG")[:-400], "OSError: image file is truncated"),
    "truncated.png": (lambda p: make_bytes(p, "PNG")[:-400], "OSError: image file is truncated"),
    "empty.jpg": (lambda p: b"", "UnidentifiedImageError: 0 bytes that are no JPEG, PNG"),
    "text.jpg": (lambda p: b"<html>404</html>", "bytes that are no JPEG, PNG, GIF, WEBP, BMP, TIFF, PPM"),
    "pointer.jpg": (
        lambda p: b"version https://git-lfs.github.com/spec/v1",
        "PPM; it is a pointer of Git LFS, not the file",
    ),
    "photo.heic": (
        lambda p: b"\0\0\0\x24ftypheic" + bytes(90),
        "PPM; it is HEIC, AVIF or a film; save the picture as JPEG",
    ),
    "avif.jpg": (
        lambda p: b"\0\0\0\x1cftypavif" + bytes(90),
        "PPM; it is HEIC, AVIF or a film; save the picture as JPEG",
    ),
    "drawing.svg": (
        lambda p: b'<?xml version="1.0"?>\n<svg/>',
        "PPM; it is XML, a drawing (SVG) or an answer of a web",
    ),
    "plain drawing.svg": (
        lambda p: b'<svg xmlns="http://www.w3.org/2000/svg"/>',
        "PPM; it is a drawing (SVG); make a PNG of it",
    ),
    "paper.jpg": (lambda p: b"%PDF-1.7", "PPM; it is a PDF; make a PNG of it"),
    "postscript.jpg": (lambda p: make_bytes(p, "EPS"), "bytes that are no JPEG, PNG, GIF, WEBP, BMP, TIFF, PPM"),
    "bomb.png": (make_bomb, "DecompressionBombWarning: Image size (169000000 pixels) exceeds limit of 89478485"),
    "long.png": (lambda p: make_bytes(Image.new("L", (1, 70_000)), "PNG"), "1 x 70000 pixels; no side may have more"),
    "floats.tif": (lambda p: make_bytes(p.convert("F"), "TIFF"), "ValueError: floating-point pixels"),
    "broken link.png": (None, "FileNotFoundError"),
}


@pytest.fixture(scope="module")
def odd(picture, tmp_path_factory):
    """Every odd file in one class beside another class; name -> its row among the encoded images."""
    folder, target = tmp_path_factory.mktemp("odd"), tmp_path_factory.mktemp("odd_target")
    for name in ("odd", "plain"):
        (folder / name).mkdir()
    picture.save(folder / "plain" / "a.png")
    for name, (make, _) in ODD.items():
        if make:
            (folder / "odd" / name).write_bytes(make(picture))
        else:
            (folder / "odd" / name).symlink_to("nowhere.png")
    paths = convert(folder, target, write_mode="jpg", shortest_side=64)
    return paths, read_images(target / "0.csv").set_index("path")


@pytest.mark.parametrize("name", ODD)
def test_odd_file(odd, name):
    paths, rows = odd
    row, (_, expected) = rows.loc[f"odd/{name}"], ODD[name]
    if isinstance(expected, str):
        assert expected in row.refused and row.n_bytes == 0
    else:
        assert row.refused == "" and (row.height, row.width) == expected and 0 < row.n_bytes < 60_000
    manifest = read_images(paths.manifest).set_index("path").loc[f"odd/{name}"]
    assert manifest.label == (-1 if isinstance(expected, str) else 0) and manifest.refused == row.refused


def test_first_frame_of_an_animation_is_read(tmp_path, picture):
    (tmp_path / "a.webp").write_bytes(animate(picture, "WEBP"))
    assert np.abs(read_image(tmp_path / "a.webp").astype(int) - np.asarray(picture)).mean() < 6


def test_unreadable_file_is_refused(tmp_path, picture):
    picture.save(tmp_path / "a.png")
    (tmp_path / "a.png").chmod(0)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)  # nobody
    try:
        (image,) = encode_images([tmp_path / "a.png"], shortest_side=None, write_mode="raw", jpeg_quality=90)
    finally:
        os.seteuid(user)
    assert image.refused.startswith("PermissionError") and "a.png" in image.refused


def test_memory_that_runs_out_is_no_fault_of_the_image(tmp_path, picture, monkeypatch):
    def run_out(*_):
        raise MemoryError

    picture.save(tmp_path / "a.png")
    monkeypatch.setattr("ipcl_core.images.decoding._decode", run_out)
    with pytest.raises(MemoryError):
        encode_images([tmp_path / "a.png"], shortest_side=None, write_mode="raw", jpeg_quality=90)


@pytest.mark.parametrize("largest", [1, 255, 4095])
def test_twelve_bits_in_a_file_of_sixteen_are_refused(tmp_path, largest):
    Image.fromarray(np.array([[0, largest]], np.uint16)).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match=f"the lightest level is {largest} of 65535, as of 12 bits or fewer"):
        read_image(tmp_path / "a.png")
    (image,) = encode_images([tmp_path / "a.png"], shortest_side=None, write_mode="raw", jpeg_quality=90)
    assert image.refused.startswith("ValueError: the lightest level")


@pytest.mark.parametrize("largest", [0, 4096])
def test_dark_sixteen_bit_images_are_read(tmp_path, largest):
    Image.fromarray(np.array([[0, largest]], np.uint16)).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png").max() == largest // 256


def test_grey_levels_of_more_than_sixteen_bits_are_refused(tmp_path):
    Image.fromarray(np.array([[0, 70_000]], np.int32)).save(tmp_path / "a.tif")
    with pytest.raises(ValueError, match="grey levels from 0 to 70000; at most 16 bits"):
        read_image(tmp_path / "a.tif")


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_colours_of_12_bits_in_16_are_refused(tmp_path, picture, suffix):
    """Pillow takes the upper eight bits, which would be nearly black."""
    levels = np.asarray(picture)[..., ::-1].astype(np.uint16)
    cv2.imwrite(str(tmp_path / f"a{suffix}"), levels * 257)
    check(tmp_path / f"a{suffix}", np.asarray(picture))
    cv2.imwrite(str(tmp_path / f"a{suffix}"), levels * 16)
    with pytest.raises(ValueError, match="the lightest level is 15 of 255, as of 12 bits or fewer in 16"):
        read_image(tmp_path / f"a{suffix}")
