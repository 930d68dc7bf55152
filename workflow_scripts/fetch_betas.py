"""Download published voxel patterns."""

from ipcl_core.config import load_config
from ipcl_core.downloads import fetch_file
from ipcl_core.logs import start_log
from ipcl_core.records import record_job

start_log(snakemake.log[0])
brain = load_config(snakemake.config).brains[snakemake.wildcards.brain]
fetch_file(brain.betas, snakemake.output.betas, digest=brain.betas_hash, key="betas_hash", max_mb=brain.max_mb)
record_job(snakemake)
