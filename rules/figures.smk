"""
The paper's figures, each from tables alone.

NEEDS  <results>/table1.csv
       <results>/rsa/{brain}/{model}.csv
       <results>/brain/{brain}/noise_ceilings.csv, stimuli
MAKES  <results>/figures/{brain}/figure2.{svg,png}        layer curves of selected models, bars of best layers
       <results>/figures/{brain}/figure3.{svg,png}        top-1 accuracy against best r
       <results>/figures/{brain}/stimuli.{svg,png}        supplementary figure 1
       <results>/figures/{brain}/layers.{svg,png}         supplementary figure 2: layer curves of all models
"""


rule figure2:
    input:
        code=f"{workflow.basedir}/ipcl_core/figures.py",
        table="<results>/table1.csv",
        fits=expand("<results>/rsa/{{brain}}/{model}.csv", model=available),
        ceilings="<results>/brain/{brain}/noise_ceilings.csv",
    output:
        svg=report(
            "<results>/figures/{brain}/figure2.svg",
            caption="../docs/captions/figure2.rst",
            category="Figures",
            subcategory="{brain}",
        ),
        png="<results>/figures/{brain}/figure2.png",
    log:
        "<logs>/figures/{brain}/figure2.log",
    localrule: True
    conda:
        "../envs/analysis.yaml"
    params:
        title=lookup("brains/{brain}/title", within=config),
        models=list(available),
        shown=[name for name in study.figure2_models if name in available],
    script:
        "../workflow_scripts/figure2.py"


rule figure3:
    input:
        code=f"{workflow.basedir}/ipcl_core/figures.py",
        table="<results>/table1.csv",
        ceilings="<results>/brain/{brain}/noise_ceilings.csv",
    output:
        svg=report(
            "<results>/figures/{brain}/figure3.svg",
            caption="../docs/captions/figure3.rst",
            category="Figures",
            subcategory="{brain}",
        ),
        png="<results>/figures/{brain}/figure3.png",
    log:
        "<logs>/figures/{brain}/figure3.log",
    localrule: True
    conda:
        "../envs/analysis.yaml"
    params:
        title=lookup("brains/{brain}/title", within=config),
    script:
        "../workflow_scripts/figure3.py"


rule figure_stimuli:
    input:
        code=f"{workflow.basedir}/ipcl_core/figures.py",
        stimuli="<results>/brain/{brain}/stimuli",
    output:
        svg=report(
            "<results>/figures/{brain}/stimuli.svg",
            caption="../docs/captions/stimuli.rst",
            category="Figures",
            subcategory="{brain}",
        ),
        png="<results>/figures/{brain}/stimuli.png",
    log:
        "<logs>/figures/{brain}/stimuli.log",
    localrule: True
    conda:
        "../envs/analysis.yaml"
    params:
        title=lookup("brains/{brain}/title", within=config),
    script:
        "../workflow_scripts/figure_stimuli.py"


rule figure_layers:
    input:
        code=f"{workflow.basedir}/ipcl_core/figures.py",
        table="<results>/table1.csv",
        fits=expand("<results>/rsa/{{brain}}/{model}.csv", model=available),
        ceilings="<results>/brain/{brain}/noise_ceilings.csv",
    output:
        svg=report(
            "<results>/figures/{brain}/layers.svg",
            caption="../docs/captions/layers.rst",
            category="Figures",
            subcategory="{brain}",
        ),
        png="<results>/figures/{brain}/layers.png",
    log:
        "<logs>/figures/{brain}/layers.log",
    localrule: True
    conda:
        "../envs/analysis.yaml"
    params:
        title=lookup("brains/{brain}/title", within=config),
        models=list(available),
    script:
        "../workflow_scripts/figure_layers.py"
