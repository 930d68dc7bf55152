"""
Functions of wildcards: what a job reads, what it depends on, what it may use. Parameters are plain values of the checked
configuration: a job runs again when one of them changes.
"""

import hashlib
import json

from ipcl_core.code import hash_code
from ipcl_core.records import settle_hash


def code_of(rule):
    """Parameter function: a hash of the code behind a rule's script, so that its jobs run again where that changes."""

    def describe_code(wildcards):
        code = hash_code(f"{HERE}/workflow_scripts/{rule}.py")
        return hashlib.sha256(json.dumps(code).encode()).hexdigest()[:16]

    return describe_code


def dump(blocks):
    return {name: block.model_dump() for name, block in blocks.items()}


def get_network(wildcards):
    """What a model's weights depend on: its block without names, and without what is measured and how.

    A recipe's content is a parameter of its own.
    """
    others = "framework dataset recipe layers embedding_layer accuracy_layers protocols origin".split()
    model = study.models[wildcards.model].model_dump(
        exclude=dict.fromkeys(others, True) | {"preprocessing": {"center_crop"}}
    )
    if model["source"] == "own":
        made, file = f"models/{wildcards.model}/weights.safetensors", model["state_dict"]
        sha256 = settle_hash(find_place("results"), made, ("model", "sha256"), model["sha256"], file)
        return model | {"sha256": sha256}
    return model | ({"weights": get_weights(wildcards)} if model.get("weights") else {})


def get_recipe(wildcards):
    """What a model's training depends on: its recipe without how often a checkpoint is written."""
    recipe = study.recipes[study.models[wildcards.model].recipe].model_dump()
    return {key: value for key, value in recipe.items() if not key.startswith("checkpoint_")}


def get_weights(wildcards):
    """What a file of weights depends on: its block without the largest size."""
    weights = study.models[wildcards.model].weights.model_dump(exclude={"max_mb"})
    artifact = f"downloads/weights/{wildcards.model}"
    return weights | {"hash": settle_hash(find_place("results"), artifact, ("weights", "hash"), weights["hash"])}


def get_layers(wildcards):
    return study.models[wildcards.model].layers


def list_policies(wildcards):
    """The different augmentations that trainings with a data set use, each by the name of the first recipe with it."""
    policies = {}
    for name in list_from(available, "trained"):
        model = study.models[name]
        augmentation = study.recipes[model.recipe].augmentation.model_dump()
        if model.dataset == wildcards.dataset and augmentation not in policies.values():
            policies[model.recipe] = augmentation
    return policies


def get_training_file(suffix):
    """Input function: a file of the training split that a model learns from."""

    def get_file(wildcards):
        return f"<results>/data/{study.models[wildcards.model].dataset}/train.{suffix}"

    return get_file


def grow(mem_mb):
    """Resource function: this much memory, and as much again whenever the job is tried again."""
    return lambda wildcards, attempt: mem_mb * attempt


def keep_activations(path):
    """The path, or a temporary file where the configuration does not ask to keep it."""
    return path if study.keep_activations else temp(path)


def get_package(wildcards):
    return PACKAGES[wildcards.file]


def get_image_folder(wildcards):
    """The split's folder: made by the workflow, or the user's own (checked on start, so that dry runs need no data)."""
    if wildcards.dataset in list_from(study.datasets, "image_folder"):
        return []
    return f"<results>/images/{wildcards.dataset}"


def get_export(wildcards):
    """The data set's block as far as its images depend on it: without how they come here and are stored."""
    return study.datasets[wildcards.dataset].model_dump(exclude={"storage", "on_corrupt", "n_shards", "download"})


def get_conversion(wildcards):
    """The data set's block as far as its .beton files depend on it."""
    return study.datasets[wildcards.dataset].model_dump(exclude={"n_shards", "download"})


def count_shards(wildcards):
    return study.datasets[wildcards.dataset].n_shards if wildcards.split == "train" else 1


def list_shards(suffix):
    """Input function: the files of a split's shards, in order."""

    def list_files(wildcards):
        return [f"<results>/data/{{dataset}}/{{split}}/{i}.{suffix}" for i in range(count_shards(wildcards))]

    return list_files


def get_l_bfgs(wildcards):
    """How L-BFGS probes are fitted, or null where the model's accuracy is not measured by them."""
    if "linear probe (L-BFGS)" in study.choose_protocols(wildcards.model):
        return study.probes.l_bfgs.model_dump()
    return None


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


def get_own_model_files(wildcards):
    """The user's files, as far as they are there (checked on start, so that dry runs need no data). An importer's prefix is
    not theirs."""
    return local(find_files(study.models[wildcards.model])[0])


def get_own_brain_files(wildcards):
    """See `get_own_model_files`."""
    return local(study.brains[wildcards.brain].find_files())


def get_brain(wildcards):
    """A brain data set's block as far as its import depends on it."""
    others = {"title", "averaged", "folds", "categories", "triplets", "betas_hash", "stimuli_hash", "max_mb"}
    return study.brains[wildcards.brain].model_dump(exclude=others)


def get_fetched_file(*keys):
    """Parameter function: what a brain's download depends on, which is not what its import does."""
    return lambda wildcards: study.brains[wildcards.brain].model_dump(include=set(keys))


def get_averaged(wildcards):
    return getattr(study.brains[wildcards.brain], "averaged", "activations")


def get_fetched(key, name):
    """Input function: what is fetched from an address, or nothing where the user's own is read (checked on start)."""

    def get_file(wildcards):
        return f"<results>/downloads/brain/{{brain}}/{name}" if wildcards.brain in list_remote(key) else []

    return get_file


def get_title(wildcards):
    return study.brains[wildcards.brain].title


def list_weighted(wildcards):
    """Input function: every model's weighted layers, or nothing."""
    files = expand("<results>/weighting/{brain}/{model}.csv", brain=wildcards.brain, model=available)
    return files if study.statistics.weighting else []


def get_folds(wildcards):
    """Input function: the user's division of the stimuli, or nothing."""
    return local(getattr(study.brains[wildcards.brain], "folds", None) or [])


def get_triplets(wildcards):
    """Input function: the file of observers' odd-one-out judgments, without the name of a variable in it."""
    return local(study.brains[wildcards.brain].triplets.partition("#")[0])


def get_categories(wildcards):
    """Input function: the CSV of the stimuli's categories, or nothing."""
    source = getattr(study.brains[wildcards.brain], "categories", None)
    return local(source if source and source != "folders" else [])


def describe_categories(wildcards):
    """What the categories of a brain's stimuli are read from; null where it has none."""
    brain = study.brains[wildcards.brain]
    if not getattr(brain, "categories", None):
        return None
    return {"source": brain.categories, "images": brain.stimuli, "order": brain.order}
