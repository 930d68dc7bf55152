"""
Functions of wildcards: what a job reads, what it depends on, what it may use.
"""


def get_network(wildcards):
    """What a model's weights depend on: its block without names, and without what is measured and how.

    A recipe's content is a parameter of its own.
    """
    others = {*"framework dataset recipe layers embedding_layer accuracy_layers protocols origin reason".split()}
    network = {key: value for key, value in config["models"][wildcards.model].items() if key not in others}
    preprocessing = {key: value for key, value in network["preprocessing"].items() if key != "center_crop"}
    return network | {"preprocessing": preprocessing}


def get_recipe(wildcards):
    """What a model's training depends on: its recipe without how often a checkpoint is written."""
    recipe = config["recipes"][config["models"][wildcards.model]["recipe"]]
    return {key: value for key, value in recipe.items() if not key.startswith("checkpoint_")}


def list_policies(wildcards):
    """The different augmentations that trainings with a data set use, each by the name of the first recipe with it."""
    policies = {}
    for name in list_from(available, "trained"):
        model = config["models"][name]
        if model["dataset"] == wildcards.dataset:
            augmentation = config["recipes"][model["recipe"]]["augmentation"]
            if augmentation not in policies.values():
                policies[model["recipe"]] = augmentation
    return policies


def get_training_file(suffix):
    """Input function: a file of the training split that a model learns from."""

    def get_file(wildcards):
        return f"<results>/data/{study.models[wildcards.model].dataset}/train.{suffix}"

    return get_file


def grow(mem_mb):
    """Resource function: this much memory, and as much again whenever the job is tried again."""
    return lambda wildcards, attempt: mem_mb * attempt


def keep_if(key, path):
    """The path, or a temporary file where the configuration does not ask to keep it."""
    return path if config[key] else temp(path)


def get_image_folder(wildcards):
    """The split's folder: made by the workflow, or the user's own (checked on start, so that dry runs need no data)."""
    if wildcards.dataset in list_from(study.datasets, "image_folder"):
        return []
    return f"<results>/images/{wildcards.dataset}"


def get_conversion(wildcards):
    """The data set's block as far as its .beton files depend on it."""
    return {key: value for key, value in config["datasets"][wildcards.dataset].items() if key != "n_shards"}


def count_shards(wildcards):
    return study.datasets[wildcards.dataset].n_shards if wildcards.split == "train" else 1


def list_shards(suffix):
    """Input function: the files of a split's shards, in order."""

    def list_files(wildcards):
        return [f"<results>/data/{{dataset}}/{{split}}/{i}.{suffix}" for i in range(count_shards(wildcards))]

    return list_files


def get_protocols(wildcards):
    return study.choose_protocols(wildcards.model)


def get_probes(wildcards):
    """Input function: the one-cycle probes, where the model's accuracy is measured by them."""
    if "linear probe (one-cycle)" in study.choose_protocols(wildcards.model):
        return "<results>/probes/{dataset}/{model}.h5"
    return []


def get_accuracy_layers(wildcards):
    return study.choose_accuracy_layers(wildcards.model)


def get_center_crop(wildcards):
    return study.models[wildcards.model].preprocessing.center_crop or study.knn.center_crop


def get_own_files(wildcards):
    """The user's files, as far as they are there (checked on start, so that dry runs need no data)."""
    return find_files(study.models[wildcards.model])[0]


def list_weighted(wildcards):
    """Input function: every model's weighted layers, or nothing."""
    files = expand("<results>/weighting/{brain}/{model}.csv", brain=wildcards.brain, model=available)
    return files if study.statistics.weighting else []
