"""Predict voxels from every layer."""

from ipcl_core.fits.fit_encoding import fit_encoding
from ipcl_core.logs import start_log
from ipcl_core.records import record_job

start_log(snakemake.log[0])
fit_encoding(
    snakemake.input.activations,
    snakemake.input.brain,
    snakemake.output.scores,
    snakemake.output.predictions,
    brain_name=snakemake.wildcards.brain,
    model=snakemake.wildcards.model,
    folds=snakemake.input.folds or None,
    **snakemake.params.encoding,
)
record_job(snakemake)
