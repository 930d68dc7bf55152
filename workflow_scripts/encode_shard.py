"""Encode one shard of a split's images."""

if __name__ == "__main__":  # worker processes import this file, and need nothing of it
    from ipcl_core.images.shards import encode_shard
    from ipcl_core.logs import start_log
    from ipcl_core.records import record_job

    start_log(snakemake.log[0])
    dataset, split = snakemake.params.dataset, snakemake.wildcards.split
    encode_shard(
        dataset[split] if split in dataset else f"{snakemake.input[0]}/{split}",
        snakemake.input.images,
        snakemake.output.stored,
        snakemake.output.table,
        shard=int(snakemake.wildcards.shard),
        n_shards=snakemake.params.n_shards,
        storage=dataset["storage"],
        on_corrupt=dataset["on_corrupt"],
        n_workers=snakemake.threads,
    )
    record_job(snakemake, kept=False)
