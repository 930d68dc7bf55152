"""
What would end the measurement of a category accuracy for good: found before anything is computed.
"""

from ..config import Config, count_held_out, require_images


def check_accuracy(study: Config, name: str, *, n_images: int, n_classes: int) -> None:
    """Make sure that a model's category accuracies, where the study asks for them, can be measured.

    Args:
        study: the checked configuration.
        name: of the model.
        n_images, n_classes: of the training split.

    Raises:
        ValueError: the data set has too few images, or softmax is asked of a network that is known not to have one output a
            class; the message names the key.
    """
    if name not in study.measured:
        return
    model = study.models[name]
    protocols = model.protocols or []
    require_images("knn.k", study.knn.k, n_images, model.dataset)
    if "linear probe (one-cycle)" in protocols:
        require_images("probes.one_cycle.batch_size", study.probes.one_cycle.batch_size, n_images, model.dataset)
    if "linear probe (L-BFGS)" in protocols:
        count_held_out(study.probes.l_bfgs.held_out, n_images)
    if "softmax" in protocols and model.dim not in (None, n_classes):
        raise ValueError(
            f"models.{name}.protocols: softmax needs one output a class: {model.dim} for {n_classes} classes"
        )
