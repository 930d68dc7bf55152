"""
Category accuracy: features of both splits, then weighted kNN, softmax and linear probes, as each model names them.

NEEDS  <results>/models/{model}/weights.safetensors
       <results>/data/{dataset}/{train,val}.beton
MAKES  <results>/embeddings/{dataset}/{model}.h5          features of both splits, labelled
       <results>/probes/{dataset}/{model}.h5              logits of linear probes trained on augmented views
       <results>/accuracy/{dataset}/{model}.csv           one row a protocol and layer: top1, top5 in %, k, tau, n_bank, n_query;
                                                           headline marks the one that Table 1 prints
"""


rule embed_images:
    input:
        weights="<results>/models/{model}/weights.safetensors",
        train="<results>/data/{dataset}/train.beton",
        val="<results>/data/{dataset}/val.beton",
    output:
        embeddings="<results>/embeddings/{dataset}/{model}.h5",
    log:
        "<logs>/embeddings/{dataset}/{model}.log",
    benchmark:
        "<benchmarks>/embeddings/{dataset}/{model}.tsv"
    conda:
        "../envs/torch.yaml"
    threads: 16
    resources:
        gpu=1,
        mem_mb=grow(32000),
        runtime=240,
    params:
        layers=get_accuracy_layers,
        center_crop=get_center_crop,
        max_dim=study.knn.max_dim,
    script:
        "../workflow_scripts/embed_images.py"


rule train_probes:
    input:
        weights="<results>/models/{model}/weights.safetensors",
        train="<results>/data/{dataset}/train.beton",
        val="<results>/data/{dataset}/val.beton",
        summary="<results>/data/{dataset}/train.json",
    output:
        probes="<results>/probes/{dataset}/{model}.h5",
    log:
        "<logs>/probes/{dataset}/{model}.log",
    benchmark:
        "<benchmarks>/probes/{dataset}/{model}.tsv"
    conda:
        "../envs/torch.yaml"
    threads: 16
    resources:
        gpu=1,
        mem_mb=grow(32000),
        runtime=720,
    params:
        layers=get_accuracy_layers,
        center_crop=get_center_crop,
        max_dim=study.knn.max_dim,
        settings=study.probes.one_cycle.model_dump(),
    script:
        "../workflow_scripts/train_probes.py"


rule measure_accuracy:
    input:
        embeddings="<results>/embeddings/{dataset}/{model}.h5",
        summary="<results>/data/{dataset}/train.json",
        probes=get_probes,
    output:
        accuracy="<results>/accuracy/{dataset}/{model}.csv",
    log:
        "<logs>/accuracy/{dataset}/{model}.log",
    benchmark:
        "<benchmarks>/accuracy/{dataset}/{model}.tsv"
    conda:
        "../envs/torch.yaml"
    threads: 4
    resources:
        gpu=1,
        mem_mb=grow(32000),
        runtime=240,
    params:
        code=code_of("measure_accuracy"),
        k=study.knn.k,
        tau=study.knn.tau,
        l_bfgs=get_l_bfgs,
        protocols=get_protocols,
    script:
        "../workflow_scripts/measure_accuracy.py"
