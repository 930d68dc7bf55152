import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from ipcl_core.config import IPCL, IndexedMemory, Supervised
from ipcl_core.objectives import build_objective, estimate_z, infonce_loss, measure_spread, nce_loss


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    """Unit vectors along the last axis, float64."""
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(*shape, generator=generator, dtype=torch.float64), dim=-1)


def build_ipcl(*, n_images: int = 50, dim: int = 6, seed: int = 0, **settings):
    """IPCL in float64 with 3 views and a queue of 10."""
    settings = IPCL(name="ipcl", **{"n_views": 3, "queue_size": 10} | settings)
    return build_objective(settings, n_images=n_images, dim=dim, seed=seed).double()


def build_memory(*, n_images: int = 20, dim: int = 6, seed: int = 0, **settings):
    """Indexed memory in float64 with 5 negatives."""
    settings = IndexedMemory(name="indexed_memory", **{"n_negatives": 5} | settings)
    return build_objective(settings, n_images=n_images, dim=dim, seed=seed).double()


def call(objective, embeddings, images=None, step=0):
    images = torch.arange(len(embeddings)) if images is None else images
    return objective(embeddings, torch.zeros(len(embeddings), dtype=torch.long), images, step)


def loop_nce(positive, negatives, *, z, tau, n_images):
    """Appendix B.2, equations 1 to 3, one term at a time, with the sum over k outside the logarithm."""
    losses = []
    for s, row in zip(positive, negatives, strict=True):
        noise = len(row) / n_images
        p = math.exp(s / tau) / z
        log_pos = math.log(p / (p + noise + 1e-7))
        log_neg = sum(math.log(noise / (math.exp(q / tau) / z + noise + 1e-7)) for q in row)
        losses.append(-(log_pos + log_neg))
    return sum(losses) / len(losses)


def loop_infonce(positive, negatives, *, tau):
    """Section 2, equation 2, one term at a time."""
    losses = []
    for s, row in zip(positive, negatives, strict=True):
        total = math.exp(s / tau) + sum(math.exp(q / tau) for q in row)
        losses.append(-math.log(math.exp(s / tau) / total))
    return sum(losses) / len(losses)


# ---- the two losses --------------------------------------------------------------------------------------------------


def test_nce_loss_equals_loop():
    rng = np.random.default_rng(0)
    positive, negatives = rng.uniform(-1, 1, 7), rng.uniform(-1, 1, (7, 9))
    found = nce_loss(
        torch.tensor(positive), torch.tensor(negatives), torch.tensor(321.0).double(), tau=0.07, n_images=1000
    )
    expected = loop_nce(positive, negatives, z=321.0, tau=0.07, n_images=1000)
    assert_close(found.item(), expected, rtol=1e-12, atol=0)


def test_nce_loss_by_hand():
    # p = 2 / Z = 2, K / N = 1: log 2/3; the one negative has p = 1: log 1/2; together -(log 1/3) = log 3
    found = nce_loss(torch.tensor([math.log(2)]), torch.tensor([[0.0]]), torch.tensor(1.0), tau=1.0, n_images=1)
    assert_close(found.item(), math.log(3), rtol=1e-6, atol=0)


def test_nce_loss_sums_logarithms():
    # two negatives with p = 3 and K / N = 1: log 1/4 each, so 2 log 4; equation 3 as printed would give log 8
    positive, negatives = torch.tensor([30.0]).double(), torch.full((1, 2), math.log(3)).double()
    found = nce_loss(positive, negatives, torch.tensor(1.0).double(), tau=1.0, n_images=2)
    assert_close(found.item(), 2 * math.log(4), rtol=1e-6, atol=0)


def test_infonce_loss_equals_loop():
    rng = np.random.default_rng(1)
    positive, negatives = rng.uniform(-1, 1, 7), rng.uniform(-1, 1, (7, 9))
    found = infonce_loss(torch.tensor(positive), torch.tensor(negatives), tau=0.07)
    assert_close(found.item(), loop_infonce(positive, negatives, tau=0.07), rtol=1e-12, atol=0)


def test_infonce_loss_by_hand():
    # exp(log 3) / (exp(log 3) + 1 + 1) = 3/5
    found = infonce_loss(torch.tensor([math.log(3)]), torch.tensor([[0.0, 0.0]]), tau=1.0)
    assert_close(found.item(), math.log(5 / 3), rtol=1e-6, atol=0)


def test_infonce_loss_leaves_out_minus_infinity():
    full = infonce_loss(torch.tensor([0.3]), torch.tensor([[0.1]]), tau=0.5)
    masked = infonce_loss(torch.tensor([0.3]), torch.tensor([[0.1, -math.inf]]), tau=0.5)
    assert_close(masked, full, rtol=0, atol=0)


@pytest.mark.parametrize("n_negatives", [1, 17])
def test_collapsed_infonce_is_log_of_choices(n_negatives):
    found = infonce_loss(torch.ones(4), torch.ones(4, n_negatives), tau=0.07)
    assert_close(found.item(), math.log(1 + n_negatives), rtol=1e-6, atol=0)


def test_losses_refuse_different_numbers_of_samples():
    with pytest.raises(RuntimeError):
        infonce_loss(torch.ones(3), torch.ones(2, 5), tau=0.07)
    with pytest.raises(RuntimeError):
        nce_loss(torch.ones(3), torch.ones(2, 5), torch.tensor(1.0), tau=0.07, n_images=10)


def test_estimate_z_by_hand():
    # exp: 3 for the positive, 1 and 2 for the negatives; mean 2, times N = 10
    found = estimate_z(torch.tensor([math.log(3)]), torch.tensor([[0.0, math.log(2)]]), tau=1.0, n_images=10)
    assert_close(found.item(), 20.0, rtol=1e-6, atol=0)


def test_estimate_z_equals_loop():
    rng = np.random.default_rng(2)
    positive, negatives = rng.uniform(-1, 1, 4), rng.uniform(-1, 1, (4, 3))
    terms = [math.exp(s / 0.07) for row in zip(positive, *negatives.T, strict=True) for s in row]
    found = estimate_z(torch.tensor(positive), torch.tensor(negatives), tau=0.07, n_images=99)
    assert_close(found.item(), 99 * sum(terms) / len(terms), rtol=1e-12, atol=0)


# ---- instance prototypes ---------------------------------------------------------------------------------------------


def loop_prototypes(embeddings, queue):
    """Positive and negative similarities of every view, image by image: lists of (B n,) and (B n, K) numbers."""
    prototypes = [sum(views) / len(views) for views in embeddings]
    positive, negatives = [], []
    for i, views in enumerate(embeddings):
        for view in views:
            positive.append(float(view @ prototypes[i]))
            negatives.append([float(view @ item) for item in queue])
    return positive, negatives


@pytest.mark.parametrize("loss", ["nce", "infonce"])
def test_prototype_loss_equals_loop(loss):
    objective, embeddings = build_ipcl(loss=loss), draw(4, 3, 6)
    s, others = loop_prototypes(embeddings, objective.queue)
    if loss == "nce":
        z = 50 * np.exp(np.column_stack([s, others]) / 0.07).mean()
        expected = loop_nce(s, others, z=z, tau=0.07, n_images=50)
    else:
        expected = loop_infonce(s, others, tau=0.07)
    assert_close(call(objective, embeddings).item(), expected, rtol=1e-10, atol=0)


def test_prototype_by_hand():
    """The prototype of two orthogonal unit vectors is (.5, .5): similarity .5, and not .707 of a renormalised one."""
    objective = build_ipcl(dim=2, n_views=2, queue_size=1, tau=1.0, loss="infonce")
    objective.queue.zero_()
    embeddings = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]], dtype=torch.float64)
    assert_close(call(objective, embeddings).item(), math.log(1 + math.exp(-0.5)), rtol=1e-12, atol=0)


def test_no_gradient_flows_through_the_prototype():
    objective, embeddings = build_ipcl(loss="infonce", tau=0.5), draw(4, 3, 6).requires_grad_()
    (found,) = torch.autograd.grad(call(objective, embeddings), embeddings)

    def differentiate(prototypes):
        positive = torch.stack([embeddings[i, v] @ prototypes[i] for i in range(4) for v in range(3)])
        others = torch.stack([objective.queue @ embeddings[i, v] for i in range(4) for v in range(3)])
        choices = torch.cat([positive[:, None], others], 1) / 0.5
        return torch.autograd.grad((choices.logsumexp(1) - positive / 0.5).mean(), embeddings)[0]

    assert_close(found, differentiate(embeddings.detach().mean(1)), rtol=1e-10, atol=1e-14)
    through = differentiate(embeddings.mean(1))
    assert (found - through).abs().max() > 0.01 * through.abs().max()


def test_queue_holds_newest_first():
    objective = build_ipcl(queue_size=6, n_views=2)
    start, first, second = objective.queue.clone(), draw(2, 2, 6, seed=1), draw(2, 2, 6, seed=2)
    objective.remember(first, torch.arange(2))
    assert_close(objective.queue, torch.cat([first.flatten(0, 1), start[:2]]), rtol=0, atol=0)
    objective.remember(second, torch.arange(2))
    assert_close(objective.queue, torch.cat([second.flatten(0, 1), first.flatten(0, 1)[:2]]), rtol=0, atol=0)


def test_queue_smaller_than_the_batch():
    objective, embeddings = build_ipcl(queue_size=4), draw(3, 3, 6)
    objective.remember(embeddings, torch.arange(3))
    assert_close(objective.queue, embeddings.flatten(0, 1)[:4], rtol=0, atol=0)


def test_forward_leaves_the_queue_alone():
    """The negatives of a minibatch are those of earlier ones: `remember` alone takes it in."""
    objective, embeddings = build_ipcl(loss="infonce"), draw(4, 3, 6)
    start = objective.queue.clone()
    before = call(objective, embeddings)
    assert_close(objective.queue, start, rtol=0, atol=0)
    objective.remember(embeddings, torch.arange(4))
    # with its own views among the negatives the loss of the same minibatch is far larger
    assert call(objective, embeddings) > before + 0.1


def test_queue_carries_no_gradient():
    objective, embeddings = build_ipcl(), draw(4, 3, 6).requires_grad_()
    objective.remember(embeddings, torch.arange(4))
    assert not objective.queue.requires_grad


def test_queue_starts_random_with_unit_length():
    queue = build_ipcl(queue_size=4000, dim=8).queue
    assert_close(queue.norm(dim=1), torch.ones(4000, dtype=torch.float64), rtol=1e-6, atol=0)
    assert_close(queue.mean(0), torch.zeros(8, dtype=torch.float64), rtol=0, atol=4 / math.sqrt(8 * 4000))


@pytest.mark.parametrize("build", [build_ipcl, build_memory])
def test_z_is_set_by_the_first_minibatch_and_then_frozen(build):
    n_views = 3 if build is build_ipcl else 1
    objective, embeddings = build(), draw(4, n_views, 6)
    assert objective.z.isnan()
    call(objective, embeddings)
    z = objective.z.clone()
    if build is build_ipcl:
        positive, negatives = loop_prototypes(embeddings, objective.queue)
        assert_close(z.item(), 50 * np.exp(np.column_stack([positive, negatives]) / 0.07).mean(), rtol=1e-10, atol=0)
    objective.remember(embeddings, torch.arange(4))
    call(objective, draw(4, n_views, 6, seed=5), step=1)
    assert_close(objective.z, z, rtol=0, atol=0)

    restored = build()
    restored.load_state_dict(objective.state_dict())
    call(restored, draw(4, n_views, 6, seed=6), step=2)
    assert_close(restored.z, z, rtol=0, atol=0)
    assert_close(call(restored, embeddings), call(objective, embeddings), rtol=0, atol=0)


def test_z_carries_no_gradient():
    objective, embeddings = build_ipcl(), draw(4, 3, 6).requires_grad_()
    call(objective, embeddings)
    assert not objective.z.requires_grad


@pytest.mark.parametrize("build,n", [(build_ipcl, 10), (build_memory, 5)])
def test_collapsed_loss(build, n):
    objective = build(loss="infonce")
    call(objective, draw(4, 3 if build is build_ipcl else 1, 6))
    assert_close(objective.collapsed_loss, math.log(1 + n), rtol=1e-6, atol=0)


def test_collapsed_loss_of_nce_is_that_of_equal_embeddings():
    objective = build_ipcl()
    call(objective, draw(4, 3, 6))
    expected = loop_nce([1.0], [[1.0] * 10], z=objective.z.item(), tau=0.07, n_images=50)
    assert_close(objective.collapsed_loss, expected, rtol=1e-5, atol=0)


# ---- indexed memory --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", ["nce", "infonce"])
def test_memory_loss_equals_loop(loss):
    objective, embeddings, images = build_memory(loss=loss, seed=3), draw(4, 1, 6), torch.tensor([7, 0, 19, 4])
    drawn = np.random.default_rng([3, 12]).integers(20, size=(4, 5))
    positive = [float(embeddings[b, 0] @ objective.bank[images[b]]) for b in range(4)]
    negatives = [[float(embeddings[b, 0] @ objective.bank[i]) for i in drawn[b]] for b in range(4)]
    if loss == "nce":
        z = 20 * np.exp(np.column_stack([positive, negatives]) / 0.07).mean()
        expected = loop_nce(positive, negatives, z=z, tau=0.07, n_images=20)
    else:
        expected = loop_infonce(positive, negatives, tau=0.07)
    assert_close(call(objective, embeddings, images, step=12).item(), expected, rtol=1e-10, atol=0)


def test_memory_update_equals_loop():
    objective, embeddings, images = build_memory(bank_momentum=0.3), draw(3, 1, 6), torch.tensor([7, 0, 19])
    expected = objective.bank.clone()
    for b, image in enumerate(images):
        mixed = 0.3 * expected[image] + 0.7 * embeddings[b, 0]
        expected[image] = mixed / math.sqrt(sum(float(x) ** 2 for x in mixed))
    before = objective.bank.clone()
    objective.remember(embeddings, images)
    assert_close(objective.bank, expected, rtol=1e-12, atol=1e-15)
    untouched = [i for i in range(20) if i not in (7, 0, 19)]
    assert_close(objective.bank[untouched], before[untouched], rtol=0, atol=0)


def test_memory_update_by_hand():
    # half (1, 0) and half (0, 1), renormalised
    objective = build_memory(dim=2)
    objective.bank[4] = torch.tensor([1.0, 0.0])
    objective.remember(torch.tensor([[[0.0, 1.0]]], dtype=torch.float64), torch.tensor([4]))
    assert_close(objective.bank[4], torch.full((2,), math.sqrt(0.5), dtype=torch.float64), rtol=1e-12, atol=0)


def test_negatives_depend_on_seed_and_step_alone():
    fresh, used, other = build_memory(seed=1), build_memory(seed=1), build_memory(seed=2)
    other.bank.copy_(fresh.bank)
    embeddings = draw(4, 1, 6)
    for objective in (fresh, used, other):
        objective.z.fill_(1000.0)
    for step in range(3):
        call(used, draw(4, 1, 6, seed=step), step=step)
    torch.manual_seed(5)
    torch.rand(7)
    expected = call(fresh, embeddings, step=7)
    assert_close(call(used, embeddings, step=7), expected, rtol=0, atol=0)
    assert call(fresh, embeddings, step=8) != expected
    assert call(other, embeddings, step=7) != expected


def test_memory_starts_uniform_with_norm_near_one():
    bank = build_memory(n_images=2000, dim=12).bank
    bound = 1 / math.sqrt(12 / 3)
    assert bank.abs().max() <= bound
    assert_close(bank.square().sum(1).mean().item(), 1.0, rtol=0.02, atol=0)


# ---- category labels, construction -----------------------------------------------------------------------------------


@pytest.mark.parametrize("n_views", [1, 3])
def test_supervised_equals_cross_entropy_over_views(n_views):
    objective = build_objective(Supervised(name="supervised", n_views=n_views), n_images=9, dim=5, seed=0)
    logits, labels = torch.randn(4, n_views, 5, generator=torch.Generator().manual_seed(0)), torch.tensor([3, 0, 0, 4])
    total = 0.0
    for b in range(4):
        for v in range(n_views):
            row = [math.exp(x) for x in logits[b, v].tolist()]
            total -= math.log(row[labels[b]] / sum(row))
    found = objective(logits, labels, torch.arange(4), 0)
    assert_close(found.item(), total / (4 * n_views), rtol=1e-5, atol=0)
    assert_close(objective.collapsed_loss, math.log(5), rtol=1e-12, atol=0)


@pytest.mark.parametrize("build", [build_ipcl, build_memory])
def test_objectives_start_from_their_seed(build):
    first, again, other = (build(seed=seed).state_dict() for seed in (3, 3, 4))
    name = "queue" if build is build_ipcl else "bank"
    assert_close(first[name], again[name], rtol=0, atol=0)
    assert not torch.equal(first[name], other[name])


def test_objective_does_not_disturb_the_global_generator():
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    build_ipcl()
    assert_close(torch.rand(3), expected, rtol=0, atol=0)


def test_unknown_objective_is_refused():
    with pytest.raises(TypeError, match="unknown objective"):
        build_objective({"name": "ipcl"}, n_images=2, dim=2, seed=0)


# ---- spread ----------------------------------------------------------------------------------------------------------


def test_spread_of_collapsed_embeddings():
    std, rank = measure_spread(torch.tensor([[0.0, 2.0, 0.0]]).repeat(7, 1))
    assert_close((std, rank), (0.0, 1.0), rtol=1e-6, atol=1e-7)


def test_spread_of_one_hot_vectors():
    # the mean is (1/4, ...): squared distance 1 - 1/4; three of the four singular values are equal, one is 0
    std, rank = measure_spread(3 * torch.eye(4))
    assert_close((std, rank), (math.sqrt(3 / 4), 3.0), rtol=1e-5, atol=0)


def test_spread_of_an_isotropic_set():
    std, rank = measure_spread(torch.cat([torch.eye(6), -torch.eye(6)]))
    assert_close((std, rank), (1.0, 6.0), rtol=1e-5, atol=0)


def test_spread_equals_loop():
    embeddings = 5 * torch.randn(9, 4, generator=torch.Generator().manual_seed(0))
    unit = [row / np.linalg.norm(row) for row in embeddings.double().numpy()]
    mean = sum(unit) / 9
    std = math.sqrt(sum(float(((u - mean) ** 2).sum()) for u in unit) / 9)
    eigenvalues = np.linalg.eigvalsh(sum(np.outer(u - mean, u - mean) for u in unit))
    shares = np.sqrt(eigenvalues) / np.sqrt(eigenvalues).sum()
    rank = math.exp(-sum(p * math.log(p) for p in shares))
    assert_close(measure_spread(embeddings), (std, rank), rtol=1e-5, atol=0)
