"""Compute the RSM of every layer."""

from ipcl_core.fits.rsms import make_rsms
from ipcl_core.logs import start_log
from ipcl_core.records import record_job

start_log(snakemake.log[0])
make_rsms(
    snakemake.input.activations,
    snakemake.output.rsms,
    brain=snakemake.wildcards.brain,
    model=snakemake.wildcards.model,
    distances=snakemake.params.distances,
    averaged=snakemake.params.averaged,
)
record_job(snakemake)
