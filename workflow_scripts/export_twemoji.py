"""Write the Twemoji pictures as an image folder."""

from ipcl_core.images.datasets import export_twemoji
from ipcl_core.logs import start_log
from ipcl_core.records import record_job

start_log(snakemake.log[0])
dataset = snakemake.params.dataset
export_twemoji(
    snakemake.input.pictures,
    snakemake.input.labels,
    snakemake.output.images,
    val_fraction=dataset["val_fraction"],
    seed=dataset["seed"],
)
record_job(snakemake)
