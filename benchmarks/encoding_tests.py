"""
How often the tests of encoding find something where there is nothing, in simulated studies, and how often what is there.

    OMP_NUM_THREADS=1 PYTHONPATH=. python benchmarks/encoding_tests.py docs/encoding_power.png > benchmarks/encoding_tests.md

A study: stimuli in 5 folds, participants of 20 voxels (40 and 6 where nothing else is said), two models of 60 units, each a
layer of its own. Shares of the voxels' variance are random mixtures of the first model's units, and of 60 units that no model
has, the rest is noise, of each voxel its own. The tests are those of encoding/{brain}/best_layers.csv (one model above 0) and
pairs.csv (two models). What the first model explains alone, as in partitions.csv, is simulated by N_DRAWS draws of the units,
each with N_STUDIES studies; there the second can explain something, too. Before that: which voxels are kept, and what their
noise ceiling is said to be. The figure: power of the tests over both, in DESIGNS.
"""

import datetime
import itertools
import sys
import time
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import torch

from ipcl_core.brains.folds import split_stimuli
from ipcl_core.encoding.bands import fit_bands
from ipcl_core.encoding.ceilings import find_least_ceiling, measure_explainable
from ipcl_core.encoding.resampling import infer_mean, resample_r
from ipcl_core.encoding.ridge import fit_fold, sum_kernel
from ipcl_core.fits.compare_encoding import HeldOut, compare_held_out
from ipcl_core.rsa.inference import draw_resamples


class Design(NamedTuple):
    n_stimuli: int = 40
    n_participants: int = 6


N_FOLDS, N_VOXELS, N_UNITS = 5, 20, 60
SCALES = np.exp(np.random.default_rng(0).standard_normal((3, 1, N_UNITS)))
"""Standard deviations of the units of both models and of those of none, in all studies the same."""
N_RESAMPLES, PENALTIES = 200, [1e-2, 1.0, 1e2]
UNRELATED, N_NULL = [0, 0.6, 0.9], 1000
"""Shares of the variance that units of no model explain, where there is nothing to be found, and studies of each."""

DESIGNS = [Design(20, 6), Design(40, 6), Design(72, 10), Design(200, 4)]
SHARES, N_POWER = [0.01, 0.02, 0.04, 0.06, 0.1, 0.15], 200
"""Shares of the variance that the first model explains, and studies of each."""

N_DRAWS, N_STUDIES = 70, 4
PARTS = [(0, 0, 0), (0, 0, 0.9), (0, 0, 0.6), (0, 0.3, 0), (0.04, 0, 0), (0.06, 0.3, 0), (0.02, 0, 0)]
"""Shares of the variance that the first model, the second, and units of no model explain."""

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


def draw_units(rng: np.random.Generator, n_stimuli: int) -> list[np.ndarray]:
    """Return the units of both models and those of none, (n_stimuli, N_UNITS) each."""
    return list(rng.standard_normal((3, n_stimuli, N_UNITS)) * SCALES)


def mix_units(
    units: list[np.ndarray], shares: tuple[float, ...], n_voxels: int, rng: np.random.Generator
) -> np.ndarray:
    """Return responses of which units explain shares of the variance, (n_stimuli, n_voxels)."""
    y = np.sqrt(1 - sum(shares)) * rng.standard_normal((len(units[0]), n_voxels))
    for x, share in zip(units, shares, strict=True):
        if share:
            signal = x @ rng.standard_normal((N_UNITS, n_voxels))
            y += np.sqrt(share) * signal / signal.std(0)
    return y


def average(r: np.ndarray, axis: int = 1) -> np.ndarray:
    """Return means over each participant's voxels, (b, all voxels) -> (b, participants)."""
    return r.reshape(len(r), -1, N_VOXELS).mean(2)


def resample(*parts: np.ndarray, held_out: np.ndarray, stimuli: np.ndarray, **others: np.ndarray) -> np.ndarray:
    """Return r of the participants as it is, and in each resample of the stimuli: (participants, 1 + n_resamples)."""
    counts = np.concatenate([np.ones_like(stimuli[:1]), stimuli])
    return resample_r(*parts, held_out.argmax(0), counts, average=average, **others).T


def judge(features: np.ndarray, responses: np.ndarray, held_out: np.ndarray, stimuli: np.ndarray) -> HeldOut:
    """Fit one model and judge it as `compare_encoding` does."""
    kernel, y = sum_kernel([torch.from_numpy(features)]), torch.from_numpy(responses)
    predictions = torch.empty_like(y)
    for test in map(torch.from_numpy, held_out):
        predictions[test] = fit_fold(kernel, y, ~test, test, PENALTIES).predictions
    r = resample(predictions.numpy(), responses, held_out=held_out, stimuli=stimuli)
    return HeldOut({"mean_r": "layer"}, {"mean_r": r[:, 0]}, 0.0, {"mean_r": r[:, 1:]})


def simulate(shares: tuple[float, float], seed: int, design: Design) -> tuple[dict[str, float], float, dict[str, dict]]:
    """Return the p of each test of one study, the mean r of the first model, and what is resampled -> its interval.

    Args:
        shares: of the variance that the first model, and units of no model explain.
    """
    rng = np.random.default_rng(seed)
    n, n_participants = design
    held_out = split_stimuli(n, n_folds=N_FOLDS, n_repeats=1, seed=seed)
    drawn = draw_resamples(n_participants, n, n_resamples=N_RESAMPLES, seed=seed)
    units = draw_units(rng, n)
    responses = mix_units(units, (shares[0], 0, shares[1]), n_participants * N_VOXELS, rng)
    models = [judge(one, responses, held_out, drawn.stimuli) for one in units[:2]]
    rows = compare_held_out(*models, drawn.participants, n)
    values, resampled = models[0].values["mean_r"], models[0].resampled["mean_r"]
    sure = infer_mean(values, resampled, drawn.participants, n, one_sided=True)
    found = {f"two models, over {row['resampled']}": row["p"] for row in rows}
    return found | {f"one model, over {kind}": one["p"] for kind, one in sure.items()}, values.mean(), sure


def simulate_parts(shares: tuple[float, float, float], seed: int) -> np.ndarray:
    """Return of N_STUDIES studies the means over participants of the partial correlation of what the first model adds and of
    its part of R2, and the p that they are above 0, of the former over participants and over both: (5, N_STUDIES)."""
    rng = np.random.default_rng(seed)
    n, n_participants = Design()
    held_out = split_stimuli(n, n_folds=N_FOLDS, n_repeats=1, seed=seed)
    drawn = draw_resamples(n_participants, n, n_resamples=N_RESAMPLES, seed=seed)
    units = draw_units(rng, n)
    y = mix_units(units, shares, N_STUDIES * n_participants * N_VOXELS, rng)
    kernels = {name: sum_kernel([torch.from_numpy(x)]) for name, x in zip("ab", units[:2], strict=True)}
    p, q, means = (np.empty_like(y) for _ in range(3))
    for test in held_out:
        found = fit_bands(kernels, torch.from_numpy(y), *map(torch.from_numpy, (~test, test)), PENALTIES)
        p[test], q[test] = (found[subset].predictions.numpy() for subset in (("a", "b"), ("b",)))
        means[test] = y[~test].mean(0)
    errors = [((one - y) ** 2).sum(0) for one in (p, q, means)]
    parts = np.split(average(((errors[1] - errors[0]) / errors[2])[None])[0], N_STUDIES)
    r, found = np.split(resample(p, y, held_out=held_out, stimuli=drawn.stimuli, others=q), N_STUDIES), []
    for one, part in zip(r, parts, strict=True):
        sure = infer_mean(one[:, 0], one[:, 1:], drawn.participants, n, one_sided=True)
        of_r2 = infer_mean(part, None, drawn.participants, n, one_sided=True)
        found.append([one[:, 0].mean(), part.mean(), *(each["p"] for each in (*sure.values(), *of_r2.values()))])
    return np.array(found).T


def count_found(
    shares: tuple[float, float], n_runs: int, design: Design
) -> tuple[float, dict[str, float], dict[str, float]]:
    """Return of n_runs studies the mean r of the first model, in which share of them each test has p < .05, and in which share
    the first model's 95% interval holds that mean r."""
    found, values, sure = zip(*(simulate(shares, seed, design) for seed in range(n_runs)), strict=True)
    r = float(np.mean(values))
    rates = {test: float(np.mean([one[test] < 0.05 for one in found])) for test in found[0]}
    held = {kind: float(np.mean([one[kind]["low"] <= r <= one[kind]["high"] for one in sure])) for kind in sure[0]}
    return r, rates, {f"interval, over {kind}": share for kind, share in held.items()}


def draw_power(rates: dict[Design, list[dict[str, float]]], path: str) -> None:
    """Draw the share of studies that find something over the share of the variance that there is; a panel for each test."""
    figure, panels = plt.subplots(1, 2, figsize=(8, 3.3), sharey=True, layout="constrained")
    for panel, test in zip(panels, ("one model", "two models"), strict=True):
        for i, (design, found) in enumerate(rates.items()):
            label = f"{design.n_stimuli} stimuli, {design.n_participants} participants"
            panel.plot(SHARES, [one[f"{test}, over both"] for one in found], "osD^"[i] + "-", label=label, markersize=4)
        panel.axhline(0.05, color="0.6", linewidth=1, linestyle="--")
        title = {"one model": "One model above 0", "two models": "One model above one that explains nothing"}[test]
        panel.set_title(title, fontsize="medium")
        panel.set(xlabel="share of the voxels' variance that it explains", ylim=(0, 1.02))
        panel.xaxis.set_major_formatter("{x:.0%}")
        panel.yaxis.set_major_formatter("{x:.0%}")
    panels[0].set_ylabel("studies with p < .05, over both")
    figure.legend(
        *panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False, fontsize="small"
    )
    figure.savefig(path, dpi=150)


def main() -> None:
    torch.set_num_threads(1)
    start, lines, power, power_lines = time.process_time(), [], {}, []
    for share in UNRELATED:
        r, rates, held = count_found((0, share), N_NULL, Design())
        lines.append([f"{share:.0%}", f"{r:.3f}", *(f"{x:.1%}" for x in [*rates.values(), *held.values()])])
    for design in DESIGNS:
        power[design] = []
        for share in SHARES:
            r, rates, held = count_found((share, 0), N_POWER, design)
            power[design].append(rates)
            shares = [f"{x:.0%}" for x in [*rates.values(), *held.values()]]
            power_lines.append([*(str(n) for n in design), f"{share:.0%}", f"{r:.3f}", *shares])
    columns = " | ".join([*rates, *held])
    draw_power(power, sys.argv[1])
    print("""# Which voxels are kept

Of 10,000 voxels: the share that is kept and the median of what is found of their noise ceilings, by `min_ceiling: .1` alone
and with the F test.

| stimuli x runs | true ceiling | .1 alone: kept | ceiling | with the test: kept | ceiling |
|---|---|---|---|---|---|""")
    print("\n".join(f"| {' | '.join(row)} |" for row in list_kept()))
    print(f"""
# The tests of encoding: what they find where there is nothing, and their power

Made by
`OMP_NUM_THREADS=1 PYTHONPATH=. python benchmarks/encoding_tests.py docs/encoding_power.png > benchmarks/encoding_tests.md`
on {datetime.date.today()}: 5 folds, participants of {N_VOXELS} voxels.
The share of {N_NULL:,} studies with p < .05 where there is nothing to be found, by the share of the voxels' variance that
units explain which no model has; 40 stimuli, 6 participants. Interval: the share of studies whose 95% interval of the first
model's r holds the mean r of all.

| no model has | mean r | {columns} |
|{"---|" * (len(rates) + len(held) + 2)}""")
    print("\n".join(f"| {' | '.join(line)} |" for line in lines))
    print(f"""
And where the first model explains a share of it, the second nothing ({N_POWER} studies a row):

| stimuli | participants | the first explains | mean r | {columns} |
|{"---|" * (len(rates) + len(held) + 4)}""")
    print("\n".join(f"| {' | '.join(line)} |" for line in power_lines))
    print(f"""
What the first model explains alone, given the second (partitions.csv), in {N_DRAWS * N_STUDIES:,} studies a row,
{N_STUDIES} of each of {N_DRAWS} draws of the units: the mean partial correlation r and the mean part of R2, and the share of
studies in which they are above 0 with p < .05; of R2 over participants.

| the first explains | the second explains | no model has | r | over participants | over both | part of R2 | p of R2 < .05 |
|---|---|---|---|---|---|---|---|""")
    for shares in PARTS:
        r, r2, *p = np.concatenate([simulate_parts(shares, seed) for seed in range(N_DRAWS)], 1)
        rates = [f"{np.mean(one < 0.05):.1%}" for one in p]
        line = *(f"{share:.0%}" for share in shares), f"{r.mean():.3f}", *rates[:2], f"{r2.mean():.3f}", rates[2]
        print(f"| {' | '.join(line)} |")
    print(f"\n{time.process_time() - start:.0f} s of one core.")


if __name__ == "__main__":
    main()
