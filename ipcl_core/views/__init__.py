"""Augmented and central views of images, by compiled code."""

import hashlib
from pathlib import Path

from numba import config


def _name_cache() -> None:
    """Give compiled code a folder by the text of all its sources, beside them or where NUMBA_CACHE_DIR says.

    numba looks only at the file of the function that it takes from its cache, not at those of what this function calls.
    """
    here = Path(__file__).parent
    sources = [*sorted(here.glob("*.py")), here.parent / "images/ffcv_names.py"]
    text = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()
    config.reload_config()  # numba may have been imported before this package, which says another place where needed
    config.CACHE_DIR = str(Path(config.CACHE_DIR or here / "__pycache__") / f"kernels_{text[:16]}")


_name_cache()
