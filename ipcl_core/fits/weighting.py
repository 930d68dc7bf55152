"""
Weighted RSA: distances as non-negative sums over layers and over their principal components, judged on held-out stimuli.

Weights are fitted on the pairs of training stimuli and judged on the pairs of held-out ones; a pair of a training with a
held-out stimulus is used for neither. Everything comes from the RSMs: as an RSM holds the scalar products of standardised
patterns, its eigenvectors are their principal components, and the squared differences along the components add up to twice
the distance 1 - r. Equal weights thus give back the unweighted layer.

Source: Storrs et al. 2021, J. Cogn. Neurosci. 33, 2044-2064 (components, then layers); Khaligh-Razavi and Kriegeskorte 2014
(layers). docs/statistics.md says what is done otherwise.
"""

from pathlib import Path

import numpy as np
import pandas as pd
import scipy
from numpy.typing import NDArray

from ..brains.folds import MIN_HELD_OUT, split_stimuli
from ..files import write_csv
from ..rsa.similarity import center_rows, compare_rsvs, correlate, count_stimuli, fill_rsms, find_best
from ..rsa.tiles import average_rows
from .rsms import name_rows, read_rsvs
from .statistics import read_regions

WEIGHTED_COLUMNS = ["unweighted_r", "weighted_features_r", "weighted_layers_r", "weighted_both_r"]
File = str | Path


def weigh_layers(
    rsms: File, brain: File, weighted: File, *, n_folds: int, n_repeats: int, n_components: int, seed: int
) -> None:
    """Write how well weighted layers predict each region's group RSM on held-out stimuli.

    Args:
        rsms: HDF5 file of `rsms.make_rsms`.
        brain: HDF5 file of `store.write_brain`.
        weighted: CSV to write, one row a region: brain, model, region, WEIGHTED_COLUMNS, weighted_note.
        n_folds, n_repeats, n_components, seed: see `config.Weighting`.

    Raises:
        ValueError: the stimuli of the model and of the brain differ.
    """
    regions, (_, rsvs) = read_regions(brain, rsms), read_rsvs(rsms)
    rsvs, n_stimuli = rsvs[~np.isnan(center_rows(rsvs)[1])], count_stimuli(rsvs.shape[1])
    held_out = split_stimuli(n_stimuli, n_folds=n_folds, n_repeats=n_repeats, seed=seed)
    table = pd.DataFrame({"region": [region.name for region in regions], "weighted_note": ""})
    if held_out.sum(1).min() < MIN_HELD_OUT:
        table["weighted_note"] = (
            f"{n_stimuli} stimuli in {n_folds} folds: fewer than {MIN_HELD_OUT} held out, nothing weighted"
        )
    elif not len(rsvs):
        table["weighted_note"] = "no layer has an r"
    else:
        groups = np.stack([average_rows(region.rsvs) for region in regions])
        table[WEIGHTED_COLUMNS] = judge_weights(1 - rsvs, 1 - groups, held_out, n_components)
    table = table.reindex(columns=["region", *WEIGHTED_COLUMNS, "weighted_note"])
    write_csv(name_rows(table, rsms), weighted)


def judge_weights(distances: NDArray, targets: NDArray, held_out: NDArray, n_components: int) -> NDArray:
    """Return the mean correlation with targets on the pairs of held-out stimuli, (n_targets, 4), as WEIGHTED_COLUMNS.

    unweighted: the layer that correlates most on the training pairs. features: the same layer, its components weighted.
    layers: all layers weighted. both: all layers weighted whose components were weighted before. A prediction that is the
    same for all held-out pairs (all weights are 0) counts as a correlation of 0.

    Args:
        distances: (n_layers, n_pairs), 1 - r, all defined, none that is the same for all pairs.
        targets: (n_targets, n_pairs).
        held_out: (n_splits, n_stimuli) bool of `split_stimuli`.
        n_components: of each layer at most, those of the largest variance.
    """
    rows, columns = np.tril_indices(held_out.shape[1], -1)
    components = [measure_components(layer, n_components) for layer in distances]
    found = np.empty((len(held_out), len(targets), len(WEIGHTED_COLUMNS)))
    for split, stimuli in enumerate(held_out):
        test = stimuli[rows] & stimuli[columns]  # (n_pairs,)
        train = ~stimuli[rows] & ~stimuli[columns]
        for target, y in enumerate(targets):
            weighted = np.stack([fit_weights(layer[:, train], y[train]) @ layer for layer in components])
            best = find_best(compare_rsvs(y[None, train], distances[:, train])[0])
            predictions = [
                distances[best],
                weighted[best],
                fit_weights(distances[:, train], y[train]) @ distances,
                fit_weights(weighted[:, train], y[train]) @ weighted,
            ]
            found[split, target] = [correlate(prediction[test], y[test]) for prediction in predictions]
    return np.nan_to_num(found).mean(0)


def measure_components(distances: NDArray, n_components: int) -> NDArray:
    """Return the squared differences of stimuli along the principal components of a layer, largest variance first.

    The components are those of the patterns to all stimuli, each standardised over its units, centred over stimuli. Together
    they give twice the distances. The n - 1st of n stimuli is left out: with it, components weighted by the inverse of their
    variance are equally far for all pairs, and weights would not be unique.

    Args:
        distances: (n_pairs,), 1 - r.

    Returns:
        (n_components or fewer, n_pairs).
    """
    kernel = fill_rsms(1 - distances[None])[0]
    means = kernel.mean(0)
    variances, vectors = np.linalg.eigh(kernel - means - means[:, None] + means.mean())
    n = len(kernel)
    kept = np.flatnonzero(variances > 1e-10 * variances[-1])[::-1][: min(n_components, n - 2)]
    scores = vectors[:, kept] * np.sqrt(variances[kept])  # (n, k)
    rows, columns = np.tril_indices(n, -1)
    return np.ascontiguousarray(((scores[rows] - scores[columns]) ** 2).T)


def fit_weights(distances: NDArray, target: NDArray) -> NDArray:
    """Return the non-negative weights whose sum of distances correlates most with a target, (k,); all 0 where none helps.

    Least squares with a constant that is free: rsatoolbox's fit_regress_nn for its method corr.

    Args:
        distances: (k, n_pairs).
        target: (n_pairs,).
    """
    x, y = distances - distances.mean(1, keepdims=True), target - target.mean()
    norms = np.linalg.norm(x, axis=1)
    norms[norms <= 1e-12 * np.linalg.norm(distances, axis=1)] = np.inf
    return scipy.optimize.nnls((x / norms[:, None]).T, y, maxiter=100 * len(x))[0] / norms
