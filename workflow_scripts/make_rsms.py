"""Compute the RSM of every layer."""

from ipcl_core.fits.rsms import make_rsms
from ipcl_core.logs import start_log
from ipcl_core.provenance import record_job

start_log(snakemake.log[0])
make_rsms(snakemake.input.activations, snakemake.output.rsms, distances=snakemake.params.distances)
record_job(snakemake)
