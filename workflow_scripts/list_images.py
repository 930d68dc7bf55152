"""List the images of both splits of a data set."""

from pathlib import Path

from ipcl_core.images.shards import list_splits
from ipcl_core.logs import start_log
from ipcl_core.records import record_job

start_log(snakemake.log[0])
dataset = snakemake.params.dataset
own = {split: dataset[split] for split in ("train", "val") if split in dataset}
list_splits(
    own or {split: f"{snakemake.input[0]}/{split}" for split in ("train", "val")},
    dict(snakemake.output.items()),
    val_labels=dataset.get("val_labels"),
    storage=dataset["storage"],
)
labels = [Path(dataset["val_labels"])] if dataset.get("val_labels") else []
labels += [file.with_name("meta.mat") for file in labels if file.suffix == ".txt"]
record_job(snakemake, *labels, folders=own)
