"""Embed both splits of a data set, in as many processes as the job has GPUs."""

from ipcl_core.accuracy.embedding import embed_dataset
from ipcl_core.config import load_config
from ipcl_core.distributed import launch_job
from ipcl_core.logs import start_log
from ipcl_core.records import record_job

start_log(snakemake.log[0])
study = load_config(snakemake.config)
launch_job(
    snakemake,
    embed_dataset,
    weights=snakemake.input.weights,
    betons={split: snakemake.input[split] for split in ("train", "val")},
    embeddings=snakemake.output.embeddings,
    scratch=snakemake.resources.get("scratch"),
    model=study.models[snakemake.wildcards.model].model_dump(),
    **dict(snakemake.params.items()),
)
record_job(snakemake)
