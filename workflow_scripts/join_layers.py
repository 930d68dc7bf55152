"""Join the statistics of all layers, models and brain data sets."""

from ipcl_core.fits.statistics import join_layers
from ipcl_core.logs import start_log
from ipcl_core.records import record_job

start_log(snakemake.log[0])
join_layers(snakemake.input.layers, snakemake.output.statistics, **dict(snakemake.params.items()))
record_job(snakemake)
