"""
Fresh environments, one for each way to use the project from elsewhere: the wheel alone, with the Pythons that are here; the
wheel with an extra; a release by torch.hub; the workflow deployed by snakedeploy. And what validators say of a release.

torch is not downloaded again: it and what it needs are linked from the environment of the tests.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import Distribution, distribution
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import yaml
from packaging.requirements import Requirement
from release_study import BRAIN, MODELS, make_study

from ipcl_core.crate import main as write_crate
from ipcl_core.release.make import main as release

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
    """With the newest versions of what it needs; in the oldest Python with the lowest that are allowed."""
    needed = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["dependencies"]
    lowest = [f"{line.replace('>=', '==')}.*" for line in needed] if version == "3.11" else []
    with TemporaryDirectory() as venv:
        subprocess.run([find_python(version), "-m", "venv", venv], check=True, timeout=600)
        command = [f"{venv}/bin/python", "-m", "pip", "install", "--quiet", "--no-compile", str(wheel), *lowest]
        subprocess.run(command, check=True, timeout=1200)
        assert sum(path.stat().st_size for path in Path(venv).rglob("*") if path.is_file()) < 500e6
        here = {"check": True, "cwd": tmp_path, "env": {}, "timeout": 600, "capture_output": True, "text": True}
        subprocess.run([f"{venv}/bin/python", "-c", USE], **here)
        subprocess.run([f"{venv}/bin/ipcl", "new", "mine"], **here)
        said = subprocess.run([f"{venv}/bin/ipcl", "check", "mine/config.yaml"], **here | {"check": False})
    assert said.returncode == 1 and "pip install 'ipcl-core[networks]'" in said.stdout


# ---- with torch ------------------------------------------------------------------------------------------------------


def list_distributions(*names: str) -> dict:
    """Return name -> distribution of packages in this environment, and of all that they require, by extras too."""
    found, seen, left = {}, set(), list(map(Requirement, names))
    while left:
        one = left.pop()
        name, extras = re.sub(r"[-_.]+", "-", one.name).lower(), frozenset(one.extras) | {""}
        if (name, extras) not in seen:
            seen.add((name, extras))
            found[name] = distribution(name)
            needed = map(Requirement, found[name].requires or [])
            left += [
                other
                for other in needed
                if other.marker is None or any(other.marker.evaluate({"extra": extra}) for extra in extras)
            ]
    return found


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """Return a function that makes an environment with links to some packages, installs others, and returns its folder."""

    def make(*installed: str, linked: tuple[str, ...] = ()) -> Path:
        venv = tmp_path_factory.mktemp("environment")
        subprocess.run([sys.executable, "-m", "venv", venv], check=True, timeout=600)
        place = next(venv.glob("lib/python*/site-packages"))
        for found in list_distributions(*linked).values():
            for top in {Path(file).parts[0] for file in found.files} - {"..", "__pycache__"}:
                if not (place / top).exists():
                    (place / top).symlink_to(Path(found.locate_file(top)))
        command = [f"{venv}/bin/python", "-m", "pip", "install", "--quiet", "--no-compile", *installed]
        subprocess.run(command, check=True, timeout=1200)
        new = [path for path in place.glob("*.dist-info") if not path.is_symlink()]
        tops = {Path(file).parts[0] for path in new for file in Distribution.at(path).files}
        assert not [top for top in tops if (place / top).is_symlink()], (
            "pip wrote into this environment, through a link"
        )
        return venv

    return make


@pytest.fixture(scope="module")
def validators(environment):
    """The interpreter that has them; the lock has not, as they want other versions of what linters need."""
    return f"{environment('mlcroissant==1.1.1', 'roc-validator==0.13.0')}/bin/python"


@pytest.fixture(scope="module")
def folder(tmp_path_factory, photo):
    """A release of two small networks, beside the study that it is of."""
    place, before = tmp_path_factory.mktemp("study"), Path.cwd()
    make_study(place, photo)
    os.chdir(place)
    assert release(["results", "release", "--models", *MODELS]) == 0
    os.chdir(before)
    return place / "release"


USE_NETWORK = """
import sys
import ipcl_core as ipcl
network = ipcl.load_network(sys.argv[1])
brain = ipcl.load_brain(sys.argv[2])
layers = ipcl.extract_activations(network, sys.argv[3])
print(len(ipcl.compare(layers, brain)))
assert not {"snakemake", "ffcv"} & sys.modules.keys()
"""


@pytest.mark.wheel
def test_wheel_with_networks_compares_a_network(wheel, folder, environment, tmp_path):
    venv = environment(f"{wheel}[networks]", linked=("torch", "torchvision"))
    words = [folder / "models/first", folder / f"brain/{BRAIN}/brain.h5", folder.parent / "stimuli"]
    here = {"cwd": tmp_path, "env": {}, "timeout": 900, "capture_output": True, "text": True}
    done = subprocess.run([f"{venv}/bin/python", "-c", USE_NETWORK, *words], **here)
    assert done.returncode == 0 and int(done.stdout) > 10, done.stderr


USE_HUB = """
import sys, torch
network = torch.hub.load(sys.argv[1], "first", source="local")
sys.path.insert(0, sys.argv[1])
import timm, timm_models
same, fresh = (timm.create_model("first", pretrained=pretrained).eval() for pretrained in (True, False))
views = torch.rand(2, 3, 64, 64)
assert torch.equal(network(views), same(views)) and not torch.equal(network(views), fresh(views))
"""


@pytest.mark.wheel
def test_release_by_torch_hub_and_timm_needs_what_its_card_says(folder, environment, tmp_path):
    said = re.search(r"it needs (.*?), and to read", (folder / "README.md").read_text(), re.DOTALL)[1]
    needed = set(re.findall(r"`([\w-]+)`", said)) - {"pytorch"}
    venv = environment(*sorted(needed), "timm", linked=("torch", "torchvision"))
    here = {"cwd": tmp_path, "env": {}, "timeout": 900, "capture_output": True, "text": True}
    done = subprocess.run([f"{venv}/bin/python", "-c", USE_HUB, folder], **here)
    assert done.returncode == 0, done.stderr
    done = subprocess.run([f"{venv}/bin/python", folder / "repeat.py"], **here)
    assert done.returncode == 0 and "2 of 2 numbers" in done.stdout, done.stderr


# ---- snakedeploy -----------------------------------------------------------------------------------------------------


@pytest.mark.wheel
def test_snakedeploy_makes_a_study_that_runs(environment, own, tmp_path):
    """The three commands of docs/elsewhere.md, and a run on one's own brain data, from a clone of what is committed."""
    clone, study = tmp_path / "ipcl", tmp_path / "my_study"
    subprocess.run(["git", "clone", "--quiet", REPOSITORY, clone], check=True)
    venv = environment("snakedeploy==0.17.1")
    text = (REPOSITORY / "docs/elsewhere.md").read_text()
    lines = re.search(r"^    (snakedeploy .*)\n    (sed .*)\n    (cd .*)$", text, re.MULTILINE).groups()
    paths = os.pathsep.join([f"{venv}/bin", str(Path(sys.executable).parent), os.environ["PATH"]])
    here = {"cwd": tmp_path, "env": os.environ | {"PATH": paths, "PYTHONPATH": ""}, "timeout": 900, "text": True}
    for line in lines:
        done = subprocess.run(["sh", "-c", line.replace("/path/to/ipcl", str(clone))], capture_output=True, **here)
        assert done.returncode == 0, done.stderr
    assert "train_model" in done.stdout and (study / "profiles/default/config.yaml").exists()
    pixels = {"source": "untrained", "framework": "Pixels", "architecture": "pixels", "dim": 12, "dataset": None}
    brain = own.make_block().model_dump(mode="json")
    config = {"title": "mine", "brains": {"mine": brain}, "models": {"pixels": pixels}, "figure2_models": ["pixels"]}
    (study / "config/config.yaml").write_text(yaml.safe_dump(config))
    done = subprocess.run(
        ["snakemake", "--cores", "1", "results/rsa/mine/pixels.csv"], capture_output=True, **here | {"cwd": study}
    )
    assert (study / "results/rsa/mine/pixels.csv").exists(), done.stderr[-3000:]


# ---- validators ------------------------------------------------------------------------------------------------------

CROISSANT = """
import json, sys
import mlcroissant
for path in sys.argv[1:]:
    data = mlcroissant.Dataset(jsonld=path)
    print(json.dumps({
        "name": data.metadata.name, "errors": list(data.metadata.issues.errors),
        "rows": {one.id: len(list(data.records(one.id))) for one in data.metadata.record_sets},
    }))
"""


@pytest.mark.wheel
def test_croissant_metadata_are_valid_and_their_records_can_be_read(folder, validators):
    paths = [folder / "data/pictures/croissant.json", folder / f"brain/{BRAIN}/croissant.json"]
    done = subprocess.run([validators, "-c", CROISSANT, *paths], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    pictures, brain = map(json.loads, done.stdout.splitlines())
    assert pictures == {"name": "pictures", "errors": [], "rows": {"train": 12, "val": 6}}
    assert brain == {"name": BRAIN, "errors": [], "rows": {}}


# what the crates say, as https://w3id.org/ro/crate/1.1/context translates it; no page of the web is read
TERMS = [
    "about", "CreateAction", "ControlAction", "CreativeWork", "ComputerLanguage", "Dataset", "HowTo", "HowToStep",
    "OrganizeAction", "SoftwareApplication", "SoftwareSourceCode", "datePublished", "description", "endTime", "hasPart",
    "identifier", "instrument", "license", "mainEntity", "mentions", "name", "object", "position", "programmingLanguage",
    "result", "softwareVersion", "step", "url", "version", "workExample",
]  # fmt: skip
CONTEXTS = {
    "https://w3id.org/ro/crate/1.1/context": {term: f"http://schema.org/{term}" for term in TERMS}
    | {
        "File": "http://schema.org/MediaObject",
        "ComputationalWorkflow": "https://bioschemas.org/ComputationalWorkflow",
        "conformsTo": "http://purl.org/dc/terms/conformsTo",
    },
    "https://w3id.org/ro/terms/workflow-run/context": {"sha256": "https://w3id.org/ro/terms/workflow-run#sha256"},
}
VALIDATE = """
import io, json, sys
import rdflib.parser, requests

pages = {url: json.dumps({"@context": terms}).encode() for url, terms in json.loads(sys.argv[1]).items()}

def open_page(request):
    headers = Message()
    headers["Content-Type"] = "application/ld+json"
    return addinfourl(io.BytesIO(pages[request.full_url]), headers, request.full_url, 200)

def send(self, request, **words):
    answer = requests.Response()
    answer.request, answer.url, answer.status_code = request, request.url, 200
    answer.headers["Content-Type"], answer._content = "application/ld+json", pages[request.url]
    return answer

rdflib.parser._urlopen, requests.adapters.HTTPAdapter.send = open_page, send
from rocrate_validator import models, services

for crate in sys.argv[2:]:
    settings = services.ValidationSettings(
        rocrate_uri=crate, profile_identifier="provenance-run-crate-0.5",
        requirement_severity=models.Severity.REQUIRED, no_cache=True,
    )
    found = services.validate(settings)
    print(json.dumps([found.passed(), sorted(issue.check.identifier for issue in found.get_issues())]))
"""


@pytest.mark.wheel
def test_crates_fulfil_what_the_profile_requires(folder, validators, tmp_path):
    """And one whose workflow has no tools does not."""
    shutil.copytree(folder, tmp_path / "without")
    path = tmp_path / "without/ro-crate-metadata.json"
    crate = json.loads(path.read_text())
    workflow = next(thing for thing in crate["@graph"] if thing["@id"] == "code/Snakefile")
    del workflow["hasPart"]
    path.write_text(json.dumps(crate))
    assert write_crate([str(folder.parent / "results")]) == 0
    crates = [folder, folder.parent / "results", path.parent]
    command = [validators, "-c", VALIDATE, json.dumps(CONTEXTS), *crates]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    whole, results, without = map(json.loads, done.stdout.splitlines())
    assert whole == results == [True, []]
    assert not without[0] and any(name.startswith("provenance-run-crate-0.5") for name in without[1])
