"""
The claims of the paper's section 5, judged from this run's numbers; and numbers that others published, beside them.

NEEDS  <results>/table1.csv
       <results>/rsa/{brain}/{model}.csv
       <results>/rsm/{brain}/{model}.h5, encoding/{brain}/{model}.h5 of the models of `published`
MAKES  <results>/claims.csv, claims.md                    value, interval and verdict of each claim and region
       <results>/published.csv, published.md              published, measured, difference
"""


rule claims:
    input:
        table="<results>/table1.csv",
        fits=expand("<results>/rsa/{brain}/{model}.csv", brain=study.brains, model=available),
    output:
        claims=report("<results>/claims.csv", caption="../../docs/captions/claims.rst", category="Claims"),
        page=report("<results>/claims.md", caption="../../docs/captions/claims.rst", category="Claims"),
    log:
        "<logs>/claims.log",
    localrule: True
    conda:
        "../../envs/analysis.yaml"
    params:
        code=code_of("claims"),
        titles=study.titles,
    script:
        "../../workflow_scripts/claims.py"


rule compare_published:
    input:
        brains=expand("<results>/brain/{brain}/brain.h5", brain=list_published_brains()),
        rsms=list_published("rsm"),
        predictions=list_published("encoding"),
    output:
        table=report("<results>/published.csv", caption="../../docs/captions/published.rst", category="Claims"),
        page=report("<results>/published.md", caption="../../docs/captions/published.rst", category="Claims"),
    log:
        "<logs>/published.log",
    conda:
        "../../envs/torch.yaml"
    resources:
        mem_mb=grow(8000),
        runtime=30,
    params:
        code=code_of("compare_published"),
        brains=list_published_brains(),
        published=[row.model_dump() for row in study.published],
    script:
        "../../workflow_scripts/compare_published.py"
