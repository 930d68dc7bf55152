"""The profiles of clusters: a job that asks for a GPU goes to the partition that has one, and no profile lists such rules."""

import logging
import os
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from snakemake_executor_plugin_slurm.partitions import get_best_partition, read_partition_file

REPOSITORY = Path(__file__).parents[1]
JOBS = {
    "train_model": ({"gpu": 1, "mem_mb": 64000, "runtime": 1440}, "gpu"),
    "several GPUs": ({"gpu": 8, "nodes": 2, "mem_mb": 64000, "runtime": 1440}, "gpu"),
    "fit_layers": ({"mem_mb": 8000, "runtime": 60}, "cpu"),
    "no GPU asked for": ({"gpu": 0, "mem_mb": 8000, "runtime": 60}, "cpu"),
}


@pytest.mark.parametrize("name", JOBS)
def test_partition_is_the_one_that_has_what_the_job_asks_for(name):
    resources, expected = JOBS[name]
    profile = yaml.safe_load((REPOSITORY / "slurm/config.yaml").read_text())
    partitions = read_partition_file(REPOSITORY / profile["slurm-partition-config"])
    job = SimpleNamespace(name=name, resources=resources, threads=16)
    assert get_best_partition(partitions, job, logging.getLogger()) == expected


@pytest.mark.parametrize("n_gpus", [0, 1, 4])
def test_command_of_any_scheduler_names_the_partition(n_gpus, tmp_path):
    profile = yaml.safe_load((REPOSITORY / "profiles/generic/config.yaml").read_text())
    resources = SimpleNamespace(gpu=n_gpus, mem_mb=8000, runtime=60)
    command = profile["cluster-generic-submit-cmd"].format(resources=resources, threads=4)
    sbatch = tmp_path / "sbatch"
    sbatch.write_text('#!/bin/sh\necho "$@"\n')
    sbatch.chmod(0o755)
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    said = subprocess.run(command, shell=True, env=environment, capture_output=True, text=True, timeout=30, check=True)
    assert f"--partition={'gpu' if n_gpus else 'cpu'} --cpus-per-task=4" in said.stdout
    assert f"--gres=gpu:{n_gpus}" in said.stdout
    assert "--output=.snakemake/log/" in said.stdout, "a folder that Snakemake has made, whatever the study's own logs"


def test_no_profile_says_which_rules_use_a_gpu():
    for path in REPOSITORY.glob("**/config.yaml"):
        if path.parent.name == "slurm" or "profiles" in path.parts:
            profile = yaml.safe_load(path.read_text())
            assert profile.get("set-resources", {}).keys() <= {"train_model"}, path
