"""Import one's own brain data."""

from ipcl_core.brains.own import import_own_brain
from ipcl_core.config import OwnData
from ipcl_core.logs import start_log
from ipcl_core.records import record_job

start_log(snakemake.log[0])
# judgments move nothing of the import, which reads them to find early what is wrong with them
judged = {"triplets": snakemake.config["brains"][snakemake.wildcards.brain].get("triplets")}
layout = OwnData.model_validate(snakemake.params.brain | judged)
import_own_brain(layout, snakemake.output.stimuli, snakemake.output.brain)
record_job(snakemake)
