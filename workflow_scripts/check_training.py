"""Find what would end a training for good before it starts."""

from pathlib import Path

from ipcl_core.checks import check_training
from ipcl_core.logs import start_log
from ipcl_core.provenance import record_job

start_log(snakemake.log[0])
check_training(snakemake.config, snakemake.wildcards.model, snakemake.input.summary)
Path(snakemake.output.checked).touch()
record_job(snakemake, kept=False)
