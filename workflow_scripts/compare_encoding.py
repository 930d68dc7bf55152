"""Compare what every two models predict of held-out voxels."""

from ipcl_core.fits.compare_encoding import compare_encoding
from ipcl_core.logs import start_log
from ipcl_core.records import record_job

start_log(snakemake.log[0])
params = snakemake.params
compare_encoding(
    snakemake.input.scores,
    snakemake.input.predictions,
    snakemake.input.brain,
    snakemake.output.best_layers,
    snakemake.output.pairs,
    name=snakemake.wildcards.brain,
    models=params.models,
    n_bootstrap=params.n_bootstrap,
    seed=params.seed,
    fdr=params.fdr,
)
record_job(snakemake)
