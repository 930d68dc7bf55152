"""Import the Natural Scenes Dataset."""

from ipcl_core.brains.nsd import import_nsd
from ipcl_core.logs import start_log
from ipcl_core.records import record_job

start_log(snakemake.log[0])
brain = snakemake.params.brain
import_nsd(
    brain["folder"],
    brain["participants"],
    brain["regions"],
    snakemake.output.stimuli,
    snakemake.output.brain,
    min_ncsnr=brain["min_ncsnr"],
    min_voxels=brain["min_voxels"],
    halves=brain["halves"],
)
# the betas are too large to be hashed
record_job(snakemake, f"{brain['folder']}/nsddata/experiments/nsd/nsd_expdesign.mat")
