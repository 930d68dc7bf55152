"""Measure how sure every layer's similarity with every region is."""

from ipcl_core.fits.statistics import measure_layers
from ipcl_core.logs import start_log
from ipcl_core.records import record_job

start_log(snakemake.log[0])
measure_layers(snakemake.input.rsms, snakemake.input.brain, snakemake.output.layers, **dict(snakemake.params.items()))
record_job(snakemake)
