"""Find what would end a training for good before it starts."""

from pathlib import Path

from ipcl_core.checks import check_training
from ipcl_core.logs import start_log
from ipcl_core.provenance import record_job

start_log(snakemake.log[0])
block = snakemake.config["models"][snakemake.wildcards.model]
check_training(
    block,
    snakemake.config["recipes"][block["recipe"]],
    snakemake.input.summary,
    k=snakemake.config["knn"]["k"],
    probes=snakemake.config["probes"],
)
Path(snakemake.output.checked).touch()
record_job(snakemake, kept=False)
