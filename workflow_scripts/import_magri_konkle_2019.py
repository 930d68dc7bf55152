"""Import the 72 objects of Magri and Konkle 2019."""

from ipcl_core.brains.published import import_magri_konkle_2019
from ipcl_core.logs import start_log
from ipcl_core.records import record_job

start_log(snakemake.log[0])
brain = snakemake.params.brain
betas, stimuli = snakemake.input.betas or brain["betas"], snakemake.input.stimuli or brain["stimuli"]
import_magri_konkle_2019(
    betas,
    stimuli,
    brain["regions"],
    snakemake.output.stimuli,
    snakemake.output.brain,
    **{key: brain[key] for key in ("reliability_threshold", "min_voxels", "left_out", "background")},
)
record_job(snakemake, *({betas, stimuli} - set(snakemake.input)))
