"""Download somebody else's weights."""

from ipcl_core.config import load_config
from ipcl_core.downloads import fetch_weights
from ipcl_core.logs import start_log
from ipcl_core.records import record_job

start_log(snakemake.log[0])
weights = load_config(snakemake.config).models[snakemake.wildcards.model].weights
fetch_weights(weights.model_dump(), snakemake.output.weights)
record_job(snakemake)
