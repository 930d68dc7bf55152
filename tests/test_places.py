"""Checkouts in odd places: the workflow is found, and its jobs would run."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from snakemake_runs import run_snakemake

REPOSITORY = Path(__file__).parents[1]
PARTS = ("rules", "workflow_scripts", "ipcl_core", "profiles", "envs", "docs", "config")
pytestmark = pytest.mark.workflow


def plan(folder: Path, *arguments: str | Path) -> str:
    """What Snakemake would do for Table 1, called in a folder."""
    code, said = run_snakemake(folder, "--dry-run", *arguments, "results/demo/table1.csv")
    assert code == 0, said
    return said


def test_checkout_in_a_folder_with_a_space(tmp_path):
    folder = tmp_path / "my checkout"
    for part in PARTS:
        shutil.copytree(REPOSITORY / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy2(REPOSITORY / "Snakefile", folder)
    assert "train_model" in plan(folder, "--profile", "profiles/demo")


def test_profile_from_another_folder(tmp_path):
    """A study's own folder, with the checkout elsewhere."""
    found = plan(tmp_path, "--snakefile", REPOSITORY / "Snakefile", "--profile", REPOSITORY / "profiles/demo")
    assert "train_model" in found


SCRIPT = """
import os
from ipcl_core.views import draws
from numba import config
print(config.CACHE_DIR or None, os.environ.get("TRITON_CACHE_DIR"))
"""


def ask_caches(checkout: Path, home: Path, first: str = "", **variables: str) -> list[str]:
    """Where compiled code goes, of numba and of Triton."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("XDG_", "NUMBA_", "TRITON_"))}
    environment = kept | {"PYTHONPATH": str(checkout), "HOME": str(home), "PYTHONDONTWRITEBYTECODE": "1"} | variables
    command = [sys.executable, "-c", first + SCRIPT]
    done = subprocess.run(command, env=environment, cwd=checkout, capture_output=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.fixture
def read_only(tmp_path) -> Iterator[Path]:
    """A checkout on a file system that may not be written, which holds the home directory too."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs"]
    try:
        subprocess.run([*mount, "tmpfs", folder], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"a file system cannot be mounted here (needs root): {error}")
    try:
        shutil.copytree(REPOSITORY / "ipcl_core", folder / "ipcl_core", ignore=shutil.ignore_patterns("__pycache__"))
        subprocess.run([*mount, "-o", "remount,ro", "tmpfs", folder], check=True, capture_output=True)
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def test_checkout_that_may_not_be_written_by_a_user_without_home(read_only):
    """numba would stop; both get a temporary folder, which is removed."""
    numba, triton = ask_caches(read_only, read_only / "home")
    assert Path(numba).parent == Path(triton) and Path(triton).is_absolute() and not Path(triton).exists()


@pytest.mark.parametrize("first", ["", "import numba\n"])
def test_compiled_code_stays_where_it_is_kept(read_only, tmp_path, first):
    """Beside the source, or in the home directory; a folder that is asked for is taken. Also where numba came first."""
    numba, triton = ask_caches(read_only, tmp_path / "home", first)
    assert Path(numba).parent == tmp_path / "home/.cache/ipcl_core" and triton == "None"
    assert (
        Path(ask_caches(REPOSITORY, read_only / "home", first)[0]).parent == REPOSITORY / "ipcl_core/views/__pycache__"
    )
    assert Path(ask_caches(REPOSITORY, tmp_path, first, NUMBA_CACHE_DIR=str(tmp_path))[0]).parent == tmp_path


@pytest.mark.parametrize("file", ["views/colors.py", "images/ffcv_names.py"])
def test_compiled_code_is_that_of_these_sources(tmp_path, file):
    """After an edit in colors.py numba would take on_cpu.py's functions, in which the old colours are, from its cache."""
    shutil.copytree(REPOSITORY / "ipcl_core", tmp_path / "ipcl_core", ignore=shutil.ignore_patterns("__pycache__"))
    before = ask_caches(tmp_path, tmp_path)[0]
    (tmp_path / "ipcl_core/config/data.py").touch()  # nothing that is compiled
    assert ask_caches(tmp_path, tmp_path)[0] == before
    with open(tmp_path / "ipcl_core" / file, "a") as source:
        source.write("# edited\n")
    assert ask_caches(tmp_path, tmp_path)[0] != before
