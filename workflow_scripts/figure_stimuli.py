"""Draw the stimuli."""

from ipcl_core.logs import start_log
from ipcl_core.records import record_job
from ipcl_core.report.figures.pictures import draw_figure_stimuli

start_log(snakemake.log[0])
draw_figure_stimuli(snakemake.input.stimuli, title=snakemake.params.title, **dict(snakemake.output.items()))
record_job(snakemake)
