"""Download published stimuli."""

from ipcl_core.config import load_config
from ipcl_core.images.litdata import fetch_litdata
from ipcl_core.logs import start_log
from ipcl_core.records import record_job

start_log(snakemake.log[0])
brain = load_config(snakemake.config).brains[snakemake.wildcards.brain]
fetch_litdata(
    brain.stimuli,
    snakemake.output.stimuli,
    digest=brain.stimuli_hash,
    key="stimuli_hash",
    max_mb=brain.max_mb,
)
record_job(snakemake)
