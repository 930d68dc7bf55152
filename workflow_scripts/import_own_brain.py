"""Import one's own brain data."""

from ipcl_core.brains.own import import_own_brain
from ipcl_core.config import OwnData
from ipcl_core.logs import start_log
from ipcl_core.records import record_job

start_log(snakemake.log[0])
import_own_brain(OwnData.model_validate(snakemake.params.brain), snakemake.output.stimuli, snakemake.output.brain)
record_job(snakemake)
