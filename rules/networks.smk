"""
Networks that are not trained here: untrained, fetched, or the user's own (docs/own_model.md). All give the same artifact.

NEEDS  an address or package that the configuration names; for the user's own their module or state dict
MAKES  <results>/downloads/weights/{model}                somebody else's file, checked by its hash
       <results>/models/{model}/weights.safetensors       weights, architecture and preprocessing
       <results>/models/{model}/provenance.json           what it was made from
"""

from ipcl_core.networks.own_builders import find_files


rule initialize_model:
    output:
        weights="<results>/models/{model}/weights.safetensors",
        provenance="<results>/models/{model}/provenance.json",
    log:
        "<logs>/models/{model}.log",
    wildcard_constraints:
        model=match_any(list_from(available, "untrained")),
    conda:
        "../envs/torch.yaml"
    resources:
        mem_mb=grow(8000),
        runtime=15,
    params:
        model=get_network,
    script:
        "../workflow_scripts/initialize_model.py"


rule fetch_weights:
    output:
        weights="<results>/downloads/weights/{model}",
    log:
        "<logs>/downloads/weights/{model}.log",
    wildcard_constraints:
        model=match_any(list_fetched()),
    localrule: True
    conda:
        "../envs/torch.yaml"
    params:
        weights=get_weights,
    script:
        "../workflow_scripts/fetch_weights.py"


rule convert_weights:
    input:
        weights="<results>/downloads/weights/{model}",
    output:
        weights="<results>/models/{model}/weights.safetensors",
        provenance="<results>/models/{model}/provenance.json",
    log:
        "<logs>/models/{model}.log",
    wildcard_constraints:
        model=match_any(list_fetched()),
    conda:
        "../envs/torch.yaml"
    resources:
        mem_mb=grow(16000),
        runtime=30,
    params:
        model=get_network,
    script:
        "../workflow_scripts/convert_weights.py"


rule make_own_model:
    input:
        files=get_own_model_files,
    output:
        weights="<results>/models/{model}/weights.safetensors",
        provenance="<results>/models/{model}/provenance.json",
    log:
        "<logs>/models/{model}.log",
    wildcard_constraints:
        model=match_any(list_from(available, "own")),
    # a network that cannot be used is found before a training starts
    priority: 100
    conda:
        "../envs/torch.yaml"
    resources:
        mem_mb=grow(16000),
        runtime=30,
    params:
        model=get_network,  # what makes it be built again; the job reads the whole block
    script:
        "../workflow_scripts/make_own_model.py"
