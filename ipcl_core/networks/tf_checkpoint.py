"""
TensorFlow's checkpoints (version 2, "tensor bundle"), read without TensorFlow.

A checkpoint is PREFIX.index, a sorted table from a tensor's name to its type, shape and place, and PREFIX.data-*, the
tensors' bytes one behind the other. The table has LevelDB's layout: blocks of prefix-compressed entries, an index block
that says where they are, and a footer that says where the index block is. Its values are protocol buffers.

Source: tensorflow/core/util/tensor_bundle, core/protobuf/tensor_bundle.proto and core/lib/io/table_format.txt.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

MAGIC = 0xDB4775248B80FB57
FOOTER_BYTES = 48
DT_FLOAT = 1


@dataclass
class Entry:
    """Where one tensor is: its type (TensorFlow's number), shape, shard, offset and size in bytes."""

    dtype: int
    shape: tuple[int, ...]
    shard: int
    offset: int
    size: int
    sliced: bool


class Checkpoint:
    """The tensors of a checkpoint, each read when it is asked for.

    Block checksums of the table are verified; those of the tensors are not, the file as a whole is checked by its hash.

    Args:
        prefix: the path without .index and .data-*.

    Raises:
        ValueError: the table is damaged, compressed or of another format.
    """

    def __init__(self, prefix: str | Path):
        self.prefix = Path(prefix)
        self.index = self.prefix.with_name(f"{self.prefix.name}.index")
        try:
            entries = dict(_read_table(self.index.read_bytes()))
            header = _read_message(entries.pop(b""))
            self.n_shards = header.get(1, [0])[-1]
            if header.get(2, [0])[-1] != 0:
                raise ValueError("the tensors are big-endian, only little-endian ones are read")
            self.entries = {key.decode(): _read_entry(value) for key, value in entries.items()}
        except (ValueError, KeyError, IndexError, struct.error) as error:
            raise ValueError(f"{self.index}: no TensorFlow checkpoint of version 2: {error}") from None

    def read(self, name: str) -> np.ndarray:
        """Return one float32 tensor.

        Raises:
            ValueError: there is no such tensor, it is of another type, in slices, or longer or shorter than its shape.
        """
        if name not in self.entries:
            raise ValueError(f"{self.index}: holds no tensor {name}")
        entry = self.entries[name]
        n = int(np.prod(entry.shape, dtype=np.int64))
        if entry.dtype != DT_FLOAT or entry.sliced or entry.size != 4 * n:
            raise ValueError(f"{self.index}: {name} is not one float32 tensor of shape {entry.shape}: {entry}")
        path = self.prefix.with_name(f"{self.prefix.name}.data-{entry.shard:05}-of-{self.n_shards:05}")
        with open(path, "rb") as file:
            file.seek(entry.offset)
            values = np.fromfile(file, "<f4", n)
        if len(values) != n:
            raise ValueError(f"{path}: ends within {name}")
        return values.reshape(entry.shape)


def _read_table(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield keys and values of a table, in order."""
    footer = data[-FOOTER_BYTES:]
    if len(footer) < FOOTER_BYTES or struct.unpack("<Q", footer[-8:])[0] != MAGIC:
        raise ValueError("the file does not end as such a table does")
    _, at = _read_handle(footer, 0)  # of the metaindex block, which is empty
    for _, handle in _read_block(data, *_read_handle(footer, at)[0]):
        yield from _read_block(data, *_read_handle(handle, 0)[0])


def _read_handle(data: bytes, at: int) -> tuple[tuple[int, int], int]:
    """Return a block's (offset, size), and where the handle ends."""
    offset, at = _read_varint(data, at)
    size, at = _read_varint(data, at)
    return (offset, size), at


def _read_block(data: bytes, offset: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    """Yield keys and values of one block; each key is given as the length shared with the one before it, and the rest."""
    block, trailer = data[offset : offset + size], data[offset + size : offset + size + 5]
    if len(trailer) != 5:
        raise ValueError("a block reaches beyond the end of the file")
    if trailer[0] != 0:
        raise ValueError("its table is compressed, which TensorFlow's own writer does not do")
    if struct.unpack("<I", trailer[1:])[0] != mask_crc(compute_crc32c(block + trailer[:1])):
        raise ValueError("the checksum of a block is wrong")
    n_restarts = struct.unpack("<I", block[-4:])[0]
    end, at, key = size - 4 * (n_restarts + 1), 0, b""
    while at < end:
        shared, at = _read_varint(block, at)
        n_key, at = _read_varint(block, at)
        n_value, at = _read_varint(block, at)
        if shared > len(key) or at + n_key + n_value > end:
            raise ValueError("an entry of a block reaches beyond it")
        key = key[:shared] + block[at : at + n_key]
        yield key, block[at + n_key : at + n_key + n_value]
        at += n_key + n_value


def _read_entry(data: bytes) -> Entry:
    """Read a BundleEntryProto."""
    message = _read_message(data)
    dimensions = _read_message(message.get(2, [b""])[-1]).get(2, [])
    shape = tuple(_read_message(dimension).get(1, [0])[-1] for dimension in dimensions)
    dtype, shard, offset, size = (message.get(field, [0])[-1] for field in (1, 3, 4, 5))
    return Entry(dtype, shape, shard, offset, size, sliced=7 in message)


def _read_message(data: bytes) -> dict[int, list]:
    """Read a protocol buffer: field number -> values, numbers or bytes."""
    fields: dict[int, list] = {}
    at = 0
    while at < len(data):
        tag, at = _read_varint(data, at)
        match tag & 7:
            case 0:
                value, at = _read_varint(data, at)
            case 2:
                size, at = _read_varint(data, at)
                value, at = data[at : at + size], at + size
            case 1 | 5 as kind:
                size = 8 if kind == 1 else 4
                value, at = data[at : at + size], at + size
            case kind:
                raise ValueError(f"a protocol buffer has a field of unknown kind {kind}")
        if at > len(data):
            raise ValueError("a protocol buffer ends too early")
        fields.setdefault(tag >> 3, []).append(value)
    return fields


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    """Return a number stored in groups of seven bits, the lowest first, and where it ends."""
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at


def compute_crc32c(data: bytes) -> int:
    """Return the CRC-32C (Castagnoli) of some bytes, as iSCSI and LevelDB have it."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = CRC_TABLE[(crc ^ byte) & 255] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


def mask_crc(crc: int) -> int:
    """Return a checksum as LevelDB stores it: rotated by 15 bits and shifted by a constant."""
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def _make_crc_table() -> list[int]:
    table = []
    for crc in range(256):
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
        table.append(crc)
    return table


CRC_TABLE = _make_crc_table()
