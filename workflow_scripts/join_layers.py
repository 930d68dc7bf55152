"""Join the statistics of all layers, models and brain data sets."""

from ipcl_core.fits.statistics import join_layers
from ipcl_core.logs import start_log
from ipcl_core.records import record_job

start_log(snakemake.log[0])
params = snakemake.params
join_layers(
    snakemake.input.layers, snakemake.output.statistics, brains=params.brains, models=params.models, fdr=params.fdr
)
record_job(snakemake)
