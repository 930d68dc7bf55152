"""
One log a job: on the terminal and in the rule's log file.
"""

import atexit
import gc
import logging
import sys
from pathlib import Path


def start_log(path: str | Path, *, part: tuple[int, int] | None = None) -> None:
    """Send log messages, and the traceback of an error that ends the process, to stderr and to a file.

    The interpreter's last search for what can be freed is cut short: among torch's objects it takes a second.

    Args:
        path: the log file; it is written anew, its folder is made.
        part: (number from 0, of how many) of a process that goes on with the log of the one that started it. All but the
            first say errors only.
    """
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    name = Path(path).with_suffix("").name
    if part is None:
        Path(path).write_text("", encoding="utf-8")
    elif part[0] > 0:
        name += f" (process {part[0] + 1} of {part[1]})"
    handlers = [logging.StreamHandler(sys.stderr), logging.FileHandler(path, "a", encoding="utf-8")]
    logging.basicConfig(
        level=logging.ERROR if part and part[0] > 0 else logging.INFO,
        format=f"%(asctime)s {name}: %(message)s",
        datefmt="%H:%M:%S",
        handlers=handlers,
        force=True,
    )

    def log_error(kind, error, traceback) -> None:
        logging.getLogger(__name__).error("stopped: %s", error, exc_info=(kind, error, traceback))

    sys.excepthook = log_error
    atexit.register(gc.freeze)
