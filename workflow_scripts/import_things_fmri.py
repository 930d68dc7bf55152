"""Import THINGS-fMRI."""

from ipcl_core.brains.things import import_things_fmri
from ipcl_core.config.brain_sets import ThingsFMRI
from ipcl_core.logs import start_log
from ipcl_core.records import record_job

start_log(snakemake.log[0])
block = ThingsFMRI.model_validate(snakemake.params.brain | {"title": snakemake.wildcards.brain})
import_things_fmri(block, snakemake.output.stimuli, snakemake.output.brain)
# the responses are too large to be hashed
record_job(snakemake, *[f"{block.folder}/sub-{one}_StimulusMetadata.csv" for one in block.participants])
