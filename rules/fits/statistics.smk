"""
How sure the fits are: intervals, p-values, held-out best layers, pairs of models, named noise ceilings (docs/statistics.md).

NEEDS  <results>/rsm/{brain}/{model}.h5
       <results>/brain/{brain}/brain.h5; weighting/{brain}/{model}.csv where statistics.weighting is set
MAKES  <results>/statistics/{brain}/{model}.csv           every layer and region: r, intervals, p
       <results>/statistics.csv                           the same of all models and brains, with q
       <results>/statistics/{brain}/best_layers.csv, pairs.csv     beside held-out choices; every two models
       <results>/statistics/{brain}/noise_ceilings.csv    four kinds
"""


rule measure_layers:
    input:
        rsms="<results>/rsm/{brain}/{model}.h5",
        brain="<results>/brain/{brain}/brain.h5",
    output:
        layers="<results>/statistics/{brain}/{model}.csv",
    log:
        "<logs>/statistics/{brain}/{model}.log",
    benchmark:
        "<benchmarks>/statistics/{brain}/{model}.tsv"
    conda:
        "../../envs/analysis.yaml"
    resources:
        mem_mb=grow(4000),
        runtime=30,
    params:
        code=code_of("measure_layers"),
        comparators=study.statistics.comparators,
        distances=study.statistics.distances,
        n_bootstrap=study.statistics.n_bootstrap,
        n_permutations=study.statistics.n_permutations,
        seed=study.statistics.seed,
    script:
        "../../workflow_scripts/measure_layers.py"


rule compare_models:
    input:
        rsms=expand("<results>/rsm/{{brain}}/{model}.h5", model=available),
        weighted=list_weighted,
        brain="<results>/brain/{brain}/brain.h5",
    output:
        best_layers="<results>/statistics/{brain}/best_layers.csv",
        pairs="<results>/statistics/{brain}/pairs.csv",
    log:
        "<logs>/statistics/{brain}/compare_models.log",
    benchmark:
        "<benchmarks>/statistics/{brain}/compare_models.tsv"
    conda:
        "../../envs/analysis.yaml"
    resources:
        mem_mb=grow(4000),
        runtime=30,
    params:
        code=code_of("compare_models"),
        models=list(available),
        n_bootstrap=study.statistics.n_bootstrap,
        n_splits=study.statistics.n_splits,
        seed=study.statistics.seed,
        fdr=study.statistics.fdr,
    script:
        "../../workflow_scripts/compare_models.py"


rule measure_noise_ceilings:
    input:
        brain="<results>/brain/{brain}/brain.h5",
    output:
        ceilings="<results>/statistics/{brain}/noise_ceilings.csv",
    log:
        "<logs>/statistics/{brain}/noise_ceilings.log",
    localrule: True
    conda:
        "../../envs/analysis.yaml"
    params:
        code=code_of("measure_noise_ceilings"),
        distances=study.statistics.distances,
        n_splits=study.noise_ceiling.n_splits,
        seed=study.noise_ceiling.seed,
    script:
        "../../workflow_scripts/measure_noise_ceilings.py"


rule join_layers:
    input:
        layers=expand("<results>/statistics/{brain}/{model}.csv", brain=study.brains, model=available),
    output:
        statistics=report(
            "<results>/statistics.csv", caption="../../docs/captions/statistics.rst", category="Inference"
        ),
    log:
        "<logs>/statistics.log",
    localrule: True
    conda:
        "../../envs/analysis.yaml"
    params:
        code=code_of("join_layers"),
        brains=list(study.brains),
        models=list(available),
        fdr=study.statistics.fdr,
    script:
        "../../workflow_scripts/join_layers.py"
