"""
The paper's figures of numbers, each from tables alone.

NEEDS  <results>/table1.csv
       <results>/rsa/{brain}/{model}.csv
MAKES  <results>/figures/{brain}/figure2.{svg,png,pdf}    layer curves of selected models, bars of best layers
       <results>/figures/{brain}/figure3.{svg,png,pdf}    top-1 accuracy against best r
       <results>/figures/{brain}/layers.{svg,png,pdf}     supplementary figure 2: layer curves of all models

A rule is named after the function in ipcl_core/report/figures that draws it.
"""

CODE = [f"{PACKAGE}/report/figures/{name}.py" for name in ("accuracy", "layers", "style")]


rule figure2:
    input:
        code=CODE,
        table="<results>/table1.csv",
        fits=expand("<results>/rsa/{{brain}}/{model}.csv", model=available),
    output:
        svg=report(
            "<results>/figures/{brain}/figure2.svg",
            caption="../docs/captions/figure2.rst",
            category="Figures",
            subcategory="{brain}",
        ),
        png="<results>/figures/{brain}/figure2.png",
        pdf="<results>/figures/{brain}/figure2.pdf",
    log:
        "<logs>/figures/{brain}/figure2.log",
    localrule: True
    conda:
        "../envs/analysis.yaml"
    params:
        brain="{brain}",
        models=[name for name in study.figure2_models if name in available],
        title=lookup("brains/{brain}/title", within=config),
    script:
        "../workflow_scripts/draw_figure.py"


rule figure3:
    input:
        code=CODE,
        table="<results>/table1.csv",
    output:
        svg=report(
            "<results>/figures/{brain}/figure3.svg",
            caption="../docs/captions/figure3.rst",
            category="Figures",
            subcategory="{brain}",
        ),
        png="<results>/figures/{brain}/figure3.png",
        pdf="<results>/figures/{brain}/figure3.pdf",
    log:
        "<logs>/figures/{brain}/figure3.log",
    localrule: True
    conda:
        "../envs/analysis.yaml"
    params:
        brain="{brain}",
        title=lookup("brains/{brain}/title", within=config),
    script:
        "../workflow_scripts/draw_figure.py"


rule figure_layers:
    input:
        code=CODE,
        table="<results>/table1.csv",
        fits=expand("<results>/rsa/{{brain}}/{model}.csv", model=available),
    output:
        svg=report(
            "<results>/figures/{brain}/layers.svg",
            caption="../docs/captions/layers.rst",
            category="Figures",
            subcategory="{brain}",
        ),
        png="<results>/figures/{brain}/layers.png",
        pdf="<results>/figures/{brain}/layers.pdf",
    log:
        "<logs>/figures/{brain}/layers.log",
    localrule: True
    conda:
        "../envs/analysis.yaml"
    params:
        brain="{brain}",
        title=lookup("brains/{brain}/title", within=config),
    script:
        "../workflow_scripts/draw_figure.py"
