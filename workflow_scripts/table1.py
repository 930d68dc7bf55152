"""Write Table 1 as CSV, LaTeX and HTML."""

from ipcl_core.logs import start_log
from ipcl_core.provenance import record_job
from ipcl_core.report.table1 import make_table1, print_table1

start_log(snakemake.log[0])
models, brains, fits = snakemake.params.models, snakemake.params.brains, iter(snakemake.input.fits)
available = [name for name, model in models.items() if model["origin"] != "unavailable"]
accuracies = dict(zip(available, snakemake.input.accuracies, strict=True))
make_table1(
    [{"model": name, "accuracy": accuracies.get(name), **model} for name, model in models.items()],
    [
        {"brain": brain, "source": block["source"], "ceilings": ceilings, "fits": {of: next(fits) for of in available}}
        for (brain, block), ceilings in zip(brains.items(), snakemake.input.ceilings, strict=True)
    ],
    snakemake.output.table,
)
titles = {brain: block["title"] for brain, block in brains.items()}
print_table1(snakemake.output.table, titles, tex=snakemake.output.tex, page=snakemake.output.page)
record_job(snakemake)
