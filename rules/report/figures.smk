"""
The paper's figures of numbers, each from tables alone.

NEEDS  <results>/table1.csv
       <results>/rsa/{brain}/{model}.csv
       <results>/statistics/{brain}/pairs.csv
       of brains with encoding: statistics.csv, statistics/{brain}/best_layers.csv, noise_ceilings.csv, encoding/{brain}/
MAKES  <results>/figures/{brain}/figure2.{svg,png,pdf}    layer curves of selected models, bars of best layers
       <results>/figures/{brain}/figure3.{svg,png,pdf}    top-1 accuracy against best r
       <results>/figures/{brain}/layers.{svg,png,pdf}     supplementary figure 2: layer curves of all models
       <results>/figures/{brain}/pairs.{svg,png,pdf}      who beats whom
       <results>/figures/{brain}/encoding.{svg,png,pdf}   figure 2's models by RSA, encoding and veRSA, with ceilings
       <results>/figures/{brain}/partitions.{svg,png,pdf}    what models explain alone and share
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
        models=study.shown,
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


rule figure_encoding:
    input:
        table="<results>/table1.csv",
        statistics="<results>/statistics.csv",
        scores=expand("<results>/encoding/{{brain}}/{model}.csv", model=study.shown),
        rsa_best="<results>/statistics/{brain}/best_layers.csv",
        best="<results>/encoding/{brain}/best_layers.csv",
        ceilings="<results>/statistics/{brain}/noise_ceilings.csv",
        predictions=f"<results>/encoding/{{brain}}/{list(available)[0]}.h5",
    output:
        svg=report(
            "<results>/figures/{brain}/encoding.svg",
            caption="../../docs/captions/encoding.rst",
            category="Encoding",
            subcategory="{brain}",
        ),
        png="<results>/figures/{brain}/encoding.png",
        pdf="<results>/figures/{brain}/encoding.pdf",
    log:
        "<logs>/figures/{brain}/encoding.log",
    wildcard_constraints:
        brain=match_any(study.encoded),
    localrule: True
    conda:
        "../../envs/analysis.yaml"
    params:
        code=code_of("figure_encoding"),
        models=study.shown,
        title=get_title,
    script:
        "../../workflow_scripts/figure_encoding.py"


rule figure_partitions:
    input:
        table="<results>/table1.csv",
        partitions="<results>/encoding/{brain}/partitions.csv",
    output:
        svg=report(
            "<results>/figures/{brain}/partitions.svg",
            caption="../../docs/captions/partitions.rst",
            category="Encoding",
            subcategory="{brain}",
        ),
        png="<results>/figures/{brain}/partitions.png",
        pdf="<results>/figures/{brain}/partitions.pdf",
    log:
        "<logs>/figures/{brain}/partitions.log",
    wildcard_constraints:
        brain=match_any(study.encoded if study.partitioned else []),
    localrule: True
    conda:
        "../../envs/analysis.yaml"
    params:
        code=code_of("figure_partitions"),
        title=get_title,
        fdr=study.statistics.fdr,
    script:
        "../../workflow_scripts/figure_partitions.py"
