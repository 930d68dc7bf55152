"""
What would end a training, or the measurements behind it, for good: found before it starts.
"""

from pathlib import Path

from ..config import Config, count_held_out
from ..files import read_json
from ..networks.architectures import NetworkSpec
from ..networks.layers import check_layers


def check_training(study: Config, name: str, summary: str | Path) -> None:
    """Make sure that a network can be trained on a data set, and its layers and accuracies be measured.

    Args:
        study: the checked configuration.
        name: of the model.
        summary: JSON of the training split: n_images, classes.

    Raises:
        ValueError: a layer is not there, the data set has too few images, or softmax is asked of a network that has not one
            output a class; the message names the key.
    """
    model, described = study.models[name], read_json(summary)
    n, n_classes = described["n_images"], len(described["classes"])
    spec = NetworkSpec.from_model(model.model_dump(), n_classes=n_classes)
    for key in ("layers", "embedding_layer", "accuracy_layers"):
        chosen = getattr(model, key)
        try:
            check_layers(spec, [chosen] if key == "embedding_layer" and chosen else chosen or [])
        except ValueError as error:
            raise ValueError(f"models.{name}.{key}: {error}") from None
    protocols, recipe = model.protocols or [], model.recipe
    least = {f"recipes.{recipe}.batch_size": study.recipes[recipe].batch_size, "knn.k": study.knn.k}
    if "linear probe (one-cycle)" in protocols:
        least["probes.one_cycle.batch_size"] = study.probes.one_cycle.batch_size
    for key, number in least.items():
        if number > n:
            raise ValueError(f"{key}: {number} is more than the {n} training images of {model.dataset} ({summary})")
    if "linear probe (L-BFGS)" in protocols:
        count_held_out(study.probes.l_bfgs.held_out, n)
    if "softmax" in protocols and spec.dim != n_classes:
        raise ValueError(
            f"models.{name}.protocols: softmax needs one output a class: {spec.dim} for {n_classes} classes"
        )
