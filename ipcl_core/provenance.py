"""
Where an artifact comes from, and whether it is still what was made.

    ipcl provenance results/table1.csv                              every row in short, every artifact checked
    ipcl provenance results/table1.csv --model ipcl --region IT     the chain behind these cells
    ipcl provenance results/table1.csv --images                     and the images that were converted
    ipcl provenance results/rsm/objects72/ipcl.h5                   the chain behind any artifact

The command reads the jobs' records (`records`), hashes the artifacts again and names each that is

    altered      its bytes are not those that its job made
    stale        it was made from something that has been made anew, or changed, since
    missing      it was made, and is not there
    unrecorded   it is there or was read, and no record says how it was made

and ends with exit code 1 if there is one. Files outside of the results folder (sources) that are not on this machine are
said to be elsewhere; they are no fault of the results. A data set's own folders are named in the chain and not read; with
--images each image in them is compared with the SHA-256 in the manifest of its split.

What was made by other code than today's is said as well, file by file, and is no fault: a training, or what takes as long,
is not repeated because a line of it was edited.
"""

import argparse
import sys
from collections import Counter
from pathlib import Path

import pandas as pd

from .files import read_csv
from .images.datasets import compare_images
from .records import Results, list_read, name_artifact
from .report.table1 import PARTS


def list_rows(table: Path, model: str | None, brain: str | None) -> list[dict]:
    """Return the rows of Table 1 that belong to a model and a brain data set, all where they are None.

    Raises:
        ValueError: there is none; the message says which there are.
    """
    rows = read_csv(table)
    kept = rows
    for key, wanted in (("model", model), ("brain", brain)):
        kept = kept[kept[key] == wanted] if wanted else kept
    if kept.empty:
        there = f"models: {', '.join(rows['model'].unique())}; brains: {', '.join(rows['brain'].unique())}"
        raise ValueError(f"{table}: no row for model {model}, brain {brain}. There are {there}")
    return kept.to_dict("records")


def list_row_chain(results: Results, table: str, row: dict, region: str | None = None) -> list[tuple[int, str]]:
    """Return the chain behind one row of Table 1; that of a region leaves the accuracies out."""
    cell = {key: row[key] for key in ("model", "brain")}
    of_table = results.records.get(table, {"inputs": {}})["inputs"]

    def is_of_others(name: str) -> bool:
        wildcards = results.records.get(name, {"wildcards": {}})["wildcards"]
        others = any(wildcards.get(key, value) != value for key, value in cell.items())
        return name in of_table and (others or (region is not None and name.startswith("accuracy/")))

    return results.list_chain(table, skip=is_of_others)


def print_row(results: Results, table: str, row: dict, region: str | None) -> list[str]:
    """Print the chain behind one row of Table 1; return the artifacts in it."""
    cells = [f"{region}_{part}" for part in PARTS]
    columns = [key for key in row if (key in cells if region else key.startswith(("top1", "knn_", "n_")))]
    if not columns:
        regions = ", ".join(key.removesuffix("_r") for key in row if key.endswith("_r"))
        raise ValueError(f"no region {region!r} in the table; there are {regions}")
    shown = columns if region else columns + [key for key in row if key.endswith(("_r", "_layer"))]
    print(
        f"{row['model']}, {row['brain']}: " + ", ".join(f"{key} {row[key]}" for key in shown if not pd.isna(row[key]))
    )
    chain = list_row_chain(results, table, row, region)
    names = [name for _, name in chain]
    figures = [name for name in results.records if name.startswith(f"figures/{row['brain']}/")]
    figures = [name for name in figures if not set(results.records[name]["inputs"]).isdisjoint(names)]
    for figure in figures:
        print(f"{figure}   [{results.examine(figure)[0]}]")
    for depth, name in chain:
        print("\n".join(results.describe(name, depth + 1 if figures else depth)))
    return figures + names


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return its exit code: 0 where everything that was checked is as it was made."""
    parser = argparse.ArgumentParser(
        prog="ipcl provenance", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("artifact", type=Path, help="for example results/table1.csv")
    parser.add_argument("--model", help="a row of Table 1")
    parser.add_argument("--brain", help="a brain data set of Table 1")
    parser.add_argument("--region", help="a region of Table 1")
    parser.add_argument(
        "--images", action="store_true", help="read the data sets' own images and compare them with the manifests"
    )
    options = parser.parse_args(arguments)
    try:
        results = Results.read(options.artifact)
        results.compare_images = compare_images if options.images else None
        name = name_artifact(options.artifact, results.root)
        chosen = options.model or options.brain or options.region
        if Path(name).name != "table1.csv":
            if chosen:
                raise ValueError(f"{name}: --model, --brain and --region choose cells of table1.csv; leave them out")
            chain = results.list_chain(name)
            names = [link for _, link in chain]
            for depth, link in chain:
                print("\n".join(results.describe(link, depth)))
        else:
            rows = list_rows(options.artifact, options.model, options.brain)
            if chosen:
                names = [link for row in rows for link in print_row(results, name, row, options.region)]
            else:
                names = _summarize(results, name, rows)
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    return _conclude(results, dict.fromkeys(names))


def _summarize(results: Results, table: str, rows: list[dict]) -> list[str]:
    """Print one line a row of Table 1; return every artifact that a record names."""
    names = [*results.records, *(name for record in results.records.values() for name in list_read(record))]
    for row in rows:
        links = [link for _, link in list_row_chain(results, table, row)]
        wrong = [link for link in links if results.examine(link)[1]]
        said = f"not as made: {', '.join(wrong)}" if wrong else "as made"
        print(f"{row['model']}, {row['brain']}: {len(links)} artifacts and sources, {said}")
    return [table, *names]


def _conclude(results: Results, names: dict[str, None]) -> int:
    """Print what is wrong and how many artifacts are in which state; return the exit code."""
    found = {name: results.examine(name) for name in names}
    for name, (state, problem) in found.items():
        if problem:
            print(f"{state}: {name}: {problem}")
    recoded = {}
    for name in names:
        for file in results.list_changed_code(name):
            recoded.setdefault(file, []).append(name)
    for file, made in recoded.items():
        print(f"other code: {file} has changed since {len(made)} artifacts were made, among them {made[0]}")
    counts = Counter(state for state, _ in found.values())
    print(f"{len(found)} artifacts and sources: " + ", ".join(f"{n} {state}" for state, n in counts.items()))
    return int(any(problem for _, problem in found.values()))
