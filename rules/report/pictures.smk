"""
The paper's figures that show pictures.

NEEDS  <results>/data/{dataset}/train.beton
       <results>/brain/{brain}/stimuli
MAKES  <results>/figures/figure1/{model}.{svg,png,pdf}    schematic with views of a training image
       <results>/figures/augmentation/{dataset}.{svg,png,pdf}    contact sheet of augmented views
       <results>/figures/{brain}/stimuli.{svg,png,pdf}    supplementary figure 1
"""

IPCL_MODELS = [name for name in list_pictured() if study.recipes[study.models[name].recipe].objective.name == "ipcl"]


rule figure1:
    input:
        beton=get_training_file("beton"),
    output:
        svg=report(
            "<results>/figures/figure1/{model}.svg", caption="../../docs/captions/figure1.rst", category="Figures"
        ),
        png="<results>/figures/figure1/{model}.png",
        pdf="<results>/figures/figure1/{model}.pdf",
    log:
        "<logs>/figures/figure1/{model}.log",
    wildcard_constraints:
        model=match_any(IPCL_MODELS),
    conda:
        "../../envs/torch.yaml"
    resources:
        mem_mb=grow(8000),
        runtime=15,
    params:
        code=code_of("figure1"),
        model=get_network,
        recipe=get_recipe,
    script:
        "../../workflow_scripts/figure1.py"


rule figure_augmentation:
    input:
        beton="<results>/data/{dataset}/train.beton",
    output:
        svg=report(
            "<results>/figures/augmentation/{dataset}.svg",
            caption="../../docs/captions/augmentation.rst",
            category="Figures",
        ),
        png="<results>/figures/augmentation/{dataset}.png",
        pdf="<results>/figures/augmentation/{dataset}.pdf",
    log:
        "<logs>/figures/augmentation/{dataset}.log",
    wildcard_constraints:
        dataset=match_any({study.models[name].dataset for name in list_pictured()}),
    conda:
        "../../envs/torch.yaml"
    resources:
        mem_mb=grow(8000),
        runtime=15,
    params:
        code=code_of("figure_augmentation"),
        policies=list_policies,
    script:
        "../../workflow_scripts/figure_augmentation.py"


rule figure_stimuli:
    input:
        stimuli="<results>/brain/{brain}/stimuli",
    output:
        svg=report(
            "<results>/figures/{brain}/stimuli.svg",
            caption="../../docs/captions/stimuli.rst",
            category="Figures",
            subcategory="{brain}",
        ),
        png="<results>/figures/{brain}/stimuli.png",
        pdf="<results>/figures/{brain}/stimuli.pdf",
    log:
        "<logs>/figures/{brain}/stimuli.log",
    localrule: True
    conda:
        "../../envs/analysis.yaml"
    params:
        code=code_of("figure_stimuli"),
        title=get_title,
    script:
        "../../workflow_scripts/figure_stimuli.py"
