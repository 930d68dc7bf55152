"""Record every layer's activations to the stimuli."""

from ipcl_core.fits.activations import extract_activations
from ipcl_core.logs import start_log
from ipcl_core.provenance import record_job

start_log(snakemake.log[0])
extract_activations(
    snakemake.input.weights,
    snakemake.input.stimuli,
    snakemake.output.activations,
    layers=snakemake.params.layers,
    model=snakemake.config["models"][snakemake.wildcards.model],
)
record_job(snakemake, kept=snakemake.config["keep_activations"])
