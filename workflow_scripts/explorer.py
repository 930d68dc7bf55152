"""Write the page to explore the study with."""

from ipcl_core.config import load_config
from ipcl_core.logs import start_log
from ipcl_core.records import record_job
from ipcl_core.report.explorer.page import write_explorer

start_log(snakemake.log[0])
write_explorer(snakemake.output.page, load_config(snakemake.config), **dict(snakemake.input.items()))
record_job(snakemake)
