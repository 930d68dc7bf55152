"""Compare the best layers of every two models."""

from ipcl_core.fits.statistics import compare_models
from ipcl_core.logs import start_log
from ipcl_core.records import record_job

start_log(snakemake.log[0])
compare_models(
    snakemake.input.rsms,
    snakemake.input.brain,
    snakemake.output.best_layers,
    snakemake.output.pairs,
    name=snakemake.wildcards.brain,
    weighted=snakemake.input.weighted,
    **dict(snakemake.params.items()),
)
record_job(snakemake)
