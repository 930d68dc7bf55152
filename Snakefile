"""
From images to Table 1 and the figures of Konkle and Alvarez 2020.

    images -> .beton -> weights -> activations -> RSMs -> fits -> table and figures

Each stage has its file or folder in rules/, named after the folder of ipcl_core that it calls, and is included here in this
order. Without --configfile the study is config.yaml, the paper.

Another Snakefile may import this one as a module (docs/elsewhere.md). Then it decides on containers, on what is done before and
after, and on the default target where it has rules before.
"""

from snakemake.utils import min_version

min_version("9.17")

is_imported = not workflow.modifier.is_main_snakefile()
comes_first = workflow.default_target is None

if is_imported or not workflow.configfiles:

    # of a module that is given a `config`, Snakemake takes that
    configfile: f"{workflow.current_basedir}/config.yaml"


# made by envs/apptainer.def; Snakemake takes no path with a space for it, used or not
if not is_imported and "apptainer" in [
    method.item_to_choice() for method in workflow.deployment_settings.deployment_method
]:

    container: f"{workflow.current_basedir}/ipcl.sif"


include: "rules/common.smk"
include: "rules/inputs.smk"
include: "rules/downloads.smk"
include: "rules/images.smk"
include: "rules/networks.smk"
include: "rules/training.smk"
include: "rules/accuracy.smk"
include: "rules/brains.smk"
include: "rules/brain_sets.smk"
include: "rules/fits/activations.smk"
include: "rules/fits/fit_layers.smk"
include: "rules/fits/statistics.smk"
include: "rules/fits/weighting.smk"
include: "rules/fits/encoding.smk"
include: "rules/fits/triplets.smk"
include: "rules/report/table1.smk"
include: "rules/report/claims.smk"
include: "rules/report/figures.smk"
include: "rules/report/pictures.smk"
include: "rules/report/explorer.smk"
include: "rules/cluster.smk"


if not is_imported:
    stop_at_unknown_names(sys.argv[1:])


report: "docs/captions/workflow.rst"


rule all:
    default_target: comes_first
    input:
        expand("<results>/{file}", file=["table1.csv", "table1.tex", "table1.html", "claims.csv", "claims.md"]),
        expand("<results>/figures/figure1/{model}.{format}", model=IPCL_MODELS[:1], format=["svg", "png", "pdf"]),
        expand(
            "<results>/figures/{brain}/{figure}.{format}",
            brain=study.brains,
            figure=["figure2", "stimuli", "layers", "pairs", *(["figure3"] if measured else [])],
            format=["svg", "png", "pdf"],
        ),
        "<results>/statistics.csv",
        "<results>/explorer.html",
        expand("<results>/published.{suffix}", suffix=["csv", "md"] if study.published else []),
        expand("<results>/statistics/{brain}/{table}.csv", brain=study.brains, table=["best_layers", "noise_ceilings"]),
        expand(
            "<results>/figures/augmentation/{dataset}.{format}",
            dataset={study.models[name].dataset for name in list_pictured()},
            format=["svg", "png", "pdf"],
        ),
        # what the table is made of, so that a lost artifact is made again
        expand(
            "<results>/data/{dataset}/{split}.beton",
            dataset={model.dataset for model in measured.values()},
            split=["train", "val"],
        ),
        expand("<results>/models/{model}/weights.safetensors", model=available),
        expand("<results>/rsm/{brain}/{model}.h5", brain=study.brains, model=available),
        expand("<results>/rsa/{brain}/{model}.csv", brain=study.brains, model=available),
        expand("<results>/encoding/{brain}/{table}.csv", brain=study.encoded, table=["best_layers", "pairs"]),
        expand("<results>/encoding/{brain}/partitions.csv", brain=study.encoded if study.partitioned else []),
        expand("<results>/encoding/{brain}/{model}.csv", brain=study.encoded, model=available),
        expand("<results>/table_encoding.{format}", format=["csv", "tex", "html"] if study.encoded else []),
        expand(
            "<results>/figures/{brain}/{figure}.{format}",
            brain=study.encoded,
            figure=["encoding", *(["partitions"] if study.partitioned else [])],
            format=["svg", "png", "pdf"],
        ),
        expand("<results>/triplets/{brain}/{model}.csv", brain=study.judged, model=available),
        [
            f"<results>/{stage}/{model.dataset}/{name}.{suffix}"
            for name, model in measured.items()
            for stage, suffix in [("embeddings", "h5"), ("accuracy", "csv")]
        ],


onstart:
    stop_if_paths_are_missing(workflow.dag)


onsuccess:
    remove_checkpoints()
