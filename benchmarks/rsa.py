"""
How fast RSMs, noise ceilings, permutation tests and bootstraps are, against numpy loops and rsatoolbox.

    OMP_NUM_THREADS=1 PYTHONPATH=. python benchmarks/rsa.py > benchmarks/rsa.md

72 images, the 27 layers of an untrained AlexNet-gn at 224 pixels, three regions of ten simulated participants. All sides run
in every round, one after the other. Time is the process's (user + system, all threads); the ratio is the median of the
rounds' ratios. Long loops are timed on a part of their repetitions and multiplied, as the table says.
"""

import contextlib
import datetime
import importlib.metadata
import io
import os
import platform
import re
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import rsatoolbox
import torch
from rsatoolbox.inference import eval_bootstrap_pattern

from ipcl_core.networks.architectures import AlexNet
from ipcl_core.networks.layers import record_layers
from ipcl_core.rsa.inference import compare_resampled, draw_permutations, permute_similarity
from ipcl_core.rsa.noise_ceiling import measure_noise_ceiling
from ipcl_core.rsa.similarity import compute_rsm, fill_rsms, vectorize_rsm

ROUNDS, N_IMAGES, N_PARTICIPANTS, N_REGIONS = 5, 72, 10, 3
N_SPLITS, N_PERMUTATIONS, N_RESAMPLES = 1000, 10_000, 1000


def record_activations() -> list[np.ndarray]:
    """Return each layer's activations to noise images, (72, units) float32."""
    torch.manual_seed(0)
    network = AlexNet("gn", 128).eval()
    with record_layers(network, shape=(3, 224, 224)) as compute, torch.inference_mode():
        recorded = compute(torch.randn(N_IMAGES, 3, 224, 224))
    return [output.numpy().reshape(N_IMAGES, -1) for output in recorded.values()]


def simulate_regions(rng: np.random.Generator) -> np.ndarray:
    """Return participants' RSVs that share a signal: (n_regions, n_participants, n_pairs)."""
    patterns = rng.standard_normal((N_REGIONS, 1, N_IMAGES, 60))
    noisy = patterns + 2 * rng.standard_normal((N_REGIONS, N_PARTICIPANTS, N_IMAGES, 60))
    return np.array([[vectorize_rsm(compute_rsm(p)) for p in region] for region in noisy])


def loop_ceilings(regions: np.ndarray) -> list[float]:
    rng, half, ceilings = np.random.default_rng(0), N_PARTICIPANTS // 2, []
    for rsvs in regions:
        correlations = []
        for _ in range(N_SPLITS):
            order = rng.permutation(N_PARTICIPANTS)
            correlations.append(np.corrcoef(rsvs[order[:half]].mean(0), rsvs[order[half:]].mean(0))[0, 1])
        ceilings.append(np.mean(correlations))
    return ceilings


def loop_permutations(rsvs: np.ndarray, groups: np.ndarray, permutations: np.ndarray) -> np.ndarray:
    rsms, found = fill_rsms(groups), []
    for order in permutations:
        permuted = [vectorize_rsm(rsm[np.ix_(order, order)]) for rsm in rsms]
        found.append([[np.corrcoef(x, y)[0, 1] for x in rsvs] for y in permuted])
    return np.array(found)


def bootstrap_with_rsatoolbox(rsvs: np.ndarray, group: np.ndarray, n: int) -> np.ndarray:
    models = [rsatoolbox.model.ModelFixed(str(i), 1 - rsm) for i, rsm in enumerate(fill_rsms(rsvs))]
    data = rsatoolbox.rdm.RDMs(1 - fill_rsms(group[None]))
    np.random.seed(0)  # noqa: NPY002, rsatoolbox draws from the global generator
    with contextlib.redirect_stderr(io.StringIO()):
        return eval_bootstrap_pattern(models, data, method="corr", N=n, boot_noise_ceil=False).evaluations


def draw_as_rsatoolbox(n: int) -> np.ndarray:
    np.random.seed(0)  # noqa: NPY002
    drawn = np.array([np.random.randint(0, N_IMAGES, N_IMAGES) for _ in range(n)])  # noqa: NPY002
    return (drawn[:, :, None] == np.arange(N_IMAGES)).sum(1).astype(float)


def take_time(call: Callable, repeat: int = 1) -> float:
    start = time.process_time()
    for _ in range(repeat):
        call()
    return (time.process_time() - start) / repeat


def main() -> None:
    layers, rng = record_activations(), np.random.default_rng(0)
    wide, regions = [layer.astype(np.float64) for layer in layers], simulate_regions(rng)
    exact = [np.corrcoef(layer) for layer in layers]
    rsvs, groups = np.array([vectorize_rsm(rsm) for rsm in exact]), regions.mean(1)
    permutations = draw_permutations(N_IMAGES, n_permutations=N_PERMUTATIONS, seed=0)
    stimuli = draw_as_rsatoolbox(N_RESAMPLES)

    def make_rdms(layers: list) -> list:
        return [rsatoolbox.rdm.calc_rdm(rsatoolbox.data.Dataset(x), method="correlation") for x in layers]

    def measure_ceilings() -> list:
        return [measure_noise_ceiling(region, n_splits=N_SPLITS, seed=0) for region in regions]

    # name, our call, how often, the peer's name, its call, the share of the work that it does, its difference from ours
    ours = [compute_rsm(layer) for layer in layers]
    n_few = 100
    rows = [
        ("RSMs of 27 layers", lambda: [compute_rsm(x) for x in layers], 1,
         "np.corrcoef", lambda: [np.corrcoef(x) for x in layers], 1, np.abs(np.array(ours) - exact).max()),
        ("RSMs of 27 layers", lambda: [compute_rsm(x) for x in layers], 1,
         "rsatoolbox, float32", lambda: make_rdms(layers), 1,
         np.nanmax([np.abs(1 - r.get_matrices()[0] - e) for r, e in zip(make_rdms(layers), ours, strict=True)])),
        ("RSMs of 27 layers", lambda: [compute_rsm(x) for x in layers], 1,
         "rsatoolbox, float64", lambda: make_rdms(wide), 1,
         np.nanmax([np.abs(1 - r.get_matrices()[0] - e) for r, e in zip(make_rdms(wide), ours, strict=True)])),
        (f"split-half ceilings, 3 regions: all 126 splits against {N_SPLITS} random ones", measure_ceilings, 20,
         "loop", lambda: loop_ceilings(regions), 1,
         np.abs(np.array([c.r for c in measure_ceilings()]) - loop_ceilings(regions)).max()),
        (f"{N_PERMUTATIONS:,} permutations, 27 layers x 3 regions",
         lambda: [permute_similarity(rsvs, group, permutations) for group in groups], 1,
         "loop", lambda: loop_permutations(rsvs, groups, permutations[:n_few]), n_few / N_PERMUTATIONS,
         np.abs(permute_similarity(rsvs, groups[1], permutations[:5])
                - loop_permutations(rsvs, groups, permutations[:5])[:, 1]).max()),
        (f"{N_RESAMPLES} bootstraps over images, 27 layers", lambda: compare_resampled(rsvs, groups[:1], stimuli), 1,
         "rsatoolbox", lambda: bootstrap_with_rsatoolbox(rsvs, groups[0], n_few), n_few / N_RESAMPLES,
         np.abs(compare_resampled(rsvs, groups[:1], stimuli[:n_few])
                - bootstrap_with_rsatoolbox(rsvs, groups[0], n_few)).max()),
    ]  # fmt: skip
    times = np.array(
        [
            [(take_time(call, repeat), take_time(peer) / share) for _, call, repeat, _, peer, share, _ in rows]
            for _ in range(ROUNDS)
        ]
    )  # (rounds, rows, 2)
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("numpy", "torch", "rsatoolbox"))
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())[1]
    print(f"""# RSA against numpy loops and rsatoolbox

Made by `OMP_NUM_THREADS=1 PYTHONPATH=. python benchmarks/rsa.py > benchmarks/rsa.md` on {datetime.date.today()}:
{cpu}, one thread, load {os.getloadavg()[0]:.1f} before; Python {platform.python_version()}, {versions}.
{ROUNDS} rounds; seconds of core time (medians), ratios (median and range over rounds).
What is measured: the script's first lines.

| what | here | against | theirs | timed on | ratio | largest difference |
|---|---|---|---|---|---|---|""")
    for (name, _, _, peer, _, share, difference), row in zip(rows, times.swapaxes(0, 1), strict=True):
        ratios = row[:, 1] / row[:, 0]
        part = "all" if share == 1 else f"1/{1 / share:g}"
        spread = f"{np.median(ratios):.3g} ({ratios.min():.3g} to {ratios.max():.3g})"
        medians = [f"{seconds:.2g}" for seconds in np.median(row, axis=0)]
        print(f"| {name} | {medians[0]} | {peer} | {medians[1]} | {part} | {spread} | {difference:.1e} |")


if __name__ == "__main__":
    main()
