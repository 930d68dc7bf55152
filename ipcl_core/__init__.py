"""
Instance-prototype contrastive learning and its comparison with human visual cortex.

Konkle and Alvarez 2020, "Instance-level contrastive learning yields human brain-like representation without
category-supervision".

A folder for each stage, in the order of the data: which, and that imports run one way, stands
in tests/test_code.py. What is public stands in `__all__`, and is imported when it is asked for; see `library`.
"""

import atexit
import importlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .config import NoiseCeiling, Preprocessing, Statistics, read_config
    from .library.brains import BrainData, load_brain
    from .library.comparison import compare, plot_layers
    from .library.networks import Network, extract_activations, load_network
    from .rsa.similarity import compare_rsvs, compute_rsm, vectorize_rsm

__all__ = [
    "BrainData",
    "Network",
    "NoiseCeiling",
    "Preprocessing",
    "Statistics",
    "compare",
    "compare_rsvs",
    "compute_rsm",
    "extract_activations",
    "load_brain",
    "load_network",
    "plot_layers",
    "read_config",
    "vectorize_rsm",
]
_PLACES = {
    "config": ("NoiseCeiling", "Preprocessing", "Statistics", "read_config"),
    "library.brains": ("BrainData", "load_brain"),
    "library.comparison": ("compare", "plot_layers"),
    "library.networks": ("Network", "extract_activations", "load_network"),
    "rsa.similarity": ("compare_rsvs", "compute_rsm", "vectorize_rsm"),
}
"""Module -> the public names that it has."""

__version__ = "0.1.0"


def _place_caches() -> None:
    """Give compiled code a place where its own cannot be written, as on a node without home directories.

    numba keeps it beside the source, here else in the home directory; Triton keeps it in the home directory. Where there is
    none they get a temporary folder. The processes that this one starts use the same.
    """
    home = Path(os.path.expanduser(os.environ.get("XDG_CACHE_HOME") or "~/.cache"))  # noqa: PTH111, which may raise
    has_home = home.is_absolute() and _can_be_written(home)
    lacking = [] if _can_be_written(Path(__file__).parent / "views/__pycache__") else ["NUMBA_CACHE_DIR"]
    lacking += [] if has_home else ["TRITON_CACHE_DIR"]
    if lacking := [name for name in lacking if name not in os.environ]:
        if has_home:
            folder = str(home / "ipcl_core")
        else:
            folder = tempfile.mkdtemp(prefix="ipcl_core_")  # not one of a known name: what lies in it is run
            atexit.register(shutil.rmtree, folder, ignore_errors=True)
        os.environ.update(dict.fromkeys(lacking, folder))


def _can_be_written(folder: Path) -> bool:
    """Whether a folder is there or can be made, and takes files."""
    there = next(path for path in (folder, *folder.parents) if os.path.exists(path))  # noqa: PTH110, which may raise
    return os.access(there, os.W_OK | os.X_OK)


_place_caches()


def __getattr__(name: str) -> Any:
    for module, names in _PLACES.items():
        if name in names:
            return getattr(importlib.import_module(f".{module}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
