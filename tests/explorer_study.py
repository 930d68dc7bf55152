"""A small study for the page that explores it: real RSMs, fits, statistics, tables and records, and names that hold markup."""

import base64
import json
import re
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
from PIL import Image

from ipcl_core.brains.store import Region, write_brain
from ipcl_core.files import write_hdf5
from ipcl_core.fits.fit_layers import fit_layers
from ipcl_core.fits.statistics import join_layers, measure_layers, measure_noise_ceilings
from ipcl_core.records import record_job
from ipcl_core.report.table1 import make_table1
from ipcl_core.rsa.similarity import compute_rsm, vectorize_rsm

N_STIMULI = 12
EVIL = "</script><script>window.hacked=1</script><!--"
PICTURE = "<img src=x onerror=window.hacked=1>"
LAYERS = {"first": ["conv.0", "conv.1", "fc", "out"], "second": ["a", "b"], "pixels": ["pixels"]}
SETTINGS = {"comparators": ["pearson", "spearman"], "n_bootstrap": 100, "n_permutations": 100, "seed": 0}
ACCURACY = "protocol,layer,top1,top5,k,tau,n_bank,n_query,headline\n"


def record(folder: Path, rule: str, inputs: list, *outputs: Path, **params) -> None:
    """Record a job that made the outputs, as a workflow script does."""
    config = {"pathvars": {"results": str(folder)}}
    job = SimpleNamespace(
        rule=rule, config=config, wildcards={}, threads=1, params=params, input=inputs, output=outputs
    )
    record_job(job)


def describe(name: str, framework: str, **changes) -> dict:
    model = {"framework": framework, "architecture": "alexnet_gn", "dim": 128, "width": 1.0, "source": "trained"}
    return model | {"origin": "trained here", "reason": None, "dataset": "d", "recipe": "r", "seed": 7} | changes


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
    measure_noise_ceilings(brain, ceilings, n_splits=100, seed=0)
    record(folder, "measure_noise_ceilings", [brain], ceilings)
    models = {
        "first": describe("first", "IPCL"),
        "second": describe("second", "<b>New</b>"),
        "pixels": describe("p", "Pixels"),
    }
    rsms, accuracies = {}, {}
    for i, (name, layers) in enumerate(LAYERS.items()):
        weights, accuracy = folder / f"models/{name}/weights.safetensors", folder / f"accuracy/d/{name}.csv"
        weights.parent.mkdir()
        weights.write_text(f"weights of {name}")
        record(folder, "train_model", [], weights, model={"seed": 7})
        rsms[name], accuracies[name] = folder / f"rsm/b/{name}.h5", accuracy
        with write_hdf5(rsms[name]) as file:
            file["stimuli"] = stimuli
            for k, layer in enumerate(layers):
                file[f"layers/{layer}"] = mix(1 + abs(k - 1))
                file[f"layers/{layer}"].attrs["n_units"] = 30
            file.attrs["layers"], file.attrs["network"] = layers, "net"
        if name == "second":  # the second layer has no variance for the third stimulus
            with h5py.File(rsms[name], "a") as file:
                file["layers/b"][2], file["layers/b"][:, 2] = np.nan, np.nan
        record(folder, "make_rsms", [weights], rsms[name])
        knn = f"weighted kNN,fc,{30 + 10 * i}.25,80,200,0.07,1000,50,True\n"
        accuracy.write_text(ACCURACY + knn + f"linear probe (L-BFGS),fc,{60 - i}.5,9,,,1000,50,False\n")
        record(folder, "measure_accuracy", [weights], accuracy)
        measured, fits = folder / f"statistics/b/{name}.csv", folder / f"rsa/b/{name}.csv"
        measure_layers(rsms[name], brain, measured, **SETTINGS)
        record(folder, "measure_layers", [rsms[name], brain], measured, **SETTINGS)
        fit_layers(rsms[name], brain, fits)
        record(folder, "fit_layers", [rsms[name], brain], fits)
    measured = [folder / f"statistics/b/{name}.csv" for name in LAYERS]
    join_layers(measured, folder / "statistics.csv", brains=["b"], models=[*LAYERS], fdr=0.05)
    models["lost"] = describe("lost", "IPCL", origin="unavailable", reason="<i>not</i> published")
    fits = {name: folder / f"rsa/b/{name}.csv" for name in LAYERS}
    make_table1(
        [{"model": name, "accuracy": accuracies.get(name)} | block for name, block in models.items()],
        [{"brain": "b", "source": "s", "ceilings": ceilings, "fits": fits}],
        folder / "table1.csv",
    )
    return {
        "title": EVIL, "models": models, "recipes": {"r": {"epochs": 5}}, "shown": ["first", "second"],
        "brains": [{"brain": "b", "title": f"Objects {EVIL}", "file": brain, "stimuli": folder / "brain/b/stimuli",
                    "ceilings": ceilings, "rsms": rsms}],
        "table": folder / "table1.csv", "statistics": folder / "statistics.csv", "accuracies": accuracies,
    }  # fmt: skip


def read_study(path: Path) -> dict:
    """The data of the page, as a browser reads them."""
    (text,) = re.findall(r'<script type="application/json" id="study">(.*?)</script>', path.read_text(), re.DOTALL)
    return json.loads(text)


def read_rsm(stored: dict) -> np.ndarray:
    levels = np.frombuffer(base64.b64decode(stored["levels"]), np.uint8)
    return np.where(levels == 255, np.nan, stored["low"] + levels * (stored["high"] - stored["low"]) / 254)
