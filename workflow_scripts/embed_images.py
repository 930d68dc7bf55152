"""Embed both splits of a data set, in as many processes as the job has GPUs."""

from ipcl_core.accuracy.embedding import embed_dataset
from ipcl_core.distributed import launch_job
from ipcl_core.logs import start_log
from ipcl_core.provenance import record_job

start_log(snakemake.log[0])
launch_job(
    snakemake,
    embed_dataset,
    weights=snakemake.input.weights,
    betons={split: snakemake.input[split] for split in ("train", "val")},
    embeddings=snakemake.output.embeddings,
    scratch=snakemake.resources.get("scratch"),
    model=snakemake.config["models"][snakemake.wildcards.model],
    **dict(snakemake.params.items()),
)
record_job(snakemake)
