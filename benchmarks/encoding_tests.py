"""
How often the tests of encoding find something in noise (1,000 simulated studies), and how often what is there.

    OMP_NUM_THREADS=1 PYTHONPATH=. python benchmarks/encoding_tests.py > benchmarks/encoding_tests.md

A study: 40 stimuli in 5 folds, 6 participants of 20 voxels, two models of 60 units, each a layer of its own. A share of the
voxels' variance is a random mixture of the first model's units, the rest is noise, of each voxel its own. The tests are those
of encoding/{brain}/best_layers.csv (one model above 0) and pairs.csv (two models). What the first model explains alone, as in
partitions.csv, is simulated by N_DRAWS draws of the units, each with as many studies; there the second can explain something.
Before that: which voxels are kept, and what their noise ceiling is said to be.
"""

import datetime
import itertools
import time

import numpy as np
import scipy.stats
import torch

from ipcl_core.brains.folds import split_stimuli
from ipcl_core.encoding.bands import fit_bands
from ipcl_core.encoding.ceilings import find_least_ceiling, measure_explainable
from ipcl_core.encoding.resampling import resample_r
from ipcl_core.encoding.ridge import fit_fold, sum_kernel
from ipcl_core.encoding.scores import compare_fold, correlate_added, correlate_columns, find_r2
from ipcl_core.fits.compare_encoding import HeldOut, compare_held_out
from ipcl_core.rsa.inference import draw_resamples

N_STIMULI, N_FOLDS, N_PARTICIPANTS, N_VOXELS, N_UNITS = 40, 5, 6, 20, 60
N_RESAMPLES, PENALTIES = 200, [1e-2, 1.0, 1e2]
N_RUNS = {0.0: 1000, 0.02: 200, 0.04: 200, 0.06: 200, 0.08: 200, 0.1: 200}
"""Share of the variance that the first model explains -> studies."""

N_DRAWS, N_STUDIES = 50, 20
PARTS = [(0.0, 0.0), (0.0, 0.1), (0.0, 0.3), (0.02, 0.0), (0.04, 0.0), (0.06, 0.0), (0.06, 0.3)]
"""Shares of the variance that the first and the second model explain."""

MEASURED, CEILINGS, N_SIMULATED = [(72, 2), (72, 4), (515, 3)], [0, 0.1, 0.3, 0.5], 10_000
"""Stimuli and runs; true noise ceilings; voxels of each."""


def list_kept() -> list[list[str]]:
    """Return a row for each of MEASURED and CEILINGS: the share of the voxels that are kept, and the median of their ceilings,
    by a ceiling of .1 alone, and with the test against noise."""
    rows, rng = [], np.random.default_rng(0)
    for (n, m), ceiling in itertools.product(MEASURED, CEILINGS):
        found, noise = [], np.sqrt(m * (1 - ceiling) / ceiling) if ceiling else 1
        for _ in range(N_SIMULATED // 1000):
            signal = rng.standard_normal((n, 1000)) * (ceiling > 0)
            found.append(measure_explainable(signal + noise * rng.standard_normal((m, n, 1000))))
        found, row = np.concatenate(found), [f"{n} x {m}", f"{ceiling:.1f}"]
        for least in (0.1, max(0.1, find_least_ceiling(m, n))):
            kept = found[found >= least]
            row += [f"{len(kept) / len(found):.0%}", f"{np.median(kept):.2f}"]
        rows.append(row)
    return rows


def judge(features: np.ndarray, responses: np.ndarray, held_out: np.ndarray, stimuli: np.ndarray) -> HeldOut:
    """Fit one model and judge it as `compare_encoding` does."""
    kernel, y = sum_kernel([torch.from_numpy(features)]), torch.from_numpy(responses)
    predictions = torch.empty_like(y)
    for test in map(torch.from_numpy, held_out):
        predictions[test] = fit_fold(kernel, y, ~test, test, PENALTIES).predictions
    r = torch.stack([correlate_columns(predictions[test], y[test]) for test in map(torch.from_numpy, held_out)]).mean(0)
    parts = zip(np.split(predictions.numpy(), N_PARTICIPANTS, 1), np.split(responses, N_PARTICIPANTS, 1), strict=True)
    resampled = np.stack([resample_r(*part, held_out.argmax(0), stimuli) for part in parts])
    return HeldOut({"mean_r": "layer"}, {"mean_r": r.reshape(N_PARTICIPANTS, -1).mean(1).numpy()}, 0.0, resampled)


def simulate(share: float, seed: int) -> dict[str, float]:
    """Return the p of each test of one study, and the mean r of the first model."""
    rng = np.random.default_rng(seed)
    held_out = split_stimuli(N_STIMULI, n_folds=N_FOLDS, n_repeats=1, seed=seed)
    resamples = draw_resamples(N_PARTICIPANTS, N_STIMULI, n_resamples=N_RESAMPLES, seed=seed)
    features = [rng.standard_normal((N_STIMULI, N_UNITS)) * np.exp(rng.standard_normal(N_UNITS)) for _ in range(2)]
    signal = features[0] @ rng.standard_normal((N_UNITS, N_PARTICIPANTS * N_VOXELS))
    signal *= np.sqrt(share) / signal.std(0)
    responses = signal + np.sqrt(1 - share) * rng.standard_normal(signal.shape)
    models = [judge(one, responses, held_out, resamples.stimuli) for one in features]
    rows = compare_held_out(*models, resamples.participants, N_STIMULI)
    values = models[0].values["mean_r"]
    found = {f"two models, over {row['resampled']}": row["p"] for row in rows if "p" in row}
    return found | {
        "one model, over participants": scipy.stats.ttest_1samp(values, 0, alternative="greater").pvalue,
        "mean r": values.mean(),
    }


def simulate_parts(shares: tuple[float, float], seed: int) -> np.ndarray:
    """Return of N_STUDIES studies the means over participants of the partial correlation of what the first model adds and of
    its part of R2, and the p that they are above 0: (4, N_STUDIES)."""
    rng = np.random.default_rng(seed)
    held_out = split_stimuli(N_STIMULI, n_folds=N_FOLDS, n_repeats=1, seed=seed)
    features = [rng.standard_normal((N_STIMULI, N_UNITS)) * np.exp(rng.standard_normal(N_UNITS)) for _ in range(2)]
    shape = N_STUDIES, N_PARTICIPANTS, N_VOXELS
    y = np.sqrt(1 - sum(shares)) * rng.standard_normal((N_STIMULI, np.prod(shape)))
    for x, share in zip(features, shares, strict=True):
        signal = x @ rng.standard_normal((N_UNITS, y.shape[1])) if share else np.zeros_like(y)
        y += np.sqrt(share) * signal / signal.std(0).clip(min=1e-9)
    kernels, y = (
        {name: sum_kernel([torch.from_numpy(x)]) for name, x in zip("ab", features, strict=True)},
        torch.from_numpy(y),
    )
    r, one, both = [], [], []
    for test in map(torch.from_numpy, held_out):
        found = fit_bands(kernels, y, ~test, test, PENALTIES)
        p, q = found["a", "b"].predictions, found["b",].predictions
        r.append(correlate_added(p, q, y[test]).numpy())
        for each, predictions in ((one, q), (both, p)):
            each.append(compare_fold(predictions, y[test], y[~test].mean(0)))
    values = np.stack([np.mean(r, axis=0), find_r2(np.stack(both)) - find_r2(np.stack(one))])
    people = values.reshape(2, *shape).mean(3)
    return np.concatenate([people.mean(2), scipy.stats.ttest_1samp(people, 0, axis=2, alternative="greater").pvalue])


def main() -> None:
    torch.set_num_threads(1)
    start, lines = time.process_time(), []
    for share, n_runs in N_RUNS.items():
        runs = [simulate(share, seed) for seed in range(n_runs)]
        rates = {key: np.mean([run[key] < 0.05 for run in runs]) for key in runs[0] if key != "mean r"}
        r = np.mean([run["mean r"] for run in runs])
        lines.append([f"{share:.2f}", f"{n_runs:,}", f"{r:.3f}", *(f"{rate:.1%}" for rate in rates.values())])
    print("""# Which voxels are kept

Of 10,000 voxels: the share that is kept and the median of what is found of their noise ceilings, by `min_ceiling: .1` alone
and with the F test.

| stimuli x runs | true ceiling | .1 alone: kept | ceiling | with the test: kept | ceiling |
|---|---|---|---|---|---|""")
    print("\n".join(f"| {' | '.join(row)} |" for row in list_kept()))
    print(f"""
# The tests of encoding in noise, and their power

Made by `OMP_NUM_THREADS=1 PYTHONPATH=. python benchmarks/encoding_tests.py > benchmarks/encoding_tests.md` on
{datetime.date.today()}: {N_STIMULI} stimuli in {N_FOLDS} folds, {N_PARTICIPANTS} participants of {N_VOXELS} voxels;
{time.process_time() - start:.0f} s of one core. The share of studies with p < .05, by the share of the voxels' variance that
the first model explains; the second explains nothing. In the first row there is nothing to be found.

| share of variance | studies | mean r | {" | ".join(rates)} |
|{"---|" * (len(rates) + 3)}""")
    print("\n".join(f"| {' | '.join(line)} |" for line in lines))
    print(f"""
What the first model explains alone, given the second (partitions.csv), in {N_DRAWS * N_STUDIES:,} studies a row: the mean
partial correlation r and the mean part of R2, and the share of studies in which they are above 0 with p < .05, over
participants.

| the first explains | the second explains | r | p of r < .05 | part of R2 | p of R2 < .05 |
|---|---|---|---|---|---|""")
    for shares in PARTS:
        r, r2, *p = np.concatenate([simulate_parts(shares, seed) for seed in range(N_DRAWS)], 1)
        rates = [f"{np.mean(one < 0.05):.1%}" for one in p]
        first, second = (f"{share:.0%}" for share in shares)
        print(f"| {first} | {second} | {r.mean():.3f} | {rates[0]} | {r2.mean():.3f} | {rates[1]} |")


if __name__ == "__main__":
    main()
