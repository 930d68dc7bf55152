"""
One page to explore a study with: layer curves, RSMs with their stimuli, accuracy against fit, Table 1, provenance.
"""
