"""Write the page to explore the study with."""

from ipcl_core.logs import start_log
from ipcl_core.provenance import record_job
from ipcl_core.report.explorer import write_explorer

start_log(snakemake.log[0])
files, settings = snakemake.input, dict(snakemake.params.items())
available = [name for name, model in settings["models"].items() if model["origin"] != "unavailable"]
rsms, titles = iter(files.rsms), settings.pop("brains")
write_explorer(
    snakemake.output.page,
    **settings,
    brains=[
        {"brain": brain, "title": title, "file": file, "stimuli": stimuli, "ceilings": ceilings}
        | {"rsms": {name: next(rsms) for name in available}}
        for (brain, title), file, stimuli, ceilings in zip(
            titles.items(), files.brains, files.stimuli, files.ceilings, strict=True
        )
    ],
    table=files.table,
    statistics=files.statistics,
    accuracies=dict(zip(available, files.accuracies, strict=True)),
)
record_job(snakemake)
