"""Find what would end a training for good before it starts."""

from pathlib import Path

from ipcl_core.accuracy.check_accuracy import check_accuracy
from ipcl_core.config import load_config
from ipcl_core.files import read_json
from ipcl_core.logs import start_log
from ipcl_core.records import record_job
from ipcl_core.training.check_training import check_training

start_log(snakemake.log[0])
study, summary = load_config(snakemake.config), read_json(snakemake.input.summary)
for check in (check_training, check_accuracy):
    check(study, snakemake.wildcards.model, n_images=summary["n_images"], n_classes=len(summary["classes"]))
Path(snakemake.output.checked).touch()
record_job(snakemake, kept=False)
