"""The trial of a node."""

import pytest

from ipcl_core.files import read_json
from ipcl_core.training.check_node import check_node


def test_node_is_tried(tmp_path):
    (tmp_path / "node.txt").write_text("node7\n")
    report, scratch = tmp_path / "node.json", tmp_path / "scratch"
    check_node(tmp_path / "node.txt", report, gpu=False, scratch=str(scratch), n_threads=2)
    found = read_json(report)
    assert found["token_written_on"] == "node7" and found["device"] == "CPU" and found["views_per_second"] > 0
    assert len(list(scratch.glob("*.beton"))) == 1
    assert {path.name for path in tmp_path.iterdir()} == {"node.txt", "node.json", "scratch"}


def test_missing_gpu_is_an_error(tmp_path):
    with pytest.raises(RuntimeError, match="asked for a GPU, and PyTorch"):
        check_node(tmp_path / "node.txt", tmp_path / "node.json", gpu=True, scratch=None, n_threads=1)


def test_pytorch_without_cuda_is_told_from_a_missing_gpu(tmp_path, monkeypatch):
    monkeypatch.setattr("torch.version.cuda", None)
    with pytest.raises(RuntimeError, match=r"built for processors alone.* CONDA_OVERRIDE_CUDA"):
        check_node(tmp_path / "node.txt", tmp_path / "node.json", gpu=True, scratch=None, n_threads=1)
