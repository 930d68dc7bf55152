"""Write one of torchvision's data sets as an image folder."""

from ipcl_core.config import load_config
from ipcl_core.images.datasets import export_torchvision
from ipcl_core.logs import start_log
from ipcl_core.records import record_job

start_log(snakemake.log[0])
dataset = load_config(snakemake.config).datasets[snakemake.wildcards.dataset]
export_torchvision(dataset.name, dataset.root, snakemake.output.images, download=dataset.download)
record_job(snakemake, folders={"root": dataset.root})
