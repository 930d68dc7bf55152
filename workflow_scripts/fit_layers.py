"""Correlate every layer's RSM with every region's."""

from ipcl_core.fits.fit_layers import fit_layers
from ipcl_core.logs import start_log
from ipcl_core.records import record_job

start_log(snakemake.log[0])
fit_layers(snakemake.input.rsms, snakemake.input.brain, snakemake.output.fits)
record_job(snakemake)
