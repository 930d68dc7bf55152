"""Write Table 1 as CSV, LaTeX and HTML."""

from ipcl_core.config import load_config
from ipcl_core.logs import start_log
from ipcl_core.records import record_job
from ipcl_core.report.table1 import make_table1, print_table1

start_log(snakemake.log[0])
study = load_config(snakemake.config)
files = snakemake.input
make_table1(
    study.models,
    study.brains,
    snakemake.output.table,
    accuracies=files.accuracies,
    fits=files.fits,
    ceilings=files.ceilings,
    accuracy=study.accuracy,
)
print_table1(snakemake.output.table, study.titles, tex=snakemake.output.tex, page=snakemake.output.page)
record_job(snakemake)
