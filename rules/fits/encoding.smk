"""
Voxels predicted from layers, where the configuration's encoding asks for it (docs/encoding.md).

NEEDS  <results>/activations/{brain}/{model}.h5
       <results>/brain/{brain}/brain.h5 with voxel patterns
MAKES  <results>/encoding/{brain}/{model}.csv             every layer, region and participant: r, R2, veRSA, noise ceilings
       <results>/encoding/{brain}/{model}.h5              what the layer chosen on training stimuli predicts
"""


rule fit_encoding:
    input:
        activations="<results>/activations/{brain}/{model}.h5",
        brain="<results>/brain/{brain}/brain.h5",
        folds=get_folds,
    output:
        scores="<results>/encoding/{brain}/{model}.csv",
        predictions="<results>/encoding/{brain}/{model}.h5",
    log:
        "<logs>/encoding/{brain}/{model}.log",
    benchmark:
        "<benchmarks>/encoding/{brain}/{model}.tsv"
    wildcard_constraints:
        brain=match_any(study.encoded),
    conda:
        "../../envs/torch.yaml"
    threads: 2
    resources:
        mem_mb=grow(8000),
        runtime=60,
    params:
        code=code_of("fit_encoding"),
        encoding=study.encoding and study.encoding.model_dump(),
    script:
        "../../workflow_scripts/fit_encoding.py"
