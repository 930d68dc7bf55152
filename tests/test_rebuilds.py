"""What Snakemake makes again when files, code or the configuration of a finished study change, and what not."""

import os
import re
import shutil
import subprocess
import sys

import pandas as pd
import pytest
import yaml
from cut_demo import REPOSITORY, RSM_OF_UNTRAINED, aside, edited, run
from kills import hash_results, list_differences
from snakemake_runs import count_jobs, run_snakemake

from ipcl_core.provenance import main as trace
from ipcl_core.records import Results

pytestmark = pytest.mark.workflow
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
    """Artifacts that were deleted, in one call; weights that seem newer have the same bytes, and repeat nothing."""
    expected, weights = hash_results(study), sorted((study / "results").glob("models/*/weights.safetensors"))
    for path in (study / "results/rsa/inanimate44/ipcl_alexnet_gn.csv", study / RSM_OF_UNTRAINED):
        path.unlink()
    (study / "results/embeddings/twemoji/untrained_alexnet_gn.h5").unlink()
    os.utime(study / "results/models/supervised_alexnet_gn/weights.safetensors")
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
