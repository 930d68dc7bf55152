"""
Every layer's r with every region, and the best layer of each: the numbers behind Table 1.
"""

import itertools
import logging
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..brains.store import Region, read_brain
from ..files import open_hdf5, write_csv
from ..rsa.similarity import compare_rsvs, find_best
from ..rsa.tiles import Tiled
from .rsms import name_rows, read_rsvs

logger = logging.getLogger(__name__)


def fit_layers(rsms: str | Path, brain: str | Path, fits: str | Path) -> None:
    """Write the correlation of every layer's RSM with every region's.

    The group RSV is the mean of the participants'. A layer that responds to some stimulus with all units alike has no
    correlation there, and gets no r; `note` and a warning say so.

    Args:
        rsms: HDF5 file of `make_rsms`.
        brain: HDF5 file of `store.write_brain`.
        fits: CSV to write: brain, model, region, layer, layer_index (from 0), participant (or "group"), r, n_pairs, note
            (why there is no r, else empty).

    Raises:
        ValueError: the stimuli of the model and of the brain differ.

    Source: appendix C.2.
    """
    stimuli, regions = read_brain(brain, tiled=True)
    with open_hdf5(rsms) as file:
        shown = list(file["stimuli"].asstr())
        diagonals = {layer: _read_diagonal(file[f"layers/{layer}"]) for layer in file.attrs["layers"]}
    if shown != stimuli:
        raise ValueError(f"{rsms} was made with {len(shown)} stimuli that are not the {len(stimuli)} of {brain}")
    notes = {layer: _explain_constant(diagonal, stimuli) for layer, diagonal in diagonals.items()}
    for layer, note in notes.items():
        if note:
            logger.warning("%s: layer %s: %s", rsms, layer, note)
    layers, rsvs = read_rsvs(rsms, tiled=True)
    who = [
        (region.name, one) for region in regions for one in ("group", *([] if region.group else region.participants))
    ]
    r, n_pairs, rows = compare_rsvs(rsvs, _join_targets(regions)), rsvs.shape[1], []
    for region in regions:
        columns = [(i, participant) for i, (name, participant) in enumerate(who) if name == region.name]
        for (index, layer), (column, participant) in itertools.product(enumerate(layers), columns):
            missing = "no r: all pairs of stimuli are equally similar" if np.isnan(r[index, column]) else ""
            rows.append((region.name, layer, index, participant, r[index, column], n_pairs, notes[layer] or missing))
    table = pd.DataFrame(rows, columns=["region", "layer", "layer_index", "participant", "r", "n_pairs", "note"])
    write_csv(name_rows(table, rsms), fits)


def _join_targets(regions: list[Region]) -> Tiled:
    """Return the RSVs that layers are compared with: each region's group RSV and, behind it, those of its participants."""

    def read(pairs: slice) -> NDArray:
        parts = []
        for region in regions:
            single = region.rsvs[:, pairs]
            parts += [single.mean(0, keepdims=True)] if region.group else [single.mean(0, keepdims=True), single]
        return np.concatenate(parts)

    n_targets = sum(1 if region.group else 1 + len(region.participants) for region in regions)
    return Tiled((n_targets, regions[0].rsvs.shape[1]), read)


def _read_diagonal(rsm: h5py.Dataset) -> NDArray:
    """Return the diagonal of a matrix in a file, read in blocks of rows."""
    n, step = len(rsm), 1000
    blocks = [rsm[start : start + step, start : start + step] for start in range(0, n, step)]
    return np.concatenate([np.diag(block) for block in blocks])


def _explain_constant(diagonal: NDArray, stimuli: list[str]) -> str:
    """Say to which stimuli a layer responds with all units alike, by the diagonal of its RSM; "" where to none."""
    constant = [stimulus for stimulus, r in zip(stimuli, diagonal, strict=True) if np.isnan(r)]
    if not constant:
        return ""
    return f"no r: constant activations to {len(constant)} of {len(stimuli)} stimuli, first {constant[0]}"


def find_best_layers(fits: pd.DataFrame) -> pd.DataFrame:
    """Return each region's best layer for the group RSM.

    The maximum over layers, chosen on the same data that it is reported on, as in the paper.

    Args:
        fits: table of `fit_layers`.

    Returns:
        Indexed by region, in the order of `fits`: layer, layer_index, r, n_layers (the layers that have an r, of which it is
        the maximum). A region where no layer has an r gets none of the first three, and n_layers 0.
    """
    group = fits[fits["participant"] == "group"].dropna(subset="r").set_index("region")[["layer", "layer_index", "r"]]
    best = [rows.iloc[[find_best(rows["r"])]] for _, rows in group.groupby(level=0)]
    regions = fits["region"].unique()
    n_layers = group.index.value_counts().reindex(regions, fill_value=0)
    return pd.concat([group[:0], *best]).reindex(regions).assign(n_layers=n_layers)
