"""Convert one split of a data set to .beton."""

from ipcl_core.datasets import convert_split
from ipcl_core.logs import start_log

if __name__ == "__main__":  # worker processes import this file
    start_log(snakemake.log[0])
    dataset, split = snakemake.params.dataset, snakemake.wildcards.split
    folder = f"{snakemake.input[0]}/{split}" if snakemake.input else dataset[split]
    convert_split(
        folder,
        snakemake.output.beton,
        snakemake.output.manifest,
        snakemake.output.summary,
        **dataset["storage"],
        on_corrupt=dataset["on_corrupt"],
        n_workers=snakemake.threads,
    )
