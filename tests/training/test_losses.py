import math

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from ipcl_core.training.objectives import estimate_z, infonce_loss, nce_loss


def loop_nce(positive, negatives, *, z, tau, n_images, negative_term="sum_of_logs"):
    """Appendix B.2, equations 1 to 3, one term at a time, with the sum over k outside the logarithm or inside."""
    losses = []
    for s, row in zip(positive, negatives, strict=True):
        noise = len(row) / n_images
        p = math.exp(s / tau) / z
        log_pos = math.log(p / (p + noise + 1e-7))
        denominators = [math.exp(q / tau) / z + noise + 1e-7 for q in row]
        if negative_term == "sum_of_logs":
            log_neg = sum(math.log(noise / denominator) for denominator in denominators)
        else:
            log_neg = math.log(noise / sum(denominators))
        losses.append(-(log_pos + log_neg))
    return sum(losses) / len(losses)


def loop_infonce(positive, negatives, *, tau):
    """Section 2, equation 2, one term at a time."""
    losses = []
    for s, row in zip(positive, negatives, strict=True):
        total = math.exp(s / tau) + sum(math.exp(q / tau) for q in row)
        losses.append(-math.log(math.exp(s / tau) / total))
    return sum(losses) / len(losses)


@pytest.mark.parametrize("negative_term", ["sum_of_logs", "as_printed"])
def test_nce_loss_equals_loop(negative_term):
    rng = np.random.default_rng(0)
    positive, negatives = rng.uniform(-1, 1, 7), rng.uniform(-1, 1, (7, 9))
    scaled = torch.tensor(positive) / 0.07, torch.tensor(negatives) / 0.07
    found = nce_loss(*scaled, torch.tensor(321.0).double(), n_images=1000, negative_term=negative_term)
    expected = loop_nce(positive, negatives, z=321.0, tau=0.07, n_images=1000, negative_term=negative_term)
    assert_close(found.item(), expected, rtol=1e-9, atol=0)


@pytest.mark.parametrize("negative_term", ["sum_of_logs", "as_printed"])
def test_nce_loss_by_hand(negative_term):
    # p = 2 / Z = 2, K / N = 1: log 2/3; the one negative has p = 1: log 1/2; together -(log 1/3) = log 3
    values = torch.tensor([math.log(2)]), torch.tensor([[0.0]]), torch.tensor(1.0)
    assert_close(nce_loss(*values, n_images=1, negative_term=negative_term).item(), math.log(3), rtol=1e-6, atol=0)


@pytest.mark.parametrize("negative_term,expected", [("sum_of_logs", 2 * math.log(4)), ("as_printed", math.log(8))])
def test_negative_terms_by_hand(negative_term, expected):
    # two negatives with p = 3 and K / N = 1: log 1/4 each, so 2 log 4; equation 3 as printed gives log 1/8
    positive, negatives = torch.tensor([30.0]).double(), torch.full((1, 2), math.log(3)).double()
    found = nce_loss(positive, negatives, torch.tensor(1.0).double(), n_images=2, negative_term=negative_term)
    assert_close(found.item(), expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize("negative_term", ["sum_of_logs", "as_printed"])
def test_gradient_of_nce_equals_the_fractions(negative_term):
    """The softplus form has the gradient of equations 1 to 3 as they stand, in single precision to 1e-5."""
    generator = torch.Generator().manual_seed(0)
    positive, negatives = (torch.rand(*shape, generator=generator) * 2 - 1 for shape in [(7,), (7, 90)])
    z, noise, tau, gradients = 2e4, 90 / 1000, 0.07, []
    for dtype in (torch.float32, torch.float64):
        s, q = (x.to(dtype).requires_grad_() for x in (positive, negatives))
        if dtype == torch.float32:
            loss = nce_loss(s / tau, q / tau, torch.tensor(z), n_images=1000, negative_term=negative_term)
        else:
            p, pk = torch.exp(s / tau) / z, torch.exp(q / tau) / z + noise + 1e-7
            negative = (noise / pk).log().sum(1) if negative_term == "sum_of_logs" else (noise / pk.sum(1)).log()
            loss = -((p / (p + noise + 1e-7)).log() + negative).mean()
        gradients.append(torch.autograd.grad(loss, (s, q)))
    for found, expected in zip(*gradients, strict=True):
        assert_close(found.double(), expected, rtol=0, atol=1e-5)
        assert expected.abs().max() > 0.1


@pytest.mark.parametrize("negative_term", ["sum_of_logs", "as_printed"])
def test_nce_loss_does_not_overflow(negative_term):
    """exp(100) is no number in single precision; the negative's logarithm is about -100."""
    values = torch.tensor([100.0]), torch.tensor([[100.0]]), torch.tensor(1.0)
    assert_close(nce_loss(*values, n_images=1, negative_term=negative_term).item(), 100.0, rtol=1e-5, atol=0)


def test_unknown_negative_term_is_refused():
    with pytest.raises(ValueError, match="unknown negative term 'sum'"):
        nce_loss(torch.ones(1), torch.ones(1, 1), torch.tensor(1.0), n_images=1, negative_term="sum")


def test_infonce_loss_equals_loop():
    rng = np.random.default_rng(1)
    positive, negatives = rng.uniform(-1, 1, 7), rng.uniform(-1, 1, (7, 9))
    found = infonce_loss(torch.tensor(positive) / 0.07, torch.tensor(negatives) / 0.07)
    assert_close(found.item(), loop_infonce(positive, negatives, tau=0.07), rtol=1e-12, atol=0)


def test_infonce_loss_by_hand():
    # exp(log 3) / (exp(log 3) + 1 + 1) = 3/5
    found = infonce_loss(torch.tensor([math.log(3)]), torch.tensor([[0.0, 0.0]]))
    assert_close(found.item(), math.log(5 / 3), rtol=1e-6, atol=0)


def test_infonce_loss_leaves_out_minus_infinity():
    full = infonce_loss(torch.tensor([0.3]), torch.tensor([[0.1]]))
    masked = infonce_loss(torch.tensor([0.3]), torch.tensor([[0.1, -math.inf]]))
    assert_close(masked, full, rtol=0, atol=0)


@pytest.mark.parametrize("n_negatives", [1, 17])
def test_collapsed_infonce_is_log_of_choices(n_negatives):
    found = infonce_loss(torch.ones(4), torch.ones(4, n_negatives))
    assert_close(found.item(), math.log(1 + n_negatives), rtol=1e-6, atol=0)


def test_losses_refuse_different_numbers_of_samples():
    with pytest.raises(RuntimeError):
        infonce_loss(torch.ones(3), torch.ones(2, 5))
    with pytest.raises(RuntimeError):
        nce_loss(torch.ones(3), torch.ones(2, 5), torch.tensor(1.0), n_images=10)


def test_estimate_z_by_hand():
    # exp: 3 for the positive, 1 and 2 for the negatives; mean 2, times N = 10
    found = estimate_z(torch.tensor([math.log(3)]), torch.tensor([[0.0, math.log(2)]]), n_images=10)
    assert_close(found.item(), 20.0, rtol=1e-6, atol=0)


def test_estimate_z_equals_loop():
    rng = np.random.default_rng(2)
    positive, negatives = rng.uniform(-1, 1, 4), rng.uniform(-1, 1, (4, 3))
    terms = [math.exp(s / 0.07) for row in zip(positive, *negatives.T, strict=True) for s in row]
    found = estimate_z(torch.tensor(positive) / 0.07, torch.tensor(negatives) / 0.07, n_images=99)
    assert_close(found.item(), 99 * sum(terms) / len(terms), rtol=1e-12, atol=0)
