import math

import numpy as np
import torch
from torch.testing import assert_close

from ipcl_core.training.collapse import measure_spread


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
