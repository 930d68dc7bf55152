"""Convert somebody else's weights."""

from ipcl_core.files import compute_sha256, write_json
from ipcl_core.logs import start_log
from ipcl_core.networks.published_weights import convert_weights
from ipcl_core.records import record_job

start_log(snakemake.log[0])
model, file = snakemake.params.model, snakemake.input.weights
spec = convert_weights(file, model, snakemake.output.weights)
origin = model["weights"] | {"sha256": compute_sha256(file)}
write_json({"network": spec.model_dump(), "origin": origin}, snakemake.output.provenance)
record_job(snakemake)
