"""
Networks trained here.

NEEDS  <results>/data/{dataset}/train.beton
MAKES  <results>/models/{model}/checked                   empty: nothing was found that would end the training for good
       <results>/models/{model}/weights.safetensors       weights, architecture and preprocessing
       <results>/models/{model}/log.csv                   loss (mean since the last row), speed, spread of the embeddings
       <results>/models/{model}/provenance.json           recipe, seed, data

A training that was interrupted goes on from <results>/models/{model}/checkpoint.pt, which is no declared output. On a
signal to end it writes that checkpoint and exits with 75 (try again), a failure that `retries` answers.

What a training wrote stays in <results>/models/{model}/finished too, no declared output either, and is taken back where the
job is repeated for the same training: its data were written anew, with the same content.
"""


rule check_training:
    input:
        summary=get_training_file("json"),
    output:
        checked=temp("<results>/models/{model}/checked"),
    log:
        "<logs>/models/{model}.check.log",
    wildcard_constraints:
        model=match_any(list_trained()),
    # before its training starts; what is found here, no retry would help
    priority: 100
    retries: 0
    localrule: True
    conda:
        "../envs/torch.yaml"
    # no params: such as have changed would make this job, and the training behind it, run again
    script:
        "../workflow_scripts/check_training.py"


rule train_model:
    input:
        checked="<results>/models/{model}/checked",
        beton=get_training_file("beton"),
        summary=get_training_file("json"),
    output:
        weights="<results>/models/{model}/weights.safetensors",
        log="<results>/models/{model}/log.csv",
        provenance="<results>/models/{model}/provenance.json",
    log:
        "<logs>/models/{model}.log",
    benchmark:
        "<benchmarks>/models/{model}.tsv"
    wildcard_constraints:
        model=match_any(list_trained()),
    retries: 30  # each goes on from the last checkpoint
    conda:
        "../envs/torch.yaml"
    threads: 16
    resources:
        gpu=1,
        mem_mb=64000,
        runtime=1440,
    params:
        model=get_network,
        recipe=get_recipe,  # what makes the training run again; the job reads the whole recipe
    script:
        "../workflow_scripts/train_model.py"
