"""
One log a job: on the terminal and in the rule's log file.
"""

import logging
import sys
from pathlib import Path


def start_log(path: str | Path) -> None:
    """Send log messages, and the traceback of an error that ends the process, to stderr and to a file.

    Args:
        path: the log file; it is written anew, its folder is made.
    """
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    name = Path(path).with_suffix("").name
    handlers = [logging.StreamHandler(sys.stderr), logging.FileHandler(path, "w")]
    logging.basicConfig(
        level=logging.INFO, format=f"%(asctime)s {name}: %(message)s", datefmt="%H:%M:%S", handlers=handlers, force=True
    )

    def log_error(kind, error, traceback) -> None:
        logging.getLogger(__name__).error("stopped: %s", error, exc_info=(kind, error, traceback))

    sys.excepthook = log_error
