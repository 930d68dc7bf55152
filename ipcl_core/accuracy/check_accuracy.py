"""
What would end the measurement of a category accuracy for good: found before anything is computed.
"""

from ..config import Config, count_held_out


def check_accuracy(study: Config, name: str, *, n_images: int, n_classes: int, dim: int | None) -> None:
    """Make sure that a model's category accuracies can be measured.

    Args:
        study: the checked configuration.
        name: of the model.
        n_images, n_classes: of the training split.
        dim: outputs of the network; None: not known.

    Raises:
        ValueError: the data set has too few images, or softmax is asked of a network that has not one output a class; the
            message names the key.
    """
    model = study.models[name]
    protocols = model.protocols or []
    require_images("knn.k", study.knn.k, n_images, model.dataset)
    if "linear probe (one-cycle)" in protocols:
        require_images("probes.one_cycle.batch_size", study.probes.one_cycle.batch_size, n_images, model.dataset)
    if "linear probe (L-BFGS)" in protocols:
        count_held_out(study.probes.l_bfgs.held_out, n_images)
    if "softmax" in protocols and dim not in (None, n_classes):
        raise ValueError(f"models.{name}.protocols: softmax needs one output a class: {dim} for {n_classes} classes")


def require_images(key: str, number: int, n_images: int, dataset: str) -> None:
    """Refuse a number, the value of a key, that is larger than that of a data set's training images."""
    if number > n_images:
        raise ValueError(f"{key}: {number} is more than the {n_images} training images of {dataset}")
