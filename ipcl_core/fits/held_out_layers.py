"""
The layers of encoding that are chosen on training stimuli, for each measure by its own score there, and what they predict of
held-out ones: docs/encoding.md.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from torch import Tensor

from ..encoding.ridge import Fold
from ..encoding.scores import make_rsv
from ..files import open_hdf5, write_hdf5
from ..rsa.similarity import correlate, find_best

MEASURES = ["median_r", "mean_r", "versa_r"]
File = str | Path
Scores = dict[tuple[str, str], float]


@dataclass
class Target:
    """One participant's voxels in a region."""

    region: str
    participant: str
    responses: Tensor
    """(n_stimuli, n_voxels) means over runs, of the voxels that are kept."""
    kept: NDArray
    """(all voxels,) bool."""
    ceilings: NDArray
    """(n_voxels,) of `measure_explainable`."""
    summary: dict
    """Columns that do not depend on the layer."""
    columns: slice
    """Of its voxels among those of all targets."""


class HeldOutLayers:
    """For each of MEASURES and region, each fold's layer with the highest score on training stimuli, of those seen so far.

    Args:
        targets: the participants of a region in a row.
        held_out: (n_folds, n_stimuli) bool.
    """

    def __init__(self, targets: Sequence[Target], held_out: NDArray) -> None:
        self.targets, self.held_out = targets, held_out
        self.regions: dict[str, list[Target]] = {}
        for target in targets:
            self.regions.setdefault(target.region, []).append(target)
        self.measured = {region: sum(make_rsv(one.responses) for one in each) for region, each in self.regions.items()}
        """Region -> (n_pairs,) similarities of all stimuli, the sum over participants."""
        keys = [(measure, region) for measure in MEASURES for region in self.regions]
        self.scores = {key: np.full(len(held_out), -np.inf) for key in keys}
        self.layers = {key: [""] * len(held_out) for key in keys}
        self.predictions: dict[tuple[str, str], list[NDArray | None]] = {key: [None] * len(held_out) for key in keys}
        """Of each fold, (n_test, voxels of the region); None where no layer predicts anything."""

    def score_training(self, fold: Fold, train: NDArray) -> Scores:
        """Return how well the training stimuli of a fold are predicted, each from the others: (measure, region) -> score.

        Of median_r and mean_r the mean over participants of the median and mean R2 of voxels; of versa_r the correlation of
        the mean RSMs of predicted and measured patterns.

        Args:
            fold: with `left_out`.
            train: (n_stimuli,) bool.
        """
        r2, found = fold.scores.cpu().numpy(), {}
        pairs = (train[:, None] & train)[np.tri(len(train), k=-1, dtype=bool)]
        for region, each in self.regions.items():
            known = [values[np.isfinite(values)] for values in (r2[target.columns] for target in each)]
            for measure, average in (("median_r", np.median), ("mean_r", np.mean)):
                found[measure, region] = np.mean([average(values) if len(values) else np.nan for values in known])
            rsv = sum(make_rsv(fold.left_out[:, target.columns]) for target in each)
            found["versa_r", region] = correlate(rsv, self.measured[region][pairs])
        return found

    def take_better(self, layer: str, scores: Sequence[Scores], predictions: Sequence[NDArray]) -> None:
        """Take a layer where its score is the highest so far; of equal ones, as of `find_best`, the first stays.

        Args:
            scores: of each fold, see `score_training`; NaN is never the highest.
            predictions: of each fold, (n_test, voxels of all targets).
        """
        for region, each in self.regions.items():
            columns = slice(each[0].columns.start, each[-1].columns.stop)
            for number, found in enumerate(scores):
                before = {one: self.scores[one, region][number] for one in MEASURES}
                better = [one for one in MEASURES if find_best([before[one], found[one, region]]) == 1]
                predicted = predictions[number][:, columns].copy() if better else None  # one for all measures
                for key in ((measure, region) for measure in better):
                    self.scores[key][number], self.layers[key][number] = found[key], layer
                    self.predictions[key][number] = predicted

    def write(self, path: File, brain_name: str, model: str, stimuli: list[str]) -> None:
        """Write the layers and what they predict of the stimuli that a fold holds out.

        The file: attributes `brain`, `model`, `regions`; `stimuli` (n names); `folds` (n,) the number of the fold that holds a
        stimulus out, -1 where none does; `layers/{measure}/{region}` (n_folds names, "" where no layer predicts anything);
        `predictions/{measure}/{region}/{participant}` (n, n_voxels) float64, once in the file where two measures chose the
        same layers; `kept/{region}/{participant}` (all voxels,) bool and `ceilings/...` (n_voxels,) of those that are kept.
        """
        with write_hdf5(path) as file:
            file.attrs["brain"], file.attrs["model"], file.attrs["regions"] = brain_name, model, list(self.regions)
            file["stimuli"] = stimuli
            file["folds"] = np.where(self.held_out.any(0), self.held_out.argmax(0), -1)
            for (measure, region), layers in self.layers.items():
                file[f"layers/{measure}/{region}"] = layers
                first = next(one for one in MEASURES if self.layers[one, region] == layers)
                start = self.regions[region][0].columns.start
                for target in self.regions[region]:
                    places = [f"predictions/{one}/{region}/{target.participant}" for one in (measure, first)]
                    columns = slice(target.columns.start - start, target.columns.stop - start)
                    file[places[0]] = (
                        self._join_folds(measure, region, columns) if first == measure else file[places[1]]
                    )
            for target in self.targets:
                place = f"{target.region}/{target.participant}"
                file[f"kept/{place}"] = target.kept
                file[f"ceilings/{place}"] = target.ceilings

    def _join_folds(self, measure: str, region: str, columns: slice) -> NDArray:
        """Return what is predicted of some of a region's voxels, (n_stimuli, n_voxels); NaN where nothing is."""
        joined = np.full((self.held_out.shape[1], columns.stop - columns.start), np.nan)
        for test, part in zip(self.held_out, self.predictions[measure, region], strict=True):
            if part is not None:
                joined[test] = part[:, columns]
        return joined


def read_layers(predictions: File, measure: str, region: str) -> list[str]:
    """Return each fold's layer by one of MEASURES from a file of `HeldOutLayers.write`; "" where none predicts anything."""
    with open_hdf5(predictions) as file:
        return list(file[f"layers/{measure}/{region}"].asstr()[:])


def name_layer(layers: list[str]) -> str:
    """Return the layer that most folds chose, of equally many the first by name; "" where a fold has none."""
    return "" if "" in layers else pd.Series(layers).mode()[0]
