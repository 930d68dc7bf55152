"""Measure how sure every layer's similarity with every region is."""

from ipcl_core.fits.statistics import measure_layers
from ipcl_core.logs import start_log
from ipcl_core.records import record_job

start_log(snakemake.log[0])
params = snakemake.params
measure_layers(
    snakemake.input.rsms,
    snakemake.input.brain,
    snakemake.output.layers,
    comparators=params.comparators,
    distances=params.distances,
    n_bootstrap=params.n_bootstrap,
    n_permutations=params.n_permutations,
    seed=params.seed,
)
record_job(snakemake)
