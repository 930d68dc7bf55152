"""
What would end a training for good, or the measurements of its layers: found before it starts.
"""

from ..config import Config, require_images
from ..networks.architectures import NetworkSpec
from ..networks.layers import check_layers
from .optimizers import decide_step


def check_training(study: Config, name: str, *, n_images: int, n_classes: int) -> None:
    """Make sure that a network can be trained on a data set, and its layers be measured.

    Args:
        study: the checked configuration.
        name: of the model.
        n_images, n_classes: of the training split.

    Raises:
        ValueError: a layer is not there, the data set has too few images, or no step of the optimizer would be taken; the
            message names the key.
    """
    model = study.models[name]
    spec = NetworkSpec.from_model(model.model_dump(), n_classes=n_classes)
    check_named_layers(study, name, spec)
    recipe = study.recipes[model.recipe]
    require_images(f"recipes.{model.recipe}.batch_size", recipe.batch_size, n_images, model.dataset)
    n_batches = n_images // recipe.batch_size
    steps = range(1, recipe.epochs * n_batches + 1)
    if not any(decide_step(recipe, step=step, n_batches=n_batches)[0] for step in steps):
        raise ValueError(
            f"recipes.{model.recipe}.accumulate: {recipe.accumulate} minibatches are never complete, with "
            f"{recipe.epochs} x {n_batches} of {recipe.batch_size} images ({n_images} training images of {model.dataset}) and "
            f"leftover_gradients: {recipe.leftover_gradients}; no weight would change"
        )


def check_named_layers(study: Config, name: str, spec: NetworkSpec) -> None:
    """Make sure that a network has the layers that its model's block names.

    Raises:
        ValueError: one is not there; the message names the key.
    """
    model = study.models[name]
    named = {
        "layers": model.layers,
        "embedding_layer": [model.embedding_layer or "output"],
        "accuracy_layers": model.accuracy_layers,
    }
    for key, layers in named.items():
        try:
            check_layers(spec, layers)
        except ValueError as error:
            raise ValueError(f"models.{name}.{key}: {error}") from None
