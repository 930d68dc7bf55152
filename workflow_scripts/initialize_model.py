"""Write a network with its initial weights."""

from ipcl_core.files import write_json
from ipcl_core.logs import start_log
from ipcl_core.networks.architectures import NetworkSpec, initialize_network
from ipcl_core.networks.network_files import save_network
from ipcl_core.records import record_job

start_log(snakemake.log[0])
model = snakemake.params.model
spec = NetworkSpec.from_model(model)
save_network(initialize_network(spec, model["seed"]), spec, snakemake.output.weights)
write_json({"network": spec.model_dump(), "seed": model["seed"]}, snakemake.output.provenance)
record_job(snakemake)
