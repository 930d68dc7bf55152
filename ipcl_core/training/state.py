"""
The state of a training: what changes from minibatch to minibatch, and all that a checkpoint holds.
"""

from typing import TYPE_CHECKING

import torch

from .. import config, distributed
from ..networks.architectures import NetworkSpec, initialize_network
from .objectives import build_objective
from .optimizers import build_optimizer, choose_precision

if TYPE_CHECKING:
    from ..views.loader import ViewLoader  # needs FFCV

CHECKPOINT_KEYS = {"checkpoint_minutes", "checkpoint_steps"}
"""Of a recipe: no result depends on them."""


def describe_training(spec: NetworkSpec, recipe: config.Recipe, seed: int, data_sha256: str) -> str:
    """Return as a text, the fingerprint, which training it is: by the data's content, not their place or age."""
    return repr((spec, recipe.model_dump(exclude=CHECKPOINT_KEYS), seed, data_sha256))


class Training:
    """A network with its objective, its optimizer, its position, and the log so far.

    Args:
        spec: network to build.
        recipe: how to train it.
        seed: of the initial weights, the order, the views, the objective's start.
        loader: of the training images.
        data_sha256: of the .beton file; a checkpoint made from other data is not used.
        device: that holds network and objective.

    Raises:
        ValueError: the batch is larger than the data set.
    """

    def __init__(
        self,
        spec: NetworkSpec,
        recipe: config.Recipe,
        *,
        seed: int,
        loader: "ViewLoader",
        data_sha256: str,
        device: torch.device,
    ):
        self.spec, self.recipe, self.seed, self.loader, self.device = spec, recipe, seed, loader, device
        self.n_batches = loader.n_images // recipe.batch_size
        if self.n_batches == 0:
            raise ValueError(f"batch_size {recipe.batch_size} is larger than the {loader.n_images} training images")
        network = initialize_network(spec, seed).to(device, memory_format=torch.channels_last).train()
        self.network = distributed.couple_layers(network)
        self.objective = build_objective(recipe.objective, n_images=loader.n_images, dim=spec.dim, seed=seed)
        self.objective.to(device)
        self.optimizer = build_optimizer(self.network, recipe.optimizer)
        self.forward = torch.compile(self.network) if recipe.compile and device.type == "cuda" else self.network
        self.autocast = device.type == "cuda" and choose_precision(recipe.precision)  # the objective: single precision
        self.fingerprint = describe_training(spec, recipe, seed, data_sha256)
        self.step, self.seconds, self.rows = 0, 0.0, []
        self.losses: list[torch.Tensor] = []  # since the last row of the log
        self.jobs: list[dict] = []  # that worked on it: from which minibatch, with which code, versions and hardware

    @property
    def n_steps(self) -> int:
        """Minibatches of the whole training."""
        return self.recipe.epochs * self.n_batches

    def move(self, tensor: torch.Tensor, **keys) -> torch.Tensor:
        """Bring a tensor to the device, from pinned memory, so that the host need not wait for the copy."""
        pinned = tensor.pin_memory() if self.device.type == "cuda" and not tensor.is_cuda else tensor
        return pinned.to(self.device, non_blocking=True, **keys)

    def state_dict(self) -> dict:
        """Return everything that the rest of the training depends on, gradients of an incomplete group included."""
        state = {name: getattr(self, name).state_dict() for name in ("network", "objective", "optimizer")}
        state |= {name: getattr(self, name) for name in ("fingerprint", "step", "seconds", "rows", "losses", "jobs")}
        return state | {"gradients": [w.grad for w in self.network.parameters()]}

    def load_state_dict(self, state: dict) -> None:
        """Go on from what `state_dict` of a training with the same fingerprint returned."""
        for name in ("network", "objective", "optimizer"):
            getattr(self, name).load_state_dict(state[name])
        for name in ("step", "seconds", "rows", "losses"):
            setattr(self, name, state[name])
        self.jobs = state.get("jobs", [])  # which earlier checkpoints do not have
        for weights, gradient in zip(self.network.parameters(), state["gradients"], strict=True):
            weights.grad = gradient
