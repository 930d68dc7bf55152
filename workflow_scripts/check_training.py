"""Find what would end a training for good before it starts."""

from pathlib import Path

from ipcl_core.config import load_config
from ipcl_core.files import read_json
from ipcl_core.logs import start_log
from ipcl_core.records import record_job
from ipcl_core.training.check_training import check_training

start_log(snakemake.log[0])
summary = read_json(snakemake.input.summary)
counts = {"n_images": summary["n_images"], "n_classes": len(summary["classes"])}
check_training(load_config(snakemake.config), snakemake.wildcards.model, **counts)
Path(snakemake.output.checked).touch()
record_job(snakemake, kept=False)
