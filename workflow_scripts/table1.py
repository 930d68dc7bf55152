"""Write Table 1."""

from ipcl_core.logs import start_log
from ipcl_core.tables import make_table1

start_log(snakemake.log[0])
models, fits = snakemake.params.models, iter(snakemake.input.fits)
available = [name for name, model in models.items() if model["origin"] != "unavailable"]
accuracies = dict(zip(available, snakemake.input.accuracies, strict=True))
make_table1(
    [{"model": name, "accuracy": accuracies.get(name), **model} for name, model in models.items()],
    [
        {"brain": brain, "ceilings": ceilings, "fits": {name: next(fits) for name in available}}
        for brain, ceilings in zip(snakemake.params.brains, snakemake.input.ceilings, strict=True)
    ],
    snakemake.output.table,
)
