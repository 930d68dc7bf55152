"""
What would end a training, or the measurements behind it, for good: found before it starts.
"""

from pathlib import Path

from .architectures import NetworkSpec
from .files import read_json
from .layers import check_layers
from .probes import count_held_out


def check_training(model: dict, recipe: dict, summary: str | Path, *, k: int, probes: dict) -> None:
    """Make sure that a network can be trained on a data set, and its layers and accuracies be measured.

    Args:
        model: `config.models.<name>`, as a dictionary.
        recipe: its recipe, as a dictionary.
        summary: JSON of the training split: n_images, classes.
        k: `knn.k`.
        probes: `probes` of the configuration, as a dictionary.

    Raises:
        ValueError: a layer is not there, the data set has too few images, or softmax is asked of a network that has not one
            output a class; the message names the key.
    """
    described = read_json(summary)
    n, n_classes = described["n_images"], len(described["classes"])
    spec = NetworkSpec.from_model(model, n_classes=n_classes)
    check_layers(spec, model["layers"], [*filter(None, [model["embedding_layer"]]), *model["accuracy_layers"]])
    protocols = model["protocols"] or []
    least = {f"recipes.{model['recipe']}.batch_size": recipe["batch_size"], "knn.k": k}
    if "linear probe (one-cycle)" in protocols:
        least["probes.one_cycle.batch_size"] = probes["one_cycle"]["batch_size"]
    for key, number in least.items():
        if number > n:
            raise ValueError(f"{key}: {number} is more than the {n} training images of {model['dataset']} ({summary})")
    if "linear probe (L-BFGS)" in protocols:
        count_held_out(probes["l_bfgs"]["held_out"], n)
    if "softmax" in protocols and spec.dim != n_classes:
        raise ValueError(f"protocols: softmax needs one output a class: {spec.dim} for {n_classes} classes")
