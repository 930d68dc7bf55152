"""Import the 92 objects and the human IT data of Kriegeskorte et al. 2008."""

from ipcl_core.brains import import_kriegeskorte_2008
from ipcl_core.logs import start_log

start_log(snakemake.log[0])
import_kriegeskorte_2008(
    snakemake.input.archive,
    snakemake.params.brain["stimuli"],
    snakemake.output.stimuli,
    snakemake.output.brain,
)
