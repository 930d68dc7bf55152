"""Draw figure 2."""

from ipcl_core.figures import draw_figure2
from ipcl_core.logs import start_log

start_log(snakemake.log[0])
draw_figure2(
    snakemake.input.table,
    dict(zip(snakemake.params.models, snakemake.input.fits, strict=True)),
    snakemake.input.ceilings,
    brain=snakemake.wildcards.brain,
    title=snakemake.params.title,
    models=snakemake.params.shown,
    svg=snakemake.output.svg,
    png=snakemake.output.png,
)
