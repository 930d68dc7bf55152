"""Draw the figure that the rule is named after."""

from ipcl_core.logs import start_log
from ipcl_core.provenance import record_job
from ipcl_core.report import figures

start_log(snakemake.log[0])
files = {name: value for part in (snakemake.input, snakemake.output) for name, value in part.items() if name != "code"}
getattr(figures, f"draw_{snakemake.rule}")(**files, **dict(snakemake.params.items()))
record_job(snakemake)
