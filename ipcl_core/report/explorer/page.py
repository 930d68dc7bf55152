"""
The study's numbers, RSMs, stimuli and provenance -> one HTML file that needs nothing else.

The page's markup, style and behaviour are page.html, page.css and the .js files beside this module; the plots are
drawn by plotly.js, which is part of the page. What the page shows is data (JSON), which the scripts write as text, never
as markup.
"""

import base64
import gzip
import io
import itertools
import json
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import numpy as np
import pandas as pd
from jinja2 import Environment, StrictUndefined
from numpy.typing import NDArray
from PIL import Image
from plotly.offline import get_plotlyjs

from ...brains.store import read_brain
from ...config import Config
from ...files import open_hdf5, read_csv, read_named, write_whole
from ...fits.rsms import pair_named
from ...images.decoding import list_stimuli, read_image
from ...records import Results
from ...rsa.dimensionality import Dimensionality
from ...rsa.similarity import find_best, vectorize_rsm
from ..figures.style import COLORS, SPARE_COLORS, assign
from ..table1 import list_regions, read_table1
from .encoding import EncodingFiles, add_encoding
from .values import list_rows, list_values

File = str | Path

SCRIPTS = ("study.js", "layers.js", "partitions.js", "accuracy.js", "matrices.js", "tables.js", "page.js")
"""In the order in which the page runs them."""
LEVELS, UNDEFINED = 254, 255
"""Steps of a quantised RSM, and the byte of a pair that has no similarity."""
PICTURE_SIDE = 128
"""Pixels of a stimulus's longest side."""
FIT_COLUMNS = [
    "r", "r_participants_mean", "r_participants_sd", "participants_low", "participants_high", "stimuli_low", "stimuli_high",
    "both_low", "both_high", "p", "p_max", "q", "note",
]  # fmt: skip


def write_explorer(
    page: File, study: Config, *, table: File, statistics: File, accuracies: list[File], ceilings: list[File],
    brains: list[File], stimuli: list[File], rsms: list[File], **encoding: list[File],
) -> None:  # fmt: skip
    """Write the page.

    Args:
        page: HTML file to write.
        study: the checked configuration.
        table: CSV of `table1.make_table1`, in a results folder that holds records.
        statistics: CSV of `statistics.join_layers`.
        accuracies: CSV of `measure.measure_accuracies` of each model.
        ceilings: CSV of `statistics.measure_noise_ceilings` of each brain data set.
        brains: HDF5 of `store.write_brain` of each, in a folder of its name.
        stimuli: the folder of images of each, in a folder of its name.
        rsms: HDF5 of `rsms.make_rsms` of each brain data set and model.
        encoding: see `EncodingFiles`.

    Raises:
        ValueError: the folder has no records; a file is of another brain or model, or one is not there;
            stimuli, or the layers of an RSM file and of the statistics, do not agree.
    """
    sources = EncodingFiles(**encoding)
    shown = _describe_study(study, table, statistics, accuracies, ceilings, brains, stimuli, rsms, sources)
    folder = files("ipcl_core.report.explorer")
    text = {name: (folder / name).read_text(encoding="utf-8") for name in ("page.html", "page.css", *SCRIPTS)}
    template = Environment(autoescape=True, undefined=StrictUndefined).from_string(text["page.html"])
    with write_whole(page) as temporary:
        temporary.write_text(
            template.render(
                title=study.title,
                style=text["page.css"],
                plotly=base64.b64encode(gzip.compress(get_plotlyjs().encode(), mtime=0)).decode(),
                scripts="\n".join(text[name] for name in SCRIPTS),
                # no character of the data can end the element that holds them
                study=json.dumps(shown, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c"),
            ),
            encoding="utf-8",
        )


def _describe_study(
    study: Config, table: File, statistics: File, accuracies: list[File], ceilings: list[File], brains: list[File],
    stimuli: list[File], rsms: list[File], encoding: EncodingFiles,
) -> dict:  # fmt: skip
    """Return what the page shows."""
    fits = read_csv(statistics)
    fits["comparator"] = name_comparators(fits["comparator"], fits["distance"])
    measured = [(model.dataset, name) for name, model in study.measured.items()]
    learned = read_named(accuracies, ["dataset", "model"], measured)
    limits = read_named(ceilings, ["brain"], [(brain,) for brain in study.brains])
    matrices = pair_named(rsms, itertools.product(study.brains, study.available))
    files_of, pictures_of = ({Path(path).parent.name: path for path in paths} for paths in (brains, stimuli))
    shown = {
        "title": study.title,
        "shown": study.shown,
        "comparators": list(fits["comparator"].unique()),
        "colors": assign(COLORS, read_csv(table)["framework"], SPARE_COLORS),
        "models": {
            name: _describe_model(name, study, learned.get((model.dataset, name)))
            for name, model in study.models.items()
        },
        "brains": {},
    }
    for brain, block in study.brains.items():
        described = _describe_brain(block.title, files_of[brain], pictures_of[brain], limits[brain,])
        names = [stimulus["name"] for stimulus in described["stimuli"]]
        of_brain = fits[fits["brain"] == brain]
        described["models"] = {
            model: _describe_layers(path, names, of_brain[of_brain["model"] == model])
            for (of, model), path in matrices.items()
            if of == brain
        }
        rows = read_table1(table, brain)
        described["table"] = {"regions": list_regions(rows), "rows": list_rows(rows.reset_index())}
        shown["brains"][brain] = described
    add_encoding(shown, encoding, limits)
    sources = [*accuracies, *ceilings, *rsms, *_list_sources(study, table)]
    sources += itertools.chain(*vars(encoding).values())
    return shown | {"records": _collect_records(_read_records(study, Path(table).absolute().parent), sources)}


def _describe_model(name: str, study: Config, accuracy: pd.DataFrame | None) -> dict:
    block = study.models[name].model_dump()
    described = {key: block[key] for key in ("framework", "origin")} | {"reason": block["unavailable"]}
    described |= {"dataset": block["dataset"] if name in study.measured else None, "accuracies": []}
    described["config"] = {"model": block}
    if recipe := block.get("recipe"):
        described["config"]["recipe"] = study.recipes[recipe].model_dump()
    if accuracy is not None:
        # the first row of a protocol is that at the layer which Table 1 prints
        table = accuracy.drop(columns=["dataset", "model"]).drop_duplicates("protocol")
        described["accuracies"] = list_rows(table)
    return described


def _describe_brain(title: str, file: File, folder: File, ceilings: pd.DataFrame) -> dict:
    """Return one brain data set: stimuli with pictures, regions with RSMs and ceilings."""
    stimuli, regions = read_brain(file)
    pictures = list_stimuli(folder)
    if list(pictures) != stimuli:
        raise ValueError(f"{folder}: its {len(pictures)} stimuli are not the {len(stimuli)} of {file}")
    ceilings = ceilings.drop(columns="brain")
    ceilings["comparator"] = name_comparators("pearson", ceilings["distance"])
    return {
        "title": title,
        "stimuli": [{"name": name, "picture": encode_picture(first)} for name, (first, *_) in pictures.items()],
        "regions": {
            region.name: {
                "n_participants": 0 if region.group else len(region.rsvs),
                "rsm": quantise_rsv(region.rsvs.mean(0)),
                "ceilings": list_rows(ceilings[ceilings["region"] == region.name]),
            }
            for region in regions
        },
    }


def _describe_layers(rsms: File, stimuli: list[str], fits: pd.DataFrame) -> dict:
    """Return one model's layers: names, numbers of units, quantised RSMs, and what the statistics say of each."""
    with open_hdf5(rsms) as file:
        if list(file["stimuli"].asstr()) != stimuli:
            raise ValueError(f"{rsms}: was made with other stimuli than the brain data")
        layers = [str(name) for name in file.attrs["layers"]]
        datasets = [file[f"layers/{name}"] for name in layers]
        described = {
            "layers": layers,
            "n_units": [int(dataset.attrs["n_units"]) for dataset in datasets],
            "rsms": [quantise_rsv(vectorize_rsm(dataset[:])) for dataset in datasets],
            "fits": {},
        }
    for (comparator, region), fit in fits.groupby(["comparator", "region"], sort=False):
        fit = fit.sort_values("layer_index")
        if list(fit["layer"]) != layers:
            raise ValueError(f"{rsms}: its layers are not those of the statistics of {region}")
        best = int(find_best(fit["r"])) if fit["r"].notna().any() else -1
        columns = {name: list_values(fit[name]) for name in FIT_COLUMNS}
        described["fits"].setdefault(comparator, {})[region] = {"best": best} | columns
        described |= {name: list_values(fit[name]) for name in Dimensionality._fields}  # the same of every region
    return described


def name_comparators(comparators: pd.Series | str, distances: pd.Series) -> pd.Series:
    """Return the comparators, with the name of the distances where these are not the paper's."""
    return (comparators + " of " + distances + " distances").where(distances != "correlation", comparators)


def quantise_rsv(rsv: NDArray) -> dict:
    """Return similarities as one byte each.

    Args:
        rsv: (n_pairs,) similarities, NaN where one is not defined.

    Returns:
        low, high: the lowest and highest similarity (both 0 where none is defined); levels: base64 of n_pairs bytes. A byte b
        stands for low + b (high - low) / 254, which differs from the similarity by at most (high - low) / 508; 255 stands for
        NaN.
    """
    defined = ~np.isnan(rsv)
    low, high = (float(rsv[defined].min()), float(rsv[defined].max())) if defined.any() else (0.0, 0.0)
    levels = np.full(len(rsv), UNDEFINED, np.uint8)
    levels[defined] = np.rint((rsv[defined] - low) * (LEVELS / ((high - low) or 1.0)))
    return {"low": low, "high": high, "levels": base64.b64encode(levels.tobytes()).decode()}


def encode_picture(path: File) -> str:
    """Return an image file as a data address: a JPEG of at most PICTURE_SIDE pixels a side."""
    image, buffer = Image.fromarray(read_image(path)), io.BytesIO()
    image.thumbnail((PICTURE_SIDE, PICTURE_SIDE))
    image.save(buffer, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def _list_sources(study: Config, table: File) -> list[Path]:
    """Return the tables of fits whose records the page shows."""
    pairs = itertools.product(("statistics", "rsa"), study.brains, study.available)
    return [Path(table).parent / f"{stage}/{brain}/{model}.csv" for stage, brain, model in pairs]


def _read_records(study: Config, folder: Path) -> Results:
    """Return the records of a folder of results; of a storage plugin's copy of it they stand in the study's, see `records`."""
    if (folder / "provenance").is_dir():
        return Results.read(folder)
    return replace(Results.read(study.pathvars.get("results", "results")), root=folder)


def _collect_records(results: Results, paths: list[File]) -> dict[str, dict]:
    """Return artifact -> its record, of some files and of all that they were made from."""
    keys = ("rule", "commit", "time", "seconds", "params", "inputs", "versions", "hardware")
    collected = {}
    for path in paths:
        for _, name in results.list_chain(str(Path(path).absolute().relative_to(results.root))):
            if (record := results.records.get(name)) and name not in collected:
                collected[name] = {key: record[key] for key in keys} | {"sha256": record["outputs"][name]["sha256"]}
    return collected
