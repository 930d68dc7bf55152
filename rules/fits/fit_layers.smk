"""
Model RSMs against brain RSMs.

NEEDS  <results>/activations/{brain}/{model}.h5
       <results>/brain/{brain}/brain.h5
MAKES  <results>/rsm/{brain}/{model}.h5                   one RSM a layer
       <results>/rsa/{brain}/{model}.csv                  r of every layer with every region, group and participants
"""


rule make_rsms:
    input:
        activations="<results>/activations/{brain}/{model}.h5",
    output:
        rsms="<results>/rsm/{brain}/{model}.h5",
    log:
        "<logs>/rsm/{brain}/{model}.log",
    conda:
        "../../envs/analysis.yaml"
    resources:
        mem_mb=grow(8000),
        runtime=30,
    params:
        code=code_of("make_rsms"),
        distances=study.statistics.distances,
        averaged=get_averaged,
    script:
        "../../workflow_scripts/make_rsms.py"


rule fit_layers:
    input:
        rsms="<results>/rsm/{brain}/{model}.h5",
        brain="<results>/brain/{brain}/brain.h5",
    output:
        fits="<results>/rsa/{brain}/{model}.csv",
    log:
        "<logs>/rsa/{brain}/{model}.log",
    conda:
        "../../envs/analysis.yaml"
    resources:
        mem_mb=grow(2000),
        runtime=15,
    params:
        code=code_of("fit_layers"),
    script:
        "../../workflow_scripts/fit_layers.py"
