"""Which GPU a job takes."""

import os
import tempfile

import pytest
import torch

from ipcl_core import cards


@pytest.fixture(autouse=True)
def machine(tmp_path, monkeypatch):
    """Three GPUs, and locks of this test's own."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.setattr(cards, "_reserved", reserved := [])
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    yield
    for file in reserved:
        os.close(file)


def reserve(monkeypatch, n: int) -> str | None:
    """What another job sees."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    cards.reserve_cards(n)
    return os.environ.get("CUDA_VISIBLE_DEVICES")


def test_each_job_takes_its_own(monkeypatch, warnings_of):
    assert [reserve(monkeypatch, 1), reserve(monkeypatch, 2)] == ["0", "1,2"]
    assert warnings_of() == []
    os.close(cards._reserved.pop(0))  # the first job ends
    assert reserve(monkeypatch, 1) == "0"


def test_more_jobs_than_cards_share_them(monkeypatch, warnings_of):
    assert [reserve(monkeypatch, 2), reserve(monkeypatch, 2)] == ["0,1", "2,0"]
    assert "1 of 3 GPUs are free, and 2 asked for" in warnings_of()[0]


@pytest.mark.parametrize("shown", ["", "1", "GPU-8f,GPU-9e"])
def test_what_a_batch_system_shows_is_left_alone(monkeypatch, shown):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", shown)
    cards.reserve_cards(2)
    assert os.environ["CUDA_VISIBLE_DEVICES"] == shown and not cards._reserved


def test_all_cards_of_the_machine_need_no_lock(monkeypatch):
    assert reserve(monkeypatch, 3) is None and not cards._reserved
