"""
The three training objectives: instance prototypes (IPCL), indexed memory (Wusnets), category labels.

Each is a module whose buffers (queue, memory bank, Z) belong to the training's state. `forward` gives the loss of a
minibatch and leaves the buffers as they are; `remember` takes the minibatch into them.

Notation: B images, n views, N training images, K negatives, d dimensions, s similarity (dot product of unit vectors),
tau temperature.
"""

import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from . import config

EPS = 1e-7


def nce_loss(positive: Tensor, negatives: Tensor, z: Tensor, *, tau: float, n_images: int) -> Tensor:
    """Return the noise-contrastive estimate of the instance-classification loss.

    -(log(p / (p + K/N + eps)) + sum_k log((K/N) / (p_k + K/N + eps))), p = exp(s / tau) / Z, mean over the samples.
    The sum stands outside the logarithm as in Wu et al.'s and the released code; equation 3 prints it inside.

    Args:
        positive: (M,) similarity of each sample to its positive.
        negatives: (M, K) similarity to its negatives.
        z: () normalisation constant Z.
        tau: temperature > 0.
        n_images: N.

    Returns:
        () loss in nats.

    Source: Konkle and Alvarez 2020, appendix B.2, equations 1-3; Wu et al. 2018, equation 9.
    """
    n_negatives = negatives.shape[1]
    noise = n_negatives / n_images  # K P_n
    p_positive = torch.exp(positive / tau) / z  # (M,)
    p_negatives = torch.exp(negatives / tau) / z  # (M, K)
    log_positive = torch.log(p_positive / (p_positive + noise + EPS))
    log_negatives = torch.log(noise / (p_negatives + noise + EPS)).sum(1)
    return -(log_positive + log_negatives).mean()


def infonce_loss(positive: Tensor, negatives: Tensor, *, tau: float) -> Tensor:
    """Return the normalised temperature-scaled cross entropy, mean over the samples.

    Args:
        positive: (M,) similarity of each sample to its positive.
        negatives: (M, K) similarity to its negatives; -inf leaves one out.
        tau: temperature > 0.

    Returns:
        () loss in nats.

    Source: Konkle and Alvarez 2020, section 2, equation 2.
    """
    logits = torch.cat([positive[:, None], negatives], dim=1) / tau  # (M, 1 + K)
    return F.cross_entropy(logits, logits.new_zeros(len(logits), dtype=torch.long))


def estimate_z(positive: Tensor, negatives: Tensor, *, tau: float, n_images: int) -> Tensor:
    """Return Z: N times the mean of exp(s / tau) over the positives and negatives of one minibatch.

    Source: appendix B.2 ("estimated based on the first mini-batch"); Wu et al. 2018, equation 8.
    """
    similarities = torch.cat([positive[:, None], negatives], dim=1)  # (M, 1 + K)
    return torch.exp(similarities / tau).mean() * n_images


class _Contrastive(nn.Module):
    """What the two contrastive objectives share: Z, and the choice of the loss."""

    def __init__(self, settings: config.IPCL | config.IndexedMemory, n_images: int):
        super().__init__()
        self.settings, self.n_images, self.n_negatives = settings, n_images, 0
        self.register_buffer("z", torch.tensor(float("nan")))

    @property
    def collapsed_loss(self) -> float:
        """The loss when every similarity is 1, with the last minibatch's number of negatives: log(1 + K) for infonce."""
        ones = torch.ones(1, self.n_negatives, device=self.z.device)
        return self.contrast(ones[:, 0], ones).item()

    def contrast(self, positive: Tensor, negatives: Tensor) -> Tensor:
        """Return the loss of (M,) positive and (M, K) negative similarities; the first call sets Z."""
        tau, self.n_negatives = self.settings.tau, negatives.shape[1]
        if self.settings.loss == "infonce":
            return infonce_loss(positive, negatives, tau=tau)
        if torch.isnan(self.z):
            self.z = estimate_z(positive.detach(), negatives.detach(), tau=tau, n_images=self.n_images)
        return nce_loss(positive, negatives, self.z, tau=tau, n_images=self.n_images)


class InstancePrototype(_Contrastive):
    """IPCL: each view is pulled to the mean of its image's views and pushed from the queue of recent views.

    Args:
        settings: number of views, queue size K, tau, loss.
        n_images: N, images in the training set.
        dim: d.
        generator: of the queue's random start: uniform, each column normalised.

    Buffers:
        queue: (K, d) unit vectors, newest first.
        z: () Z, NaN until the first minibatch.

    Source: section 2, equations 1-2; appendix B.2. The prototype is not renormalised and carries no gradient, as in the
    released code.
    """

    def __init__(self, settings: config.IPCL, *, n_images: int, dim: int, generator: torch.Generator):
        super().__init__(settings, n_images)
        start = torch.rand(settings.queue_size, dim, generator=generator) * 2 - 1
        self.register_buffer("queue", F.normalize(start, dim=1))

    def forward(self, embeddings: Tensor, labels: Tensor, images: Tensor, step: int) -> Tensor:
        """Return the loss of embeddings (B, n, d), unit vectors; the other arguments are not used."""
        dim = embeddings.shape[2]
        prototypes = embeddings.detach().mean(1)  # (B, n, d) -> (B, d), equation 1
        samples = embeddings.reshape(-1, dim)  # (B, n, d) -> (B n, d)
        positive = (embeddings * prototypes[:, None]).sum(2).reshape(-1)  # (B, n, d) -> (B n,)
        negatives = samples @ self.queue.T  # (B n, K)
        return self.contrast(positive, negatives)

    @torch.no_grad()
    def remember(self, embeddings: Tensor, images: Tensor) -> None:
        """Put the views (B, n, d) at the head of the queue; the oldest fall out."""
        samples = embeddings.detach().reshape(-1, embeddings.shape[2])
        self.queue.copy_(torch.cat([samples, self.queue])[: len(self.queue)])


class IndexedMemory(_Contrastive):
    """Instance discrimination against a memory bank with one entry for each training image ("Wusnets").

    Args:
        settings: number of negatives K, tau, bank momentum, loss.
        n_images: N.
        dim: d.
        generator: of the bank's random start, uniform with expected norm 1.
        seed: of the negatives, which depend on (seed, step) alone.

    Buffers:
        bank: (N, d).
        z: () Z, NaN until the first minibatch.

    Source: section 3, appendix B.2; Wu et al. 2018, section 3.
    """

    def __init__(
        self, settings: config.IndexedMemory, *, n_images: int, dim: int, generator: torch.Generator, seed: int
    ):
        super().__init__(settings, n_images)
        self.seed = seed
        bound = 1 / math.sqrt(dim / 3)
        self.register_buffer("bank", (torch.rand(n_images, dim, generator=generator) * 2 - 1) * bound)

    def forward(self, embeddings: Tensor, labels: Tensor, images: Tensor, step: int) -> Tensor:
        """Return the loss of embeddings (B, 1, d) of the images at positions `images` (B,) of the training set."""
        samples = embeddings[:, 0]  # (B, d)
        shape = (len(samples), self.settings.n_negatives)
        drawn = np.random.default_rng([self.seed, step]).integers(self.n_images, size=shape)
        drawn = torch.from_numpy(drawn).to(samples.device)  # (B, K)
        positive = (samples * self.bank[images]).sum(1)  # (B,)
        negatives = torch.bmm(self.bank[drawn], samples[:, :, None]).squeeze(2)  # (B, K, d) x (B, d, 1) -> (B, K)
        return self.contrast(positive, negatives)

    @torch.no_grad()
    def remember(self, embeddings: Tensor, images: Tensor) -> None:
        """Move the images' entries of the bank towards their embeddings (B, 1, d)."""
        old, momentum = self.bank[images], self.settings.bank_momentum
        self.bank[images] = F.normalize(momentum * old + (1 - momentum) * embeddings[:, 0].detach(), dim=1)


class Supervised(nn.Module):
    """Cross entropy with the category labels.

    Source: section 4.1 ("the standard output layer and cross entropy loss function").
    """

    def __init__(self, n_classes: int):
        super().__init__()
        self.collapsed_loss = math.log(n_classes)  # every class equally likely

    def forward(self, embeddings: Tensor, labels: Tensor, images: Tensor, step: int) -> Tensor:
        """Return the loss of logits (B, n, n_classes) and labels (B,)."""
        return F.cross_entropy(embeddings.flatten(0, 1), labels.repeat_interleave(embeddings.shape[1]))

    def remember(self, embeddings: Tensor, images: Tensor) -> None:
        """Nothing is remembered."""


def build_objective(
    settings: config.IPCL | config.IndexedMemory | config.Supervised, *, n_images: int, dim: int, seed: int
) -> nn.Module:
    """Build an objective with its random start drawn from `seed`."""
    generator = torch.Generator().manual_seed(seed)
    match settings:
        case config.IPCL():
            return InstancePrototype(settings, n_images=n_images, dim=dim, generator=generator)
        case config.IndexedMemory():
            return IndexedMemory(settings, n_images=n_images, dim=dim, generator=generator, seed=seed)
        case config.Supervised():
            return Supervised(dim)
    raise TypeError(f"unknown objective {settings!r}")


def measure_spread(embeddings: Tensor) -> tuple[float, float]:
    """Measure whether embeddings still differ between images.

    Args:
        embeddings: (M, d), one of each image.

    Returns:
        Standard deviation: root mean square distance of the unit vectors from their mean, 0 when collapsed, near 1 when
        spread over the sphere. Effective rank: exponential of the entropy of the normalised singular values of the
        centred unit vectors, 1 to min(M - 1, d).

    Source: effective rank: Roy and Vetterli 2007.
    """
    unit = F.normalize(embeddings.detach().float(), dim=1)
    centered = unit - unit.mean(0)
    std = centered.square().sum(1).mean().sqrt().item()
    singular = torch.linalg.svdvals(centered)
    share = singular / singular.sum().clamp(min=1e-12)
    rank = torch.exp(-(share * torch.log(share.clamp(min=1e-12))).sum()).item()
    return std, rank
