"""Draw supplementary figure 2: the layer curves of all models."""

from ipcl_core.figures import draw_layers
from ipcl_core.logs import start_log

start_log(snakemake.log[0])
draw_layers(
    snakemake.input.table,
    dict(zip(snakemake.params.models, snakemake.input.fits, strict=True)),
    snakemake.input.ceilings,
    brain=snakemake.wildcards.brain,
    title=snakemake.params.title,
    svg=snakemake.output.svg,
    png=snakemake.output.png,
)
