"""Make the table that the rule is named after."""

from ipcl_core.fits import statistics
from ipcl_core.logs import start_log
from ipcl_core.provenance import record_job

start_log(snakemake.log[0])
files = {name: value for part in (snakemake.input, snakemake.output) for name, value in part.items() if name != "code"}
getattr(statistics, snakemake.rule)(**files, **dict(snakemake.params.items()))
record_job(snakemake)
