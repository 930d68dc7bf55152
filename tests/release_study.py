"""A finished study of two small networks and one brain data set, real files with their records, to make releases from."""

import hashlib
import itertools
import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
from conftest import make_recipe, make_spec
from PIL import Image
from pydantic import TypeAdapter

from ipcl_core.brains.store import Region, write_brain
from ipcl_core.config import Brain, Model
from ipcl_core.files import write_csv, write_json
from ipcl_core.fits.activations import extract_activations
from ipcl_core.fits.fit_layers import fit_layers
from ipcl_core.fits.rsms import make_rsms
from ipcl_core.fits.statistics import measure_layers, measure_noise_ceilings
from ipcl_core.networks.architectures import initialize_network
from ipcl_core.networks.network_files import save_network
from ipcl_core.records import find_commit, record_job
from ipcl_core.report.table1 import make_table1
from ipcl_core.rsa.similarity import compute_rsm, vectorize_rsm

SCRIPTS = Path(__file__).parents[1] / "workflow_scripts"
MODELS, BRAIN, N = ("first", "second"), "objects", 12
RESULTS = Path("results")
ORIGINS = {
    "first": {"source": "trained", "recipe": "ipcl"},
    "second": {"source": "untrained"},
    "other": {"source": "fetched"},
}
WEIGHTS = {"url": "https://example.org/a", "hash": None, "format": "open_ipcl", "origin": "authors' weights"}
ACCURACY = {"protocol": "weighted kNN", "layer": "output", "top1": 41.25, "top5": 80.5, "k": 20, "tau": 0.07}


def record(rule: str, inputs: list[str], outputs: list[str], params: dict | None = None, *sources, **wildcards) -> None:
    """Record outputs that are there, as a workflow script does."""
    job = SimpleNamespace(rule=rule, config={}, wildcards=wildcards, threads=2, params=params or {}, scriptdir=SCRIPTS)
    job.input, job.output = [RESULTS / name for name in inputs], [RESULTS / name for name in outputs]
    record_job(job, *sources)


def make_study(folder: Path, photo: Image.Image) -> None:
    """Write `results` and `stimuli` into a folder: models first (trained), second (untrained), other (only in Table 1)."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        _make_data(photo)
        for number, model in enumerate(MODELS):
            _make_model(model, number)
        _make_table()
    finally:
        os.chdir(before)


def _make_data(photo: Image.Image) -> None:
    stimuli, rng = Path("stimuli"), np.random.default_rng(0)
    stimuli.mkdir()
    for i in range(N):
        photo.crop((20 * i, 20 * i, 20 * i + 80, 20 * i + 80)).save(stimuli / f"{i:02d}.png")
    signal = rng.standard_normal((N, 40))
    rsvs = [vectorize_rsm(compute_rsm(signal + rng.standard_normal((N, 40)))) for _ in range(4)]
    brain, images, betas = RESULTS / f"brain/{BRAIN}", RESULTS / "data/pictures", Path("betas.mat")
    betas.write_text("betas")
    brain.mkdir(parents=True)
    images.mkdir(parents=True)
    write_brain(
        brain / "brain.h5", [f"{i:02d}" for i in range(N)], [Region("IT", np.stack(rsvs), list("abcd"), group=False)]
    )
    record("import_kriegeskorte_2008", [], [f"brain/{BRAIN}/brain.h5"], None, betas, brain=BRAIN)
    for split, n in (("train", 6), ("val", 3)):
        rows = [
            (f"{label}/{i}.png", label, "ab".index(label), hashlib.sha256(bytes([i])).hexdigest(), None)
            for label in "ab"
            for i in range(n)
        ]
        write_csv(pd.DataFrame(rows, columns=["path", "class", "label", "sha256", "refused"]), images / f"{split}.csv")
        (images / f"{split}.beton").write_bytes(split.encode())
        write_json({"n_images": 2 * n, "classes": ["a", "b"]}, images / f"{split}.json")
        files = [f"data/pictures/{split}.{suffix}" for suffix in ("beton", "csv", "json")]
        record("join_shards", [], files, None, stimuli, dataset="pictures", split=split)
    noise = brain.parents[1] / f"statistics/{BRAIN}/noise_ceilings.csv"
    noise.parent.mkdir(parents=True)
    measure_noise_ceilings(brain / "brain.h5", noise, name=BRAIN, n_splits=20, seed=0)
    record(
        "measure_noise_ceilings", [f"brain/{BRAIN}/brain.h5"], [f"statistics/{BRAIN}/noise_ceilings.csv"], brain=BRAIN
    )


def _make_model(model: str, seed: int) -> None:
    spec, both = make_spec(), {"brain": BRAIN, "model": model}
    weights, brain = f"models/{model}/weights.safetensors", f"brain/{BRAIN}/brain.h5"
    activations, rsm = f"activations/{BRAIN}/{model}.h5", f"rsm/{BRAIN}/{model}.h5"
    fits, sure, accuracy = (
        f"rsa/{BRAIN}/{model}.csv",
        f"statistics/{BRAIN}/{model}.csv",
        f"accuracy/pictures/{model}.csv",
    )
    for name in (weights, activations, rsm, fits, sure, accuracy):
        (RESULTS / name).parent.mkdir(parents=True, exist_ok=True)
    save_network(initialize_network(spec, seed), spec, RESULTS / weights)
    params = {"model": spec.model_dump() | {"seed": seed}}
    if ORIGINS[model]["source"] == "trained":
        trained = {"recipe": make_recipe().model_dump(), "seed": seed, "data": {"sha256": 64 * "a", "n_images": 12}}
        write_json(
            trained
            | {
                "seconds": 5400,
                "precision": "float32",
                "n_processes": 1,
                "jobs": [{"commit": "begun"}, {"commit": find_commit()}],
            },
            RESULTS / f"models/{model}/provenance.json",
        )
        write_csv(pd.DataFrame({"epoch": [0, 1], "loss": [2.0, 1.0]}), RESULTS / f"models/{model}/log.csv")
        outputs = [weights, f"models/{model}/log.csv", f"models/{model}/provenance.json"]
        record("train_model", ["data/pictures/train.beton"], outputs, params, model=model)
    else:
        write_json({"network": spec.model_dump(), "seed": seed}, RESULTS / f"models/{model}/provenance.json")
        record("initialize_model", [], [weights, f"models/{model}/provenance.json"], params, model=model)
    extract_activations(RESULTS / weights, "stimuli", RESULTS / activations, brain_name=BRAIN, model_name=model)
    record("extract_activations", [weights], [activations], None, "stimuli", **both)
    make_rsms(RESULTS / activations, RESULTS / rsm, brain=BRAIN, model=model)
    record("make_rsms", [activations], [rsm], **both)
    fit_layers(RESULTS / rsm, RESULTS / brain, RESULTS / fits)
    record("fit_layers", [rsm, brain], [fits], **both)
    how = {"comparators": ["pearson"], "n_bootstrap": 50, "n_permutations": 50, "seed": 0}
    measure_layers(RESULTS / rsm, RESULTS / brain, RESULTS / sure, **how)
    record("measure_layers", [rsm, brain], [sure], **both)
    row = {"dataset": "pictures", "model": model} | ACCURACY | {"n_bank": 12, "n_query": 6, "headline": True}
    write_csv(pd.DataFrame([row]), RESULTS / accuracy)
    record("measure_accuracy", [weights], [accuracy], model=model, dataset="pictures")


def _make_table() -> None:
    block = {"framework": "IPCL", "architecture": "alexnet_gn", "dim": 8, "width": 1 / 32, "dataset": "pictures"}
    blocks = {name: block | origin for name, origin in ORIGINS.items()}
    blocks["other"] |= {"weights": WEIGHTS}
    models = {name: TypeAdapter(Model).validate_python(block) for name, block in blocks.items()}
    brains = {BRAIN: TypeAdapter(Brain).validate_python({"source": "kriegeskorte_2008", "title": "Objects"})}
    accuracies, fits = {}, {}
    for kind, found in (("accuracy/pictures", accuracies), (f"rsa/{BRAIN}", fits)):
        for name in models:
            found[name] = f"{kind}/{name}.csv"
        other = pd.read_csv(RESULTS / found["first"]).assign(model="other")
        write_csv(other, RESULTS / found["other"])
        record(
            "measure_accuracy" if found is accuracies else "fit_layers",
            [],
            [found["other"]],
            model="other",
            brain=BRAIN,
        )
    ceilings = f"statistics/{BRAIN}/noise_ceilings.csv"
    tables = {"accuracies": [*accuracies.values()], "fits": [*fits.values()], "ceilings": [ceilings]}
    paths = {key: [RESULTS / name for name in names] for key, names in tables.items()}
    make_table1(models, brains, RESULTS / "table1.csv", **paths)
    record("table1", [*itertools.chain(*tables.values())], ["table1.csv"])
