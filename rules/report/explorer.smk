"""
One page to explore the study with, which opens from a file.

NEEDS  <results>/table1.csv, statistics.csv
       <results>/statistics/{brain}/noise_ceilings.csv
       <results>/accuracy/{dataset}/{model}.csv
       <results>/rsm/{brain}/{model}.h5
       <results>/brain/{brain}/brain.h5, stimuli
       of brains with encoding: statistics/{brain}/best_layers.csv, encoding/{brain}/{model}.csv, best_layers.csv, partitions.csv
MAKES  <results>/explorer.html
"""


rule explorer:
    input:
        table="<results>/table1.csv",
        statistics="<results>/statistics.csv",
        accuracies=[f"<results>/accuracy/{model.dataset}/{name}.csv" for name, model in measured.items()],
        ceilings=expand("<results>/statistics/{brain}/noise_ceilings.csv", brain=study.brains),
        brains=expand("<results>/brain/{brain}/brain.h5", brain=study.brains),
        stimuli=expand("<results>/brain/{brain}/stimuli", brain=study.brains),
        rsms=expand("<results>/rsm/{brain}/{model}.h5", brain=study.brains, model=available),
        scores=expand("<results>/encoding/{brain}/{model}.csv", brain=study.encoded, model=available),
        predictions=expand("<results>/encoding/{brain}/{model}.h5", brain=study.encoded, model=list(available)[0]),
        rsa_best=expand("<results>/statistics/{brain}/best_layers.csv", brain=study.encoded),
        best=expand("<results>/encoding/{brain}/best_layers.csv", brain=study.encoded),
        partitions=expand("<results>/encoding/{brain}/partitions.csv", brain=study.encoded if study.partitioned else []),
    output:
        page="<results>/explorer.html",
    log:
        "<logs>/explorer.log",
    localrule: True
    conda:
        "../../envs/analysis.yaml"
    params:
        code=code_of("explorer"),
        title=study.title,
        models=dump(study.models),
        recipes=dump(study.recipes),
        titles=study.titles,
        shown=study.shown,
    script:
        "../../workflow_scripts/explorer.py"
