"""Estimate every region's split-half noise ceiling."""

from ipcl_core.logs import start_log
from ipcl_core.provenance import record_job
from ipcl_core.tables import make_noise_ceilings

start_log(snakemake.log[0])
make_noise_ceilings(snakemake.input.brain, snakemake.output.ceilings, **snakemake.params.noise_ceiling)
record_job(snakemake)
