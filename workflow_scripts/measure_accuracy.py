"""Measure category accuracy from embeddings."""

from ipcl_core.accuracy import measure_accuracies
from ipcl_core.logs import start_log

start_log(snakemake.log[0])
measure_accuracies(
    snakemake.input.embeddings, snakemake.input.summary, snakemake.output.accuracy, **dict(snakemake.params.items())
)
