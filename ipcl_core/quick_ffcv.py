"""
FFCV, imported without the 3 seconds of processor time that it spends on compiling a dictionary of two entries.

`ffcv.fields.rgb_image` keeps the codes of its two storage modes in a dictionary of numba's, but reads them in plain
Python only: a dict does. Every other module takes FFCV's names from here.
"""

import numba.typed

_typed_dict, numba.typed.Dict = numba.typed.Dict, dict
try:
    from ffcv.fields import IntField, RGBImageField
    from ffcv.fields.rgb_image import IMAGE_MODES, SimpleRGBImageDecoder
    from ffcv.libffcv import ctypes_imdecode, ctypes_memcopy
    from ffcv.loader import Loader, OrderOption
    from ffcv.loader.epoch_iterator import EpochIterator
    from ffcv.pipeline.allocation_query import AllocationQuery
    from ffcv.pipeline.compiler import Compiler
    from ffcv.reader import Reader
    from ffcv.types import ALLOC_TABLE_TYPE, CURRENT_VERSION, FieldDescType, HeaderType, get_metadata_type
    from ffcv.writer import DatasetWriter
finally:
    numba.typed.Dict = _typed_dict

__all__ = [
    "ALLOC_TABLE_TYPE",
    "CURRENT_VERSION",
    "IMAGE_MODES",
    "AllocationQuery",
    "Compiler",
    "DatasetWriter",
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
