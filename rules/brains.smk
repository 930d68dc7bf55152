"""
Brain data: stimuli and participants' similarity vectors.

NEEDS  the files that the configuration names, an address, or a package that carries them
MAKES  <results>/downloads/brain/{brain}            what was fetched, checked by its hash
       <results>/brain/{brain}/stimuli              one image a stimulus, in the order of their names
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
        code=code_of("import_kriegeskorte_2008"),
        brain=get_brain,
    script:
        "../workflow_scripts/import_kriegeskorte_2008.py"


rule fetch_betas:
    output:
        betas="<results>/downloads/brain/{brain}/betas.mat",
    log:
        "<logs>/downloads/brain/{brain}/betas.log",
    wildcard_constraints:
        brain=match_any(list_remote("betas")),
    localrule: True
    conda:
        "../envs/analysis.yaml"
    params:
        brain=get_fetched_file("betas", "betas_hash"),
    script:
        "../workflow_scripts/fetch_betas.py"


rule fetch_stimuli:
    output:
        stimuli=directory("<results>/downloads/brain/{brain}/stimuli"),
    log:
        "<logs>/downloads/brain/{brain}/stimuli.log",
    wildcard_constraints:
        brain=match_any(list_remote("stimuli")),
    localrule: True
    conda:
        "../envs/analysis.yaml"
    params:
        brain=get_fetched_file("stimuli", "stimuli_hash"),
    script:
        "../workflow_scripts/fetch_stimuli.py"


rule import_magri_konkle_2019:
    input:
        betas=get_fetched("betas", "betas.mat"),
        stimuli=get_fetched("stimuli", "stimuli"),
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
        code=code_of("import_magri_konkle_2019"),
        brain=get_brain,
    script:
        "../workflow_scripts/import_magri_konkle_2019.py"


rule import_own_brain:
    input:
        files=get_own_brain_files,
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
        code=code_of("import_own_brain"),
        brain=get_brain,
    script:
        "../workflow_scripts/import_own_brain.py"
