"""
The three training objectives: instance prototypes (IPCL), indexed memory (Wusnets), category labels.

Each is a module whose buffers (queue, memory bank, Z) belong to the training's state. `forward` gives the loss of a
minibatch and leaves the buffers as they are; `remember` takes the minibatch into them. Where several processes train
together, `forward` has this process's part of the minibatch, `remember` the whole.

Notation: B images, n views, N training images, K negatives, d dimensions, s similarity (dot product of unit vectors),
tau temperature.
"""

import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .. import config
from ..distributed import average, count_processes, take_part

EPS = 1e-7
"""Added to every denominator (appendix B.2)."""
Z_MOMENTUM = 0.99
"""Share of the old Z in the moving average `z: ema` (K. He in HobbitLong/CMC issue 23)."""
GATHERED = 8
"""Samples whose negatives are gathered from the memory bank at a time."""


def nce_loss(
    positive: Tensor, negatives: Tensor, z: Tensor, *, n_images: int, negative_term: str = "sum_of_logs"
) -> Tensor:
    """Return the noise-contrastive estimate of the instance-classification loss, mean over the samples.

    -(log(p / (p + c)) + sum_k log((K/N) / (p_k + c))), p = exp(s / tau) / Z, c = K/N + eps. It is computed as
    log(p / (p + c)) = -softplus(log c - log p) and log(c / (p_k + c)) = -softplus(log p_k - log c), which takes few passes
    over the (M, K) negatives and does not overflow.

    Args:
        positive: (M,) s / tau of each sample and its positive.
        negatives: (M, K) s / tau of each sample and its negatives.
        z: () normalisation constant Z.
        n_images: N.
        negative_term: sum_of_logs, as above and in Wu et al.'s and the released code; or as_printed in equation 3,
            log((K/N) / sum_k (p_k + c)).

    Returns:
        () loss in nats.

    Source: Konkle and Alvarez 2020, appendix B.2, equations 1-3; Wu et al. 2018, equation 9.
    """
    n_negatives = negatives.shape[1]
    noise = n_negatives / n_images  # K P_n
    log_c = torch.log(z * (noise + EPS))  # of c Z, so that log p - log c = s / tau - log_c
    log_positive = -F.softplus(log_c - positive)  # (M,)
    match negative_term:
        case "sum_of_logs":
            log_negatives = -F.softplus(negatives - log_c).sum(1) - n_negatives * math.log1p(EPS / noise)
        case "as_printed":
            total = torch.logsumexp(negatives - log_c, dim=1)  # (M, K) -> (M,), log sum_k p_k / c
            k = torch.full_like(total, n_negatives)
            log_negatives = -torch.logaddexp(total, k.log()) - math.log1p(EPS / noise)
        case _:
            raise ValueError(f"unknown negative term {negative_term!r}")
    return -(log_positive + log_negatives).mean()


def infonce_loss(positive: Tensor, negatives: Tensor) -> Tensor:
    """Return the normalised temperature-scaled cross entropy, mean over the samples.

    Args:
        positive: (M,) s / tau of each sample and its positive.
        negatives: (M, K) s / tau of each sample and its negatives; -inf leaves one out.

    Returns:
        () loss in nats.

    Source: Konkle and Alvarez 2020, section 2, equation 2.
    """
    logits = torch.cat([positive[:, None], negatives], dim=1)  # (M, 1 + K)
    return F.cross_entropy(logits, logits.new_zeros(len(logits), dtype=torch.long))


def estimate_z(positive: Tensor, negatives: Tensor, *, n_images: int) -> Tensor:
    """Return Z: N times the mean of exp(s / tau) over the (M,) positives and (M, K) negatives of one minibatch.

    Source: appendix B.2 ("estimated based on the first mini-batch"); Wu et al. 2018, equation 8.
    """
    total = torch.exp(positive).sum() + torch.exp(negatives).sum()
    return total * n_images / (positive.numel() + negatives.numel())


class _Contrastive(nn.Module):
    """What the two contrastive objectives share: Z, and the choice of the loss."""

    def __init__(self, settings: config.IPCL | config.IndexedMemory, n_images: int):
        super().__init__()
        self.settings, self.n_images, self.n_negatives = settings, n_images, 0
        self.register_buffer("z", torch.tensor(float("nan")))
        self._z_is_known = False  # in this process; asking the buffer would make the host wait for the device

    @property
    def collapsed_loss(self) -> float:
        """The loss when every similarity is 1, with the last minibatch's number of negatives: log(1 + K) for infonce."""
        ones = torch.ones(1, self.n_negatives, device=self.z.device)
        return self._compute_loss(ones[:, 0] / self.settings.tau, ones / self.settings.tau).item()

    def contrast(self, positive: Tensor, negatives: Tensor) -> Tensor:
        """Return the loss of (M,) positives and (M, K) negatives, both s / tau; the first call sets Z."""
        self.n_negatives = negatives.shape[1]
        if self.settings.loss == "nce" and not (self._z_is_known and self.settings.z == "first_batch"):
            estimate = estimate_z(positive.detach(), negatives.detach(), n_images=self.n_images)
            self._update_z(average(estimate))
        return self._compute_loss(positive, negatives)

    def _update_z(self, estimate: Tensor) -> None:
        """Take the first minibatch's estimate of Z; keep it, or follow the later ones."""
        kept = self.z if self.settings.z == "first_batch" else torch.lerp(estimate, self.z, Z_MOMENTUM)
        self.z = torch.where(self.z.isnan(), estimate, kept).to(self.z.dtype)
        self._z_is_known = True

    def _compute_loss(self, positive: Tensor, negatives: Tensor) -> Tensor:
        if self.settings.loss == "infonce":
            return infonce_loss(positive, negatives)
        term = self.settings.negative_term
        return nce_loss(positive, negatives, self.z, n_images=self.n_images, negative_term=term)


class InstancePrototype(_Contrastive):
    """IPCL: each view is pulled to the mean of its image's views and pushed from the queue of recent views.

    Args:
        settings: number of views, queue size K, tau, loss, and the readings that `config.IPCL` names.
        n_images: N, images in the training set.
        dim: d.
        generator: of the queue's random start: uniform, each entry normalised.

    State:
        queue: (K, d) unit vectors (with `queue: prototypes`, prototypes), a ring: the oldest entry is at `head`.
        z: () Z, NaN until the first minibatch.

    Source: section 2, equations 1-2; appendix B.2.
    """

    def __init__(self, settings: config.IPCL, *, n_images: int, dim: int, generator: torch.Generator):
        super().__init__(settings, n_images)
        start = torch.rand(settings.queue_size, dim, generator=generator) * 2 - 1
        self.register_buffer("queue", F.normalize(start, dim=1))
        self.head = 0

    def get_extra_state(self) -> int:
        """The ring's head, for the checkpoint; a number on the host, so that nothing waits for the device."""
        return self.head

    def set_extra_state(self, state: int) -> None:
        """Take the ring's head from a checkpoint."""
        self.head = state

    def average_views(self, embeddings: Tensor) -> Tensor:
        """Return the prototypes (B, d) of embeddings (B, n, d), equation 1."""
        prototypes = embeddings.mean(1)  # (B, n, d) -> (B, d)
        prototypes = prototypes.detach() if self.settings.detach_prototype else prototypes
        return F.normalize(prototypes, dim=1) if self.settings.normalize_prototype else prototypes

    def forward(self, embeddings: Tensor, labels: Tensor, images: Tensor, step: int) -> Tensor:
        """Return the loss of embeddings (B, n, d), unit vectors; the other arguments are not used."""
        scaled = embeddings / self.settings.tau
        positive = (scaled * self.average_views(embeddings)[:, None]).sum(2).flatten()  # (B, n, d) -> (B n,)
        negatives = scaled.flatten(0, 1) @ self.queue.T  # (B n, d) x (d, K) -> (B n, K)
        return self.contrast(positive, negatives)

    @torch.no_grad()
    def remember(self, embeddings: Tensor, images: Tensor) -> None:
        """Write the views (B, n, d), or their prototypes, over the oldest entries of the queue.

        Of the oldest minibatch, where only a part of it is left, the first views of all images are the last to go, as in the
        released code.
        """
        whole = self.settings.queue == "prototypes"
        items = self.average_views(embeddings) if whole else embeddings.transpose(0, 1).flatten(0, 1)  # (items, d)
        items = items[: len(self.queue)].flip(0)
        n_fit = min(len(items), len(self.queue) - self.head)  # before the end of the ring
        self.queue[self.head : self.head + n_fit] = items[:n_fit]
        self.queue[: len(items) - n_fit] = items[n_fit:]
        self.head = (self.head + len(items)) % len(self.queue)


class _GatheredProducts(torch.autograd.Function):
    """Dot products of samples (B, d) with the entries `drawn` (B, K) of a bank (N, d): (B, K), without (B, K, d) copies.

    A few samples' entries at a time are gathered into one buffer. The gradient with respect to a sample is the sum of its
    entries weighted by the products' gradients, which is what an embedding bag computes; the bank has no gradient.
    """

    @staticmethod
    def forward(ctx, samples: Tensor, bank: Tensor, drawn: Tensor) -> Tensor:
        ctx.save_for_backward(bank, drawn)
        products = samples.new_empty(drawn.shape)
        buffer = bank.new_empty(GATHERED * drawn.shape[1], bank.shape[1])
        for part, some, out in zip(*(t.split(GATHERED) for t in (drawn, samples, products)), strict=True):
            entries = buffer[: part.numel()]
            torch.index_select(bank, 0, part.flatten(), out=entries)  # (some K, d)
            torch.bmm(entries.view(*part.shape, -1), some[:, :, None], out=out[:, :, None])
        return products

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None, None]:
        bank, drawn = ctx.saved_tensors
        return F.embedding_bag(drawn, bank, mode="sum", per_sample_weights=gradient.contiguous()), None, None


class IndexedMemory(_Contrastive):
    """Instance discrimination against a memory bank with one entry for each training image ("Wusnets").

    Args:
        settings: number of negatives K, tau, bank momentum, loss, and the readings that `config.IndexedMemory` names.
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
        self._thread, self._ahead = ThreadPoolExecutor(1), {}  # (samples, step) -> their negatives, in the making
        bound = 1 / math.sqrt(dim / 3)
        self.register_buffer("bank", (torch.rand(n_images, dim, generator=generator) * 2 - 1) * bound)

    def draw_negatives(self, n_samples: int, step: int) -> Tensor:
        """Return positions (B, K) in the bank, uniform with replacement; they may include the positives.

        A thread draws those of the next minibatch meanwhile: a million numbers take milliseconds, in which a GPU would wait.
        """
        ahead = self._ahead.get((n_samples, step))
        drawn = ahead.result() if ahead else self._draw(n_samples, step)
        self._ahead = {(n_samples, step + 1): self._thread.submit(self._draw, n_samples, step + 1)}
        return drawn.to(self.bank.device, non_blocking=True)

    def _draw(self, n_samples: int, step: int) -> Tensor:
        """Draw what `draw_negatives` returns; for a GPU in pinned memory, so that the host need not wait for the copy."""
        shape = (count_processes() * n_samples, self.settings.n_negatives)  # of the whole minibatch
        rng = np.random.default_rng([self.seed, step, 1])  # not that of the order of an epoch's images
        drawn = take_part(torch.from_numpy(rng.integers(self.n_images, size=shape)))
        return drawn.pin_memory() if self.bank.is_cuda else drawn

    def forward(self, embeddings: Tensor, labels: Tensor, images: Tensor, step: int) -> Tensor:
        """Return the loss of embeddings (B, 1, d) of the images at positions `images` (B,) of the training set."""
        scaled = embeddings[:, 0] / self.settings.tau  # (B, d)
        positive = (scaled * self.bank[images]).sum(1)  # (B,)
        negatives = _GatheredProducts.apply(scaled, self.bank, self.draw_negatives(len(scaled), step))  # (B, K)
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
