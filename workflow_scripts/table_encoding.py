"""Write encoding and veRSA beside RSA as CSV, LaTeX and HTML."""

from ipcl_core.logs import start_log
from ipcl_core.records import record_job
from ipcl_core.report.table_encoding import make_table_encoding, print_table_encoding

start_log(snakemake.log[0])
files, titles = snakemake.input, snakemake.params.titles
make_table_encoding(
    files.table,
    snakemake.output.table,
    statistics=files.statistics,
    encoding=files.encoding,
    ceilings=dict(zip(titles, zip(files.ceilings, files.predictions, strict=True), strict=True)),
)
print_table_encoding(snakemake.output.table, titles, tex=snakemake.output.tex, page=snakemake.output.page)
record_job(snakemake)
