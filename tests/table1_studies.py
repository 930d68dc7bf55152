"""What tests of Table 1 share: the files that it is made of, of a small study and of one that measured the paper's numbers."""

import math
from pathlib import Path
from types import SimpleNamespace

import pandas as pd

from ipcl_core.files import write_csv
from ipcl_core.report.table1 import make_table1, read_published
from ipcl_core.rsa.noise_ceiling import SPLIT_HALF

REGIONS = ("EarlyV", "pOTC", "aOTC")
ACCURACY = "protocol,layer,top1,top5,k,tau,n_bank,n_query,headline"
KRIEGESKORTE = SimpleNamespace(source="kriegeskorte_2008")


def write_table(path: Path, names: dict[str, str], columns: str, lines: list[str]) -> Path:
    """A table whose first columns say what it is of."""
    rows = [",".join([*names.values(), line]) for line in lines]
    path.write_text("\n".join([",".join([*names, columns]), *rows, ""]))
    return path


def write_accuracy(path: Path, model: str, *lines: str, dataset: str = "d") -> Path:
    return write_table(path, {"dataset": dataset, "model": model}, ACCURACY, list(lines))


def write_fits(path: Path, brain: str, model: str, r: dict[str, float]) -> Path:
    """Fits of the layers a, b, c: b has the highest group r of each region; a participant's is always higher."""
    lines = []
    for region, best in r.items():
        for i, (layer, value) in enumerate({"a": best - 0.2, "b": best, "c": best - 0.1}.items()):
            value = "" if math.isnan(value) else value
            lines += [f"{region},{layer},{i},group,{value},28", f"{region},{layer},{i},01,0.99,28"]
    return write_table(path, {"brain": brain, "model": model}, "region,layer,layer_index,participant,r,n_pairs", lines)


def write_ceilings(path: Path, brain: str, r: dict[str, float]) -> Path:
    """The paper's among others."""
    others = [("correlation", "leave-one-out, lower"), ("euclidean", SPLIT_HALF)]
    rows = [(d, region, kind, 0.123, 10) for d, kind in others for region in r]
    rows += [("correlation", region, SPLIT_HALF, value, 0 if math.isnan(value) else 10) for region, value in r.items()]
    columns = ["distance", "region", "kind", "r", "n_participants"]
    table = pd.DataFrame(rows, columns=columns).assign(brain=brain)
    write_csv(table.assign(note=table["n_participants"].map({0: "one group average"})), path)
    return path


def describe(**changes) -> SimpleNamespace:
    """A model as the configuration describes it."""
    model = {"framework": "F", "architecture": "alexnet_gn", "dim": 128, "width": 1.0, "dataset": "d"}
    return SimpleNamespace(**model | {"source": "trained", "origin": "trained here", "unavailable": None} | changes)


def write_study(folder: Path) -> dict:
    """Three models, one more that is unavailable, and two brain data sets, neither published: arguments of `make_table1`."""
    knn = "weighted kNN,fc7,36.6666,80,200,0.07,1000,50,"
    protocols = {
        "ipcl": [f"{knn}False", "linear probe (L-BFGS),fc6,50.126,9,,,1000,50,True"],
        "labelled": [f"{knn}False", "softmax,output,60.123,90,,,,50,True"],
        "neighbours": [f"{knn}True"],
    }
    models = {name: describe(dim=None if name == "labelled" else 128) for name in protocols}
    models["lost"] = describe(dim=64, origin="unavailable", unavailable="<b>_no_ copy</b>, 50% & $1")
    files = {
        "accuracies": [write_accuracy(folder / f"{name}.csv", name, *lines) for name, lines in protocols.items()],
        "fits": [],
        "ceilings": [],
    }
    for brain, regions in (("one", {"V1": 0.91237, "IT": math.nan}), ("two", {"V1": 0.5})):
        files["ceilings"].append(write_ceilings(folder / f"{brain}.csv", brain, regions))
        for i, model in enumerate(protocols):
            best = 0.31239 - i / 10 + (0.2 if brain == "two" else 0)
            path = folder / f"{brain}_{model}.csv"
            files["fits"].append(write_fits(path, brain, model, dict.fromkeys(regions, best)))
    return {"models": models, "brains": {"one": KRIEGESKORTE, "two": KRIEGESKORTE}} | files


def write_paper(folder: Path) -> Path:
    """Table 1 of a study that measured the paper's numbers, each r .013 higher, one run 2 % better, and one new model."""
    published = read_published()
    models, fits, accuracies = {}, [], []
    for name, row in [*published.iterrows(), ("new", published.iloc[0])]:
        top1 = row["top1"] + (2 if name == "ipcl_alexnet_gn_d128_run2" else 0)
        line = f"softmax,output,{top1},9,,,,50000,True"
        accuracies.append(write_accuracy(folder / f"{name}_accuracy.csv", name, line, dataset="imagenet"))
        columns = row[["framework", "architecture", "source"]].to_dict() | {"dataset": "imagenet"}
        models[name] = describe(**columns, dim=None if math.isnan(row["dim"]) else int(row["dim"]))
        r = {region: row[region] + 0.013 for region in REGIONS}
        fits.append(write_fits(folder / f"{name}.csv", "objects72", name, r))
    models["new"].framework = "A new one"
    ceilings = write_ceilings(folder / "ceilings.csv", "objects72", dict.fromkeys(REGIONS, 0.9))
    brains = {"objects72": SimpleNamespace(source="magri_konkle_2019")}
    make_table1(models, brains, folder / "table1.csv", accuracies=accuracies, fits=fits, ceilings=[ceilings])
    return folder / "table1.csv"
