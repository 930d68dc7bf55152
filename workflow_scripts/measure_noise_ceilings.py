"""Measure the noise ceilings of every region."""

from ipcl_core.fits.statistics import measure_noise_ceilings
from ipcl_core.logs import start_log
from ipcl_core.records import record_job

start_log(snakemake.log[0])
params = snakemake.params
measure_noise_ceilings(
    snakemake.input.brain,
    snakemake.output.ceilings,
    name=snakemake.wildcards.brain,
    distances=params.distances,
    n_splits=params.n_splits,
    seed=params.seed,
)
record_job(snakemake)
