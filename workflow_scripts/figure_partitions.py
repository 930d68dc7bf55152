"""Draw what models explain alone and share."""

from ipcl_core.logs import start_log
from ipcl_core.records import record_job
from ipcl_core.report.figures.encoding import draw_figure_partitions

start_log(snakemake.log[0])
draw_figure_partitions(
    snakemake.input.table,
    snakemake.input.partitions,
    brain=snakemake.wildcards.brain,
    title=snakemake.params.title,
    fdr=snakemake.params.fdr,
    **dict(snakemake.output.items()),
)
record_job(snakemake)
