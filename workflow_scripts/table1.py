"""Write Table 1."""

from ipcl_core.logs import start_log
from ipcl_core.tables import make_table1

start_log(snakemake.log[0])
models, fits = snakemake.params.models, iter(snakemake.input.fits)
make_table1(
    [
        {"model": name, "accuracy": accuracy, **model}
        for (name, model), accuracy in zip(models.items(), snakemake.input.accuracies, strict=True)
    ],
    [
        {"brain": brain, "ceilings": ceilings, "fits": {name: next(fits) for name in models}}
        for brain, ceilings in zip(snakemake.params.brains, snakemake.input.ceilings, strict=True)
    ],
    snakemake.output.table,
)
