"""The workflow as a user runs it: Snakemake on a small real study, then what is and what is not made again."""

import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml

REPOSITORY = Path(__file__).parents[1]
pytestmark = pytest.mark.workflow


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A folder with a copy of the workflow, the demo cut down to three small models and one brain, and its results."""
    config = yaml.safe_load((REPOSITORY / "config/demo.yaml").read_text())
    config["pathvars"] = {"results": "results", "logs": "logs", "benchmarks": "benchmarks"}
    del config["brains"]["objects92"]
    for recipe in config["recipes"].values():
        recipe["epochs"] = 1
    names = ["ipcl_alexnet_gn", "supervised_alexnet_gn", "untrained_alexnet_gn"]
    config["models"] = {name: config["models"][name] | {"width": 1 / 16} for name in names}
    config["figure2_models"] = ["ipcl_alexnet_gn"]
    folder = tmp_path_factory.mktemp("study")
    for part in ("rules", "workflow_scripts", "ipcl_core", "profiles", "envs", "docs"):
        shutil.copytree(REPOSITORY / part, folder / "workflow" / part)
    shutil.copy2(REPOSITORY / "Snakefile", folder / "workflow")
    (folder / "study.yaml").write_text(yaml.safe_dump(config))
    run(folder)
    return folder


def run(folder: Path, *arguments: str, configs: tuple[str, ...] = ("study.yaml",), ok: bool = True) -> str:
    """Run the folder's copy of the workflow on its configuration; return what Snakemake says."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", "workflow/Snakefile", "--cores", "2"]
    command += [*arguments, "--configfile", *configs]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=900)
    said = done.stdout + done.stderr
    assert (done.returncode == 0) == ok, said[-6000:]
    return said


def count_jobs(said: str) -> dict[str, int]:
    """Read Snakemake's table of jobs: rule -> number."""
    lines = said.split("Job stats:")[1].strip().splitlines()[2:]
    table = {}
    for line in lines:
        if len(line.split()) != 2:
            break
        rule, number = line.split()
        table[rule] = int(number)
    return {rule: number for rule, number in table.items() if rule not in ("total", "all")}


def test_everything_is_made(study):
    table = pd.read_csv(study / "results/table1.csv")
    assert list(table["model"]) == ["ipcl_alexnet_gn", "supervised_alexnet_gn", "untrained_alexnet_gn"]
    assert list(table["top1_protocol"].str.split(" \\(").str[0]) == ["weighted kNN", "softmax", "weighted kNN"]
    assert (
        (table["n_test"] == 470).all()
        and table["top1"].between(5, 100).all()
        and table["knn_top1"].between(5, 100).all()
    )
    for region in ("EarlyV", "IT"):
        assert table[f"{region}_r"].between(-1, 1).all() and table[f"{region}_layer"].notna().all()
    assert table["IT_noise_ceiling"].iloc[0] == pytest.approx(0.2453, abs=5.1e-5)
    assert table["EarlyV_noise_ceiling"].isna().all()
    for figure in ("figure2", "figure3", "stimuli", "layers"):
        assert (study / f"results/figures/inanimate44/{figure}.svg").read_text().startswith("<?xml")
        assert (study / f"results/figures/inanimate44/{figure}.png").read_bytes().startswith(b"\x89PNG")
        assert (study / f"results/figures/inanimate44/{figure}.pdf").read_bytes().startswith(b"%PDF")
    claims = pd.read_csv(study / "results/claims.csv", index_col="claim")
    assert claims["verdict"].notna().all() and claims.at["hierarchy_weak", "n"] == 2
    log = pd.read_csv(study / "results/models/ipcl_alexnet_gn/log.csv")
    assert list(log["minibatch"]) == [22] and log["loss"].notna().all()
    provenance = yaml.safe_load((study / "results/models/ipcl_alexnet_gn/provenance.json").read_text())
    assert provenance["seed"] == 0 and provenance["recipe"]["epochs"] == 1 and provenance["data"]["n_images"] == 1414
    assert not (study / "results/models/ipcl_alexnet_gn/checkpoint.pt").exists()
    assert not list((study / "results/activations").rglob("*.h5")), "activations are temporary unless asked for"


def test_second_run_does_nothing(study):
    assert "Nothing to be done" in run(study)


TABLE_AND_FIGURES = {"table1": 1, "claims": 1, "figure2": 1, "figure3": 1, "figure_layers": 1}


def test_deleted_artifact_rebuilds_only_its_dependants(study):
    (study / "results/rsa/inanimate44/ipcl_alexnet_gn.csv").unlink()
    jobs = count_jobs(run(study))
    assert jobs == {"fit_layers": 1, **TABLE_AND_FIGURES}
    (study / "results/rsm/inanimate44/untrained_alexnet_gn.h5").unlink()
    jobs = count_jobs(run(study, "--dry-run"))
    assert jobs == {"extract_activations": 1, "make_rsms": 1, "fit_layers": 1, **TABLE_AND_FIGURES}
    run(study)


def test_edited_figure_code_redraws_figures_only(study):
    weights = study / "results/models/ipcl_alexnet_gn/weights.safetensors"
    before = weights.stat().st_mtime_ns
    with (study / "workflow/ipcl_core/figures/style.py").open("a") as file:
        file.write("# edited\n")
    jobs = count_jobs(run(study))
    assert jobs == {"figure2": 1, "figure3": 1, "figure_stimuli": 1, "figure_layers": 1}
    assert weights.stat().st_mtime_ns == before


def test_edited_training_script_repeats_no_training(study):
    with (study / "workflow/workflow_scripts/train_model.py").open("a") as file:
        file.write("# edited\n")
    assert "Nothing to be done" in run(study, "--dry-run")


def test_changed_recipe_retrains_its_models_only(study):
    (study / "longer.yaml").write_text("recipes: {supervised: {epochs: 2}}")
    said = run(study, "--dry-run", configs=("study.yaml", "longer.yaml"))
    jobs = count_jobs(said)
    assert jobs["train_model"] == jobs["extract_activations"] == jobs["embed_images"] == 1
    assert "wildcards: model=supervised_alexnet_gn" in said.split("rule train_model")[1].split("rule ")[0]


def test_report_holds_table_and_figures(study):
    run(study, "--report", "report.html")
    report = (study / "report.html").read_text()
    for name in ("table1.csv", "table1.html", "claims.md", "figure2.svg", "figure3.svg", "stimuli.svg", "layers.svg"):
        assert name in report


def test_paper_needs_no_data_for_a_dry_run(tmp_path):
    command = [sys.executable, "-m", "snakemake", "--dry-run", "--snakefile", str(REPOSITORY / "Snakefile")]
    done = subprocess.run([*command, "results/table1.csv"], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    jobs = count_jobs(done.stdout + done.stderr)
    assert done.returncode == 0 and jobs["train_model"] == 24 and jobs["join_shards"] == 2


def test_paper_without_data_stops_before_any_work(tmp_path):
    command = [sys.executable, "-m", "snakemake", "--cores", "1", "--snakefile", str(REPOSITORY / "Snakefile")]
    done = subprocess.run([*command, "results/table1.csv"], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    said = done.stdout + done.stderr
    assert done.returncode != 0 and "datasets.imagenet.train: set it to a folder" in said
    assert "brains.objects72.betas: set it to the file" in said and not (tmp_path / "results").exists()


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
