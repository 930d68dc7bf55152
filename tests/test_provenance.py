"""Records of jobs, and what the command says of whole, altered, stale, missing and unrecorded artifacts."""

import ast
import hashlib
import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from recorded_study import SCRIPTS, make_study, run_job

from ipcl_core import crate, records
from ipcl_core.files import compute_sha256, read_json, write_json
from ipcl_core.provenance import main
from ipcl_core.records import describe_run, find_commit, record_job


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The study, made once."""
    folder, before = tmp_path_factory.mktemp("made"), Path.cwd()
    os.chdir(folder)
    make_study()
    os.chdir(before)
    return folder


@pytest.fixture
def study(made, tmp_path, monkeypatch):
    """The working directory: a copy of the study."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def check(study, capsys):
    """Return a function that runs the command and returns (exit code, what it says)."""

    def check(*arguments: str) -> tuple[int, str]:
        code = main(list(arguments) or ["results/table1.csv"])
        return code, "".join(capsys.readouterr())

    return check


# ---- records ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_every_script_ends_in_a_record(script):
    last = ast.parse(script.read_text()).body[-1]
    if isinstance(last, ast.If):  # if __name__ == "__main__"
        last = last.body[-1]
    assert ast.unparse(last).startswith("record_job(snakemake")


def test_record_by_hand(study):
    record = read_json("results/provenance/models/first/weights.safetensors.json")
    assert (record["rule"], record["wildcards"], record["threads"]) == ("train_model", {"model": "first"}, 2)
    assert record["params"] == {"model": {"seed": 7}} and record["kept"] is True
    assert record["inputs"] == {"data/pictures/train.beton": hashlib.sha256(b"beton").hexdigest()}
    made = record["outputs"]["models/first/weights.safetensors"]
    assert made["sha256"] == hashlib.sha256(b"weights first").hexdigest() and made["size"] == len("weights first")
    assert record["versions"]["python"].startswith("3.") and {"numpy", "torch"} <= record["versions"].keys()
    assert record["commit"] == find_commit() and {"host", "processor", "gpu"} <= record["hardware"].keys()


@pytest.mark.parametrize(
    ("text", "again", "same"), [("weights first", True, True), ("weights first", False, False), ("x", True, False)]
)
def test_record_of_bytes_that_were_made_before(study, text, again, same):
    """Time, code and machine are those of the job that made them; what was read is what was read now."""
    path, before = "results/provenance/models/first/weights.safetensors.json", "2020-01-01T00:00:00+00:00"
    write_json(read_json(path) | {"time": before, "code": {"a.py": "0"}, "commit": "f", "seconds": 99.0}, path)
    Path("results/data/moved.beton").write_text("beton")
    run_job("train_model", ["results/data/moved.beton"], {"models/first/weights.safetensors": text}, again=again)
    found = read_json(path)
    kept = [found["time"] == before, found["code"] == {"a.py": "0"}, found["commit"] == "f", found["seconds"] == 99.0]
    assert kept == [same] * 4 and found["inputs"] == {"data/moved.beton": hashlib.sha256(b"beton").hexdigest()}
    output = found["outputs"]["models/first/weights.safetensors"]
    assert output["mtime_ns"] == Path("results/models/first/weights.safetensors").stat().st_mtime_ns
    assert output["sha256"] == hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize("content", [None, "{", "[]", '{"outputs": {}}'])
def test_lost_or_damaged_record_of_bytes_that_were_made_before(study, content):
    path = Path("results/provenance/models/first/weights.safetensors.json")
    path.unlink() if content is None else path.write_text(content)
    run_job("train_model", [], {"models/first/weights.safetensors": "weights first"}, again=True)
    assert read_json(path)["commit"] == find_commit()


def test_outputs_of_a_job_share_its_record(study):
    record = read_json("results/provenance/data/pictures/train.beton.json")
    assert list(record["outputs"]) == ["data/pictures/train.beton", "data/pictures/train.json"]
    listing = f"{hashlib.sha256(b'picture').hexdigest()}  a.png\n"
    assert list(record["inputs"].values()) == [hashlib.sha256(listing.encode()).hexdigest()]


def test_results_elsewhere_are_recorded_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "out/demo").mkdir(parents=True)
    (tmp_path / "out/demo/a.csv").write_text("a")
    job = SimpleNamespace(rule="table1", wildcards={}, threads=1, params={}, input=[], output=["out/demo/a.csv"])
    job.scriptdir = SCRIPTS[0].parent
    record_job(SimpleNamespace(**vars(job), config={"pathvars": {"results": "out/demo"}}))
    assert list(read_json("out/demo/provenance/a.csv.json")["outputs"]) == ["a.csv"]


def test_records_of_what_a_storage_plugin_keeps_stand_in_the_study(tmp_path, monkeypatch):
    """Named as in the results; a folder of the same name further up, and the user's own file, are none of them."""
    monkeypatch.chdir(tmp_path)
    place = Path(".snakemake/storage/fs/data/results/bucket/results")
    for name in ("rsm/b/m.h5", "rsa/b/m.csv"):
        (place / name).parent.mkdir(parents=True)
        (place / name).write_text("a")
    Path("own.csv").write_text("b")
    job = SimpleNamespace(rule="fit_layers", wildcards={}, threads=1, params={}, config={}, scriptdir=SCRIPTS[0].parent)
    record_job(SimpleNamespace(**vars(job), input=[place / "rsm/b/m.h5", "own.csv"], output=[place / "rsa/b/m.csv"]))
    record = read_json("results/provenance/rsa/b/m.csv.json")
    assert list(record["outputs"]) == ["rsa/b/m.csv"]
    assert list(record["inputs"]) == ["rsm/b/m.h5", str(tmp_path / "own.csv")]


def test_large_input_is_not_hashed_again_while_its_stamp_holds(study, monkeypatch):
    monkeypatch.setattr(records, "LARGE_BYTES", 1)
    hashed, beton = [], Path("results/data/pictures/train.beton")
    monkeypatch.setattr(records, "compute_sha256", lambda path: hashed.append(str(path)) or compute_sha256(path))
    stamp = read_json("results/provenance/data/pictures/train.beton.json")["outputs"]["data/pictures/train.beton"]
    os.utime(beton, ns=(stamp["mtime_ns"], stamp["mtime_ns"]))
    run_job("train_model", [beton], {"models/first/weights.safetensors": "weights"}, model="first")
    assert [file for file in hashed if not file.endswith(".py")] == ["results/models/first/weights.safetensors"]
    os.utime(beton)
    run_job("train_model", [beton], {"models/first/weights.safetensors": "weights"}, model="first")
    assert str(beton) in hashed


def test_description_of_a_run():
    found = describe_run()
    assert list(found) == ["time", "commit", "versions", "hardware"] and found["time"].endswith("+00:00")


# ---- the command -----------------------------------------------------------------------------------------------------


def test_whole_study_passes(check):
    code, said = check()
    assert code == 0, said
    assert "first, objects: 10 artifacts and sources, as made" in said and "second, objects: 10 " in said
    assert said.endswith("17 artifacts and sources: 13 whole, 2 not kept, 2 source\n")


def test_chain_from_figure_to_source(check, made):
    code, said = check("results/table1.csv", "--model", "first", "--region", "IT")
    assert code == 0, said
    assert said.startswith("first, objects: IT_r 0.25, IT_layer conv5\nfigures/objects/figure2.svg   [whole]\n")
    links = [line.split("<- ")[1].split("   [")[0] for line in said.splitlines() if "<- " in line]
    assert links == [
        "table1.csv",
        "rsa/objects/first.csv",
        "rsm/objects/first.h5",
        "activations/objects/first.h5",
        "models/first/weights.safetensors",
        "data/pictures/train.beton",
        f"{made}/source",
        "brain/objects/brain.h5",
        f"{made}/betas.mat",
    ]
    assert 'model: {"seed": 7}' in said and "second" not in said and f"commit {find_commit()}" in said
    assert (
        "accuracy" not in said and "accuracy/pictures/first.csv" in check("results/table1.csv", "--model", "first")[1]
    )


ARTIFACTS = [
    "table1.csv",
    "figures/objects/figure2.svg",
    "rsa/objects/first.csv",
    "rsm/objects/second.h5",
    "models/first/weights.safetensors",
    "data/pictures/train.beton",
    "data/pictures/train.json",
    "brain/objects/brain.h5",
    "accuracy/pictures/second.csv",
]


@pytest.mark.parametrize("name", ARTIFACTS)
def test_changed_byte_is_found(check, name):
    path = Path("results") / name
    content, stat = bytearray(path.read_bytes()), path.stat()
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # size and time say nothing
    code, said = check()
    assert code == 1
    assert [line for line in said.splitlines() if line.startswith("altered: ")] == [
        next(line for line in said.splitlines() if line.startswith(f"altered: {name}: its SHA-256 is "))
    ]
    assert "1 altered" in said and "stale" not in said


@pytest.mark.parametrize("name", ARTIFACTS[1:])
def test_lost_artifact_is_named(check, name):
    Path("results", name).unlink()
    code, said = check()
    assert code == 1 and f"missing: {name}: " in said and "1 missing" in said


def test_what_was_made_from_another_input_is_stale(check):
    weights = "models/first/weights.safetensors"
    run_job("train_model", ["results/data/pictures/train.beton"], {weights: "longer training"}, model="first")
    code, said = check()
    assert code == 1 and f"stale: activations/objects/first.h5: made from {weights} with SHA-256" in said
    assert "stale: accuracy/pictures/first.csv: " in said and "2 stale" in said and "altered" not in said
    assert check("results/table1.csv", "--model", "second")[0] == 0
    assert check("results/table1.csv", "--model", "first")[0] == 1


def test_same_bytes_made_again_are_not_stale(check):
    inputs = ["results/data/pictures/train.beton"]
    run_job("train_model", inputs, {"models/first/weights.safetensors": "weights first"}, model="first")
    assert check()[0] == 0


def test_changed_source_makes_stale(check, study, made):
    source = made / "betas.mat"
    source.write_text("others")
    code, said = check()
    source.write_text("betas")
    assert code == 1 and f"stale: brain/objects/brain.h5: made from {source} with SHA-256" in said


def test_source_on_another_machine_is_no_fault(check, made):
    (made / "betas.mat").rename(made / "away.mat")
    code, said = check()
    (made / "away.mat").rename(made / "betas.mat")
    assert code == 0 and "1 elsewhere" in said


def test_lost_record_is_named(check):
    Path("results/provenance/rsm/objects/first.h5.json").unlink()
    code, said = check()
    assert code == 1 and "unrecorded: rsm/objects/first.h5: no record says how it was made" in said


def test_newest_record_of_an_artifact_counts(check):
    """An older version of the workflow made the fits in a job whose first output had another name."""
    record = read_json("results/provenance/rsa/objects/first.csv.json")
    record["outputs"]["rsa/objects/first.csv"]["sha256"] = 64 * "0"
    write_json(record | {"time": "2020-01-01T00:00:00+00:00"}, "results/provenance/zzz.json")
    assert check()[0] == 0
    write_json(record | {"time": "2999-01-01T00:00:00+00:00"}, "results/provenance/aaa.json")
    assert "altered: rsa/objects/first.csv" in check()[1]


@pytest.mark.parametrize("text", ["", "{", "[]", "{}"])
def test_torn_record_is_named(check, text):
    Path("results/provenance/rsm/objects/first.h5.json").write_text(text)
    code, said = check()
    assert code == 2 and "rsm/objects/first.h5.json: no record of a job" in said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["results/table1.csv", "--model", "third"],
            "no row for model third, brain None. There are models: first, second",
        ),
        (["results/table1.csv", "--region", "V4"], "no region 'V4' in the table; there are IT"),
        (["results/rsm/objects/first.h5", "--model", "first"], "choose cells of table1.csv; leave them out"),
        (["/proc/version"], "neither it nor a folder above it holds records"),
    ],
)
def test_wrong_question_is_explained(check, arguments, message):
    code, said = check(*arguments)
    assert code == 2 and message in said


def test_any_artifact_can_be_asked_for(check):
    code, said = check("results/rsm/objects/first.h5")
    assert code == 0 and said.startswith("rsm/objects/first.h5   [whole]\n") and "table1" not in said
    code, said = check("results/rsm/objects/nothing.h5")
    assert code == 1 and "missing: rsm/objects/nothing.h5: it is not there" in said


# ---- the crate -------------------------------------------------------------------------------------------------------


def test_crate_holds_every_artifact_and_job(study, made, capsys):
    """Everything that is referred to is described; hashes are those of the files."""
    assert crate.main(["results"]) == 0
    described = read_json("results/ro-crate-metadata.json")
    things = {thing["@id"]: thing for thing in described["@graph"]}
    assert len(things) == len(described["@graph"])
    assert things["ro-crate-metadata.json"]["about"] == {"@id": "./"}
    parts = {part["@id"] for part in things["./"]["hasPart"]}
    for name in ("table1.csv", "models/first/weights.safetensors", "figures/objects/figure2.svg"):
        assert name in parts and things[name]["sha256"] == compute_sha256(f"results/{name}")
    assert things["#activations/objects/first.h5"]["@type"] == "CreativeWork", "not kept"
    assert things[(made / "betas.mat").as_uri()]["sha256"] == hashlib.sha256(b"betas").hexdigest()
    assert things[(made / "source").as_uri() + "/"]["@type"] == "Dataset"
    workflow = things[things["./"]["mainEntity"]["@id"]]
    assert workflow["@id"].endswith("/Snakefile") and "HowTo" in workflow["@type"]
    assert {step["@id"] for step in workflow["step"]} == {f"#step/{tool['@id'][6:]}" for tool in workflow["hasPart"]}
    jobs = [thing for thing in things.values() if thing["@type"] == "CreateAction" and thing["@id"] != "#study"]
    assert len(jobs) == len({str(record) for record in records.Results.read("results").records.values()})
    fit = things["#job/rsa/objects/first.csv"]
    assert fit["name"] == "fit_layers objects first" and fit["instrument"] == {"@id": "#rule/fit_layers"}
    assert [item["@id"] for item in fit["object"]] == ["rsm/objects/first.h5", "brain/objects/brain.h5"]
    for thing in things.values():
        for key in ("object", "result", "hasPart", "mentions", "step", "instrument", "workExample", "mainEntity"):
            named = thing.get(key, [])
            assert {item["@id"] for item in (named if isinstance(named, list) else [named])} <= things.keys()


def test_crate_of_no_results_is_refused(tmp_path, capsys):
    assert crate.main(["/proc"]) == 2
    (tmp_path / "provenance").mkdir()
    assert crate.main([str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert "holds records" in said and "holds no record" in said


# ---- code ------------------------------------------------------------------------------------------------------------


def test_what_other_code_made_is_said_and_is_no_fault(study, check):
    path = Path("results/provenance/rsa/objects/first.csv.json")
    record = read_json(path)
    assert record["code"]["ipcl_core/rsa/similarity.py"] == compute_sha256(records.PACKAGE / "rsa/similarity.py")
    assert not {"ipcl_core/records.py", "ipcl_core/logs.py"} & record["code"].keys()
    before = check()
    assert before[0] == 0 and "other code" not in before[1]
    record["code"]["ipcl_core/rsa/similarity.py"] = "0" * 64
    write_json(record, path)
    code, said = check()
    assert code == 0
    assert (
        "other code: ipcl_core/rsa/similarity.py has changed since 1 artifacts were made, among them rsa/objects/first.csv"
        in said
    )
    code, said = check("results/rsa/objects/first.csv")
    assert code == 0 and "made by other code than today's: ipcl_core/rsa/similarity.py\n" in said
    record["code"] = {"scripts_of_a_clone/fit_layers.py": "0" * 64}  # which a wheel has not
    write_json(record, path)
    assert "other code" not in check()[1]
