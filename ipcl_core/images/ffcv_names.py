"""
FFCV without the seconds of processor time that it compiles for in every process. Every other module takes its names from here.

`ffcv.fields.rgb_image` keeps the codes of its two storage modes in a dictionary of numba's, but reads them in plain
Python only: a dict does. The function that finds an image's bytes in the file is the same for every file: here it is FFCV's,
compiled once and kept in numba's cache.
"""

import numba.typed
import numpy as np

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


@numba.njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def _read(address, memory):
    size = memory[2][np.searchsorted(memory[1], address)]
    return memory[0][address : address + size]


class _CachedReader(OSCacheManager):
    def compile_reader(self):
        return _read


loader.OSCacheManager = _CachedReader

__all__ = [
    "ALLOC_TABLE_TYPE",
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
    "ctypes_imdecode",
    "ctypes_memcopy",
    "get_metadata_type",
]
