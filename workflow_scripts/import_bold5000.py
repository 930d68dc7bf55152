"""Import BOLD5000."""

from ipcl_core.brains.bold5000 import import_bold5000
from ipcl_core.config.brain_sets import BOLD5000
from ipcl_core.logs import start_log
from ipcl_core.records import record_job

start_log(snakemake.log[0])
block = BOLD5000.model_validate(snakemake.params.brain | {"title": snakemake.wildcards.brain})
import_bold5000(block, snakemake.output.stimuli, snakemake.output.brain)
# the responses are too large to be hashed
record_job(snakemake, *[f"{block.folder}/{one}_imgnames.txt" for one in block.participants])
