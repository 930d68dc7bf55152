"""
Image files of any kind -> RGB pixels, and the bytes that a .beton file stores.
"""

import hashlib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, UnidentifiedImageError

from ..files import BEGIN, say_kind
from .splits import is_hidden

IMAGE_SUFFIXES = {".avif", ".bmp", ".dib", ".eps", ".exr", ".gif", ".heic", ".heif", ".j2k", ".jfif", ".jp2", ".jpe"}
IMAGE_SUFFIXES |= {".jpeg", ".jpg", ".jxl", ".pbm", ".pcx", ".pgm", ".png", ".pnm", ".ppm", ".psd", ".svg", ".tga"}
IMAGE_SUFFIXES |= {".tif", ".tiff", ".webp"}
"""Of files that must not be passed over in a folder of images, whether they can be decoded or not."""
FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "PPM")  # of Pillow; others may start programs (EPS)
MAX_SIDE = 65535  # .beton files store sides as 16-bit numbers
SMART_BYTES = 128 * 128 * 3
ORIENTATION = 0x0112  # EXIF
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""Orientation -> what puts such a picture upright."""


def list_stimuli(folder: str | Path) -> dict[str, list[Path]]:
    """Return the stimuli of a folder in their order, that of their names -> their pictures; what `is_hidden` is left out.

    A stimulus is an image, or a folder of several, of which all belong to one condition of the experiment.

    Raises:
        ValueError: two have one name, but for the suffix.
    """
    found: dict[str, list[Path]] = {}
    for path in _list_visible(folder):
        name = path.name if path.is_dir() else path.stem
        if name in found:
            raise ValueError(
                f"{path}: another file or folder there is of the stimulus {name} too; put both into one folder"
            )
        found[name] = _list_visible(path) if path.is_dir() else [path]
    return found


def _list_visible(folder: str | Path) -> list[Path]:
    return [path for path in sorted(Path(folder).glob("*")) if not is_hidden(path.name)]


def read_image(path: str | Path, shortest_side: int | None = None, background: str = "white") -> np.ndarray:
    """Decode an image file, whatever its suffix says, and shrink it.

    EXIF rotation is applied, where its orientation can be read; transparent pixels show the background; grey, palette and
    CMYK become RGB; 16-bit levels are divided by 256; of an animation the first frame is read.

    Args:
        path: the image file.
        shortest_side: largest allowed shortest side in pixels; smaller images are not enlarged.
        background: a colour, as Pillow reads it.

    Returns:
        (height, width, 3) uint8.

    Raises:
        OSError, ValueError, SyntaxError: the file cannot be read or decoded.
        DecompressionBombWarning, DecompressionBombError: it has more than Pillow's limit of 89 million pixels.
    """
    try:
        return np.asarray(_decode(path, shortest_side, background))
    except UnidentifiedImageError:
        raise UnidentifiedImageError(
            f"{path}: {Path(path).stat().st_size} bytes that are no {', '.join(FORMATS)}"
        ) from None


def _decode(source: str | Path | BinaryIO, shortest_side: int | None, background: str = "white") -> Image.Image:
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        with Image.open(source, formats=FORMATS) as image:
            # 16 bits a channel, of which Pillow takes the upper 8
            deep = any(";16" in str(tile[3]) for tile in image.tile)
            if image.format in ("JPEG", "MPO"):
                _refuse_zeros(image.fp)
            image.load()
            turn = TURNS.get(_read_orientation(image))
    if turn is not None:
        image = image.transpose(turn)
    if image.mode == "F":
        raise ValueError("floating-point pixels, whose range is unknown")
    if image.mode.startswith("I"):  # 16-bit grey: Pillow's conversion would clip, not scale
        levels = np.asarray(image).astype(np.int64)
        if levels.min() < 0 or levels.max() > 65535:
            raise ValueError(f"grey levels from {levels.min()} to {levels.max()}; at most 16 bits are read")
        _refuse_dark(int(levels.max()), 65535)
        opaque = levels != image.info.get("transparency")
        image = Image.fromarray((levels >> 8).astype(np.uint8))
        image.putalpha(Image.fromarray(opaque.astype(np.uint8) * 255))
    elif deep and image.mode in ("RGB", "RGBA"):
        _refuse_dark(int(np.asarray(image)[..., :3].max()), 255)
        if isinstance(clear := image.info.get("transparency"), tuple):  # of 16 bits too
            image.info["transparency"] = tuple(level >> 8 for level in clear)
    if "A" in image.mode or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, background), image)
    if image.mode != "RGB":
        image = image.convert("RGB")
    if shortest_side is not None and min(image.size) > shortest_side:
        ratio = shortest_side / min(image.size)
        size = tuple(max(shortest_side, round(side * ratio)) for side in image.size)
        image = image.resize(size, Image.Resampling.BILINEAR, reducing_gap=None)
    return image


def _refuse_zeros(file: BinaryIO) -> None:
    """Refuse a JPEG file of which zeros stand in place of the rest, as unfinished downloads and full disks leave it.

    Its decoder takes them for a grey part of the picture.
    """
    at = file.tell()
    file.seek(0)
    content = file.read()
    file.seek(at)
    n_zeros = len(content) - len(content.rstrip(b"\0"))
    if n_zeros >= 16 and content.rfind(b"\xff\xd9") < content.rfind(b"\xff\xda"):  # no end behind the last scan
        raise ValueError(
            f"the last {n_zeros} of {len(content)} bytes are zeros and the picture has no end; fetch it again"
        )


def _refuse_dark(lightest: int, white: int) -> None:
    if 0 < lightest * 16 <= white:
        raise ValueError(f"the lightest level is {lightest} of {white}, as of 12 bits or fewer in 16; scale to 16 bits")


def _read_orientation(image: Image.Image) -> int:
    """Return EXIF's orientation, 1 to 8; 1 (upright) where there is none, or none that can be read."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            orientation = image.getexif().get(ORIENTATION, 1)
        except Exception:  # of damaged EXIF, Pillow raises errors of many kinds
            return 1
    return orientation if isinstance(orientation, int) and 1 <= orientation <= 8 else 1


@dataclass
class EncodedImage:
    """An image as a .beton file stores it, or the reason why it is refused."""

    sha256: str = ""
    """Of the source file."""
    refused: str = ""
    jpeg: bool = False
    height: int = 0
    width: int = 0
    stored: bytes = b""
    """A JPEG file, or height x width x 3 bytes of pixels."""


def reuse_memory() -> None:
    """Let Pillow keep four freed blocks, 64 MB at most: a new process else asks the system for each image's memory."""
    Image.core.set_blocks_max(4)


def encode_images(
    paths: Sequence[Path], *, shortest_side: int | None, write_mode: str, jpeg_quality: int
) -> list[EncodedImage]:
    """Decode, shrink and encode images; see `Storage` in the configuration for the settings.

    Args:
        paths: image files, or other places whose `read_bytes` returns the content of one (`archives.Piece`).
        shortest_side, write_mode, jpeg_quality: see `Storage`.
    """
    return [_encode(path, shortest_side, write_mode, jpeg_quality) for path in paths]


def _encode(path: Path, shortest_side: int | None, write_mode: str, jpeg_quality: int) -> EncodedImage:
    try:
        content = path.read_bytes()
        image = _decode(BytesIO(content), shortest_side)
        if max(image.size) > MAX_SIDE:
            raise ValueError(f"{image.width} x {image.height} pixels; no side may have more than {MAX_SIDE}")
        jpeg = write_mode == "jpg" or (write_mode == "smart" and 3 * image.width * image.height > SMART_BYTES)
        stored = _encode_jpeg(image, jpeg_quality) if jpeg else image.tobytes()
    except MemoryError:
        raise
    except UnidentifiedImageError:  # Pillow's words would hold an address in memory
        refused = f"UnidentifiedImageError: {len(content)} bytes that are no {', '.join(FORMATS)}"
        return EncodedImage(refused="; it ".join(filter(None, [refused, say_kind(content[:BEGIN])])))
    except Exception as error:  # of damaged files, decoders raise errors of many kinds
        return EncodedImage(refused=f"{type(error).__name__}: {error}")
    return EncodedImage(hashlib.sha256(content).hexdigest(), "", jpeg, image.height, image.width, stored)


def _encode_jpeg(image: Image.Image, quality: int) -> bytes:
    image.info.clear()  # else Pillow writes the source's comment
    buffer = BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()
