"""
Weighted layers, where the configuration's statistics.weighting asks for them.

NEEDS  <results>/rsm/{brain}/{model}.h5
       <results>/brain/{brain}/brain.h5
MAKES  <results>/weighting/{brain}/{model}.csv            r of weighted layers on held-out stimuli, one row a region
"""


rule weigh_layers:
    input:
        rsms="<results>/rsm/{brain}/{model}.h5",
        brain="<results>/brain/{brain}/brain.h5",
    output:
        weighted="<results>/weighting/{brain}/{model}.csv",
    log:
        "<logs>/weighting/{brain}/{model}.log",
    benchmark:
        "<benchmarks>/weighting/{brain}/{model}.tsv"
    conda:
        "../../envs/analysis.yaml"
    resources:
        mem_mb=grow(8000),
        runtime=60,
    params:
        code=code_of("weigh_layers"),
        weighting=study.statistics.weighting and study.statistics.weighting.model_dump(),
    script:
        "../../workflow_scripts/weigh_layers.py"
