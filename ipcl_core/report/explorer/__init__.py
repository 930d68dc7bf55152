"""
One page to explore a study with: layer curves, RSMs with their stimuli, accuracy against fit, Table 1, provenance.
"""

from .page import write_explorer

__all__ = ["write_explorer"]
