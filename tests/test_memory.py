"""What a process frees and asks for again."""

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize("kept", [True, False])
def test_memory_that_is_freed_is_taken_again(kept):
    """Of 64 MB written a second time no page comes anew; by default each of the 16,384 does."""
    code = f"""
import resource
from ipcl_core.memory import keep_freed_memory
{"keep_freed_memory()" if kept else ""}
faults = []
for _ in range(2):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    block = b"x" * (64 << 20)
    del block
    faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
print(*faults)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[1])
    first, second = map(int, done.stdout.split())
    assert first > 10_000, done.stderr
    assert (second < 1000) == kept
