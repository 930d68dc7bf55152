import math

import numpy as np
import pytest
import torch
from test_losses import loop_infonce, loop_nce
from torch.nn import functional as F
from torch.testing import assert_close

from ipcl_core.config import IPCL, IndexedMemory, Supervised
from ipcl_core.training.objectives import GATHERED, _GatheredProducts, build_objective


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


def name_loss(name: str) -> dict:
    """Settings of infonce, or of nce with one of its negative terms."""
    return {"loss": "infonce"} if name == "infonce" else {"negative_term": name}


def call(objective, embeddings, images=None, step=0):
    images = torch.arange(len(embeddings)) if images is None else images
    return objective(embeddings, torch.zeros(len(embeddings), dtype=torch.long), images, step)


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


@pytest.mark.parametrize("loss", ["sum_of_logs", "as_printed", "infonce"])
def test_prototype_loss_equals_loop(loss):
    objective, embeddings = build_ipcl(**name_loss(loss)), draw(4, 3, 6)
    s, others = loop_prototypes(embeddings, objective.queue)
    if loss != "infonce":
        z = 50 * np.exp(np.column_stack([s, others]) / 0.07).mean()
        expected = loop_nce(s, others, z=z, tau=0.07, n_images=50, negative_term=loss)
    else:
        expected = loop_infonce(s, others, tau=0.07)
    assert_close(call(objective, embeddings).item(), expected, rtol=1e-10, atol=0)


def test_prototype_by_hand():
    """The prototype of two orthogonal unit vectors is (.5, .5): similarity .5, and not .707 of a renormalised one."""
    objective = build_ipcl(dim=2, n_views=2, queue_size=1, tau=1.0, loss="infonce")
    objective.queue.zero_()
    embeddings = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]], dtype=torch.float64)
    assert_close(call(objective, embeddings).item(), math.log(1 + math.exp(-0.5)), rtol=1e-12, atol=0)


def test_renormalised_prototype_by_hand():
    """As above with the prototype (.707, .707): similarity .707."""
    objective = build_ipcl(dim=2, n_views=2, queue_size=1, tau=1.0, loss="infonce", normalize_prototype=True)
    objective.queue.zero_()
    embeddings = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]], dtype=torch.float64)
    expected = math.log(1 + math.exp(-math.sqrt(0.5)))
    assert_close(call(objective, embeddings).item(), expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("detach", [True, False])
def test_gradient_through_the_prototype(detach):
    """None flows through a detached prototype; through the other one it is that of the mean."""
    objective = build_ipcl(loss="infonce", tau=0.5, detach_prototype=detach)
    embeddings = draw(4, 3, 6).requires_grad_()
    (found,) = torch.autograd.grad(call(objective, embeddings), embeddings)

    def differentiate(prototypes):
        positive = torch.stack([embeddings[i, v] @ prototypes[i] for i in range(4) for v in range(3)])
        others = torch.stack([objective.queue @ embeddings[i, v] for i in range(4) for v in range(3)])
        choices = torch.cat([positive[:, None], others], 1) / 0.5
        return torch.autograd.grad((choices.logsumexp(1) - positive / 0.5).mean(), embeddings)[0]

    around, through = differentiate(embeddings.detach().mean(1)), differentiate(embeddings.mean(1))
    expected, other = (around, through) if detach else (through, around)
    assert_close(found, expected, rtol=1e-10, atol=1e-14)
    assert (found - other).abs().max() > 0.01 * other.abs().max()


def newest_first(objective) -> torch.Tensor:
    """The queue's entries, the newest first."""
    return objective.queue.roll(-objective.head, 0).flip(0)


def test_queue_is_a_ring():
    """As the released code's queue, where new views stand in front, those of one draw of all images after the other, and
    the last entries fall off; the memory is never given up."""
    objective = build_ipcl(queue_size=10, n_views=3)
    memory, expected = objective.queue.data_ptr(), newest_first(objective)
    for seed in range(7):  # 7 * 6 entries go round the ring four times
        views = draw(2, 3, 6, seed=seed)
        objective.remember(views, torch.arange(2))
        expected = torch.cat([views.transpose(0, 1).flatten(0, 1), expected])[:10]
        assert_close(newest_first(objective), expected, rtol=0, atol=0)
    assert objective.queue.data_ptr() == memory


def test_ring_goes_on_from_a_checkpoint(tmp_path):
    objective, restored = build_ipcl(), build_ipcl(seed=1)
    objective.remember(draw(2, 3, 6), torch.arange(2))
    torch.save(objective.state_dict(), tmp_path / "state.pt")
    restored.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    for one in (objective, restored):
        one.remember(draw(2, 3, 6, seed=1), torch.arange(2))
    assert objective.head == restored.head == 2
    assert_close(restored.queue, objective.queue, rtol=0, atol=0)


def test_loss_does_not_depend_on_the_order_of_the_queue():
    objective, embeddings = build_ipcl(), draw(4, 3, 6)
    found = call(objective, embeddings)
    objective.queue.copy_(objective.queue.flip(0))
    assert_close(call(objective, embeddings), found, rtol=1e-12, atol=0)


def test_queue_smaller_than_the_batch():
    objective, embeddings = build_ipcl(queue_size=4), draw(3, 3, 6)
    objective.remember(embeddings, torch.arange(3))
    assert_close(newest_first(objective), embeddings.transpose(0, 1).flatten(0, 1)[:4], rtol=0, atol=0)


@pytest.mark.parametrize("normalize", [False, True])
def test_queue_of_prototypes(normalize):
    objective, embeddings = build_ipcl(queue="prototypes", normalize_prototype=normalize), draw(4, 3, 6)
    start = objective.queue.clone()
    objective.remember(embeddings, torch.arange(4))
    for row, views in zip(newest_first(objective)[:4], embeddings, strict=True):
        mean = sum(views) / 3
        expected = mean / math.sqrt(sum(float(x) ** 2 for x in mean)) if normalize else mean
        assert_close(row, expected, rtol=1e-12, atol=1e-15)
    assert_close(objective.queue[4:], start[4:], rtol=0, atol=0)
    assert objective.head == 4


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


@pytest.mark.parametrize("build", [build_ipcl, build_memory])
def test_moving_average_of_z(build):
    """Z follows each minibatch's estimate with momentum .99, before it is used; a resumed one goes on from there."""
    n_views = 3 if build is build_ipcl else 1
    moving, expected = build(z="ema"), None
    for step in range(3):
        embeddings, fresh = draw(4, n_views, 6, seed=step), build()
        call(fresh, embeddings, step=step)
        expected = fresh.z.clone() if expected is None else 0.99 * expected + 0.01 * fresh.z
        found = call(moving, embeddings, step=step)
        assert_close(moving.z, expected, rtol=1e-10, atol=0)
        fresh.z.copy_(expected)
        assert_close(found, call(fresh, embeddings, step=step), rtol=1e-10, atol=0)
    restored = build(z="ema")
    restored.load_state_dict(moving.state_dict())
    for one in (moving, restored):
        call(one, draw(4, n_views, 6, seed=9), step=9)
    assert_close(restored.z, moving.z, rtol=0, atol=0)
    assert moving.z != expected


def test_collapsed_loss_leaves_z_alone():
    objective = build_ipcl(z="ema")
    call(objective, draw(4, 3, 6))
    z = objective.z.clone()
    assert objective.collapsed_loss > 0
    assert_close(objective.z, z, rtol=0, atol=0)


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


def test_gathered_products_equal_a_loop():
    """More samples than are gathered at a time, an entry drawn twice, and the gradient that autograd finds."""
    generator = torch.Generator().manual_seed(0)
    bank = draw(7, 6)
    drawn = torch.randint(7, (GATHERED * 2 + 3, 9), generator=generator)
    weights = torch.randn(drawn.shape, generator=generator, dtype=torch.float64)
    samples = draw(len(drawn), 6, seed=1).requires_grad_()
    found = _GatheredProducts.apply(samples, bank, drawn)
    expected = torch.stack([torch.stack([s @ bank[i] for i in row]) for s, row in zip(samples, drawn, strict=True)])
    assert_close(found, expected, rtol=1e-12, atol=1e-15)
    gradients = [torch.autograd.grad((x * weights).sum(), samples)[0] for x in (found, expected)]
    assert_close(*gradients, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("loss", ["sum_of_logs", "as_printed", "infonce"])
def test_memory_loss_equals_loop(loss):
    objective, embeddings, images = build_memory(**name_loss(loss), seed=3), draw(4, 1, 6), torch.tensor([7, 0, 19, 4])
    drawn = np.random.default_rng([3, 12, 1]).integers(20, size=(4, 5))
    positive = [float(embeddings[b, 0] @ objective.bank[images[b]]) for b in range(4)]
    negatives = [[float(embeddings[b, 0] @ objective.bank[i]) for i in drawn[b]] for b in range(4)]
    if loss != "infonce":
        z = 20 * np.exp(np.column_stack([positive, negatives]) / 0.07).mean()
        expected = loop_nce(positive, negatives, z=z, tau=0.07, n_images=20, negative_term=loss)
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


def test_negatives_that_were_drawn_ahead_are_those_of_their_step():
    """In order, repeated, passed over, and of another number of samples."""
    settings = IndexedMemory(name="indexed_memory", n_negatives=16)

    def build():
        return build_objective(settings, n_images=50, dim=4, seed=3)

    objective = build()
    for n, step in [(4, 0), (4, 1), (4, 2), (4, 2), (4, 7), (2, 8), (4, 9)]:
        assert torch.equal(objective.draw_negatives(n, step), build().draw_negatives(n, step))
    rng = np.random.default_rng([3, 1, 1])
    assert objective.draw_negatives(4, 1).tolist() == rng.integers(50, size=(4, 16)).tolist()


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
