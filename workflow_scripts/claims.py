"""Judge the claims of section 5."""

from ipcl_core.logs import start_log
from ipcl_core.provenance import record_job
from ipcl_core.report.claims import write_claims

start_log(snakemake.log[0])
brains, fits = snakemake.params.brains, iter(snakemake.input.fits)
n_models = len(snakemake.input.fits) // len(brains)
write_claims(
    snakemake.input.table,
    [
        {"brain": brain, "title": block["title"], "fits": [next(fits) for _ in range(n_models)]}
        for brain, block in brains.items()
    ],
    snakemake.output.claims,
    snakemake.output.page,
)
record_job(snakemake)
