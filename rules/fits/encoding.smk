"""
Voxels predicted from layers, where the configuration's encoding asks for it (docs/encoding.md).

NEEDS  <results>/activations/{brain}/{model}.h5
       <results>/brain/{brain}/brain.h5 with voxel patterns
MAKES  <results>/encoding/{brain}/{model}.csv             every layer, region and participant: r, R2, veRSA, noise ceilings
       <results>/encoding/{brain}/{model}.h5              what the layers chosen on training stimuli predict
       <results>/encoding/{brain}/best_layers.csv, pairs.csv       beside held-out choices; every two models
       <results>/encoding/{brain}/partitions.csv          what the models of encoding.partitions explain alone and share
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
        encoding=study.encoding and study.encoding.model_dump(exclude={"partitions"}),
    script:
        "../../workflow_scripts/fit_encoding.py"


rule compare_encoding:
    input:
        scores=expand("<results>/encoding/{{brain}}/{model}.csv", model=available),
        predictions=expand("<results>/encoding/{{brain}}/{model}.h5", model=available),
        brain="<results>/brain/{brain}/brain.h5",
    output:
        best_layers="<results>/encoding/{brain}/best_layers.csv",
        pairs="<results>/encoding/{brain}/pairs.csv",
    log:
        "<logs>/encoding/{brain}/compare_encoding.log",
    benchmark:
        "<benchmarks>/encoding/{brain}/compare_encoding.tsv"
    wildcard_constraints:
        brain=match_any(study.encoded),
    conda:
        "../../envs/torch.yaml"
    resources:
        mem_mb=grow(8000),
        runtime=60,
    params:
        code=code_of("compare_encoding"),
        models=list(available),
        n_bootstrap=study.statistics.n_bootstrap,
        seed=study.statistics.seed,
        fdr=study.statistics.fdr,
    script:
        "../../workflow_scripts/compare_encoding.py"


rule partition_models:
    input:
        activations=expand("<results>/activations/{{brain}}/{model}.h5", model=study.partitioned),
        predictions=expand("<results>/encoding/{{brain}}/{model}.h5", model=study.partitioned),
        rsms=expand("<results>/rsm/{{brain}}/{model}.h5", model=study.partitioned),
        brain="<results>/brain/{brain}/brain.h5",
        categories=get_categories,
    output:
        partitions="<results>/encoding/{brain}/partitions.csv",
    log:
        "<logs>/encoding/{brain}/partition_models.log",
    benchmark:
        "<benchmarks>/encoding/{brain}/partition_models.tsv"
    wildcard_constraints:
        brain=match_any(study.encoded if study.partitioned else []),
    conda:
        "../../envs/torch.yaml"
    resources:
        mem_mb=grow(8000),
        runtime=60,
    params:
        code=code_of("partition_models"),
        sets=study.encoding.partitions if study.encoding else [],
        categories=describe_categories,
        encoding=study.encoding
        and study.encoding.model_dump(include={"penalties", "standardize", "projection", "seed"}),
        fdr=study.statistics.fdr,
        n_bootstrap=study.statistics.n_bootstrap,
    script:
        "../../workflow_scripts/partition_models.py"
