"""Try a node: GPU, FFCV, disks."""

from ipcl_core.logs import start_log
from ipcl_core.records import record_job
from ipcl_core.training.check_node import check_node

start_log(snakemake.log[0])
check_node(
    snakemake.input.token,
    snakemake.output.report,
    gpu=bool(snakemake.resources.get("gpu")),
    scratch=snakemake.resources.get("scratch"),
    n_threads=snakemake.threads,
)
record_job(snakemake)
