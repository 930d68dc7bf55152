"""Import beta maps in BIDS derivatives."""

from ipcl_core.brains.bids import import_bids_maps
from ipcl_core.config.brain_sets import BIDSMaps
from ipcl_core.logs import start_log
from ipcl_core.records import record_job

start_log(snakemake.log[0])
block = BIDSMaps.model_validate(snakemake.params.brain | {"title": snakemake.wildcards.brain})
import_bids_maps(block, snakemake.output.stimuli, snakemake.output.brain)
record_job(snakemake)
