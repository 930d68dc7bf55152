"""
Brain data: stimuli and participants' similarity vectors.

NEEDS  the files that the configuration names, or a package that carries them
MAKES  <results>/brain/{brain}/stimuli              one image a stimulus, in the order of their names
       <results>/brain/{brain}/brain.h5             similarity vectors of every participant and region
"""


rule import_kriegeskorte_2008:
    input:
        archive="<results>/downloads/rsatoolbox-0.0.4.tar.gz",
    output:
        stimuli=directory("<results>/brain/{brain}/stimuli"),
        brain="<results>/brain/{brain}/brain.h5",
    log:
        "<logs>/brain/{brain}.log",
    wildcard_constraints:
        brain=match_any(list_from(study.brains, "kriegeskorte_2008")),
    conda:
        "../envs/analysis.yaml"
    resources:
        mem_mb=grow(2000),
        runtime=15,
    params:
        brain=lookup("brains/{brain}", within=config),
    script:
        "../workflow_scripts/import_kriegeskorte_2008.py"


rule import_magri_konkle_2019:
    output:
        stimuli=directory("<results>/brain/{brain}/stimuli"),
        brain="<results>/brain/{brain}/brain.h5",
    log:
        "<logs>/brain/{brain}.log",
    wildcard_constraints:
        brain=match_any(list_from(study.brains, "magri_konkle_2019")),
    conda:
        "../envs/analysis.yaml"
    resources:
        mem_mb=grow(8000),
        runtime=30,
    params:
        brain=lookup("brains/{brain}", within=config),
    script:
        "../workflow_scripts/import_magri_konkle_2019.py"


# the user's own files as far as they are there (checked on start, so that dry runs need no data)
OWN_FILES = {name: study.brains[name].find_files() for name in list_from(study.brains, "own")}


rule import_own_brain:
    input:
        files=lookup("{brain}", within=OWN_FILES),
    output:
        stimuli=directory("<results>/brain/{brain}/stimuli"),
        brain="<results>/brain/{brain}/brain.h5",
    log:
        "<logs>/brain/{brain}.log",
    wildcard_constraints:
        brain=match_any(list_from(study.brains, "own")),
    # data that cannot be used are found before a training starts
    priority: 100
    conda:
        "../envs/analysis.yaml"
    resources:
        mem_mb=grow(8000),
        runtime=30,
    params:
        brain=lookup("brains/{brain}", within=config),
    script:
        "../workflow_scripts/import_own_brain.py"
