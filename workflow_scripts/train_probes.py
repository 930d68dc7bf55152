"""Train linear probes on frozen features of augmented views."""

from ipcl_core.accuracy.one_cycle_probes import train_one_cycle_probes
from ipcl_core.cards import reserve_cards
from ipcl_core.config import OneCycleProbe, load_config
from ipcl_core.images.scratch import copy_to_scratch
from ipcl_core.logs import start_log
from ipcl_core.records import record_job

start_log(snakemake.log[0])
reserve_cards(1)
study = load_config(snakemake.config)
train_one_cycle_probes(
    snakemake.input.weights,
    {split: copy_to_scratch(snakemake.input[split], snakemake.resources.get("scratch")) for split in ("train", "val")},
    snakemake.input.summary,
    snakemake.output.probes,
    layers=snakemake.params.layers,
    center_crop=snakemake.params.center_crop,
    max_dim=snakemake.params.max_dim,
    settings=OneCycleProbe(**snakemake.params.settings),
    n_threads=snakemake.threads,
    model=study.models[snakemake.wildcards.model].model_dump(),
)
record_job(snakemake)
