"""
Activations -> the RSM of every layer.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..files import open_hdf5, write_hdf5
from ..rsa.similarity import compute_rsm, measure_distances


def make_rsms(activations: str | Path, rsms: str | Path, *, distances: Sequence[str] = ()) -> None:
    """Write the RSM of every layer, reading one layer at a time.

    Args:
        activations: HDF5 file of `extract_activations`.
        rsms: HDF5 file to write: `stimuli` (n names), `layers/<layer>` (n, n) float64 with the attribute `n_units`;
            attributes `layers` (their order) and `network`; where distances name other than correlation, also
            `euclidean/<layer>` (n, n) of `similarity.measure_distances`.
        distances: see `config.Statistics`.
    """
    with open_hdf5(activations) as source, write_hdf5(rsms) as file:
        file["stimuli"] = source["stimuli"][:]
        for layer in source.attrs["layers"]:
            patterns = source[f"layers/{layer}"][:]
            dataset = file.create_dataset(f"layers/{layer}", data=compute_rsm(patterns))
            dataset.attrs["n_units"] = int(np.prod(patterns.shape[1:]))
            if set(distances) - {"correlation"}:
                file[f"euclidean/{layer}"] = measure_distances(patterns)
        for name in ("layers", "network"):
            file.attrs[name] = source.attrs[name]
