"""Draw encoding beside RSA, layer by layer."""

from ipcl_core.logs import start_log
from ipcl_core.records import record_job
from ipcl_core.report.figures.encoding import draw_figure_encoding

start_log(snakemake.log[0])
files = snakemake.input
draw_figure_encoding(
    files.table,
    files.statistics,
    files.scores,
    ([files.rsa_best], [files.best]),
    files.ceilings,
    files.predictions,
    brain=snakemake.wildcards.brain,
    models=snakemake.params.models,
    title=snakemake.params.title,
    **dict(snakemake.output.items()),
)
record_job(snakemake)
