"""
How accuracy and similarity with the brain are measured.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from .base import Distinct, Fraction, Line, Name, Positive, Seed, Strict
from .recipes import SGD, Augmentation, OneCycle

Comparator = Literal["pearson", "spearman", "kendall", "cosine", "whitened_pearson", "whitened_cosine", "cka"]
Protocol = Literal["weighted kNN", "softmax", "linear probe (one-cycle)", "linear probe (L-BFGS)"]


class KNN(Strict):
    """Weighted k-nearest-neighbour accuracy (appendix B.3)."""

    k: int = Field(200, ge=1)
    """Neighbours that vote."""
    tau: Positive = 0.07
    """Temperature of the votes."""
    center_crop: float = Field(0.875, gt=0, le=1)
    """Side of the central square as a share of the image's shortest side: .875 is resize 256, crop 224 (the standard); 1 is
    resize 224, crop 224 (`released_code` in docs/deviations.md). It is also what probes are tested on."""
    max_dim: int | None = Field(4096, ge=1)
    """Maps of a layer with more numbers than this are averaged to the largest square grid that has no more (but at least
    to one number a channel); null keeps every number. What has no grid, as token sequences, is stored whole."""


class OneCycleProbe(Strict):
    """A linear classifier trained on frozen features of augmented views, as in the released main_lincls_onecycle.py.

    The defaults are that script's; momentum range and last rate as in the paper's recipe for IPCL.
    """

    epochs: int = Field(10, ge=1)
    """Passes over the training images."""
    batch_size: int = Field(256, ge=1)
    """Views a minibatch."""
    optimizer: SGD = SGD(name="sgd", lr=30.0, momentum=0.9, weight_decay=0.0)
    schedule: OneCycle = OneCycle(
        name="one_cycle", pct_start=0.3, div_factor=1e6, final_div_factor=1e4, momentum_range=[0.85, 0.95]
    )
    augmentation: Augmentation = Augmentation(
        area=[0.08, 1.0], grayscale=0.0, brightness=0.0, contrast=0.0, saturation=0.0, hue=0.0
    )
    """Crops and flips alone."""
    seed: Seed = 0
    """Seed of the initial weights, the image order and the views."""


class LBFGSProbe(Strict):
    """Logistic regression on stored, standardised features of the central views."""

    l2: list[Positive] = Field([1e-5, 1e-4, 1e-3, 1e-2, 1e-1], min_length=1)
    """Strengths of the penalty to choose from: l2 / 2 * sum of squared weights is added to the mean cross entropy."""
    held_out: float = Field(0.1, gt=0, lt=1)
    """Share of the training images on which the strength is chosen."""
    max_iter: int = Field(100, ge=1)
    """Iterations of L-BFGS at most."""
    seed: Seed = 0
    """Seed of the held-out part."""


class Probes(Strict):
    """Linear probes, for the models whose `protocols` name them."""

    one_cycle: OneCycleProbe = OneCycleProbe()
    l_bfgs: LBFGSProbe = LBFGSProbe()


class NoiseCeiling(Strict):
    """Split-half reliability over participants (appendix C.2)."""

    n_splits: int = Field(1000, ge=1)
    """Random splits; all distinct splits are used where there are no more than this."""
    seed: Seed = 0
    """Of the splits."""


class Weighting(Strict):
    """Non-negative weights of layers and of their principal components, cross-validated over stimuli (Storrs et al. 2021)."""

    n_folds: int = Field(6, ge=2)
    """Parts of the stimuli, each of which is held out once; four stimuli or more each."""
    n_repeats: int = Field(5, ge=1)
    """Random divisions into such parts."""
    n_components: int = Field(100, ge=1)
    """Principal components of a layer that get weights, at most (and at most two fewer than stimuli)."""
    seed: Seed = 0
    """Of the divisions."""


class Statistics(Strict):
    """Intervals, p-values and held-out choices beside the paper's maximum over layers: docs/statistics.md."""

    distances: Distinct[Literal["correlation", "euclidean", "crossnobis"]] = Field(["correlation"], min_length=1)
    """Distances of patterns: correlation is 1 - r, the paper's; euclidean the squared one, which needs voxel patterns (of
    noise-normalised voxels it is the squared Mahalanobis distance); crossnobis the same, cross-validated
    over runs, which needs them."""
    comparators: Distinct[Comparator] = Field(["pearson"], min_length=1)
    """How layers' RSMs are compared with regions': pearson is the paper's; kendall is tau-a, cosine that of the distances,
    whitened_pearson and whitened_cosine those of distances with the noise whitened that pairs of one stimulus share, cka
    linear centred kernel alignment of patterns standardised over units."""
    n_bootstrap: int = Field(1000, ge=100)
    """Resamples of participants and stimuli."""
    n_permutations: int = Field(10_000, ge=100)
    """Random orders of the stimuli."""
    n_splits: int = Field(100, ge=1)
    """Random halves of the stimuli for the held-out choice of layers."""
    seed: Seed = 0
    """Of the resamples, permutations and halves."""
    fdr: float = Field(0.05, gt=0, lt=1)
    """Share of false discoveries up to which a row is marked as significant."""
    weighting: Weighting | None = None
    """Columns of best_layers.csv for weighted layers; null: none."""


class Encoding(Strict):
    """Ridge regressions from layers to voxels, judged on held-out stimuli, for brains whose voxel patterns are known:
    docs/encoding.md."""

    n_folds: int = Field(5, ge=2)
    """Parts of the stimuli, each of which is held out once; four stimuli or more each. A brain's `folds` come before it."""
    penalties: Distinct[Positive] = Field([10.0**k for k in range(-4, 6)], min_length=1)
    """Of the squared weights, from which each voxel gets the best on training stimuli; multiples of the mean squared length
    of the layer's centred activations."""
    min_ceiling: Fraction = 0.1
    """Voxels of which runs have a smaller share of the variance in common are left out, and those in which it is no larger
    than noise alone makes it (F test, 5%); none with 0 or without `runs`."""
    standardize: bool = False
    """Divide each unit by its standard deviation over the training stimuli."""
    projection: float | None = Field(None, gt=0, lt=1)
    """Project layers at random to as few dimensions as change no distance by a larger share; null: exact, not projected."""
    n_splits: int = Field(100, ge=1)
    """Random halves of the runs for the split-half ceilings; all where there are no more."""
    partitions: list[Annotated[Distinct[Name], Field(min_length=2, max_length=3)]] = []
    """Sets of two or three models of which is said what each explains alone, and what they share; one of them can be
    categories, those of the brain's stimuli."""
    seed: Seed = 0
    """Of folds, projections and halves."""


class Published(Strict):
    """Numbers that others published of a model and a region, beside which this run's own are printed: docs/encoding.md."""

    brain: Name
    """A brain data set with `encoding`."""
    region: Name
    """One of its regions."""
    model: Name
    """A model of this study."""
    rsa_r: float | None = Field(None, ge=-1, le=1)
    """Correlation of RSMs over pairs of held-out stimuli, mean over participants (classical RSA)."""
    mean_r: float | None = Field(None, ge=-1, le=1)
    """Correlation of predicted and measured responses to held-out stimuli, mean over voxels and participants."""
    versa_r: float | None = Field(None, ge=-1, le=1)
    """Correlation of the RSMs of predicted and measured patterns, mean over participants."""
    source: Line
    """Where they stand."""


def count_held_out(share: float, n: int) -> int:
    """Return how many of n training images are a share of them.

    Raises:
        ValueError: none or all.
    """
    n_held_out = round(share * n)
    if not 1 <= n_held_out < n:
        raise ValueError(f"probes.l_bfgs.held_out: {share} of {n} training images leaves one part empty")
    return n_held_out


def require_images(key: str, number: int, n_images: int, dataset: str) -> None:
    """Refuse a number, the value of a key, that is larger than that of a data set's training images."""
    if number > n_images:
        raise ValueError(f"{key}: {number} is more than the {n_images} training images of {dataset}")
