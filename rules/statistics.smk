"""
How sure the fits are: intervals, p-values, held-out best layers, pairs of models, named noise ceilings (docs/statistics.md).

NEEDS  <results>/rsm/{brain}/{model}.h5
       <results>/brain/{brain}/brain.h5; weighting/{brain}/{model}.csv where statistics.weighting is set
MAKES  <results>/statistics/{brain}/{model}.csv           every layer and region: r, intervals, p
       <results>/statistics.csv                           the same of all models and brains, with q
       <results>/statistics/{brain}/best_layers.csv, pairs.csv     beside held-out choices; every two models
       <results>/statistics/{brain}/noise_ceilings.csv    four kinds
       <results>/figures/{brain}/pairs.{svg,png,pdf}      who beats whom
"""

STATISTICS = [f"{PACKAGE}/{name}.py" for name in ("rsa/inference", "rsa/similarity", "fits/statistics")]


rule measure_layers:
    input:
        code=STATISTICS,
        rsms="<results>/rsm/{brain}/{model}.h5",
        brain="<results>/brain/{brain}/brain.h5",
    output:
        layers="<results>/statistics/{brain}/{model}.csv",
    log:
        "<logs>/statistics/{brain}/{model}.log",
    benchmark:
        "<benchmarks>/statistics/{brain}/{model}.tsv"
    conda:
        "../envs/analysis.yaml"
    resources:
        mem_mb=grow(4000),
        runtime=30,
    params:
        comparators=lookup("statistics/comparators", within=config),
        distances=lookup("statistics/distances", within=config),
        n_bootstrap=lookup("statistics/n_bootstrap", within=config),
        n_permutations=lookup("statistics/n_permutations", within=config),
        seed=lookup("statistics/seed", within=config),
    script:
        "../workflow_scripts/make_statistics.py"


rule compare_models:
    input:
        code=STATISTICS,
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
        "../envs/analysis.yaml"
    resources:
        mem_mb=grow(4000),
        runtime=30,
    params:
        models=list(available),
        n_bootstrap=lookup("statistics/n_bootstrap", within=config),
        n_splits=lookup("statistics/n_splits", within=config),
        seed=lookup("statistics/seed", within=config),
        fdr=lookup("statistics/fdr", within=config),
    script:
        "../workflow_scripts/make_statistics.py"


rule measure_noise_ceilings:
    input:
        code=STATISTICS,
        brain="<results>/brain/{brain}/brain.h5",
    output:
        ceilings="<results>/statistics/{brain}/noise_ceilings.csv",
    log:
        "<logs>/statistics/{brain}/noise_ceilings.log",
    localrule: True
    conda:
        "../envs/analysis.yaml"
    params:
        distances=lookup("statistics/distances", within=config),
        n_splits=lookup("noise_ceiling/n_splits", within=config),
        seed=lookup("noise_ceiling/seed", within=config),
    script:
        "../workflow_scripts/make_statistics.py"


rule join_layers:
    input:
        code=STATISTICS,
        layers=expand("<results>/statistics/{brain}/{model}.csv", brain=study.brains, model=available),
    output:
        statistics=report("<results>/statistics.csv", caption="../docs/captions/statistics.rst", category="Inference"),
    log:
        "<logs>/statistics.log",
    localrule: True
    conda:
        "../envs/analysis.yaml"
    params:
        brains=list(study.brains),
        models=list(available),
        fdr=lookup("statistics/fdr", within=config),
    script:
        "../workflow_scripts/make_statistics.py"


rule figure_pairs:
    input:
        code=[f"{PACKAGE}/report/figures/{name}.py" for name in ("pairs", "style")],
        pairs="<results>/statistics/{brain}/pairs.csv",
    output:
        svg=report(
            "<results>/figures/{brain}/pairs.svg",
            caption="../docs/captions/pairs.rst",
            category="Inference",
            subcategory="{brain}",
        ),
        png="<results>/figures/{brain}/pairs.png",
        pdf="<results>/figures/{brain}/pairs.pdf",
    log:
        "<logs>/figures/{brain}/pairs.log",
    localrule: True
    conda:
        "../envs/analysis.yaml"
    params:
        title=lookup("brains/{brain}/title", within=config),
        fdr=lookup("statistics/fdr", within=config),
    script:
        "../workflow_scripts/draw_figure.py"
