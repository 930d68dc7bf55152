"""A small study for the page that explores it: real RSMs, fits, statistics, tables and records, and names that hold markup."""

import base64
import json
import re
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
from configurations import STUDY
from PIL import Image

from ipcl_core.brains.store import Region, write_brain
from ipcl_core.config import load_config
from ipcl_core.files import write_hdf5
from ipcl_core.fits.fit_layers import fit_layers
from ipcl_core.fits.statistics import join_layers, measure_layers, measure_noise_ceilings
from ipcl_core.records import record_job
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


def read_study(path: Path) -> dict:
    """The data of the page, as a browser reads them."""
    (text,) = re.findall(r'<script type="application/json" id="study">(.*?)</script>', path.read_text(), re.DOTALL)
    return json.loads(text)


def read_rsm(stored: dict) -> np.ndarray:
    levels = np.frombuffer(base64.b64decode(stored["levels"]), np.uint8)
    return np.where(levels == 255, np.nan, stored["low"] + levels * (stored["high"] - stored["low"]) / 254)
