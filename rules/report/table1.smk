"""
Table 1, and where encoding is asked for, its sibling.

NEEDS  <results>/accuracy/{dataset}/{model}.csv
       <results>/rsa/{brain}/{model}.csv
       <results>/statistics/{brain}/noise_ceilings.csv
MAKES  <results>/table1.{csv,tex,html}                    one row a model and brain data set, beside the published numbers
       <results>/table_encoding.{csv,tex,html}            the rows of brains with encoding: RSA, encoding, veRSA, held out
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


rule table_encoding:
    input:
        table="<results>/table1.csv",
        statistics=expand("<results>/statistics/{brain}/best_layers.csv", brain=study.encoded),
        encoding=expand("<results>/encoding/{brain}/best_layers.csv", brain=study.encoded),
        ceilings=expand("<results>/statistics/{brain}/noise_ceilings.csv", brain=study.encoded),
        predictions=expand("<results>/encoding/{brain}/{model}.h5", brain=study.encoded, model=list(available)[0]),
    output:
        table=report(
            "<results>/table_encoding.csv",
            caption="../../docs/captions/table_encoding.rst",
            category="Encoding",
        ),
        tex="<results>/table_encoding.tex",
        page=report(
            "<results>/table_encoding.html",
            caption="../../docs/captions/table_encoding.rst",
            category="Encoding",
        ),
    log:
        "<logs>/table_encoding.log",
    localrule: True
    conda:
        "../../envs/analysis.yaml"
    params:
        code=code_of("table_encoding"),
        titles={name: study.brains[name].title for name in study.encoded},
    script:
        "../../workflow_scripts/table_encoding.py"
