"""The command `ipcl`: its help, a study to start from, and what is found wrong with it before a job runs."""

import itertools
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
import yaml
from conftest import save_picture

from ipcl_core.command import EXTRAS, MODULES, main
from ipcl_core.files import compute_sha256
from ipcl_core.new_study import write_study


@pytest.fixture
def ipcl(tmp_path, monkeypatch, capsys):
    """Return a function that runs the command in an empty folder and returns (exit code, what it says)."""
    monkeypatch.chdir(tmp_path)

    def run(line: str) -> tuple[int, str]:
        try:
            code = main(shlex.split(line))
        except SystemExit as error:
            code = error.code
        return code, "".join(capsys.readouterr())

    return run


@pytest.mark.parametrize("name", MODULES)
def test_help_shows_an_example(ipcl, name):
    code, said = ipcl(f"{name} --help")
    assert code == 0 and f"usage: ipcl {name}" in said and re.search(rf"^ +ipcl {name} \w", said, re.MULTILINE)


def test_help_names_every_command(ipcl):
    code, said = ipcl("--help")
    assert code == 0 and all(re.search(rf"^ +ipcl {name} \w.* {{2,}}\w", said, re.MULTILINE) for name in MODULES)
    assert ipcl("provenence results")[0] == 2


def test_version_is_that_of_the_distribution(ipcl):
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    assert ipcl("--version") == (0, f"ipcl {project['version']}\n")


def test_what_is_not_installed_is_named(ipcl, monkeypatch):
    """As where the package was installed without extras."""
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "ipcl_core.costs", raising=False)
    monkeypatch.setattr("importlib.import_module", lambda *_: pytest.fail("not this one"))
    code, said = ipcl("costs config.yaml")
    assert code == 2 and "pip install 'ipcl-core[networks]'" in said and EXTRAS["torch"] == "networks"


def test_reader_may_stop_reading(tmp_path):
    """As `| head` does."""
    write_study(tmp_path / "mine")
    for command in ("costs mine/config.yaml", "new --help"):
        line = f"{sys.executable} -m ipcl_core {command} | true"
        found = subprocess.run(line, shell=True, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert found.stderr == ""


def fill(folder: Path, photo) -> None:
    """Put stimuli and patterns where the configuration of `ipcl new` says."""
    study = yaml.safe_load((folder / "config.yaml").read_text())
    brain, rng = study["brains"]["mine"], np.random.default_rng(0)
    Path(brain["stimuli"]).mkdir()
    names = [f"{name}.png" for name in ("mug", "bike", "apple", "chair")]
    for i, name in enumerate(names):
        photo.crop((50 * i, 60 * i, 50 * i + 60, 60 * i + 60)).save(Path(brain["stimuli"]) / name)
    Path(brain["order"]).write_text("\n".join(names))
    Path(brain["files"]).parent.mkdir()
    for participant in brain["participants"]:
        for region, run in itertools.product(brain["regions"], brain["runs"]):
            path = brain["files"].format(participant=participant, region=region, run=run)
            np.save(path, rng.standard_normal((4, 20)))


def test_new_study_is_checked_up_to_the_missing_files_and_then_whole(ipcl, tmp_path, photo):
    assert ipcl("new mine")[0] == 0
    code, said = ipcl("check mine/config.yaml")
    assert code == 1 and said.endswith("1 block to be put right\n") and "models.mine: ok" in said
    lacking = re.findall(r"^brains.mine.(\w+): set it to .* \(found: (.*), which is not there\)$", said, re.MULTILINE)
    assert lacking[:2] == [("stimuli", "mine/stimuli"), ("order", "mine/order.txt")] and len(lacking) == 2 + 3
    assert "\nbrains.mine.files: and 29 more\n" in said
    fill(tmp_path / "mine", photo)
    code, said = ipcl("check mine/config.yaml")
    assert (code, said.splitlines()[0]) == (0, "brains.mine: ok: 4 stimuli, EarlyV, IT")
    code, said = ipcl("new mine")
    assert code == 2 and "mine/config.yaml is there already" in said
    np.save("mine/patterns/sub-03_IT_run-2.npy", np.full((4, 20), np.nan))
    config = Path("mine/config.yaml")
    config.write_text(config.read_text().replace("my_networks:build", "my_networks:built"))
    code, said = ipcl("check mine/config.yaml")
    assert code == 1 and "sub-03_IT_{run}.npy: region IT, participant sub-03" in said
    assert "has no function built; did you mean build?" in said and said.endswith("2 blocks to be put right\n")


def test_folds_are_checked_before_a_job_runs(ipcl, tmp_path, photo):
    assert ipcl("new mine --brain")[0] == 0
    fill(tmp_path / "mine", photo)
    study = yaml.safe_load(Path("mine/config.yaml").read_text())
    study["brains"]["mine"]["folds"] = "mine/folds.csv"
    Path("mine/config.yaml").write_text(yaml.safe_dump(study))
    Path("mine/folds.csv").write_text("stimulus,fold\nmug,a\nbike,a\napple,b\nchain,b\n")
    code, said = ipcl("check mine/config.yaml")
    assert code == 1 and "mine/folds.csv: 'chain' is none of the 4 stimuli, such as 01_mug" in said


def test_numbers_and_judgments_are_compared_with_the_stimuli_before_a_job_runs(ipcl, tmp_path, photo):
    """What would be found behind all trainings: parts of the stimuli that are too small, answers of other stimuli."""
    assert ipcl("new mine --brain")[0] == 0
    fill(tmp_path / "mine", photo)
    Path("encoding.yaml").write_text("encoding: {n_folds: 3}\n")
    code, said = ipcl("check mine/config.yaml encoding.yaml")
    assert code == 1 and "encoding.n_folds: 3 fold(s) of 4 stimuli: one has 1 to learn from or to be judged on" in said
    Path("judged.yaml").write_text("brains: {mine: {triplets: mine/triplets.txt}}\n")
    Path("mine/triplets.txt").write_text("0 1 2\n1 2 7\n")
    code, said = ipcl("check mine/config.yaml judged.yaml")
    assert code == 1 and "mine/triplets.txt: " in said


def test_what_stops_encoding_is_found_before_a_job_runs(ipcl, tmp_path, photo):
    """Which waits for every network: fewer stimuli than the folds need, and too few voxels that are more than noise."""
    assert ipcl("new mine --brain")[0] == 0
    fill(tmp_path / "mine", photo)
    study = yaml.safe_load(Path("mine/config.yaml").read_text()) | {"encoding": {}}
    Path("mine/config.yaml").write_text(yaml.safe_dump(study))
    code, said = ipcl("check mine/config.yaml")
    assert code == 1 and "encoding.n_folds: 5 fold(s) of 4 stimuli: one has 0 to learn from or to be judged on" in said
    names = [f"{i:02d}.png" for i in range(20)]
    for i, name in enumerate(names):
        photo.crop((10 * i, 10 * i, 10 * i + 60, 10 * i + 60)).save(Path("mine/stimuli") / name)
    Path("mine/order.txt").write_text("\n".join(names))
    rng, places = np.random.default_rng(0), sorted(Path("mine/patterns").iterdir())
    signal = {region: rng.standard_normal((20, 20)) for region in ("EarlyV", "IT")}
    for path in places:
        np.save(path, signal[path.name.split("_")[1]] + 0.3 * rng.standard_normal((20, 20)))
    code, said = ipcl("check mine/config.yaml")
    assert (code, said.splitlines()[0]) == (0, "brains.mine: ok: 20 stimuli, EarlyV, IT")
    for path in places[2:4]:
        np.save(path, rng.standard_normal((20, 20)))
    code, said = ipcl("check mine/config.yaml")
    assert code == 1 and re.search(
        r"region IT, participant sub-01: of 20 voxels \d can be used, and 3 are needed", said
    )


@pytest.mark.parametrize(("flag", "brain", "own"), [("--brain", "own", False), ("--model", "kriegeskorte_2008", True)])
def test_new_study_of_one_thing(ipcl, flag, brain, own):
    assert ipcl(f"new folder/study {flag}")[0] == 0
    study = yaml.safe_load(Path("folder/study/config.yaml").read_text())
    assert [block["source"] for block in study["brains"].values()] == [brain]
    assert ("mine" in study["models"]) == Path("folder/study/my_networks.py").exists() == own
    assert study["pathvars"]["results"] == "folder/study/results"


def test_commands_for_a_folder_with_a_space(ipcl):
    (line,) = re.findall(r"^  ipcl (check .*)$", ipcl("new 'my study' --brain")[1], re.MULTILINE)
    assert f"#   ipcl {line}\n" in Path("my study/config.yaml").read_text()
    code, said = ipcl(line)
    assert code == 1 and "brains.mine.stimuli: set it to" in said


@pytest.mark.parametrize("text", ["title: [", "- a", "title: x", "models: {a: {dim: 1}}\nmodels: {}", None])
def test_configuration_that_cannot_be_used(ipcl, text):
    if text is not None:
        Path("study.yaml").write_text(text)
    code, said = ipcl("check study.yaml")
    assert code == 2 and "cannot be" in said


def test_simulation_overwrites_nothing(ipcl):
    """The names are those under which `ipcl new` looks for one's own data."""
    Path("mine").mkdir()
    Path("mine/order.txt").write_text("my own")
    code, said = ipcl("simulate mine")
    assert code == 2 and said == "mine/order.txt is there already; give another folder, or remove it\n"
    assert [path.name for path in Path("mine").iterdir()] == ["order.txt"]
    code, said = ipcl("simulate mine/order.txt")
    assert code == 2 and "mine/order.txt" in said


def test_folder_that_no_configuration_can_name(ipcl):
    code, said = ipcl("new a$b")
    assert code == 2 and "pathvars.results" in said and not Path("a$b").exists()


def test_images_are_looked_at(ipcl, image_folder):
    """One folder holds both splits."""
    assert ipcl("new mine --model")[0] == 0
    data = {"crops": {"train": str(image_folder), "val": str(image_folder.parent / "nowhere")}}
    Path("more.yaml").write_text(yaml.safe_dump({"datasets": data, "models": {"pixels": {"dataset": "crops"}}}))
    code, said = ipcl("check mine/config.yaml more.yaml")
    assert code == 1 and "datasets.crops.val: set it to a folder" in said


def test_numbers_are_compared_with_the_images_before_they_are_converted(ipcl, image_folder, tmp_path, warnings_of):
    """A recipe, votes and layers that would end the study hours later: behind the conversion, or behind embeddings."""
    shutil.copytree(image_folder, tmp_path / "train", ignore=shutil.ignore_patterns("broken.png"))
    for name in "abc":
        save_picture(tmp_path / "val" / name / "0.png")
    crops = {"n_shards": 1, "train": "train", "val": "val"}
    recipe = {
        "objective": {"name": "ipcl", "queue_size": 8192},
        "epochs": 1,
        "batch_size": 8,
        "optimizer": {"name": "sgd", "lr": 0.03},
        "schedule": {"name": "one_cycle"},
    }
    trained = {"framework": "IPCL", "architecture": "alexnet_gn", "dim": 128, "dataset": "crops", "recipe": "ours"}
    more = {
        "datasets": {"crops": crops},
        "knn": {"k": 7},
        "recipes": {"ours": recipe},
        "models": {
            "mine": {"unavailable": "it is not asked for"},
            "trained": trained,
            "pixels": {"dataset": "crops", "embedding_layer": "output"},
        },
        "figure2_models": ["pixels"],
    }

    def check() -> tuple[int, list[str]]:
        Path("more.yaml").write_text(yaml.safe_dump(more))
        code, said = ipcl("check mine/config.yaml more.yaml")
        return code, said.splitlines()

    assert ipcl("new mine --model")[0] == 0
    code, lines = check()
    assert (
        code == 0 and "datasets.crops: ok: 23 training images of 3 classes" in lines and "models.trained: ok" in lines
    )
    assert warnings_of() == []
    crops["storage"] = {"shortest_side": 128}
    check()
    assert warnings_of() == [
        "datasets.crops.storage.shortest_side: larger images are stored with 128 pixels, and enlarged to 224 for pixels, "
        "trained; store them with as many"
    ]
    recipe["batch_size"], more["models"]["pixels"]["embedding_layer"] = 24, "fc9"
    code, lines = check()
    assert "models.trained: recipes.ours.batch_size: 24 is more than the 23 training images of crops" in lines
    assert lines[-1] == "2 blocks to be put right" and any(
        "models.pixels.embedding_layer: no layer" in x for x in lines
    )
    more["knn"]["k"], recipe["batch_size"], more["models"]["pixels"]["embedding_layer"] = 24, 8, "output"
    code, lines = check()
    assert code == 1 and "models.pixels: knn.k: 24 is more than the 23 training images of crops" in lines
    trained |= {"dataset": "emoji", "layers": ["conv_blok_1"]}
    more["datasets"]["emoji"] = {"source": "twemoji"}
    assert any("models.trained.layers: no layer 'conv_blok_1'" in line for line in check()[1])
    trained["layers"] = ["conv_block_1"]
    assert "models.trained: layers are ok, the recipe is not tried: its images are not here" in check()[1]
    trained["dataset"] = "crops"
    more["accuracy"] = False  # then nobody votes; the images are needed to train on
    code, lines = check()
    assert (
        code == 0 and "datasets.crops: ok: 23 training images of 3 classes" in lines and "models.trained: ok" in lines
    )


def test_weights_on_this_machine_are_read(ipcl, tmp_path):
    """What has no address is converted as the workflow does."""
    network = torchvision.models.resnet18(num_classes=10)
    torch.save(network.state_dict(), tmp_path / "theirs.pt")
    weights = {"url": "theirs.pt", "format": "torchvision", "origin": "proxy", "hash": None}
    theirs = {"source": "fetched", "framework": "T", "architecture": "resnet18", "dim": 10, "dataset": None}
    theirs["weights"] = weights
    more = {"models": {"mine": {"unavailable": "it is not asked for"}, "theirs": theirs}, "figure2_models": ["theirs"]}

    def check() -> list[str]:
        Path("more.yaml").write_text(yaml.safe_dump(more))
        return ipcl("check mine/config.yaml more.yaml")[1].splitlines()

    assert ipcl("new mine --model")[0] == 0
    sha256 = compute_sha256("theirs.pt")
    without = f"models.theirs.weights.hash: a file without a hash is not used; this one's is sha256:{sha256}"
    assert without in check()
    weights["hash"] = f"sha256:{sha256}"
    assert "models.theirs: ok" in check()
    theirs["layers"] = ["layer9"]
    assert any("models.theirs.layers: no layer 'layer9'" in line for line in check())
    theirs |= {"layers": "all", "architecture": "resnet50"}
    assert any(line.startswith("models.theirs: theirs.pt: does not fit resnet50: size mismatch") for line in check())
    weights["url"], weights["hash"] = "https://host/theirs.pt", None
    assert "models.theirs: not tried: it is downloaded" in check()
