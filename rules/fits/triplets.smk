"""
Odd-one-out judgments predicted from layers, for the brains whose block names triplets (docs/own_brain.md).

NEEDS  <results>/rsm/{brain}/{model}.h5
MAKES  <results>/triplets/{brain}/{model}.csv             accuracy of every layer, and of one chosen on other triplets; ceilings
"""


rule score_triplets:
    input:
        rsms="<results>/rsm/{brain}/{model}.h5",
        triplets=get_triplets,
    output:
        scores="<results>/triplets/{brain}/{model}.csv",
    log:
        "<logs>/triplets/{brain}/{model}.log",
    wildcard_constraints:
        brain=match_any(study.judged),
    conda:
        "../../envs/analysis.yaml"
    resources:
        mem_mb=grow(4000),
        runtime=30,
    params:
        code=code_of("score_triplets"),
        triplets=lambda wildcards: study.brains[wildcards.brain].triplets,
        seed=study.statistics.seed,
    script:
        "../../workflow_scripts/score_triplets.py"
