"""The workflow on a real SLURM, of one node on loopback: jobs, environments, and trainings that are disturbed."""

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pytest
import yaml
from conda_channel import make_channel, read_specs

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[1]
pytestmark = pytest.mark.slurm


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """Environment variables with which SLURM's and conda's commands work; both live in temporary folders."""
    if not shutil.which("slurmctld", path=f"{os.environ['PATH']}:/usr/sbin"):
        pytest.skip("SLURM is not installed (Debian: slurm-wlm munge)")
    lab, conda = Path(tempfile.mkdtemp(prefix="lab")), tmp_path_factory.mktemp("conda") / "root"
    lab.chmod(0o755)  # munge's socket must be within everybody's reach, which pytest's own folders are not
    environment = os.environ | {"LAB": str(lab), "GPUS": "4", "PYTHON": sys.executable}
    subprocess.run([HERE / "make_conda.sh", conda], env=environment, check=True, timeout=900)
    make_channel(conda / "channels/conda-forge", read_specs(*(REPOSITORY / "envs").glob("*.yaml")), HERE / "held")
    subprocess.run([HERE / "start_slurm.sh"], env=environment, check=True, timeout=60)
    folders = [lab / "bin", conda / "condabin", Path(sys.executable).parent]
    yield environment | {
        "PATH": ":".join([*map(str, folders), os.environ["PATH"]]),
        "CONDARC": str(conda / "condarc"),
        "HOME": str(tmp_path_factory.mktemp("home")),  # conda's list of environments
        "HELD": str(tmp_path_factory.mktemp("held")),
    }
    subprocess.run([HERE / "stop_slurm.sh"], env=environment, check=True, timeout=120)
    shutil.rmtree(lab)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A folder with the profile and a configuration: four trainings that differ in nothing, an untrained network."""
    config = yaml.safe_load((REPOSITORY / "config/demo.yaml").read_text())
    del config["pathvars"], config["brains"]["objects92"]
    narrow = {"width": 1 / 16}
    trained = config["models"]["ipcl_alexnet_gn"] | narrow
    config["recipes"] = {"ipcl": config["recipes"]["ipcl"] | {"epochs": 1, "checkpoint_steps": 3}}
    config["models"] = dict.fromkeys(("undisturbed", "requeued", "cancelled", "out_of_time"), trained)
    config["models"]["untrained"] = (
        yaml.safe_load((REPOSITORY / "config/demo.yaml").read_text())["models"]["untrained_alexnet_gn"] | narrow
    )
    config["figure2_models"] = ["undisturbed"]
    folder = tmp_path_factory.mktemp("study")
    for profile in ("slurm", "profiles/generic"):
        shutil.copytree(REPOSITORY / profile, folder / profile)
    profile = yaml.safe_load((folder / "slurm/config.yaml").read_text())
    profile["default-resources"]["scratch"] = f"'{folder}/scratch'"
    profile["set-resources"]["compare_models"] = {"mem_mb": "100 if attempt == 1 else 4000"}
    (folder / "slurm/config.yaml").write_text(yaml.safe_dump(profile))
    (folder / "study.yaml").write_text(yaml.safe_dump(config))
    config["models"] = {name: config["models"][name] for name in ("undisturbed", "untrained")}
    (folder / "small.yaml").write_text(yaml.safe_dump(config))
    return folder


COMMAND = [
    sys.executable,
    str(HERE / "poll_often.py"),
    "--snakefile",
    str(REPOSITORY / "Snakefile"),
    "--profile",
    "slurm",
]
COMMAND += ["--latency-wait", "10", "--configfile", "study.yaml", "--set-threads"]
COMMAND += [f"{rule}=2" for rule in ("train_model", "embed_images", "measure_accuracy", "encode_shard")]
COMMAND += ["--slurm-status-command", "squeue", "--slurm-init-seconds-before-status-checks", "2"]


@contextmanager
def running(folder: Path, environment: dict, *arguments: str):
    """Snakemake at work in `folder`; what it says goes to the file said.log there."""
    with (folder / "said.log").open("w") as said:
        process = subprocess.Popen([*COMMAND, *arguments], cwd=folder, env=environment, stdout=said, stderr=said)
    try:
        yield process
    finally:
        process.kill()


def list_jobs(environment: dict, name: str, state: str = "RUNNING") -> list[str]:
    """SLURM's numbers of a model's jobs in one state."""
    command = ["squeue", "--noheader", "--states", state, "--format", "%i %k"]
    said = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30).stdout
    return [line.split()[0] for line in said.splitlines() if line.rstrip().endswith(f"_{name}")]


def wait_for(condition, what: str, seconds: float = 900):
    """Return the first true value of `condition`."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(0.2)
    raise TimeoutError(what)


def hash_weights(folder: Path, model: str) -> str:
    return hashlib.sha256((folder / f"results/models/{model}/weights.safetensors").read_bytes()).hexdigest()


def test_trial_of_the_cluster(cluster, study):
    """The pretended GPUs are noticed; without asking for one, the job on another partition sees the first one's file."""
    with running(study, cluster, "check_cluster") as snakemake:
        assert snakemake.wait(timeout=900) == 1
    assert "the job asked for a GPU, and PyTorch" in (study / "logs/cluster/node.log").read_text()
    profile = yaml.safe_load((study / "slurm/config.yaml").read_text())
    profile["set-resources"]["check_node"] = {"gpu": 0, "slurm_partition": "gpu"}
    (study / "slurm/config.yaml").write_text(yaml.safe_dump(profile))
    with running(study, cluster, "check_cluster") as snakemake:
        assert snakemake.wait(timeout=900) == 0, (study / "said.log").read_text()[-6000:]
    found = json.loads((study / "results/cluster/node.json").read_text())
    assert found["token_written_on"] == found["node"] and found["device"] == "CPU"
    assert list((study / "scratch").glob("*.beton"))


def test_disturbed_trainings_end_with_the_same_bits(cluster, study):
    """One job is requeued, one cancelled, one runs into its time limit, each after its first checkpoint."""

    disturb = {
        "requeued": ["scontrol", "requeue"],
        "cancelled": ["scancel"],
        "out_of_time": ["scontrol", "update", "TimeLimit=1"],
    }
    models, held = ["undisturbed", *disturb], Path(cluster["HELD"])
    for model in disturb:
        (held / model).touch()
    with running(study, cluster, *(f"results/models/{m}/weights.safetensors" for m in models)) as snakemake:
        for _ in models[1:]:
            model = wait_for(lambda: next((m for m in disturb if (held / f"{m}.held").exists()), None), "a checkpoint")
            command, (job,) = disturb.pop(model), list_jobs(cluster, model)
            number = f"JobId={job}" if "update" in command else job
            subprocess.run([*command, number], env=cluster, check=True, timeout=30)
        assert snakemake.wait(timeout=900) == 0, (study / "said.log").read_text()[-6000:]
    assert len({hash_weights(study, model) for model in models}) == 1
    for model in models[1:]:
        log = (study / f"logs/models/{model}.log").read_text()
        assert "going on from minibatch" in log and f"{study}/scratch/" in log, model
    said = (study / "said.log").read_text()
    for model in ("cancelled", "out_of_time"):
        assert f"rule_train_model/{model}/" in said and f"logs/models/{model}.log" in said


def test_rest_of_the_study_in_conda_environments(cluster, study):
    with running(study, cluster, "--configfile", "small.yaml") as snakemake:
        assert snakemake.wait(timeout=900) == 0, (study / "said.log").read_text()[-6000:]
    table = pd.read_csv(study / "results/table1.csv")
    assert len(table) == 2 and table["IT_r"].notna().all()
    assert (study / "results/figures/inanimate44/figure2.svg").exists()
    environments = [path.parent.parent for path in (study / ".snakemake/conda").glob("*/conda-meta/history")]
    assert len(environments) == 2, "torch.yaml and analysis.yaml"
    said = (study / "said.log").read_text()
    assert "Error in rule compare_models" in said, "its first attempt had too little memory"
    groups = re.findall(r"submitted with SLURM jobid \d+ \(log: \S+/slurm_logs/(?:group_([a-z]+)|rule)", said)
    assert {"accuracy", "similarity", "fits"} <= set(groups)
    assert len(groups) <= 14, "submissions"
    assert "rule train_model:" not in said, "the validation images were converted after the training"


def test_killed_snakemake_goes_on(cluster, study):
    for model in ("requeued", "untrained"):
        shutil.rmtree(study / f"results/models/{model}")
    target = "results/models/requeued/weights.safetensors"
    with running(study, cluster, target) as snakemake:
        (job,) = wait_for(lambda: list_jobs(cluster, "requeued"), "the job of requeued")
        snakemake.send_signal(signal.SIGKILL)
        snakemake.wait(timeout=30)
    subprocess.run(["scancel", job], env=cluster, check=True, timeout=30)
    subprocess.run([*COMMAND, "--unlock"], cwd=study, env=cluster, check=True, timeout=300)
    (held := Path(cluster["HELD"], "requeued")).touch()
    with running(study, cluster, target) as snakemake:
        wait_for(held.with_suffix(".held").exists, "a checkpoint")
        preempt = ["sbatch", "--partition=high", "--exclusive", "--time=1", "--output=/dev/null", "--wrap=sleep 3"]
        subprocess.run(preempt, env=cluster, check=True, timeout=30)
        assert snakemake.wait(timeout=900) == 0, (study / "said.log").read_text()[-6000:]
    assert "going on from minibatch" in (study / "logs/models/requeued.log").read_text(), "after the preemption"
    assert hash_weights(study, "requeued") == hash_weights(study, "undisturbed")


def test_another_executor(cluster, study):
    """The same rules and configuration; only the profile differs."""
    shutil.rmtree(study / "results/models/untrained", ignore_errors=True)
    command = [
        word if word != "slurm" else "profiles/generic" for word in COMMAND[: COMMAND.index("--slurm-status-command")]
    ]
    said = subprocess.run(
        [*command, "--", "results/rsa/inanimate44/untrained.csv"],
        cwd=study,
        env=cluster,
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert said.returncode == 0, said.stderr[-6000:]
    assert len(re.findall(r"Submitted job \d+ with external jobid", said.stderr)) >= 4
    assert len(list((study / ".snakemake/log").glob("generic-*.log"))) >= 4
