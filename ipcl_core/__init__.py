"""
Instance-prototype contrastive learning and its comparison with human visual cortex.

Konkle and Alvarez 2020, "Instance-level contrastive learning yields human brain-like representation without
category-supervision".

A folder for each stage, in the order of the data: which, and that imports run one way, stands
in tests/test_code.py.
"""

__version__ = "0.1.0"
