"""
TensorFlow's checkpoints: one that TensorFlow 2.21.0 wrote (golden/tensorflow), and ones that this file writes.

The golden one was made with tf.compat.v1: 40 variables base_model/conv2d_<i>/kernel of shape (1, 1, 1 + i % 3, 2), head/scalar
and head/empty of shape (0, 3), each np.arange(n) / 8 plus its number, and the int64 global_step; train.Saver(...).save.
"""

import shutil
import struct
from pathlib import Path

import numpy as np
import pytest

from ipcl_core.networks.tf_checkpoint import MAGIC, Checkpoint, compute_crc32c, mask_crc

GOLDEN = Path(__file__).parents[1] / "golden" / "tensorflow" / "model.ckpt-7"


def varint(value: int) -> bytes:
    groups = []
    while True:
        value, low = value >> 7, value & 127
        groups.append(low | (128 if value else 0))
        if not value:
            return bytes(groups)


def field(number: int, value: int | bytes) -> bytes:
    """One field of a protocol buffer: a number or bytes."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def make_block(entries: list[tuple[bytes, bytes]], kind: int = 0) -> bytes:
    """A table's block with its trailer; every key shares with the one before it whatever it can."""
    body, last = b"", b""
    for key, value in entries:
        shared = next((i for i, (a, b) in enumerate(zip(key, last, strict=False)) if a != b), min(len(key), len(last)))
        body += varint(shared) + varint(len(key) - shared) + varint(len(value)) + key[shared:] + value
        last = key
    body += struct.pack("<II", 0, 1)  # one restart, at 0
    trailer = bytes([kind])
    return body + trailer + struct.pack("<I", mask_crc(compute_crc32c(body + trailer)))


def write_checkpoint(prefix: Path, tensors: dict[str, np.ndarray], *, per_block: int = 7, kind: int = 0, big: int = 0):
    """Write a checkpoint in TensorFlow's format, a few entries a block."""
    data, entries = b"", [(b"", field(1, 1) + field(2, big) + field(3, field(1, 1)))]
    for name in sorted(tensors):
        values = tensors[name]
        shape = b"".join(field(2, field(1, side)) for side in values.shape)
        dtype = {"float32": 1, "int64": 9}[values.dtype.name]
        entry = field(1, dtype) + field(2, shape) + field(4, len(data)) + field(5, values.nbytes)
        entry += varint(6 << 3 | 5) + bytes(4)  # a checksum that is not read
        entries.append((name.encode(), entry))
        data += values.tobytes()
    table, handles = b"", []
    for start in range(0, len(entries), per_block):
        block = make_block(entries[start : start + per_block], kind)
        handles.append((entries[start : start + per_block][-1][0], varint(len(table)) + varint(len(block) - 5)))
        table += block
    footer = b""
    for block in (make_block([]), make_block(handles)):
        footer += varint(len(table)) + varint(len(block) - 5)
        table += block
    prefix.parent.mkdir(parents=True, exist_ok=True)
    prefix.with_name(f"{prefix.name}.index").write_bytes(table + footer.ljust(40, b"\0") + struct.pack("<Q", MAGIC))
    prefix.with_name(f"{prefix.name}.data-00000-of-00001").write_bytes(data)


@pytest.fixture
def tensors() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    shapes = [(), (5,), (0, 3), (2, 3, 4), (1, 1, 300, 2)] * 6
    found = {f"net/conv_{i}/kernel": rng.normal(size=shape).astype(np.float32) for i, shape in enumerate(shapes)}
    return found | {"global_step": np.array(225206)}


def test_checkpoint_that_tensorflow_wrote():
    checkpoint = Checkpoint(GOLDEN)
    shapes = {f"base_model/conv2d_{i}/kernel": (1, 1, 1 + i % 3, 2) for i in range(40)}
    shapes |= {"head/scalar": (), "head/empty": (0, 3)}
    assert set(checkpoint.entries) == {*shapes, "global_step"}
    for i, (name, shape) in enumerate(shapes.items()):
        found = checkpoint.read(name)
        assert found.shape == shape and found.dtype == np.float32
        assert np.array_equal(found, np.arange(np.prod(shape)).reshape(shape) / 8 + i)


def test_checkpoint_of_several_blocks(tmp_path, tensors):
    write_checkpoint(tmp_path / "model", tensors)
    checkpoint = Checkpoint(tmp_path / "model")
    assert list(checkpoint.entries) == sorted(tensors)
    for name in tensors.keys() - {"global_step"}:
        assert np.array_equal(checkpoint.read(name), tensors[name])


def test_crc32c_of_the_standard_and_of_leveldb():
    """RFC 3720, B.4; the masked value is leveldb's for the checksum of "foo" (crc32c_test.cc holds it is not its own mask)."""
    assert compute_crc32c(b"123456789") == 0xE3069283
    assert compute_crc32c(bytes(32)) == 0x8A9136AA
    assert compute_crc32c(bytes(range(32))) == 0x46DD794E
    crc = compute_crc32c(b"foo")
    rotated = (mask_crc(crc) - 0xA282EAD8) & 0xFFFFFFFF
    assert (rotated >> 17 | rotated << 15) & 0xFFFFFFFF == crc != mask_crc(crc)


def test_every_damaged_byte_of_a_table_is_noticed(tmp_path):
    """Whatever byte of the blocks or the footer changes: an error, or exactly the same entries."""
    good = Checkpoint(GOLDEN).entries
    index = GOLDEN.with_name("model.ckpt-7.index").read_bytes()
    refused = 0
    for at in range(0, len(index), 5):
        (tmp_path / "model.index").write_bytes(index[:at] + bytes([index[at] ^ 0x41]) + index[at + 1 :])
        try:
            assert Checkpoint(tmp_path / "model").entries == good
        except ValueError as error:
            assert "model.index: no TensorFlow checkpoint of version 2" in str(error)
            refused += 1
    assert refused > 0.95 * len(index) / 5


@pytest.mark.parametrize("size", [0, 47, 48, 500, -1])
def test_cut_table_is_refused(tmp_path, size):
    index = GOLDEN.with_name("model.ckpt-7.index").read_bytes()
    (tmp_path / "model.index").write_bytes(index[:size])
    with pytest.raises(ValueError, match="the file does not end as such a table does"):
        Checkpoint(tmp_path / "model")


def test_compressed_and_big_endian_tables_are_refused(tmp_path, tensors):
    write_checkpoint(tmp_path / "a", tensors, kind=1)
    with pytest.raises(ValueError, match="its table is compressed"):
        Checkpoint(tmp_path / "a")
    write_checkpoint(tmp_path / "b", tensors, big=1)
    with pytest.raises(ValueError, match="the tensors are big-endian"):
        Checkpoint(tmp_path / "b")


def test_tensor_that_cannot_be_read_is_named(tmp_path, tensors):
    write_checkpoint(tmp_path / "model", tensors)
    checkpoint = Checkpoint(tmp_path / "model")
    with pytest.raises(ValueError, match=r"model\.index: holds no tensor net/dense/kernel"):
        checkpoint.read("net/dense/kernel")
    with pytest.raises(ValueError, match=r"global_step is not one float32 tensor of shape \(\)"):
        checkpoint.read("global_step")


def test_data_that_end_early_are_refused(tmp_path):
    for suffix in ("index", "data-00000-of-00001"):
        shutil.copy(GOLDEN.with_name(f"model.ckpt-7.{suffix}"), tmp_path)
    data = tmp_path / "model.ckpt-7.data-00000-of-00001"
    data.write_bytes(data.read_bytes()[:100])
    with pytest.raises(ValueError, match=r"data-00000-of-00001: ends within head/scalar"):
        Checkpoint(tmp_path / "model.ckpt-7").read("head/scalar")
