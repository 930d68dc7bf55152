"""
The demo cut down to what a test can wait for, in a folder with a copy of the workflow.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml
from snakemake_runs import run_snakemake

REPOSITORY = Path(__file__).parents[1]
RSM_OF_UNTRAINED = "results/rsm/inanimate44/untrained_alexnet_gn.h5"


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
