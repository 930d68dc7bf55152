"""Draw figure 1."""

from ipcl_core.config import Recipe
from ipcl_core.logs import start_log
from ipcl_core.records import record_job
from ipcl_core.report.figures.schematic import draw_figure1

start_log(snakemake.log[0])
model, recipe = snakemake.params.model, Recipe.model_validate(snakemake.params.recipe)
draw_figure1(
    snakemake.input.beton,
    architecture=model["architecture"],
    dim=model["dim"],
    n_views=recipe.objective.n_views,
    queue_size=recipe.objective.queue_size,
    queue=recipe.objective.queue,
    augmentation=recipe.augmentation,
    seed=model["seed"],
    **dict(snakemake.output.items()),
)
record_job(snakemake)
