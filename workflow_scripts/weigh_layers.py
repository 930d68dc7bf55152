"""Weight layers and their components, and judge them on held-out stimuli."""

from ipcl_core.fits.weighting import weigh_layers
from ipcl_core.logs import start_log
from ipcl_core.records import record_job

start_log(snakemake.log[0])
weigh_layers(snakemake.input.rsms, snakemake.input.brain, snakemake.output.weighted, **snakemake.params.weighting)
record_job(snakemake)
