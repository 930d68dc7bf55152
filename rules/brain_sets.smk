"""
Published brain data whose trials are repeated, from folders as their downloads leave them (docs/brains.md).

NEEDS  the folders that the configuration names
MAKES  <results>/brain/{brain}/stimuli, brain.h5    as brains.smk
"""


rule import_nsd:
    output:
        stimuli=directory("<results>/brain/{brain}/stimuli"),
        brain="<results>/brain/{brain}/brain.h5",
    log:
        "<logs>/brain/{brain}.log",
    wildcard_constraints:
        brain=match_any(list_from(study.brains, "nsd")),
    conda:
        "../envs/analysis.yaml"
    resources:
        mem_mb=grow(32000),
        runtime=720,
    params:
        code=code_of("import_nsd"),
        brain=get_brain,
    script:
        "../workflow_scripts/import_nsd.py"


rule import_things_fmri:
    output:
        stimuli=directory("<results>/brain/{brain}/stimuli"),
        brain="<results>/brain/{brain}/brain.h5",
    log:
        "<logs>/brain/{brain}.log",
    wildcard_constraints:
        brain=match_any(list_from(study.brains, "things_fmri")),
    conda:
        "../envs/analysis.yaml"
    resources:
        mem_mb=grow(32000),
        runtime=360,
    params:
        code=code_of("import_things_fmri"),
        brain=get_brain,
    script:
        "../workflow_scripts/import_things_fmri.py"


rule import_bold5000:
    output:
        stimuli=directory("<results>/brain/{brain}/stimuli"),
        brain="<results>/brain/{brain}/brain.h5",
    log:
        "<logs>/brain/{brain}.log",
    wildcard_constraints:
        brain=match_any(list_from(study.brains, "bold5000")),
    conda:
        "../envs/analysis.yaml"
    resources:
        mem_mb=grow(32000),
        runtime=360,
    params:
        code=code_of("import_bold5000"),
        brain=get_brain,
    script:
        "../workflow_scripts/import_bold5000.py"


rule import_haxby_2001:
    output:
        stimuli=directory("<results>/brain/{brain}/stimuli"),
        brain="<results>/brain/{brain}/brain.h5",
    log:
        "<logs>/brain/{brain}.log",
    wildcard_constraints:
        brain=match_any(list_from(study.brains, "haxby2001")),
    conda:
        "../envs/analysis.yaml"
    resources:
        mem_mb=grow(8000),
        runtime=60,
    params:
        code=code_of("import_haxby_2001"),
        brain=get_brain,
    script:
        "../workflow_scripts/import_haxby_2001.py"


rule import_bids_maps:
    output:
        stimuli=directory("<results>/brain/{brain}/stimuli"),
        brain="<results>/brain/{brain}/brain.h5",
    log:
        "<logs>/brain/{brain}.log",
    wildcard_constraints:
        brain=match_any(list_from(study.brains, "bids")),
    conda:
        "../envs/analysis.yaml"
    resources:
        mem_mb=grow(16000),
        runtime=120,
    params:
        code=code_of("import_bids_maps"),
        brain=get_brain,
    script:
        "../workflow_scripts/import_bids_maps.py"
