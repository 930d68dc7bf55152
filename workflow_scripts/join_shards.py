"""Join the encoded shards of a split to a .beton file."""

from ipcl_core.images.beton import join_shards
from ipcl_core.logs import start_log
from ipcl_core.records import record_job

start_log(snakemake.log[0])
join_shards(
    snakemake.input.images,
    snakemake.input.stored,
    snakemake.output.beton,
    snakemake.output.manifest,
    snakemake.output.summary,
    train_images=snakemake.input.train_images,
    storage=snakemake.params.dataset["storage"],
)
record_job(snakemake)
