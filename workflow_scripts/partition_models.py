"""Divide the variance of voxels and RSMs between models."""

from ipcl_core.fits.partition_models import partition_models
from ipcl_core.logs import start_log
from ipcl_core.records import record_job

start_log(snakemake.log[0])
partition_models(
    snakemake.input.activations,
    snakemake.input.predictions,
    snakemake.input.rsms,
    snakemake.input.brain,
    snakemake.output.partitions,
    name=snakemake.wildcards.brain,
    sets=snakemake.params.sets,
    categories=snakemake.params.categories,
    fdr=snakemake.params.fdr,
    n_bootstrap=snakemake.params.n_bootstrap,
    **snakemake.params.encoding,
)
record_job(snakemake)
