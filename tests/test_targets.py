"""Targets that no rule makes: the message says what there is."""

from pathlib import Path

import pytest
from snakemake_runs import run_snakemake

REPOSITORY = Path(__file__).parents[1]
DEMO = ("--snakefile", REPOSITORY / "Snakefile", "--configfile", REPOSITORY / "config/demo.yaml", "--cores", "1", "-n")


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (
            "rsa/objects29/untrained_alexnet_gn.csv",
            "there is no brain objects29 in the study, but objects92, inanimate44",
        ),
        ("models/untrained_alexnet/weights.safetensors", "there is no model untrained_alexnet in the study, but ipcl_"),
        (
            "figures/objects92/figur2.svg",
            "no rule makes it; the files most like it are results/demo/figures/{brain}/figure2.svg",
        ),
    ],
)
def test_unknown_targets_are_named(tmp_path, target, message):
    status, said = run_snakemake(tmp_path, *DEMO, f"results/demo/{target}")
    assert status == 1 and f"results/demo/{target}: {message}" in said


def test_values_of_options_are_no_targets(tmp_path):
    status, said = run_snakemake(tmp_path, *DEMO, "results/demo/table1.csv", "--report", "results/demo/report.html")
    assert status == 1 and "no rule makes it" not in said and "marked for report but does not exist" in said
