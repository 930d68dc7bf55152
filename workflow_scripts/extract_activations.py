"""Record every layer's activations to the stimuli."""

from ipcl_core.cards import reserve_cards
from ipcl_core.config import load_config
from ipcl_core.fits.activations import extract_activations
from ipcl_core.logs import start_log
from ipcl_core.records import record_job

start_log(snakemake.log[0])
reserve_cards(1)
study = load_config(snakemake.config)
extract_activations(
    snakemake.input.weights,
    snakemake.input.stimuli,
    snakemake.output.activations,
    layers=snakemake.params.layers,
    model=study.models[snakemake.wildcards.model].model_dump(),
    brain_name=snakemake.wildcards.brain,
    model_name=snakemake.wildcards.model,
)
record_job(snakemake, kept=study.keep_activations)
