"""
Cards: a README.md for each network, and one for the folder, with the header that model hubs read.

Every value is read from a file of the study by name. What the study does not know is said to be unknown.
"""

from collections.abc import Sequence

import pandas as pd
import yaml

from ..config.architectures import print_architecture
from ..files import read_csv, read_json
from ..library.comparison import RESAMPLED
from ..records import Results
from ..report.printing import print_row
from ..report.table1 import list_regions
from .chosen import Chosen
from .sources import Source, find_source

UNKNOWN = "not known"
FIT_COLUMNS = [
    "brain", "region", "layer", "r", "low", "high", "interval over", "p", "noise ceiling", "people", "stimuli",
]  # fmt: skip
HUB = ["pytorch", "h5py", "pandas", "pydantic", "safetensors", "pyyaml"]
USE = """```python
import torch

network = torch.hub.load("FOLDER", "{name}", source="local")  # a torch.nn.Module, in evaluation mode, weights loaded
pictures = torch.hub.load("FOLDER", "read_pictures", "{name}", "a.png", "b.png", source="local")  # (2, 3, {side}, {side})
output = network(pictures)
```

FOLDER is the folder that holds `hubconf.py`. The code of the networks comes along in `code/`; it needs {needed}, and to read
pictures `numba` and `pillow`."""
INTENDED = """Research: to compare the network's layers with brain data, with people's judgments, or with other networks that
were trained in the same way. Pictures enter it at {side} pixels. How it does on pictures unlike those of its data set is
not known, and it was not tested for any decision about people."""
REPEATED = """    python repeat.py

computes every r of these networks in `table1.csv` again, from their RSMs (`rsm/`) and the brain data ({brains}) in this
folder, and says whether they are equal. It needs h5py, pandas, pydantic and pyyaml."""
NOT_REPEATED = "From this folder alone no number can be repeated: it holds no brain data."
FITTED = """r (Pearson) of the best layer's RSM with the mean of people's, chosen on the data that it is reported on, as in the
paper; low and high: its 95% interval, over new draws of what the next column names; p: one-sided, over orders of the stimuli,
corrected for the choice of the layer; people: 0 where only a group average is published."""


def make_card(results: Results, one: Chosen, licence: str) -> str:
    """Return the card of a network, Markdown.

    Args:
        results: of the study.
        one: the network.
        licence: of its weights, as model hubs name it.
    """
    row, side = one.rows[0], _read_spec(results, one)["preprocessing"]["image_size"]
    accuracy, fits = _read_accuracy(results, one), _read_fits(results, one)
    about = f"{row['framework']}, {print_architecture(row['architecture'])}, {_show(row['dim'])} dimensions, {row['origin']}."
    parts = [
        _write_header(one, licence, _list_results(one, accuracy, fits)),
        f"# {one.name}\n\n{about}",
        f"## Use\n\n{USE.format(name=one.name, side=side, needed=_join_packages())}",
        f"## Intended use\n\n{INTENDED.format(side=side)}",
        f"## Training\n\n{_describe_training(results, one)}",
        f"## Category accuracy\n\n{_describe_accuracy(one, accuracy)}",
        f"## Fits with brain data\n\n{_describe_fits(fits)}",
        f"## Licence\n\n{_describe_licences(results, one, licence)}",
        "## Citation\n\nCITATION.cff of this release names the paper and the software; cite the data sets above too.",
    ]
    return "\n\n".join(parts) + "\n"


def make_readme(results: Results, chosen: Sequence[Chosen], licence: str, brains: dict[str, bool]) -> str:
    """Return the README.md of the release, Markdown.

    Args:
        results, licence: see `make_card`.
        chosen: the networks.
        brains: brain data set -> whether the release holds it.
    """
    here = [name for name, held in brains.items() if held]
    absent = [name for name, held in brains.items() if not held]
    repeated = REPEATED.format(brains=", ".join(here)) if here else NOT_REPEATED
    if absent:
        repeated += f"\n\nNot in this folder, as no licence is known that lets it hold them: {', '.join(absent)}."
    entries = [
        entry for one in chosen for entry in _list_results(one, _read_accuracy(results, one), _read_fits(results, one))
    ]
    side = _read_spec(results, chosen[0])["preprocessing"]["image_size"]
    parts = [
        _write_header(chosen[0] if len(chosen) == 1 else None, licence, entries),
        "# Networks of instance-prototype contrastive learning, and how they compare with human visual cortex",
        _print_table(pd.DataFrame([_list_cells(one) for one in chosen])),
        "Top 1 is category accuracy; the other columns are the largest r of the network's layers with a region's group RSM.",
        USE.format(name=chosen[0].name, side=side, needed=_join_packages()),
        f"## Numbers of Table 1 again\n\n{repeated}",
        "## What is here\n\n" + _print_table(_list_contents(bool(here))),
    ]
    return "\n\n".join(parts) + "\n"


def _list_cells(one: Chosen) -> dict:
    """Return the network's row of the folder's table: Table 1 in short."""
    row = one.rows[0]
    cells = {
        "network": f"[{one.name}](models/{one.name}/README.md)",
        "framework": row["framework"],
        "architecture": print_architecture(row["architecture"]),
        "top 1, %": row["top1"],
        "protocol": row["top1_protocol"],
    }
    found = {(row["brain"], region): row[f"{region}_r"] for row in one.rows for region in _list_measured(row)}
    return cells | {f"{brain} {region}": r for (brain, region), r in found.items()}


def _list_measured(row: dict) -> list[str]:
    """Return the regions in which a row of Table 1 has an r."""
    return [region for region in list_regions(pd.DataFrame([row])) if pd.notna(row.get(f"{region}_r"))]


def _list_contents(has_brains: bool) -> pd.DataFrame:
    contents = {
        "`models/`": "each network: card, weights (safetensors), log of the training, what was trained how",
        "`hubconf.py`, `timm_models.py`": "for torch.hub and timm",
        "`code/`": "the code that made all of this: the workflow, and the package that hubconf.py imports",
        "`rsm/`, `rsa/`, `statistics/`": "RSM of every layer; r of every layer and participant; intervals",
        "`accuracy/`, `table1.csv`": "category accuracy; the study's Table 1, whole",
        "`data/`": "which images the networks saw (name, class, SHA-256), with Croissant metadata; not the images",
        **({"`brain/`": "brain data, with Croissant metadata"} if has_brains else {}),
        "`ro-crate-metadata.json`": "the jobs that made these files, as a Provenance Run Crate",
        "`SHA256SUMS`": "`sha256sum --check SHA256SUMS`",
    }
    return pd.DataFrame({"file": contents.keys(), "what": contents.values()})


def _join_packages() -> str:
    return ", ".join(f"`{package}`" for package in HUB)


def _write_header(one: Chosen | None, licence: str, entries: list[dict]) -> str:
    row = one.rows[0] if one else {}
    tags = ["representational-similarity-analysis", "fmri", "vision", row.get("framework"), row.get("architecture")]
    header = {
        "license": licence,
        "library_name": "pytorch",
        "tags": [str(tag).lower() for tag in tags if tag],
        **({"datasets": [one.dataset]} if one and one.dataset else {}),
        **({"model-index": entries} if entries else {}),
    }
    return f"---\n{yaml.safe_dump(header, sort_keys=False, allow_unicode=True)}---"


def _list_results(one: Chosen, accuracy: pd.DataFrame, fits: pd.DataFrame) -> list[dict]:
    """Return the network's entry of the hub's model-index; [] where nothing was measured."""
    found = [
        {
            "task": {"type": "image-classification", "name": f"{measured['protocol']} at {measured['layer']}"},
            "dataset": {"type": one.dataset, "name": one.dataset, "split": "val"},
            "metrics": [{"type": "accuracy", "name": "top 1, %", "value": round(float(measured["top1"]), 2)}],
        }
        for measured in accuracy.to_dict("records")
    ]
    for brain, rows in fits.dropna(subset="r").groupby("brain", sort=False):
        metrics = [
            {
                "type": "pearsonr",
                "name": f"r with {fit['region']} at {fit['layer']}",
                "value": round(float(fit["r"]), 4),
            }
            for fit in rows.to_dict("records")
        ]
        task = {"type": "feature-extraction", "name": "representational similarity with brain data"}
        found.append({"task": task, "dataset": {"type": brain, "name": brain}, "metrics": metrics})
    return [{"name": one.name, "results": found}] if found else []


# ---- what the study's files say --------------------------------------------------------------------------------------


def _read_spec(results: Results, one: Chosen) -> dict:
    return results.records[f"models/{one.name}/weights.safetensors"]["params"]["model"]


def _describe_training(results: Results, one: Chosen) -> str:
    record = results.records[f"models/{one.name}/weights.safetensors"]
    hardware, network = record["hardware"], yaml.safe_dump({"network": record["params"]["model"]}, sort_keys=False)
    made = {
        "commit of the code": record["commit"] or UNKNOWN,
        "hardware": f"{hardware['processor']}, {record['threads']} threads, GPU {hardware['gpu'] or 'none'}",
        "versions": ", ".join(map(" ".join, record["versions"].items())),
        "finished": record["time"],
    }
    if one.rows[0]["origin"] == "untrained":
        return f"None: these are initial weights.\n\n{_print_facts(made)}\n\n```yaml\n{network}```"
    training = read_json(results.root / f"models/{one.name}/provenance.json")
    commits = [job["commit"] or UNKNOWN for job in training.get("jobs", [])]  # of an interrupted training, in turn
    made["commit of the code"] = ", then ".join(dict.fromkeys(commits)) or made["commit of the code"]
    source = find_source(results, f"data/{one.dataset}/train.csv")
    facts = {
        "data": f"{one.dataset}: {training['data']['n_images']} images. {source.title}",
        "SHA-256 of the converted images": training["data"]["sha256"],
        "seed": training["seed"],
        "hours": f"{training['seconds'] / 3600:.3g}, in {training['n_processes']} processes",
        "precision": training["precision"],
    }
    recipe = yaml.safe_dump({"recipe": training["recipe"]}, sort_keys=False)
    return f"{_print_facts(facts | made)}\n\n```yaml\n{network}{recipe}```"


def _read_accuracy(results: Results, one: Chosen) -> pd.DataFrame:
    path = f"accuracy/{one.dataset}/{one.name}.csv"
    if path not in one.files:
        return pd.DataFrame(columns=["protocol", "layer", "top1"])
    return read_csv(results.root / path)


def _describe_accuracy(one: Chosen, accuracy: pd.DataFrame) -> str:
    if accuracy.empty:
        return "Not measured."
    shown = accuracy[["protocol", "layer", "top1", "top5", "k", "tau", "n_bank", "n_query"]]
    names = {"top1": "top 1, %", "top5": "top 5, %", "n_bank": "training images", "n_query": "validation images"}
    return f"On {one.dataset}; Table 1 prints {one.rows[0]['top1_protocol']}.\n\n{_print_table(shown.rename(columns=names))}"


def _read_fits(results: Results, one: Chosen) -> pd.DataFrame:
    """Return every brain's regions: the best layer of Table 1, its r and 95% interval, what that is over, p, noise ceiling."""
    rows = []
    for row in one.rows:
        path = results.root / f"statistics/{row['brain']}/{one.name}.csv"
        table = read_csv(path)
        paper = table[(table["distance"] == "correlation") & (table["comparator"] == "pearson")]
        paper = paper.set_index(["region", "layer"])
        for region in _list_measured(row):
            layer = row[f"{region}_layer"]
            if (region, layer) not in paper.index:
                raise ValueError(f"{path}: has no row of {region} and {layer}, the best layer of Table 1")
            fit = paper.loc[(region, layer)]
            kind = next((kind for kind in RESAMPLED if pd.notna(fit[f"{kind}_low"])), None)
            low, high = (fit[f"{kind}_low"], fit[f"{kind}_high"]) if kind else (None, None)
            ceiling, people = row[f"{region}_noise_ceiling"], row[f"{region}_n_participants"]
            of_layer = (row["brain"], region, layer, fit["r"], low, high, kind, fit["p_max"])
            rows.append((*of_layer, ceiling, people, fit["n_stimuli"]))
    return pd.DataFrame(rows, columns=FIT_COLUMNS)


def _describe_fits(fits: pd.DataFrame) -> str:
    if fits.empty:
        return "None that is defined."
    return f"{FITTED}\n\n{_print_table(fits)}"


def _describe_licences(results: Results, one: Chosen, licence: str) -> str:
    facts = {"weights": f"{licence}, given by those who released them", "code": "MIT (LICENSE)"}
    data = {one.dataset: f"data/{one.dataset}/train.csv"} if one.dataset else {}
    data |= {row["brain"]: f"brain/{row['brain']}/brain.h5" for row in one.rows}
    for name, artifact in data.items():
        facts[name] = describe_source(find_source(results, artifact))
    return _print_facts(facts)


def describe_source(source: Source) -> str:
    """Return what is known of data, one line."""
    parts = [source.title, f"licence: {source.licence or UNKNOWN}", f"source: {source.citation}", source.note]
    return ". ".join(filter(None, parts))


# ---- Markdown --------------------------------------------------------------------------------------------------------


def _show(value) -> str:
    if value is None or value is pd.NA or value != value:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _print_table(table: pd.DataFrame) -> str:
    rows = [list(table.columns), ["---"] * len(table.columns), *table.itertuples(index=False, name=None)]
    return "\n".join(print_row(map(_show, row)) for row in rows)


def _print_facts(facts: dict[str, object]) -> str:
    return _print_table(pd.DataFrame({"": list(facts), " ": list(map(str, facts.values()))}))
