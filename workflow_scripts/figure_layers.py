"""Draw supplementary figure 2."""

from ipcl_core.logs import start_log
from ipcl_core.records import record_job
from ipcl_core.report.figures.layers import draw_figure_layers

start_log(snakemake.log[0])
draw_figure_layers(
    snakemake.input.table,
    snakemake.input.fits,
    brain=snakemake.wildcards.brain,
    title=snakemake.params.title,
    **dict(snakemake.output.items()),
)
record_job(snakemake)
