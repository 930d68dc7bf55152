"""Measure category accuracy from embeddings, in as many processes as the job has GPUs."""

from ipcl_core.accuracy.measure import measure_accuracies
from ipcl_core.distributed import launch_job
from ipcl_core.logs import start_log
from ipcl_core.records import record_job

start_log(snakemake.log[0])
params = snakemake.params
launch_job(
    snakemake,
    measure_accuracies,
    embeddings=snakemake.input.embeddings,
    summary=snakemake.input.summary,
    accuracy=snakemake.output.accuracy,
    probes=snakemake.input.get("probes") or None,
    **dict(snakemake.wildcards.items()),
    k=params.k,
    tau=params.tau,
    l_bfgs=params.l_bfgs,
    protocols=params.protocols,
)
record_job(snakemake)
