"""Download somebody else's weights."""

from ipcl_core.downloads import fetch_weights
from ipcl_core.logs import start_log
from ipcl_core.records import record_job

start_log(snakemake.log[0])
fetch_weights(snakemake.params.weights, snakemake.output.weights)
record_job(snakemake)
