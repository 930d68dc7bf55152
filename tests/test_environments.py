"""The lock files, the conda environments and the container agree."""

import itertools
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from conftest import asks_for_gpu
from setuptools import find_packages

REPOSITORY = Path(__file__).parents[1]
CONDA_NAMES = {"pytorch": "torch"}
NOT_FROM_PIP = {"python", "pip", "cxx-compiler", "pkg-config", "libopencv", "libjpeg-turbo"}


def read_lock(name: str) -> dict[str, tuple[str, list[str]]]:
    """Return package -> (version, hashes)."""
    entries = re.findall(r"^([\w.-]+)==([\w.+-]+)(.*(?:\n    .*)*)", (REPOSITORY / name).read_text(), re.MULTILINE)
    return {package: (version, re.findall(r"--hash=(sha256:\w{64})", rest)) for package, version, rest in entries}


def read_wanted(name: str) -> dict[str, str]:
    """Return package -> version, empty where any will do, of a list that a lock is made from."""
    lines = (REPOSITORY / "envs" / name).read_text().splitlines()
    pairs = [line.split("#")[0].strip().partition("==") for line in lines if not line.startswith(("#", "-"))]
    return {package: version for package, _, version in pairs}


def test_developers_lock_is_the_users_and_more():
    users, developers = read_lock("requirements.lock"), read_lock("development.lock")
    assert {package: developers.get(package) for package in users} == users
    assert all(hashes for _, hashes in developers.values())
    wanted = read_wanted("requirements.in") | read_wanted("development.in")
    assert {package: version for package, version in wanted.items() if version} == {
        package: developers[package][0] for package, version in wanted.items() if version
    }
    assert wanted.keys() <= developers.keys()
    for name in ("requirements.lock", "development.lock"):
        assert "://" not in (REPOSITORY / name).read_text(), "a lock names no server"


def test_users_lock_has_what_the_code_needs_and_no_tool_of_developers():
    users, tools = read_lock("requirements.lock"), read_wanted("development.in")
    assert {"pytest", "ruff", "bandit", "hypothesis", "playwright", "rsatoolbox"} <= tools.keys()
    assert not tools.keys() & users.keys()
    assert read_wanted("requirements.in").keys() <= users.keys()
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    lines = itertools.chain(project["dependencies"], *project["optional-dependencies"].values())
    assert {re.match(r"[\w-]+", line)[0] for line in lines} - {project["name"]} <= users.keys()


def test_oldest_snakemake_stands_in_the_snakefile_too():
    """pip takes an old one where packages beside it leave no other."""
    extras = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    (oldest,) = re.findall(r'min_version\("(.*)"\)', (REPOSITORY / "Snakefile").read_text())
    assert f"snakemake>={oldest}" in extras["workflow"]


@pytest.mark.parametrize("path", sorted((REPOSITORY / "envs").glob("*.yaml")), ids=lambda path: path.stem)
def test_versions_are_those_of_the_lock(path):
    locked = {name: version for name, (version, _) in read_lock("requirements.lock").items()}
    dependencies = yaml.safe_load(path.read_text())["dependencies"]
    for part in dependencies:
        for line in part["pip"] if isinstance(part, dict) else [part]:
            name, version = re.fullmatch(r"([\w.-]+)(?:==?([\w.]+))?", line).groups()
            if name not in NOT_FROM_PIP:
                assert version == locked[CONDA_NAMES.get(name, name)], line


def test_installed_package_holds_every_file():
    """Modules and data; an editable installation, as everywhere here, would not miss one."""
    setuptools = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["setuptools"]
    names = find_packages(str(REPOSITORY), **setuptools["packages"]["find"])
    folders = {name: REPOSITORY / name.replace(".", "/") for name in names}
    patterns = setuptools["package-data"]
    packed = {
        path
        for name, folder in folders.items()
        for glob in ["*.py", *patterns.get(name, [])]
        for path in folder.glob(glob)
    }
    there = {
        path
        for path in (REPOSITORY / "ipcl_core").rglob("*")
        if path.is_file() and path.suffix not in (".pyc", ".nbi", ".nbc")
    }
    assert there - packed == set()


def test_container_has_the_packages_of_the_setup():
    named = re.search(r'packages="(.*)"', (REPOSITORY / "envs/setup.sh").read_text())[1].split()
    definition = (REPOSITORY / "envs/apptainer.def").read_text()
    (installed,) = re.findall(r"apt-get install \S+ \S+ --no-install-recommends (.*)", definition)
    assert set(named) <= set(installed.split())
    assert "pip install --no-cache-dir --require-hashes --requirement /requirements.lock" in definition


def find_scripts(environment: str) -> list[str]:
    """Scripts of the rules that run in an environment."""
    rules = "".join(path.read_text() for path in (REPOSITORY / "rules").rglob("*.smk"))
    within = r"(?:(?!\nrule ).)*?"
    pattern = rf'conda:\s+"(?:../)+envs/(\w+).yaml"{within}script:\s+"(?:../)+(workflow_scripts/\w+.py)"'
    pairs = re.findall(pattern, rules, re.DOTALL)
    return sorted({script for name, script in pairs if name == environment})


FORBID = """
import sys

class Forbid:
    def find_spec(self, name, path, target=None):
        if name in {absent}:
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Forbid())
"""


def test_analysis_scripts_import_only_what_their_environment_has():
    """Their imports work where the packages that only envs/torch.yaml has cannot be imported."""
    modules = {"pytorch": "torch", "pillow": "PIL", "pyyaml": "yaml"}
    have = {}
    for name in ("analysis", "torch"):
        lines = yaml.safe_load((REPOSITORY / f"envs/{name}.yaml").read_text())["dependencies"]
        have[name] = {
            modules.get(part, part) for part in (line.split("=")[0] for line in lines if isinstance(line, str))
        }
    code = FORBID.format(absent=have["torch"] - have["analysis"] | {"ffcv", "cv2", "snakemake"})
    for script in find_scripts("analysis"):
        imports = re.findall(r"^(?:from|import) .*?(?:\(.*?\))?$", (REPOSITORY / script).read_text(), re.MULTILINE)
        code += "\n".join([f"print({script!r})", *imports, ""])
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout.splitlines()[-1] + done.stderr[-1000:]
    assert "workflow_scripts/table1.py" in done.stdout


def test_gpus_tests_need_no_workflow():
    """They are found on a machine that has torch, pydantic and the usual libraries, and neither FFCV nor Snakemake."""
    absent = ["ffcv", "cv2", "snakemake", "plotly", "rsatoolbox", "torchvision", "sklearn", "pytorch_optimizer"]
    code = f"""
import sys
sys.modules.update(dict.fromkeys({absent}))
import pytest
sys.exit(pytest.main(["-m", "gpu", "--collect-only", "-q", "-p", "no:cacheprovider", "tests/gpu"]))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-2000:]
    assert "test_twenty_steps_have_the_golden_losses" in done.stdout


@pytest.mark.parametrize(
    "markers,asks",
    [("gpu", True), ("gpu and not cuda", True), ("not slow and gpu", True), ("not gpu", False), ("", False)],
)
def test_markers_that_ask_for_the_gpu(markers, asks):
    assert asks_for_gpu(markers) == asks
