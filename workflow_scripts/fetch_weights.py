"""Download somebody else's weights."""

from ipcl_core.downloads import fetch_file
from ipcl_core.logs import start_log
from ipcl_core.records import record_job

start_log(snakemake.log[0])
weights = snakemake.params.weights
fetch_file(weights["url"], snakemake.output.weights, digest=weights["hash"], max_mb=weights["max_mb"])
record_job(snakemake)
