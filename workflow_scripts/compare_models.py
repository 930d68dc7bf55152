"""Compare the best layers of every two models."""

from ipcl_core.fits.statistics import compare_models
from ipcl_core.logs import start_log
from ipcl_core.records import record_job

start_log(snakemake.log[0])
params = snakemake.params
compare_models(
    snakemake.input.rsms,
    snakemake.input.brain,
    snakemake.output.best_layers,
    snakemake.output.pairs,
    name=snakemake.wildcards.brain,
    weighted=snakemake.input.weighted,
    models=params.models,
    n_bootstrap=params.n_bootstrap,
    n_splits=params.n_splits,
    seed=params.seed,
    fdr=params.fdr,
)
record_job(snakemake)
