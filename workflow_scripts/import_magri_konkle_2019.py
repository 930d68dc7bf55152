"""Import the 72 objects of Magri and Konkle 2019."""

from ipcl_core.brains.published import import_magri_konkle_2019
from ipcl_core.config import MagriKonkle2019
from ipcl_core.logs import start_log
from ipcl_core.records import record_job

start_log(snakemake.log[0])
brain = snakemake.params.brain
places = {key: getattr(snakemake.input, key) or brain[key] for key in ("betas", "stimuli")}
import_magri_konkle_2019(
    MagriKonkle2019.model_construct(**brain | places), snakemake.output.stimuli, snakemake.output.brain
)
record_job(snakemake, *(set(places.values()) - set(snakemake.input)))
