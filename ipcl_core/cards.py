"""
Which GPU a job takes, on a machine where jobs share several GPUs and no batch system shares them out.
"""

import fcntl
import logging
import os
import re
import tempfile
from pathlib import Path

import torch

from .files import open_lock

logger = logging.getLogger(__name__)
_reserved: list[int] = []  # open files, whose locks end with the process


def reserve_cards(n: int) -> None:
    """Show this process, and those that it starts, n GPUs that no other job on this machine has reserved, until it ends.

    To be called before CUDA is used. Where no more than n are to be seen, as in a job of a batch system, nothing is done.
    Where fewer than n are free, the others are shared, with a warning.

    Args:
        n: GPUs that the job asked for.
    """
    shown = os.environ.get("CUDA_VISIBLE_DEVICES")
    cards = [str(i) for i in range(torch.cuda.device_count())] if shown is None else shown.split(",")
    if len(cards) <= n:
        return
    free = []
    for card in cards:
        if len(free) < n and _lock(card):
            free.append(card)
    if len(free) < n:
        logger.warning(
            "%d of %d GPUs are free, and %d asked for: some are shared with other jobs", len(free), len(cards), n
        )
    chosen = [*free, *(card for card in cards if card not in free)][:n]
    os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(chosen)
    logger.info("GPU %s of %s", ", ".join(chosen), ", ".join(cards))


def _lock(card: str) -> bool:
    """Take the lock of a GPU; return whether it was free."""
    name = re.sub(r"[^\w-]", "_", card)
    path = Path(tempfile.gettempdir()) / f"ipcl_gpu_{name}.lock"
    file = open_lock(path)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        return False
    _reserved.append(file)
    return True
