"""
Category accuracy: embeddings of both splits, then the weighted kNN (and softmax for supervised models).

NEEDS  <results>/models/{model}/weights.safetensors
       <results>/data/{dataset}/{train,val}.beton
MAKES  <results>/embeddings/{dataset}/{model}.h5          both splits, labelled
       <results>/accuracy/{dataset}/{model}.csv           one row a protocol: top1, top5 in %, k, tau, n_bank, n_query;
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
        mem_mb=32000,
        runtime=240,
    params:
        layers=get_accuracy_layers,
        center_crop=lookup("knn/center_crop", within=config),
        max_dim=lookup("knn/max_dim", within=config),
    script:
        "../workflow_scripts/embed_images.py"


rule measure_accuracy:
    input:
        embeddings="<results>/embeddings/{dataset}/{model}.h5",
        summary="<results>/data/{dataset}/train.json",
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
        mem_mb=32000,
        runtime=60,
    params:
        k=lookup("knn/k", within=config),
        tau=lookup("knn/tau", within=config),
        protocols=get_protocols,
    script:
        "../workflow_scripts/measure_accuracy.py"
