"""
The paper's figures of numbers, each from tables alone.

NEEDS  <results>/table1.csv
       <results>/rsa/{brain}/{model}.csv
       <results>/statistics/{brain}/pairs.csv
MAKES  <results>/figures/{brain}/figure2.{svg,png,pdf}    layer curves of selected models, bars of best layers
       <results>/figures/{brain}/figure3.{svg,png,pdf}    top-1 accuracy against best r
       <results>/figures/{brain}/layers.{svg,png,pdf}     supplementary figure 2: layer curves of all models
       <results>/figures/{brain}/pairs.{svg,png,pdf}      who beats whom
"""


rule figure2:
    input:
        table="<results>/table1.csv",
        fits=expand("<results>/rsa/{{brain}}/{model}.csv", model=available),
    output:
        svg=report(
            "<results>/figures/{brain}/figure2.svg",
            caption="../../docs/captions/figure2.rst",
            category="Figures",
            subcategory="{brain}",
        ),
        png="<results>/figures/{brain}/figure2.png",
        pdf="<results>/figures/{brain}/figure2.pdf",
    log:
        "<logs>/figures/{brain}/figure2.log",
    localrule: True
    conda:
        "../../envs/analysis.yaml"
    params:
        code=code_of("figure2"),
        models=[name for name in study.figure2_models if name in available],
        title=get_title,
    script:
        "../../workflow_scripts/figure2.py"


rule figure3:
    input:
        table="<results>/table1.csv",
    output:
        svg=report(
            "<results>/figures/{brain}/figure3.svg",
            caption="../../docs/captions/figure3.rst",
            category="Figures",
            subcategory="{brain}",
        ),
        png="<results>/figures/{brain}/figure3.png",
        pdf="<results>/figures/{brain}/figure3.pdf",
    log:
        "<logs>/figures/{brain}/figure3.log",
    localrule: True
    conda:
        "../../envs/analysis.yaml"
    params:
        code=code_of("figure3"),
        title=get_title,
    script:
        "../../workflow_scripts/figure3.py"


rule figure_layers:
    input:
        table="<results>/table1.csv",
        fits=expand("<results>/rsa/{{brain}}/{model}.csv", model=available),
    output:
        svg=report(
            "<results>/figures/{brain}/layers.svg",
            caption="../../docs/captions/layers.rst",
            category="Figures",
            subcategory="{brain}",
        ),
        png="<results>/figures/{brain}/layers.png",
        pdf="<results>/figures/{brain}/layers.pdf",
    log:
        "<logs>/figures/{brain}/layers.log",
    localrule: True
    conda:
        "../../envs/analysis.yaml"
    params:
        code=code_of("figure_layers"),
        title=get_title,
    script:
        "../../workflow_scripts/figure_layers.py"


rule figure_pairs:
    input:
        pairs="<results>/statistics/{brain}/pairs.csv",
    output:
        svg=report(
            "<results>/figures/{brain}/pairs.svg",
            caption="../../docs/captions/pairs.rst",
            category="Inference",
            subcategory="{brain}",
        ),
        png="<results>/figures/{brain}/pairs.png",
        pdf="<results>/figures/{brain}/pairs.pdf",
    log:
        "<logs>/figures/{brain}/pairs.log",
    localrule: True
    conda:
        "../../envs/analysis.yaml"
    params:
        code=code_of("figure_pairs"),
        title=get_title,
        fdr=study.statistics.fdr,
    script:
        "../../workflow_scripts/figure_pairs.py"
