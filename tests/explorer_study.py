"""A small study for the page that explores it: real RSMs, fits, statistics, tables and records, and names that hold markup."""

import base64
import itertools
import json
import re
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pandas as pd
from configurations import STUDY
from PIL import Image

from ipcl_core.brains.store import Region, write_brain
from ipcl_core.config import load_config
from ipcl_core.files import write_hdf5
from ipcl_core.fits.fit_layers import fit_layers
from ipcl_core.fits.statistics import join_layers, measure_layers, measure_noise_ceilings
from ipcl_core.records import record_job
from ipcl_core.report.explorer.page import write_explorer
from ipcl_core.report.table1 import make_table1
from ipcl_core.rsa.similarity import compute_rsm, vectorize_rsm

SCRIPTS = Path(__file__).parents[1] / "workflow_scripts"
N_STIMULI = 12
EVIL = "</script><script>window.hacked=1</script><!--"
PICTURE = "<img src=x onerror=window.hacked=1>"
LAYERS = {"first": ["conv.0", "conv.1", "fc", "out"], "second": ["a", "b"], "pixels": ["pixels"]}
SETTINGS = {"comparators": ["pearson", "spearman"], "n_bootstrap": 100, "n_permutations": 100, "seed": 0}
ACCURACY = "dataset,model,protocol,layer,top1,top5,k,tau,n_bank,n_query,headline\n"


def record(folder: Path, rule: str, inputs: list, *outputs: Path, **params) -> None:
    """Record a job that made the outputs, as a workflow script does."""
    config = {"pathvars": {"results": str(folder)}}
    job = SimpleNamespace(
        rule=rule,
        config=config,
        wildcards={},
        threads=1,
        params=params,
        input=inputs,
        output=outputs,
        scriptdir=SCRIPTS,
    )
    record_job(job)


MODEL = {"framework": "IPCL", "architecture": "alexnet_gn", "dim": 128, "dataset": "d", "recipe": "r", "seed": 7}
CONFIG = {
    "title": EVIL,
    "datasets": {"d": {"train": None, "val": None}},
    "models": {
        "first": MODEL,
        "second": MODEL | {"framework": "<b>New</b>"},
        "pixels": MODEL | {"framework": "Pixels"},
        "lost": MODEL | {"unavailable": "<i>not</i> published"},
    },
    "recipes": {"r": STUDY["recipes"]["ipcl"]},
    "brains": {"b": STUDY["brains"]["objects92"] | {"title": f"Objects {EVIL}"}},
    "figure2_models": ["first", "second"],
}


def make_study(folder: Path) -> dict:
    """A small study whose titles, names of stimuli and framework hold markup; the arguments of `write_explorer`."""
    rng = np.random.default_rng(0)
    for part in ("brain/b/stimuli", "rsm/b", "rsa/b", "statistics/b", "accuracy/d", "models"):
        (folder / part).mkdir(parents=True)
    stimuli = [f"{i:02d} {PICTURE if i == 1 else 'object'}" for i in range(N_STIMULI)]
    for name in stimuli:
        Image.fromarray(rng.integers(0, 256, (300, 200, 3), dtype=np.uint8)).save(
            folder / f"brain/b/stimuli/{name}.png"
        )
    it = rng.standard_normal((N_STIMULI, 30))

    def mix(noise: float) -> np.ndarray:
        return compute_rsm(it + noise * rng.standard_normal(it.shape))

    brain = folder / "brain/b/brain.h5"
    regions = [
        Region("EarlyV", vectorize_rsm(mix(9))[None], ["group average"], group=True),
        Region("IT", np.stack([vectorize_rsm(mix(1)) for _ in range(4)]), list("abcd"), group=False),
    ]
    write_brain(brain, stimuli, regions)
    ceilings = folder / "statistics/b/noise_ceilings.csv"
    measure_noise_ceilings(brain, ceilings, name="b", n_splits=100, seed=0)
    record(folder, "measure_noise_ceilings", [brain], ceilings)
    study, rsms, accuracies = load_config(CONFIG), {}, {}
    for i, (name, layers) in enumerate(LAYERS.items()):
        weights, accuracy = folder / f"models/{name}/weights.safetensors", folder / f"accuracy/d/{name}.csv"
        weights.parent.mkdir()
        weights.write_text(f"weights of {name}")
        record(folder, "train_model", [], weights, model={"seed": 7})
        rsms[name], accuracies[name] = folder / f"rsm/b/{name}.h5", accuracy
        with write_hdf5(rsms[name]) as file:
            file.attrs["brain"], file.attrs["model"] = "b", name
            file["stimuli"] = stimuli
            for k, layer in enumerate(layers):
                file[f"layers/{layer}"] = mix(1 + abs(k - 1))
                attributes = {"n_units": 30, "participation_ratio": 2.3 + k, "power_law_exponent": 1 / (1 + k)}
                file[f"layers/{layer}"].attrs.update(attributes)
            file.attrs["layers"], file.attrs["network"] = layers, "net"
        if name == "second":  # the second layer has no variance for the third stimulus
            with h5py.File(rsms[name], "a") as file:
                file["layers/b"][2], file["layers/b"][:, 2] = np.nan, np.nan
        record(folder, "make_rsms", [weights], rsms[name])
        knn = f"d,{name},weighted kNN,fc,{30 + 10 * i}.25,80,200,0.07,1000,50,True\n"
        accuracy.write_text(ACCURACY + knn + f"d,{name},linear probe (L-BFGS),fc,{60 - i}.5,9,,,1000,50,False\n")
        record(folder, "measure_accuracy", [weights], accuracy)
        measured, fits = folder / f"statistics/b/{name}.csv", folder / f"rsa/b/{name}.csv"
        measure_layers(rsms[name], brain, measured, **SETTINGS)
        record(folder, "measure_layers", [rsms[name], brain], measured, **SETTINGS)
        fit_layers(rsms[name], brain, fits)
        record(folder, "fit_layers", [rsms[name], brain], fits)
    measured = [folder / f"statistics/b/{name}.csv" for name in LAYERS]
    join_layers(measured, folder / "statistics.csv", brains=["b"], models=[*LAYERS], fdr=0.05)
    shared = {"accuracies": [*accuracies.values()], "ceilings": [ceilings]}
    fits = [folder / f"rsa/b/{name}.csv" for name in LAYERS]
    make_table1(study.models, study.brains, folder / "table1.csv", fits=fits, **shared)
    return shared | {
        "study": study, "table": folder / "table1.csv", "statistics": folder / "statistics.csv", "brains": [brain],
        "stimuli": [folder / "brain/b/stimuli"], "rsms": [*rsms.values()],
    }  # fmt: skip


PARTICIPANTS = ["a", "b", "c", "d"]
SETS = {"first, pixels": ["first", "pixels", "first + pixels"]}


def add_encoding(study: dict) -> dict:
    """The arguments with files of encoding in the folder: numbers are drawn, voxels of EarlyV were measured once."""
    folder, rng = study["table"].parent, np.random.default_rng(1)
    (folder / "encoding/b").mkdir(parents=True)
    scores = {name: folder / f"encoding/b/{name}.csv" for name in LAYERS}
    numbers = ["median_r", "mean_r", "median_r2", "mean_r2", "median_r_share", "median_r2_share", "versa_r"]
    for name, layers in LAYERS.items():
        keys = itertools.product(["EarlyV", "IT"], enumerate(layers), PARTICIPANTS)
        table = pd.DataFrame([(region, layer, i, who) for region, (i, layer), who in keys])
        table.columns = ["region", "layer", "layer_index", "participant"]
        table[numbers] = rng.uniform(0.1, 0.6, (len(table), len(numbers)))
        table.loc[table["region"] == "EarlyV", ["median_r_share", "median_r2_share"]] = np.nan
        group = table.groupby(["region", "layer", "layer_index"], as_index=False, sort=False)[numbers].mean()
        table = pd.concat([group.assign(participant="group"), table])
        table = table.assign(brain="b", model=name, ceiling=0.5, n_voxels=20, note=None)
        table.sample(frac=1, random_state=0).to_csv(scores[name], index=False)
        record(folder, "fit_encoding", [], scores[name])
    with write_hdf5(folder / "encoding/b/first.h5") as file:
        file.attrs["brain"], file.attrs["model"], file.attrs["regions"] = "b", "first", ["EarlyV", "IT"]
        for region, who in itertools.product(["EarlyV", "IT"], PARTICIPANTS):
            file[f"ceilings/{region}/{who}"] = np.full(20, np.nan) if region == "EarlyV" else rng.uniform(0.1, 0.9, 20)
    rsa = [
        ("b", name, r, layers[-1], 0.1 + i / 10)
        for i, (name, layers) in enumerate(LAYERS.items())
        for r in ("EarlyV", "IT")
    ]
    columns = ["brain", "model", "region", "stimuli_layer", "stimuli_r_held_out"]
    pd.DataFrame(rsa, columns=columns).to_csv(folder / "statistics/b/best_layers.csv", index=False)
    keys = itertools.product(LAYERS, ["EarlyV", "IT"], ["median_r", "mean_r", "versa_r"])
    best = pd.DataFrame(keys, columns=["model", "region", "measure"]).assign(brain="b")
    best["held_out_layer"] = [LAYERS[model][min(1, len(LAYERS[model]) - 1)] for model in best["model"]]
    best["r_held_out"] = rng.uniform(0.1, 0.5, len(best))
    intervals = best["measure"] != "versa_r"
    best["low"], best["high"] = ((best["r_held_out"] + step).where(intervals) for step in (-0.08, 0.07))
    both = best.assign(resampled="both")
    narrow = best.assign(resampled="participants", low=best["low"] + 0.02, high=best["high"] - 0.02)
    pd.concat([narrow, both]).to_csv(folder / "encoding/b/best_layers.csv", index=False)
    parts = []
    for (models, names), region, measure in itertools.product(SETS.items(), ["EarlyV", "IT"], ["voxels", "rsm"]):
        for kind, by in itertools.product(["together", "alone"], names):
            row = {"brain": "b", "region": region, "measure": measure, "models": models, "explained": kind, "by": by}
            r2 = rng.uniform(-0.05, 0.3, len(PARTICIPANTS))
            tests = (
                {"p": 0.01, "q": 0.02 if by == "first" else 0.3, "significant": by == "first"}
                if kind == "alone"
                else {}
            )
            group = row | {"participant": "group", "r2": r2.mean(), "n_participants": 4, "note": None}
            both = {"low": r2.mean() - 0.1, "high": r2.mean() + 0.1, "resampled": "both"} | tests
            narrow = {
                "low": r2.mean() - 0.05,
                "high": r2.mean() + 0.05,
                "resampled": "participants",
                "q": tests.get("q"),
            }
            parts += [group | narrow, group | both] if measure == "voxels" else [group | narrow]
            parts += [row | {"participant": who, "r2": value} for who, value in zip(PARTICIPANTS, r2, strict=True)]
    pd.DataFrame(parts).to_csv(folder / "encoding/b/partitions.csv", index=False)
    return study | {
        "scores": [*scores.values()], "predictions": [folder / "encoding/b/first.h5"],
        "rsa_best": [folder / "statistics/b/best_layers.csv"], "best": [folder / "encoding/b/best_layers.csv"],
        "partitions": [folder / "encoding/b/partitions.csv"],
    }  # fmt: skip


def read_study(path: Path) -> dict:
    """The data of the page, as a browser reads them."""
    (text,) = re.findall(r'<script type="application/json" id="study">(.*?)</script>', path.read_text(), re.DOTALL)
    return json.loads(text)


def read_rsm(stored: dict) -> np.ndarray:
    levels = np.frombuffer(base64.b64decode(stored["levels"]), np.uint8)
    return np.where(levels == 255, np.nan, stored["low"] + levels * (stored["high"] - stored["low"]) / 254)


def read_fits(study: dict, comparator: str = "pearson") -> pd.DataFrame:
    table = pd.read_csv(study["statistics"]).query("comparator == @comparator")
    return table.set_index(["model", "region", "layer"]).sort_index()


def read_group(file: Path, region: str, measure: str) -> pd.DataFrame:
    """The group's rows of a region, layers in order, and the mean and standard error over participants of a measure."""
    table = pd.read_csv(file).query("region == @region").sort_values("layer_index")
    single = table[table["participant"] != "group"].groupby("layer_index")[measure]
    return (
        table[table["participant"] == "group"].set_index("layer_index").assign(mean=single.mean(), error=single.sem())
    )


def write_page(study: dict) -> Path:
    """Write the page of a study of `make_study` beside its table."""
    path = study["table"].parent / "explorer.html"
    write_explorer(path, **study)
    return path


def write_encoded(study: dict) -> tuple[dict, Path]:
    """Return the study with encoding, and its page."""
    arguments = add_encoding(study)
    path = study["table"].parent / "encoding.html"
    write_explorer(path, **arguments)
    return arguments, path
