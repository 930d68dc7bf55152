"""Find what would end a training for good before it starts."""

from pathlib import Path

from ipcl_core.config import load_config
from ipcl_core.logs import start_log
from ipcl_core.records import record_job
from ipcl_core.training.check_training import check_training

start_log(snakemake.log[0])
check_training(load_config(snakemake.config), snakemake.wildcards.model, snakemake.input.summary)
Path(snakemake.output.checked).touch()
record_job(snakemake, kept=False)
