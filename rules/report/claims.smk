"""
The claims of the paper's section 5, judged from this run's numbers.

NEEDS  <results>/table1.csv
       <results>/rsa/{brain}/{model}.csv
MAKES  <results>/claims.csv, claims.md                    value, interval and verdict of each claim and region
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
        titles={name: brain.title for name, brain in study.brains.items()},
    script:
        "../../workflow_scripts/claims.py"
