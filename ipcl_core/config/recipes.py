"""
How a network is trained: objective, optimizer, schedule, augmentation.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from .base import Fraction, Positive, Range, Strict

SMALLEST_TAU = 1 / 64
"""Temperature below which sums of exp(s / tau), s up to 1, may be larger than single precision holds."""


class Contrastive(Strict):
    """What the two contrastive objectives share."""

    tau: Positive = 0.07
    """Temperature."""
    loss: Literal["nce", "infonce"] = "nce"
    """nce: noise-contrastive estimation (appendix B.2, equations 1-3); infonce: softmax cross entropy over the positive and
    the negatives (section 2, equation 2)."""
    z: Literal["first_batch", "ema"] = "first_batch"
    """Normalisation constant Z of nce. first_batch: estimated on the first minibatch, then frozen (appendix B.2, released
    code); ema: moving average of every minibatch's estimate."""
    negative_term: Literal["sum_of_logs", "as_printed"] = "sum_of_logs"
    """Negative term of nce. sum_of_logs: each negative's logarithm, summed (Wu et al. 2018, released code); as_printed: the
    logarithm of equation 3 as the paper prints it, with the sum inside."""

    @model_validator(mode="after")
    def _readings_of_nce_are_used(self):
        for key in ("z", "negative_term"):
            if self.loss != "nce" and getattr(self, key) != type(self).model_fields[key].default:
                raise ValueError(f"{key}: {getattr(self, key)} has no meaning with loss: {self.loss}; leave it out")
        return self

    @model_validator(mode="after")
    def _z_is_a_number(self):
        if self.loss == "nce" and self.tau < SMALLEST_TAU:
            raise ValueError(
                f"tau: {self.tau} is too small for loss: nce, whose Z is a mean of exp(s / tau) in single precision; give "
                f"{SMALLEST_TAU} or more, or loss: infonce"
            )
        return self


class IPCL(Contrastive):
    """Instance-prototype contrastive learning (section 2, appendix B.1)."""

    name: Literal["ipcl"]
    n_views: int = Field(5, ge=2)
    """Augmented views of an image; their mean is the prototype."""
    queue_size: int = Field(4096, ge=1)
    """Entries of the memory queue, K."""
    queue: Literal["samples", "prototypes"] = "samples"
    """What enters the queue: every view (section 2, released code) or the images' prototypes (an option of the released
    code)."""
    detach_prototype: bool = True
    """No gradient flows through the prototype (released code)."""
    normalize_prototype: bool = False
    """The prototype is brought back to unit length (an option of the released code)."""


class IndexedMemory(Contrastive):
    """Instance discrimination with an indexed memory bank (section 3, appendix B.2; Wu et al. 2018)."""

    name: Literal["indexed_memory"]
    n_negatives: int = Field(4096, ge=1)
    """Negatives drawn from the bank for each image, K."""
    bank_momentum: Fraction = 0.5
    """Share of the old entry in the updated bank entry."""
    n_views: ClassVar[int] = 1


class Supervised(Strict):
    """Cross entropy with the category labels (section 4.1)."""

    name: Literal["supervised"]
    n_views: int = Field(1, ge=1)
    """Augmented views of an image."""


Objective = Annotated[IPCL | IndexedMemory | Supervised, Field(discriminator="name")]


class SGD(Strict):
    """Stochastic gradient descent with momentum."""

    name: Literal["sgd"]
    lr: Positive
    """Peak learning rate."""
    momentum: Fraction = 0.9
    """Share of the last step in the next; `momentum_range` of the schedule comes before it."""
    weight_decay: float = Field(0.0, ge=0)
    """Added to the gradient, times the weights."""


class AdamW(Strict):
    """Adam with decoupled weight decay; betas .9 and .999 (the first as `momentum_range` of the schedule says)."""

    name: Literal["adamw"]
    lr: Positive
    """Peak learning rate."""
    weight_decay: float = Field(0.0, ge=0)
    """Taken from the weights, times learning rate and weights."""


class Ranger(Strict):
    """Rectified Adam with LookAhead (appendix B.1), with the constants that Ranger has had since September 2019: betas .95
    and .999, eps 1e-5; every sixth step the weights go half the way from where they were six steps before."""

    name: Literal["ranger"]
    lr: Positive
    """Peak learning rate."""
    weight_decay: float = Field(0.0, ge=0)
    """Taken from the weights, times learning rate and weights."""


class OneCycle(Strict):
    """Cosine from lr / div_factor up to lr over pct_start of the steps, then down to lr / (div_factor * final_div_factor)."""

    name: Literal["one_cycle"]
    pct_start: float = Field(0.4, gt=0, lt=1)
    """Share of the steps in which the rate rises."""
    div_factor: Positive = 1000.0
    """Peak rate over the first."""
    final_div_factor: Positive = 1e4
    """First rate over the last."""
    momentum_range: Range | None = None
    """(lowest, highest) momentum (beta 1 of AdamW and Ranger), cycled inversely to the learning rate; null keeps it
    constant."""

    @model_validator(mode="after")
    def _momentum_ascends(self):
        low, high = self.momentum_range or (0, 0)
        if not 0 <= low <= high < 1:
            raise ValueError(f"momentum_range: give [low, high] with 0 <= low <= high < 1, not [{low}, {high}]")
        return self


class MultiStep(Strict):
    """The learning rate is multiplied by gamma at each milestone."""

    name: Literal["multi_step"]
    milestones: list[Annotated[int, Field(ge=1)]]
    """Epochs at whose start the rate drops, in order."""
    gamma: Positive = 0.1
    """By it the rate is multiplied."""

    @field_validator("milestones")
    @classmethod
    def _milestones_ascend(cls, milestones):
        if milestones != sorted(set(milestones)):
            raise ValueError(f"give epochs in ascending order, each once, not {milestones}")
        return milestones


class Augmentation(Strict):
    """Random views (section 4.1)."""

    order: Literal["wu", "released_code"] = "wu"
    """wu: crop, grayscale, jitter, flip (Wu et al. 2018); released_code: shortest side resized to 256 pixels, crop, flip,
    grayscale, jitter (open_ipcl). The two give the same views of images that are stored with that shortest side."""
    jitter_order: Literal["random", "fixed"] = "random"
    """random: the four adjustments in an order drawn for each view (torchvision); fixed: brightness, contrast,
    saturation, hue (open_ipcl)."""
    area: Range = [0.2, 1.0]
    """Range of the crop's area, as a share of the image's."""
    aspect_ratio: Range = [3 / 4, 4 / 3]
    """Range of the crop's width over height."""
    flip: Fraction = 0.5
    """Probability of a horizontal flip."""
    grayscale: Fraction = 0.2
    """Probability of a conversion to grey."""
    brightness: float = Field(0.4, ge=0)
    """Strength of the jitter in torchvision's sense: factors in 1 +- strength."""
    contrast: float = Field(0.4, ge=0)
    """As above."""
    saturation: float = Field(0.4, ge=0)
    """As above."""
    hue: float = Field(0.4, ge=0, le=0.5)
    """Shift in +- strength of the circle of hues."""

    @model_validator(mode="after")
    def _ranges_ascend(self):
        for key, largest in (("area", 1), ("aspect_ratio", float("inf"))):
            low, high = getattr(self, key)
            if not 0 < low <= high <= largest:
                raise ValueError(f"{key}: give [low, high] with 0 < low <= high <= {largest}, not [{low}, {high}]")
        return self


class Recipe(Strict):
    """How a network is trained."""

    objective: Objective
    epochs: int = Field(ge=1)
    """Passes over the training images."""
    batch_size: int = Field(ge=2)
    """Images a minibatch (views are batch_size * n_views)."""
    accumulate: int = Field(1, ge=1)
    """Minibatches whose gradients, each divided by this number, add up to one optimizer step."""
    leftover_gradients: Literal["step", "carry", "drop"] = "step"
    """Gradients of a group of minibatches that an epoch's end interrupts. step: the count of minibatches begins anew in every
    epoch, and an incomplete group takes a step of its own, but for the training's last (first released code). carry: the
    count runs on, the next epoch completes the group, and the last step of the training takes what is left. drop: the count
    runs on, and the gradients are forgotten (later released code)."""
    optimizer: Annotated[SGD | AdamW | Ranger, Field(discriminator="name")]
    schedule: Annotated[OneCycle | MultiStep, Field(discriminator="name")]
    augmentation: Augmentation = Augmentation()
    precision: Literal["float32", "tf32", "bfloat16"] = "bfloat16"
    """In which a GPU computes the network, forward and backward. float32: single precision throughout. tf32: convolutions and
    matrix products round their factors to 10 bits, those of the loss too. bfloat16: the network to 7 bits, the loss not.
    Weights, optimizer and sums are in single precision in all; on a processor everything is."""
    compile: bool = False
    """torch.compile the network (CUDA only)."""
    checkpoint_minutes: Positive = 10.0
    """Training can go on from a checkpoint that is at most this old. The one before it is kept too."""
    checkpoint_steps: int | None = Field(None, ge=1)
    """Write a checkpoint also whenever so many more minibatches are done; null: by the time alone."""

    @model_validator(mode="after")
    def _milestones_are_reached(self):
        late = [epoch for epoch in getattr(self.schedule, "milestones", []) if epoch >= self.epochs]
        if late:
            raise ValueError(
                f"schedule.milestones: {late[0]} is not before the end, after {self.epochs} epochs; give earlier ones, or []"
            )
        return self

    @model_validator(mode="after")
    def _groups_can_be_interrupted(self):
        if self.leftover_gradients != "step" and self.accumulate == 1:
            raise ValueError(
                f"leftover_gradients: {self.leftover_gradients} has no meaning with accumulate: 1; leave it out"
            )
        return self

    @model_validator(mode="after")
    def _queue_holds_a_minibatch(self):
        objective, n = self.objective, self.batch_size
        if not isinstance(objective, IPCL):
            return self
        whole = objective.queue == "prototypes"
        least = n if whole else n * objective.n_views
        if objective.queue_size < least:
            entries = "prototypes" if whole else f"images x {objective.n_views} views"
            raise ValueError(
                f"objective.queue_size: {objective.queue_size} is less than one minibatch, {n} {entries}; give at "
                f"least {least}"
            )
        return self
