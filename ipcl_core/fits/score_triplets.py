"""
Every layer's accuracy in observers' odd-one-out judgments: docs/statistics.md.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from ..brains.triplets import read_triplets
from ..files import open_hdf5, write_csv
from ..rsa.inference import control_false_discoveries
from ..rsa.triplets import (
    CHANCE,
    count_hits,
    estimate_accuracy,
    group_answers,
    hold_out_triplets,
    measure_ceilings,
    predict_odd,
)
from .rsms import name_rows

TRIPLET_COLUMNS = [
    "choice", "layer", "layer_index", "accuracy", "triplets_low", "triplets_high", "p", "p_max", "q", "observers_low",
    "observers_high", "chance", "ceiling_low", "ceiling_high", "n_triplets", "n_answers", "n_observers", "note",
]  # fmt: skip


def score_triplets(rsms: str | Path, triplets: str | Path, scores: str | Path, *, seed: int) -> None:
    """Write the share of the answers that each layer predicts, and that of a layer chosen on other triplets.

    Args:
        rsms: HDF5 file of `make_rsms`.
        triplets: see `brains.triplets.read_triplets`.
        scores: CSV to write (brain, model, TRIPLET_COLUMNS), one row a layer (choice: each), and behind them one of the layers
            that were chosen on one half of the triplets and judged on the other (choice: held out; layer: of the first half).
            p_max and q correct p of the former for their number.
        seed: of the halves.

    Raises:
        ValueError: `read_triplets`.
    """
    with open_hdf5(rsms) as file:
        answers, observers = read_triplets(triplets, list(file["stimuli"].asstr()))
        layers, grouped = list(file.attrs["layers"]), group_answers(answers)
        counts = grouped.counts
        shares = [predict_odd(file[f"layers/{layer}"][:], grouped.triplets) for layer in layers]
    hits = np.stack([count_hits(share, counts) for share in shares])  # (n_layers, n_triplets)
    n_answers = counts.sum(1)
    names, who = np.unique(observers[observers != ""], return_inverse=True)
    n_observers = len(names) if (observers != "").all() else 0
    rows = []
    for index, (layer, share, hit) in enumerate(zip(layers, shares, hits, strict=True)):
        row = {"choice": "each", "layer": layer, "layer_index": index}
        row |= dict(
            zip(("accuracy", "triplets_low", "triplets_high", "p"), estimate_accuracy(hit, n_answers), strict=True)
        )
        if n_observers:
            right = np.bincount(who, share[grouped.triplet, grouped.odd])
            _, row["observers_low"], row["observers_high"], _ = estimate_accuracy(right, np.bincount(who).astype(float))
        row["note"] = "constant activations to some stimulus: no accuracy" if np.isnan(hit).any() else ""
        rows.append(row)
    known = np.flatnonzero(~np.isnan(hits).any(1))
    if len(known) and len(n_answers) > 1:
        chosen, judged = hold_out_triplets(hits[known], n_answers, seed=seed)
        found = estimate_accuracy(judged, n_answers)
        index = int(known[chosen[0]])
        row = {"choice": "held out", "layer": layers[index], "layer_index": index, "note": ""}
        rows.append(row | dict(zip(("accuracy", "triplets_low", "triplets_high", "p"), found, strict=True)))
    low, high = measure_ceilings(counts)
    table = pd.DataFrame(rows)
    p = table["p"].where(table["choice"] == "each").astype(float)
    table = table.assign(
        p_max=np.minimum(1, p * p.notna().sum()), q=control_false_discoveries(p.to_numpy()),
        chance=CHANCE, ceiling_low=low, ceiling_high=high, n_triplets=len(counts), n_answers=len(answers),
        n_observers=n_observers or None,
    )  # fmt: skip
    write_csv(name_rows(table.reindex(columns=TRIPLET_COLUMNS), rsms), scores)
