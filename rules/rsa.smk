"""
Model RSMs against brain RSMs, and Table 1.

NEEDS  <results>/rsm/{brain}/{model}.h5
       <results>/brain/{brain}/brain.h5
       <results>/statistics/{brain}/noise_ceilings.csv
       <results>/accuracy/{dataset}/{model}.csv
MAKES  <results>/rsa/{brain}/{model}.csv                  r of every layer with every region, group and participants
       <results>/table1.{csv,tex,html}                    one row a model and brain data set, beside the published numbers
"""


rule fit_layers:
    input:
        code=[f"{PACKAGE}/{name}.py" for name in ("rsa/similarity", "fits/fit_layers")],
        rsms="<results>/rsm/{brain}/{model}.h5",
        brain="<results>/brain/{brain}/brain.h5",
    output:
        fits="<results>/rsa/{brain}/{model}.csv",
    log:
        "<logs>/rsa/{brain}/{model}.log",
    conda:
        "../envs/analysis.yaml"
    resources:
        mem_mb=grow(2000),
        runtime=15,
    script:
        "../workflow_scripts/fit_layers.py"


rule table1:
    input:
        code=[
            f"{PACKAGE}/{name}"
            for name in ("rsa/similarity.py", "report/table1.py", "fits/fit_layers.py", "data/published_table1.csv")
        ],
        accuracies=[f"<results>/accuracy/{model.dataset}/{name}.csv" for name, model in available.items()],
        fits=expand("<results>/rsa/{brain}/{model}.csv", brain=study.brains, model=available),
        ceilings=expand("<results>/statistics/{brain}/noise_ceilings.csv", brain=study.brains),
    output:
        table=report(
            "<results>/table1.csv",
            caption="../docs/captions/table1.rst",
            category="Table 1",
        ),
        tex="<results>/table1.tex",
        page=report(
            "<results>/table1.html",
            caption="../docs/captions/table1.rst",
            category="Table 1",
        ),
    log:
        "<logs>/table1.log",
    localrule: True
    conda:
        "../envs/analysis.yaml"
    params:
        models=config["models"],
        brains=config["brains"],
    script:
        "../workflow_scripts/table1.py"
