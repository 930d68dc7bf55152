"""Embed both splits of a data set."""

from ipcl_core.embedding import embed_dataset
from ipcl_core.logs import start_log

start_log(snakemake.log[0])
embed_dataset(
    snakemake.input.weights,
    {split: snakemake.input[split] for split in ("train", "val")},
    snakemake.output.embeddings,
    n_threads=snakemake.threads,
    **dict(snakemake.params.items()),
)
