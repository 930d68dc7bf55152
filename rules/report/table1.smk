"""
Table 1.

NEEDS  <results>/accuracy/{dataset}/{model}.csv
       <results>/rsa/{brain}/{model}.csv
       <results>/statistics/{brain}/noise_ceilings.csv
MAKES  <results>/table1.{csv,tex,html}                    one row a model and brain data set, beside the published numbers
"""


rule table1:
    input:
        accuracies=[f"<results>/accuracy/{model.dataset}/{name}.csv" for name, model in measured.items()],
        fits=expand("<results>/rsa/{brain}/{model}.csv", brain=study.brains, model=available),
        ceilings=expand("<results>/statistics/{brain}/noise_ceilings.csv", brain=study.brains),
    output:
        table=report(
            "<results>/table1.csv",
            caption="../../docs/captions/table1.rst",
            category="Table 1",
        ),
        tex="<results>/table1.tex",
        page=report(
            "<results>/table1.html",
            caption="../../docs/captions/table1.rst",
            category="Table 1",
        ),
    log:
        "<logs>/table1.log",
    localrule: True
    conda:
        "../../envs/analysis.yaml"
    params:
        code=code_of("table1"),
        models=dump(study.models),
        brains=dump(study.brains),
        accuracy=study.accuracy,
    script:
        "../../workflow_scripts/table1.py"
