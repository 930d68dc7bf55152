"""
From images to Table 1 and the figures of Konkle and Alvarez 2020.

    images -> .beton -> weights -> activations -> RSMs -> fits -> table and figures

Each stage is a file in rules/, in this order. Without --configfile the study is config.yaml, the paper.
"""

if not workflow.configfiles:

    configfile: f"{workflow.basedir}/config.yaml"


# made by envs/apptainer.def; Snakemake takes no path with a space for it, used or not
if "apptainer" in [method.item_to_choice() for method in workflow.deployment_settings.deployment_method]:

    container: f"{workflow.basedir}/ipcl.sif"


include: "rules/common.smk"
include: "rules/inputs.smk"
include: "rules/data.smk"
include: "rules/conversion.smk"
include: "rules/brains.smk"
include: "rules/models.smk"
include: "rules/own_models.smk"
include: "rules/activations.smk"
include: "rules/accuracy.smk"
include: "rules/rsa.smk"
include: "rules/figures.smk"
include: "rules/pictures.smk"
include: "rules/claims.smk"
include: "rules/weighting.smk"
include: "rules/statistics.smk"
include: "rules/explorer.smk"
include: "rules/cluster.smk"


report: "docs/captions/workflow.rst"


rule all:
    default_target: True
    input:
        expand("<results>/{file}", file=["table1.csv", "table1.tex", "table1.html", "claims.csv", "claims.md"]),
        expand("<results>/figures/figure1/{model}.{format}", model=IPCL_MODELS[:1], format=["svg", "png", "pdf"]),
        expand(
            "<results>/figures/{brain}/{figure}.{format}",
            brain=study.brains,
            figure=["figure2", "figure3", "stimuli", "layers", "pairs"],
            format=["svg", "png", "pdf"],
        ),
        "<results>/statistics.csv",
        "<results>/explorer.html",
        expand("<results>/statistics/{brain}/{table}.csv", brain=study.brains, table=["best_layers", "noise_ceilings"]),
        expand(
            "<results>/figures/augmentation/{dataset}.{format}",
            dataset={model.dataset for model in available.values() if model.source == "trained"},
            format=["svg", "png", "pdf"],
        ),
        # what the table is made of, so that a lost artifact is made again
        expand(
            "<results>/data/{dataset}/{split}.beton",
            dataset={model.dataset for model in available.values()},
            split=["train", "val"],
        ),
        expand("<results>/models/{model}/weights.safetensors", model=available),
        expand("<results>/rsm/{brain}/{model}.h5", brain=study.brains, model=available),
        expand("<results>/rsa/{brain}/{model}.csv", brain=study.brains, model=available),
        [
            f"<results>/{stage}/{model.dataset}/{name}.{suffix}"
            for name, model in available.items()
            for stage, suffix in [("embeddings", "h5"), ("accuracy", "csv")]
        ],


onstart:
    stop_if_paths_are_missing(workflow.dag)


onsuccess:
    remove_checkpoints()
