"""
Every layer's activations to the stimuli.

NEEDS  <results>/models/{model}/weights.safetensors
       <results>/brain/{brain}/stimuli
MAKES  <results>/activations/{brain}/{model}.h5           one dataset a layer; removed unless keep_activations is set
"""


rule extract_activations:
    input:
        weights="<results>/models/{model}/weights.safetensors",
        stimuli="<results>/brain/{brain}/stimuli",
    output:
        activations=keep_activations("<results>/activations/{brain}/{model}.h5"),
    log:
        "<logs>/activations/{brain}/{model}.log",
    benchmark:
        "<benchmarks>/activations/{brain}/{model}.tsv"
    conda:
        "../../envs/torch.yaml"
    threads: 2
    resources:
        gpu=1,
        mem_mb=grow(16000),
        runtime=30,
    params:
        layers=get_layers,
    script:
        "../../workflow_scripts/extract_activations.py"
