"""Draw who beats whom."""

from ipcl_core.logs import start_log
from ipcl_core.records import record_job
from ipcl_core.report.figures.pairs import draw_figure_pairs

start_log(snakemake.log[0])
draw_figure_pairs(
    snakemake.input.pairs,
    title=snakemake.params.title,
    fdr=snakemake.params.fdr,
    **dict(snakemake.output.items()),
)
record_job(snakemake)
