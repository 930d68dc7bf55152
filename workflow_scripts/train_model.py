"""Train one network, in as many processes as the job has GPUs; unless the same training has finished before."""

from ipcl_core.accuracy.check_accuracy import check_accuracy
from ipcl_core.config import load_config
from ipcl_core.distributed import launch_job
from ipcl_core.files import read_json
from ipcl_core.logs import start_log
from ipcl_core.networks.architectures import NetworkSpec
from ipcl_core.records import record_job
from ipcl_core.training.check_training import check_training
from ipcl_core.training.finished import keep, take_back
from ipcl_core.training.state import describe_training
from ipcl_core.training.train import train_network

start_log(snakemake.log[0])
study, model = load_config(snakemake.config), snakemake.params.model
summary = read_json(snakemake.input.summary)
n_classes = len(summary["classes"])
# again: after an interruption the configuration may be another, and the file that `check_training` left is still there
for check in (check_training, check_accuracy):
    check(study, snakemake.wildcards.model, n_images=summary["n_images"], n_classes=n_classes)
spec = NetworkSpec.from_model(model, n_classes=n_classes)
recipe = study.recipes[study.models[snakemake.wildcards.model].recipe]
fingerprint = describe_training(spec, recipe, model["seed"], summary["sha256"])
again = take_back(snakemake.output, fingerprint)
if not again:
    launch_job(
        snakemake,
        train_network,
        spec=spec.model_dump(),
        recipe=recipe.model_dump(),
        seed=model["seed"],
        beton=snakemake.input.beton,
        data_sha256=summary["sha256"],
        scratch=snakemake.resources.get("scratch"),
        **dict(snakemake.output.items()),
    )
    keep(snakemake.output, fingerprint)
record_job(snakemake, again=again)
