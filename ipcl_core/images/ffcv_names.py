"""
FFCV without the seconds of processor time that it compiles for in every process. Every other module takes its names from here.

`ffcv.fields.rgb_image` keeps the codes of its two storage modes in a dictionary of numba's, but reads them in plain
Python only: a dict does. The function that finds an image's bytes in the file is the same for every file: here it is FFCV's,
compiled once and kept in numba's cache. numba cannot keep what calls FFCV's library by an address, which differs in every
process: it is called by name. Operations that are compiled already are used as they are.
"""

import ctypes

import numba.typed
import numpy as np
from llvmlite.binding import add_symbol
from numba import types
from numba.extending import is_jitted

_typed_dict, numba.typed.Dict = numba.typed.Dict, dict
try:
    from ffcv.fields import IntField, RGBImageField
    from ffcv.fields.rgb_image import IMAGE_MODES, SimpleRGBImageDecoder
    from ffcv.libffcv import ctypes_imdecode, ctypes_memcopy
    from ffcv.loader import Loader, OrderOption, loader
    from ffcv.loader.epoch_iterator import EpochIterator
    from ffcv.memory_managers import OSCacheManager
    from ffcv.pipeline.allocation_query import AllocationQuery
    from ffcv.pipeline.compiler import Compiler
    from ffcv.reader import Reader
    from ffcv.types import ALLOC_TABLE_TYPE, CURRENT_VERSION, FieldDescType, HeaderType, get_metadata_type
finally:
    numba.typed.Dict = _typed_dict


COMPILED = {"cache": True, "fastmath": True, "nogil": True, "error_model": "numpy"}
"""FFCV's settings of numba, and its cache."""


@numba.njit(**COMPILED)
def find_bytes(address, memory):
    """Return the bytes (n,) uint8 that stand at an address of the file."""
    size = memory[2][np.searchsorted(memory[1], address)]
    return memory[0][address : address + size]


class _CachedReader(OSCacheManager):
    def compile_reader(self):
        return find_bytes


def _name(symbol: str, function, *arguments: types.Type) -> types.ExternalFunction:
    """A function of FFCV's library that compiled code calls by a name; it returns an int."""
    add_symbol(symbol, ctypes.cast(function, ctypes.c_void_p).value)
    return types.ExternalFunction(symbol, types.intc(*arguments))


_N, _FLAG = types.uint32, types.boolean
_JPEG = (types.uintp, types.uint64, _N, _N)  # address, bytes, height, width
decode_jpeg = _name("ffcv_imdecode", ctypes_imdecode, *_JPEG, types.uintp, *[_N] * 6, _FLAG, _FLAG)
copy_bytes = _name("ffcv_my_memcpy", ctypes_memcopy, types.uintp, types.uintp, types.uint64)


def _compile(code, signature=None, compile=Compiler.compile):
    return code if is_jitted(code) else compile(code, signature)


loader.OSCacheManager = _CachedReader
Compiler.compile = _compile

__all__ = [
    "ALLOC_TABLE_TYPE",
    "COMPILED",
    "CURRENT_VERSION",
    "IMAGE_MODES",
    "AllocationQuery",
    "Compiler",
    "EpochIterator",
    "FieldDescType",
    "HeaderType",
    "IntField",
    "Loader",
    "OrderOption",
    "RGBImageField",
    "Reader",
    "SimpleRGBImageDecoder",
    "copy_bytes",
    "decode_jpeg",
    "find_bytes",
    "get_metadata_type",
]
