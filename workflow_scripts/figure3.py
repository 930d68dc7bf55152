"""Draw figure 3."""

from ipcl_core.logs import start_log
from ipcl_core.records import record_job
from ipcl_core.report.figures.accuracy import draw_figure3

start_log(snakemake.log[0])
draw_figure3(
    snakemake.input.table,
    brain=snakemake.wildcards.brain,
    title=snakemake.params.title,
    **dict(snakemake.output.items()),
)
record_job(snakemake)
