"""Measure category accuracy from embeddings."""

from ipcl_core.accuracy import measure_accuracies
from ipcl_core.config import LBFGSProbe
from ipcl_core.logs import start_log
from ipcl_core.provenance import record_job

start_log(snakemake.log[0])
measure_accuracies(
    snakemake.input.embeddings,
    snakemake.input.summary,
    snakemake.output.accuracy,
    probes=snakemake.input.get("probes"),
    k=snakemake.params.k,
    tau=snakemake.params.tau,
    l_bfgs=LBFGSProbe(**snakemake.params.l_bfgs),
    protocols=snakemake.params.protocols,
    n_threads=snakemake.threads,
)
record_job(snakemake)
