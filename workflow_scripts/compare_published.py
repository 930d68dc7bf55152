"""Print published numbers beside this run's own."""

from ipcl_core.logs import start_log
from ipcl_core.records import record_job
from ipcl_core.report.published import compare_published

start_log(snakemake.log[0])
brains = dict(zip(snakemake.params.brains, snakemake.input.brains, strict=True))
compare_published(
    snakemake.params.published,
    brains,
    snakemake.input.rsms,
    snakemake.input.predictions,
    snakemake.output.table,
    snakemake.output.page,
)
record_job(snakemake)
