"""Augmented and central views of images, by compiled code."""

import hashlib
from contextlib import suppress
from pathlib import Path

from numba import config


def _forget_old_code() -> None:
    """Let numba compile anew where a source has changed since.

    It looks only at the file of the function that it takes from its cache, not at those of what this function calls.
    """
    here = Path(__file__).parent
    sources = [*sorted(here.glob("*.py")), here.parent / "images/ffcv_names.py"]
    text = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()
    if config.CACHE_DIR:
        config.CACHE_DIR = str(Path(config.CACHE_DIR) / text[:16])
        return
    stamp = here / "__pycache__/sources.sha256"
    with suppress(OSError):  # where it may not be written
        if not stamp.exists() or stamp.read_text() != text:
            stamp.parent.mkdir(exist_ok=True)
            for index in stamp.parent.glob("*.nbi"):
                index.unlink(missing_ok=True)
            stamp.write_text(text)


_forget_old_code()
