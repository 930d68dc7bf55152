"""Predict odd-one-out judgments from every layer."""

from ipcl_core.fits.score_triplets import score_triplets
from ipcl_core.logs import start_log
from ipcl_core.records import record_job

start_log(snakemake.log[0])
score_triplets(snakemake.input.rsms, snakemake.params.triplets, snakemake.output.scores, seed=snakemake.params.seed)
record_job(snakemake)
