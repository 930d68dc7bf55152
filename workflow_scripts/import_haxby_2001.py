"""Import Haxby et al. 2001."""

from ipcl_core.brains.haxby import import_haxby_2001
from ipcl_core.config.brain_sets import Haxby2001
from ipcl_core.logs import start_log
from ipcl_core.records import record_job

start_log(snakemake.log[0])
block = Haxby2001.model_validate(snakemake.params.brain | {"title": snakemake.wildcards.brain})
import_haxby_2001(block, snakemake.output.stimuli, snakemake.output.brain)
# the responses are too large to be hashed
record_job(snakemake, *[f"{block.folder}/{one}/labels.txt" for one in block.participants])
