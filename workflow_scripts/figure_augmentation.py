"""Draw the contact sheet of augmented views."""

from ipcl_core.logs import start_log
from ipcl_core.records import record_job
from ipcl_core.report.figures.augmentation import draw_figure_augmentation

start_log(snakemake.log[0])
draw_figure_augmentation(
    snakemake.input.beton,
    policies=snakemake.params.policies,
    seed=0,
    title=f"Augmented views of {snakemake.wildcards.dataset}",
    **dict(snakemake.output.items()),
)
record_job(snakemake)
