"""The wheel in fresh environments: `pip install .` without extras, with the Pythons that are here."""

import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

REPOSITORY = Path(__file__).parents[1]
USE = """
import sys
import numpy as np
import ipcl_core as ipcl
from ipcl_core.report.table1 import read_published
assert len(read_published()) == 28 and not {"torch", "snakemake"} & sys.modules.keys()
rng = np.random.default_rng(0)
patterns = rng.standard_normal((12, 30)) + rng.standard_normal((4, 12, 30))
brain = ipcl.load_brain({"IT": np.stack([1 - np.corrcoef(one) for one in patterns])})
fits = ipcl.compare({"layer": patterns[0]}, brain)
ipcl.plot_layers(fits).savefig("layers.png")
assert fits["low"].item() < fits["r"].item() < fits["high"].item()
"""


def find_python(version: str) -> str | None:
    """An interpreter of a version that starts: this one, on the path, or one of pyenv's."""
    if version == f"{sys.version_info.major}.{sys.version_info.minor}":
        return sys.executable
    places = [shutil.which(f"python{version}"), *map(str, Path.home().glob(f".pyenv/versions/{version}.*/bin/python"))]
    for python in filter(None, places):
        if subprocess.run([python, "-c", "import venv"], capture_output=True).returncode == 0:
            return python
    return None


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built from a copy of what setuptools reads: it leaves a folder `build` behind."""
    folder = tmp_path_factory.mktemp("wheel")
    shutil.copytree(REPOSITORY / "ipcl_core", folder / "source/ipcl_core", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy2(REPOSITORY / name, folder / "source")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", str(folder)]
    subprocess.run([*command, str(folder / "source")], check=True, timeout=300)
    return next(folder.glob("*.whl"))


@pytest.mark.wheel
@pytest.mark.parametrize("version", [version for version in ("3.11", "3.12", "3.13") if find_python(version)])
def test_wheel_alone_compares_activations_with_rdms(wheel, tmp_path, version):
    with TemporaryDirectory() as venv:
        subprocess.run([find_python(version), "-m", "venv", venv], check=True, timeout=600)
        command = [f"{venv}/bin/python", "-m", "pip", "install", "--quiet", "--no-compile", str(wheel)]
        subprocess.run(command, check=True, timeout=1200)
        assert sum(path.stat().st_size for path in Path(venv).rglob("*") if path.is_file()) < 500e6
        here = {"check": True, "cwd": tmp_path, "env": {}, "timeout": 600, "capture_output": True, "text": True}
        subprocess.run([f"{venv}/bin/python", "-c", USE], **here)
        subprocess.run([f"{venv}/bin/ipcl", "new", "mine"], **here)
        said = subprocess.run([f"{venv}/bin/ipcl", "check", "mine/config.yaml"], **here | {"check": False})
    assert said.returncode == 1 and "pip install 'ipcl-core[networks]'" in said.stdout
