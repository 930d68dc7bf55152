"""
Every layer's r with every region, and the best layer of each: the numbers behind Table 1.
"""

import logging
from pathlib import Path

import numpy as np
import pandas as pd

from ..brains.store import read_brain
from ..files import open_hdf5, write_csv
from ..rsa.similarity import correlate, find_best, vectorize_rsm
from .rsms import name_rows

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
    stimuli, regions = read_brain(brain)
    rows = []
    with open_hdf5(rsms) as file:
        shown = list(file["stimuli"].asstr())
        if shown != stimuli:
            raise ValueError(f"{rsms} was made with {len(shown)} stimuli that are not the {len(stimuli)} of {brain}")
        for index, layer in enumerate(file.attrs["layers"]):
            rsm = file[f"layers/{layer}"][:]
            rsv, note = vectorize_rsm(rsm), _explain_constant(rsm, stimuli)
            if note:
                logger.warning("%s: layer %s: %s", rsms, layer, note)
            for region in regions:
                targets = {"group": region.rsvs.mean(0)}
                if not region.group:
                    targets |= dict(zip(region.participants, region.rsvs, strict=True))
                for participant, target in targets.items():
                    r = correlate(rsv, target)
                    why = note or ("no r: all pairs of stimuli are equally similar" if np.isnan(r) else "")
                    rows.append((region.name, layer, index, participant, r, len(rsv), why))
    table = pd.DataFrame(rows, columns=["region", "layer", "layer_index", "participant", "r", "n_pairs", "note"])
    table = table.sort_values("region", key=lambda r: r.map(_rank(regions)), kind="stable")
    write_csv(name_rows(table, rsms), fits)


def _explain_constant(rsm: np.ndarray, stimuli: list[str]) -> str:
    """Say to which stimuli a layer responds with all units alike, by the diagonal of its RSM; "" where to none."""
    constant = [stimulus for stimulus, r in zip(stimuli, np.diag(rsm), strict=True) if np.isnan(r)]
    if not constant:
        return ""
    return f"no r: constant activations to {len(constant)} of {len(stimuli)} stimuli, first {constant[0]}"


def _rank(regions: list) -> dict[str, int]:
    return {region.name: i for i, region in enumerate(regions)}


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
