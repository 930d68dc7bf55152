"""Releases: what they hold, that they give the study's numbers again, and what is refused."""

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import get_args

import h5py
import numpy as np
import pytest
import torch
import yaml
from release_study import BRAIN, MODELS, make_study

from ipcl_core.config.models import Origin
from ipcl_core.files import compute_sha256, read_csv, read_json, write_json
from ipcl_core.networks.layers import record_layers
from ipcl_core.release.make import main


@pytest.fixture(scope="module")
def made(tmp_path_factory, photo):
    """The study, and a release of its two networks."""
    folder, before = tmp_path_factory.mktemp("made"), Path.cwd()
    make_study(folder, photo)
    os.chdir(folder)
    assert main(["results", "release", "--models", *MODELS]) == 0
    os.chdir(before)
    return folder


@pytest.fixture
def study(made, tmp_path, monkeypatch):
    """The working directory: a copy of the study, without the release."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True, ignore=shutil.ignore_patterns("release"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def alone(made, tmp_path):
    """The release in another place."""
    return shutil.copytree(made / "release", tmp_path / "elsewhere")


def test_activations_are_the_studys_to_the_bit(made, alone):
    pictures = sorted(map(str, (made / "stimuli").glob("*.png")))
    for model in MODELS:
        network = torch.hub.load(str(alone), model, source="local")
        views = torch.hub.load(str(alone), "read_pictures", model, *pictures, source="local")
        with record_layers(network, shape=(3, 64, 64)) as compute, torch.no_grad():
            found = compute(views)
        with h5py.File(made / f"results/activations/{BRAIN}/{model}.h5") as file:
            assert list(found) == list(file.attrs["layers"])
            for layer, values in found.items():
                np.testing.assert_array_equal(values.numpy(), file[f"layers/{layer}"][:])


def test_hub_needs_what_it_says_and_takes_the_code_of_the_folder(alone):
    absent = [
        "cv2", "ffcv", "matplotlib", "numba", "PIL", "pyarrow", "scipy", "sklearn", "snakemake", "torchvision", "tqdm",
    ]  # fmt: skip
    code = f"""
import sys
sys.modules.update(dict.fromkeys({absent}))
import torch
network = torch.hub.load("elsewhere", "first", source="local")
import ipcl_core
print(type(network).__name__, network.training, ipcl_core.__file__)
"""
    here = {
        "cwd": alone.parent,
        "env": {"PATH": os.environ["PATH"]},
        "capture_output": True,
        "text": True,
        "timeout": 300,
    }
    done = subprocess.run([sys.executable, "-c", code], **here)
    assert done.stdout.split() == ["AlexNet", "False", str(alone / "code/ipcl_core/__init__.py")], done.stderr


def test_numbers_of_table1_are_repeated_by_the_folder_alone(alone):
    def repeat(*words: str) -> tuple[int, list[str]]:
        here = {"cwd": alone.parent, "env": {"PATH": os.environ["PATH"]}, "capture_output": True, "text": True}
        done = subprocess.run([sys.executable, "elsewhere/repeat.py", *words], **here)
        assert not done.stderr
        return done.returncode, done.stdout.splitlines()

    table = read_csv(alone / "table1.csv").set_index("model")
    code, said = repeat()
    assert code == 0 and said[-1] == "2 of 2 numbers are those of Table 1"
    assert said[0].startswith(
        f"first, {BRAIN}, IT: r {table.at['first', 'IT_r']} at {table.at['first', 'IT_layer']}: as "
    )
    text = (alone / "table1.csv").read_text().replace(str(table.at["second", "IT_r"]), "0.9")
    (alone / "table1.csv").write_text(text)
    code, said = repeat("--model", "second")
    assert code == 1 and "Table 1 has 0.9 at" in said[0] and said[-1].startswith("0 of 1")
    shutil.rmtree(alone / "brain")
    assert repeat() == (2, ["no number can be computed again: this folder holds no brain data, or no such network"])


def test_cards_say_what_the_files_say(made, alone):
    for path in ("README.md", "models/first/README.md"):
        _, header, body = (alone / path).read_text().split("---\n", 2)
        described = yaml.safe_load(header)
        assert described["license"] == "mit" and described["model-index"][0]["name"] == "first"
        assert "FOLDER" in body and "not known" not in header
    metrics = [result["metrics"][0] for result in described["model-index"][0]["results"]]
    fits = read_csv(made / f"results/statistics/{BRAIN}/first.csv")
    best = fits.loc[fits["r"].idxmax()]
    assert metrics[0] == {"type": "accuracy", "name": "top 1, %", "value": 41.25}
    assert metrics[1]["value"] == round(best["r"], 4) and best["layer"] in metrics[1]["name"]
    record = read_json(made / "results/provenance/models/first/weights.safetensors.json")
    assert f"| {BRAIN} | IT | {best['layer']} | {best['r']:.4g} | {best['both_low']:.4g} |" in body
    for said in (f"| commit of the code | begun, then {record['commit']} |", "| hours | 1.5, in 1 processes |", "| seed | 0 |",
                 "    name: ipcl\n    n_views: 3\n", "12 images", "source is not in its records. licence: not known",
                 "Kriegeskorte et al. 2008"):  # fmt: skip
        assert said in body
    assert "None: these are initial weights." in (alone / "models/second/README.md").read_text()


def test_every_file_is_listed_and_nothing_tells_of_the_machine(made, alone):
    lines = dict(reversed(line.split("  ")) for line in (alone / "SHA256SUMS").read_text().splitlines())
    assert lines == {
        str(path.relative_to(alone)): compute_sha256(path)
        for path in alone.rglob("*")
        if path.is_file() and path.name != "SHA256SUMS"
    }
    for name in (f"rsm/{BRAIN}/first.h5", "models/first/weights.safetensors", f"brain/{BRAIN}/brain.h5", "table1.csv"):
        assert lines[name] == compute_sha256(made / "results" / name)
    assert {"hubconf.py", "LICENSE", "CITATION.cff", "code/Snakefile", "code/ipcl_core/files.py"} <= lines.keys()
    host = read_json(made / "results/provenance/table1.csv.json")["hardware"]["host"]
    text = (alone / "ro-crate-metadata.json").read_text()
    assert str(made) not in text and f'"host": "{host}"' not in text and "source/betas.mat" in text
    assert not [name for name in lines if "other" in name and not name.startswith("code/")]


def test_crate_of_the_release_has_a_step_for_each_job(alone):
    graph = {thing["@id"]: thing for thing in read_json(alone / "ro-crate-metadata.json")["@graph"]}
    workflow = graph[graph["./"]["mainEntity"]["@id"]]
    assert workflow["@id"] == "code/Snakefile"
    tools = {graph[step["@id"]]["workExample"]["@id"] for step in workflow["step"]}
    assert tools == {part["@id"] for part in workflow["hasPart"]}
    runs = [thing for thing in graph.values() if thing["@type"] == "ControlAction"]
    jobs = {graph[run["object"]["@id"]]["instrument"]["@id"] for run in runs}
    assert jobs == tools and {run["@id"] for run in runs} == {run["@id"] for run in graph["#run"]["object"]}
    assert "#job/rsa/objects/other.csv" not in graph and "#job/rsa/objects/first.csv" in graph


def test_images_are_described_and_not_given(alone):
    described = read_json(alone / "data/pictures/croissant.json")
    assert [file["sha256"] for file in described["distribution"]] == [
        compute_sha256(alone / f"data/pictures/{split}.csv") for split in ("train", "val")
    ]
    assert "license" not in described and described["citeAs"] == "not known"
    assert read_json(alone / f"brain/{BRAIN}/croissant.json")["license"].endswith("MIT")
    assert not list(alone.rglob("*.beton"))


# ---- what is refused -------------------------------------------------------------------------------------------------


def refuse(capsys, *models: str) -> str:
    assert main(["results", "refused", "--models", *models]) == 2
    assert not Path("refused").exists()
    return capsys.readouterr().err


def test_weights_of_others_and_unknown_networks(study, capsys):
    said = refuse(capsys, "first", "other", "third")
    assert "other: its weights are others' (authors' weights), whose licence is not this study's to give" in said
    assert "third: Table 1 has no such row, but first, second, other" in said and "first: " not in said
    assert refuse(capsys).strip().endswith("were trained here, or not at all: first, second")


@pytest.mark.parametrize("origin", sorted({*get_args(Origin)} - {"trained here", "untrained", "unavailable"}))
def test_weights_of_every_other_origin(study, capsys, origin):
    path = Path("results/table1.csv")
    path.write_text(path.read_text().replace("authors' weights", origin))
    assert f"other: its weights are others' ({origin}), whose licence" in refuse(capsys, "other")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (f"rsm/{BRAIN}/first.h5", f"rsm/{BRAIN}/first.h5 is missing (make_rsms made it"),
        (f"statistics/{BRAIN}/first.csv", f"statistics/{BRAIN}/first.csv is missing"),
        ("table1.csv", "the study is not finished: there is no table1.csv"),
    ],
)
def test_unfinished(study, capsys, name, said):
    Path("results", name).unlink()
    found = refuse(capsys, "first", "second")
    assert said in found and (name == "table1.csv" or "second: " not in found)


def test_what_was_never_made(study, capsys):
    for name in ("", "provenance/"):
        for path in Path(f"results/{name}statistics/{BRAIN}").glob("first.*"):
            path.unlink()
    assert f"first: its provenance is broken or it is not finished: statistics/{BRAIN}/first.csv is missing" in refuse(
        capsys, "first"
    )


def test_altered_weights(study, capsys):
    with open("results/models/first/weights.safetensors", "ab") as file:
        file.write(b"0")
    assert "models/first/weights.safetensors is altered (its SHA-256 is" in refuse(capsys, "first")


def test_other_code(study, capsys):
    path = Path("results/provenance/models/first/weights.safetensors.json")
    record = read_json(path)
    record["code"] |= {"ipcl_core/files.py": 64 * "0"}
    write_json(record, path)
    said = refuse(capsys, "first", "second")
    assert (
        "first: was made by other code than today's (3 artifacts, among them models/first/weights.safetensors" in said
    )
    assert f"by ipcl_core/files.py of commit {record['commit']}" in said and "second: " not in said


def test_folder_that_is_there_and_unknown_brain(study, capsys):
    assert main(["results", ".", "--models", "first"]) == 2
    assert main(["results", "new", "--models", "first", "--share", "nothing"]) == 2
    said = capsys.readouterr().err
    assert "is there already" in said and f"no brain data set nothing in the study, but {BRAIN}" in said


def test_brain_data_without_a_licence_are_given_only_where_it_is_said(study, capsys):
    path = Path(f"results/provenance/brain/{BRAIN}/brain.h5.json")
    write_json(read_json(path) | {"rule": "import_own_brain"}, path)
    assert main(["results", "without", "--models", "first", "--license", "cc-by-4.0"]) == 0
    assert main(["results", "with one's", "--models", "first", "--share", BRAIN]) == 0
    said = capsys.readouterr().out
    assert f"no licence is known that allows it: brain data {BRAIN}" in said
    assert "python " + shlex.quote("with one's/repeat.py") + " computes" in said and "without/repeat.py" not in said
    assert not Path("without/brain").exists() and Path(f"with one's/brain/{BRAIN}/brain.h5").exists()
    said = Path("without/README.md").read_text()
    assert "license: cc-by-4.0\n" in said and "no number can be repeated" in said
    assert json.loads(Path("without/ro-crate-metadata.json").read_text())
