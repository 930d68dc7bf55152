"""Judge the claims of section 5."""

from ipcl_core.logs import start_log
from ipcl_core.records import record_job
from ipcl_core.report.claims import write_claims

start_log(snakemake.log[0])
write_claims(
    snakemake.input.table,
    snakemake.input.fits,
    snakemake.output.claims,
    snakemake.output.page,
    titles=snakemake.params.titles,
)
record_job(snakemake)
