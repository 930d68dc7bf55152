"""Draw supplementary figure 1: the stimuli."""

from ipcl_core.figures import draw_stimuli
from ipcl_core.logs import start_log

start_log(snakemake.log[0])
draw_stimuli(snakemake.input.stimuli, title=snakemake.params.title, svg=snakemake.output.svg, png=snakemake.output.png)
