"""
Kill -9 of every kind of job, at 20 random moments each: the next call of Snakemake finishes, with the same bits.

make test-faults; some twenty seconds a round. Two kills are part of make test-workflow (test_workflow.py).
"""

import subprocess
from contextlib import suppress

import numpy as np
import psutil
import pytest
import yaml
from cut_demo import copy_workflow, cut_demo
from kills import (
    KINDS,
    MODEL,
    finish,
    hash_results,
    keep,
    kill,
    list_differences,
    measure_jobs,
    put_back,
    remove,
    start,
    wait_for_job,
)

pytestmark = pytest.mark.faults
N_MOMENTS = 20


def make_study(folder):
    """A finished study of two small networks, one trained for two epochs with a checkpoint every other minibatch."""
    copy_workflow(folder)
    config = cut_demo("ipcl", "untrained")
    config["recipes"]["ipcl"] |= {"epochs": 2, "checkpoint_steps": 2}
    (folder / "study.yaml").write_text(yaml.safe_dump(config))
    finish(folder)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """The study's folder, a copy of its results, their hashes."""
    folder, kept = tmp_path_factory.mktemp("study"), tmp_path_factory.mktemp("kept")
    make_study(folder)
    keep(folder, kept)
    return folder, kept, hash_results(kept)


def draw_moments(kind: str, duration: float) -> np.ndarray:
    return np.random.default_rng([0, *kind.encode()]).uniform(0, duration, N_MOMENTS)


@pytest.mark.parametrize("kind", KINDS)
def test_killed_job_is_made_up_for(study, kind):
    folder, kept, expected = study
    put_back(folder, kept)
    snakemake = start(folder, *remove(folder, kind))
    duration = measure_jobs(snakemake, kind)
    assert list_differences(hash_results(folder), expected) == []
    for moment in draw_moments(kind, duration):
        killed = False
        while not killed:  # a job that was faster than the first one has ended before
            put_back(folder, kept)
            targets = remove(folder, kind)
            snakemake = start(folder, *targets)
            killed = kill(wait_for_job(snakemake, kind, moment))
            snakemake.wait(timeout=900)
            finish(folder, *targets)
            assert list_differences(hash_results(folder), expected) == [], (kind, moment)
            moment /= 2
    finish(folder)  # all that depends on it is made again
    assert list_differences(hash_results(folder), expected) == []


def test_training_killed_while_it_writes_a_checkpoint(study):
    """Each time a part of the new checkpoint is left behind; neither it nor any trace of it counts."""
    folder, kept, expected = study
    models, n_torn = folder / "results/models" / MODEL, 0
    put_back(folder, kept)
    snakemake = start(folder, *remove(folder, "train"))
    duration = measure_jobs(snakemake, "train")
    for moment in draw_moments("checkpoint", duration / 2):
        put_back(folder, kept)
        targets = remove(folder, "train")
        snakemake = start(folder, *targets)
        kill(wait_for_job(snakemake, "train", moment, lambda: any(models.glob(".checkpoint.*.pt"))))
        n_torn += any(models.glob(".checkpoint.*.pt"))
        snakemake.wait(timeout=900)
        finish(folder, *targets)
        assert list_differences(hash_results(folder), expected) == [], moment
    print(f"{n_torn} of {N_MOMENTS} kills left a part of a checkpoint")
    assert n_torn > N_MOMENTS / 2


def test_killed_snakemake_goes_on_when_it_is_unlocked(study):
    """The whole tree of processes, as when the power fails; the lock that it leaves has to be removed by hand."""
    folder, kept, expected = study
    rng, locked = np.random.default_rng(7), 0
    for _ in range(N_MOMENTS):
        kind = str(rng.choice(list(KINDS)))
        put_back(folder, kept)
        targets = remove(folder, kind)
        snakemake = start(folder, *targets)
        with suppress(psutil.TimeoutExpired):
            snakemake.wait(timeout=rng.uniform(0, 10))
        kill(snakemake)
        snakemake.wait()
        if start(folder, *targets).wait(timeout=900):
            locked += 1
            assert "--unlock" in (folder / "said.log").read_text()
            finish(folder, "--unlock")
            finish(folder, *targets)
        assert list_differences(hash_results(folder), expected) == [], kind
    print(f"{locked} of {N_MOMENTS} kills left a lock")
    assert locked


def test_results_that_may_only_be_read_stop_snakemake_before_anything(study):
    folder, kept, expected = study
    put_back(folder, kept)
    results, table = folder / "results", folder / "results/table1.csv"
    table.unlink()
    try:
        subprocess.run(["mount", "--bind", results, results], check=True)
        subprocess.run(["mount", "-o", "remount,ro,bind", results], check=True)
    except subprocess.CalledProcessError as error:
        pytest.skip(f"a folder cannot be mounted here (needs root): {error}")
    try:
        code = start(folder).wait(timeout=600)
    finally:
        subprocess.run(["umount", results], check=True)
    said = (folder / "said.log").read_text()
    assert code and ("Write-protected output files" in said or "Read-only file system" in said), said
    assert list_differences(hash_results(folder), expected) == ["table1.csv"]
