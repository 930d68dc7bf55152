"""
Networks of the user's own, or of a library: built, tried on two pictures, written as all others are. docs/own_model.md.

NEEDS  the user's module or state dict
MAKES  <results>/models/{model}/weights.safetensors       weights, architecture and preprocessing
       <results>/models/{model}/provenance.json           what it was made from, commit, versions, hardware
"""

from ipcl_core.networks.own_builders import find_files


rule make_own_model:
    input:
        files=get_own_files,
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
