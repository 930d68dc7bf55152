"""Build a network of the user's own, or a library's, and try it."""

from ipcl_core.config import load_config
from ipcl_core.files import write_json
from ipcl_core.logs import start_log
from ipcl_core.networks.own_models import make_own_model
from ipcl_core.records import record_job

start_log(snakemake.log[0])
study, name = load_config(snakemake.config), snakemake.wildcards.model
model = study.models[name]
spec, origin = make_own_model(
    model.model_dump(),
    snakemake.output.weights,
    layers=model.layers,
    accuracy_layers=study.choose_accuracy_layers(name),
)
write_json({"network": spec.model_dump(), "origin": origin}, snakemake.output.provenance)
record_job(snakemake)
