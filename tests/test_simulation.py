"""The simulated brain: what is expected of it, and that the workflow finds it, run as docs/own_brain.md says."""

import re
import shlex
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from snakemake_runs import count_jobs, run_snakemake

from ipcl_core.command import main as command
from ipcl_core.files import read_csv
from ipcl_core.new_study import write_study
from ipcl_core.report.table1 import choose_ceilings
from ipcl_core.rsa.noise_ceiling import measure_noise_ceiling
from ipcl_core.rsa.similarity import compute_rsm, correlate, vectorize_rsm
from ipcl_core.simulation import estimate_covariance, expect_ceiling, mix_units

REPOSITORY = Path(__file__).parents[1]


def draw_rsvs(rng: np.random.Generator, rho: np.ndarray, n: int, times: int) -> np.ndarray:
    """RSVs of n voxels drawn from a normal distribution with the correlations rho: (times, n_pairs)."""
    root = np.linalg.cholesky(rho)
    return np.stack([vectorize_rsm(compute_rsm(root @ rng.standard_normal((len(rho), n)))) for _ in range(times)])


def test_covariance_of_correlations_is_that_of_many_samples():
    rng = np.random.default_rng(0)
    rho = np.corrcoef(rng.standard_normal((4, 6)))
    covariance = estimate_covariance(rho, 200)
    assert np.diag(covariance) == pytest.approx((1 - vectorize_rsm(rho) ** 2) ** 2 / 199)
    found = np.cov(draw_rsvs(rng, rho, 200, 4000).T)
    np.testing.assert_allclose(found, covariance, rtol=0, atol=0.1 * np.diag(covariance).max())


def test_expected_ceiling_is_that_of_many_studies():
    rng = np.random.default_rng(0)
    signal = rng.standard_normal((12, 3)) @ rng.standard_normal((3, 40))
    signal -= signal.mean(1, keepdims=True)
    signal /= np.linalg.norm(signal, axis=1, keepdims=True)
    true = vectorize_rsm(signal @ signal.T)
    found = []
    for _ in range(60):
        rsvs = [vectorize_rsm(compute_rsm(mix_units(signal, 60, 2.0, rng))) for _ in range(6)]
        ceiling = measure_noise_ceiling(rsvs, n_splits=100, seed=0).r
        found.append((ceiling, correlate(np.mean(rsvs, 0), true)))
    assert np.mean(found, axis=0) == pytest.approx(expect_ceiling(signal, 60, 2.0, 6), abs=0.02)


# ---- docs/own_brain.md -----------------------------------------------------------------------------------------------


def snakemake(folder: Path, arguments: list[str]) -> str:
    code, said = run_snakemake(folder, "--snakefile", REPOSITORY / "Snakefile", *arguments)
    assert code == 0, said[-6000:]
    return said


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    """The folder in which the two commands of the page were run, and the arguments of the second."""
    folder = tmp_path_factory.mktemp("simulated")
    page = (REPOSITORY / "docs/own_brain.md").read_text()
    first, second = (shlex.split(line) for line in re.findall(r"^    ((?:ipcl|snakemake) .*)$", page, re.MULTILINE)[:2])
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert first[0] == "ipcl" and second[0] == "snakemake"
        assert command(first[1:]) == 0
    snakemake(folder, second[1:])
    return folder, second[1:]


@pytest.mark.workflow
def test_workflow_finds_the_layers_and_the_ceilings(simulated):
    folder, _ = simulated
    expected = pd.read_csv(folder / "simulated/expected.csv", index_col="region")
    best = pd.read_csv(folder / "results/simulated/statistics/simulated/best_layers.csv", index_col="region")
    ceilings = choose_ceilings(read_csv(folder / "results/simulated/statistics/simulated/noise_ceilings.csv"))
    assert dict(best["layer"]) == dict(expected["layer"]) == {"EarlyV": "conv_block_2", "IT": "conv_block_5"}
    assert list(best["r"]) == pytest.approx(list(expected["r"]), abs=0.03)  # three standard deviations over seeds
    assert list(ceilings["r"]) == pytest.approx(list(expected["noise_ceiling"]), abs=0.06)
    assert list(ceilings["n_participants"]) == [8, 8]
    encoding = read_csv(folder / "results/simulated/encoding/simulated/untrained.csv").query("participant == 'group'")
    true = encoding.set_index(["region", "layer"]).loc[list(expected["layer"].items())]
    best = read_csv(folder / "results/simulated/encoding/simulated/best_layers.csv")
    best = best.query("measure == 'mean_r' and resampled == 'participants'")
    assert list(best["layer"]) == list(best["held_out_layer"]) == list(expected["layer"])
    assert list(best["r"]) == list(true["mean_r"]) and (best["p"] < 0.01).all()
    assert list(true["ceiling"]) == pytest.approx(list(expected["voxel_ceiling"]), abs=0.05)


@pytest.mark.workflow
def test_study_to_start_from_needs_a_brain_alone(simulated):
    """`ipcl new --brain` on the simulated brain, its network that is downloaded left out."""
    folder, _ = simulated
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        study = yaml.safe_load(write_study("simulated", model=False).read_text())
    study["models"] = {name: study["models"][name] for name in ("untrained_alexnet_gn", "pixels")}
    study["figure2_models"] = ["untrained_alexnet_gn"]
    (folder / "own.yaml").write_text(yaml.safe_dump(study, sort_keys=False))
    arguments = ["--cores", "2", "--configfile", "own.yaml"]
    said = snakemake(folder, ["--dry-run", *arguments])
    assert count_jobs(said)["initialize_model"] == 2 and "figure2" in said
    assert not {"train_model", "embed_images", "measure_accuracy", "list_images", "figure3"} & {*count_jobs(said)}
    snakemake(folder, [*arguments, "--", "simulated/results/table1.csv"])
    table = read_csv(folder / "simulated/results/table1.csv").set_index("model")
    assert list(table.index) == list(study["models"]) and table["top1"].isna().all()
    best = table.loc["untrained_alexnet_gn"]
    assert best["EarlyV_r"] > table.at["pixels", "EarlyV_r"] and best["EarlyV_noise_ceiling"] > 0.6
    assert (folder / "simulated/results/table1.html").exists()


@pytest.mark.workflow
def test_another_brain_makes_its_own_jobs_only(simulated):
    """Distances of one region of the same participants, as a second block; then one changed file of the first brain."""
    folder, arguments = simulated
    study = yaml.safe_load((folder / "simulated/study.yaml").read_text())
    block = study["brains"]["simulated"]
    for participant in block["participants"]:
        patterns = np.load(folder / f"simulated/patterns/{participant}_IT_run-1.npy")
        np.save(folder / f"simulated/{participant}.npy", 1 - np.corrcoef(patterns))
    other = block | {"kind": "rdm", "regions": ["IT"], "runs": None, "files": "simulated/{participant}.npy"}
    (folder / "other.yaml").write_text(yaml.safe_dump({"brains": {"other": other}}))
    targets = [re.sub(r"statistics/simulated", "statistics/other", part) for part in arguments if "statistics/" in part]
    made = dict.fromkeys(
        ("import_own_brain", "extract_activations", "make_rsms", "compare_models", "measure_noise_ceilings"), 1
    )
    said = snakemake(folder, ["--dry-run", *arguments[:2], *targets, *arguments[-2:], "other.yaml"])
    assert count_jobs(said) == made and "brain=simulated" not in said
    np.save(folder / "simulated/patterns/sub-03_IT_run-2.npy", patterns)
    said = snakemake(folder, ["--dry-run", *arguments])
    assert count_jobs(said) == made | {"fit_encoding": 1, "compare_encoding": 1} and "brain=other" not in said
