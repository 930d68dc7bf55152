"""Draw figure 3."""

from ipcl_core.figures import draw_figure3
from ipcl_core.logs import start_log

start_log(snakemake.log[0])
draw_figure3(
    snakemake.input.table,
    snakemake.input.ceilings,
    brain=snakemake.wildcards.brain,
    title=snakemake.params.title,
    svg=snakemake.output.svg,
    png=snakemake.output.png,
)
