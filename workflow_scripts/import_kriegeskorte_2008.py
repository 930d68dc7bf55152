"""Import the 92 objects and the human IT data of Kriegeskorte et al. 2008."""

from ipcl_core.brains.published import import_kriegeskorte_2008
from ipcl_core.logs import start_log
from ipcl_core.records import record_job

start_log(snakemake.log[0])
import_kriegeskorte_2008(
    snakemake.input.archive,
    snakemake.params.brain["stimuli"],
    snakemake.output.stimuli,
    snakemake.output.brain,
)
record_job(snakemake)
