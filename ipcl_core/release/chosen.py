"""
Which networks of a study may be given to others: finished, made by this code, with records that hold, trained here.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import pandas as pd

from ..files import read_csv
from ..provenance import list_row_chain
from ..records import Results

TABLE = "table1.csv"
GIVEN = ("trained here", "untrained")
"""Origins of weights whose licence is the study's to give."""
SHOWN = 3
"""Artifacts that a refusal names of one kind."""


@dataclass
class Chosen:
    """A network that may be given."""

    name: str
    rows: list[dict] = field(repr=False)
    """Its rows of Table 1, one a brain data set."""
    files: list[str] = field(repr=False)
    """Artifacts that the release holds, relative to the results."""
    chain: list[str] = field(repr=False)
    """They, and all that they were made from."""

    @property
    def dataset(self) -> str | None:
        """The labelled images that it was trained on, or that its accuracy was measured on."""
        return None if pd.isna(self.rows[0]["dataset"]) else str(self.rows[0]["dataset"])


def choose_models(results: Results, names: Iterable[str]) -> list[Chosen]:
    """Return networks of a study, each artifact behind them examined.

    Args:
        results: of the study, see `records`.
        names: rows of Table 1.

    Raises:
        ValueError: one line for each network that must not be given, and why.
    """
    if not (results.root / TABLE).is_file():
        raise ValueError(f"{results.root}: the study is not finished: there is no {TABLE}")
    table = read_csv(results.root / TABLE)
    chosen, faults = [], []
    for name in dict.fromkeys(names):
        rows = table[table["model"] == name].to_dict("records")
        found = list(_refuse_row(name, rows, table))
        if not found:
            files = list(_list_files(results, name, rows))
            chain = _list_chain(results, files, rows)
            chosen.append(Chosen(name, rows, files, chain))
            found = list(_refuse_artifacts(results, chain))
        faults += [f"{name}: {fault}" for fault in found]
    if faults or not chosen:
        able = ", ".join(table.loc[table["origin"].isin(GIVEN), "model"].unique()) or "none"
        raise ValueError("\n".join([*faults, f"networks of the study that were trained here, or not at all: {able}"]))
    return chosen


def _refuse_row(name: str, rows: list[dict], table: pd.DataFrame) -> Iterator[str]:
    if not rows:
        yield f"Table 1 has no such row, but {', '.join(table['model'].unique())}"
    elif (origin := rows[0]["origin"]) == "unavailable":
        yield f"has no weights: {rows[0]['reason']}"
    elif origin not in GIVEN:
        yield f"its weights are others' ({origin}), whose licence is not this study's to give; name their source instead"


def _list_files(results: Results, name: str, rows: list[dict]) -> Iterator[str]:
    """Yield what a release holds of a network; what the study must have made, and, where it did, its data's manifests."""
    weights = f"models/{name}/weights.safetensors"
    yield from results.records.get(weights, {"outputs": [weights]})["outputs"]
    for row in rows:
        brain = row["brain"]
        yield from (f"rsm/{brain}/{name}.h5", f"rsa/{brain}/{name}.csv", f"statistics/{brain}/{name}.csv")
    dataset = rows[0]["dataset"]
    made = [f"data/{dataset}/{split}.{suffix}" for split in ("train", "val") for suffix in ("csv", "json")]
    if not pd.isna(rows[0]["top1"]):
        yield f"accuracy/{dataset}/{name}.csv"
        yield from made
    else:
        yield from (file for file in made if file in results.records)
    yield TABLE


def _list_chain(results: Results, files: list[str], rows: list[dict]) -> list[str]:
    chain = {}
    for file in files:
        if file == TABLE:
            for row in rows:
                chain |= dict.fromkeys(name for _, name in list_row_chain(results, TABLE, row))
        else:
            chain |= dict.fromkeys(name for _, name in results.list_chain(file))
    return list(chain)


def _refuse_artifacts(results: Results, chain: list[str]) -> Iterator[str]:
    problems = [(name, *results.examine(name)) for name in chain]
    broken = [f"{name} is {state} ({problem})" for name, state, problem in problems if problem]
    if broken:
        yield f"its provenance is broken or it is not finished: {_join(broken)}"
    recoded = {name: results.list_changed_code(name) for name in chain}
    if recoded := {name: files for name, files in recoded.items() if files}:
        name = next(iter(recoded))
        by = f"{name} by {', '.join(recoded[name][:SHOWN])} of commit {results.records[name]['commit']}"
        yield f"was made by other code than today's ({len(recoded)} artifacts, among them {by}): release it from there"


def _join(names: list[str]) -> str:
    return "; ".join(names[:SHOWN]) + (f"; and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
