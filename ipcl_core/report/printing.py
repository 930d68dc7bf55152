"""
Tables as LaTeX and as HTML, rows as Markdown.
"""

import html
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from ..files import write_whole

File = str | Path
STYLE = """body {font: 14px/1.35 sans-serif; margin: 2em} table {border-collapse: collapse; margin-bottom: 1em}
caption {text-align: left; padding-bottom: .5em; max-width: 70em}
th, td {padding: 2px 8px; text-align: left; white-space: nowrap}
th {font-weight: normal; border-bottom: 1px solid #888} td.first {border-top: 1px solid #888}
td.number {text-align: right; font-variant-numeric: tabular-nums} td.best {font-weight: bold}"""


@dataclass
class Printed:
    """One table, as text."""

    cells: dict[tuple[str, str], Iterable]
    """(heading, label) -> one text a row."""
    bold: dict[tuple[str, str], list[bool]]
    """Of columns with bold cells."""
    caption: str
    notes: list[str]
    """Sentences below."""
    blocks: list[pd.DataFrame]
    """The rows, in blocks between which there is a rule."""


def print_row(cells: Iterable) -> str:
    """Return a row of a table in Markdown."""
    return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"


def write_tables(tables: list[Printed], title: str, *, tex: File, page: File) -> None:
    """Write tables as LaTeX (package booktabs) and as one HTML page."""
    parts = [_print_table(table) for table in tables]
    with write_whole(tex) as temporary:
        text = "% needs \\usepackage{booktabs}\n" + "\n".join(latex for latex, _ in parts)
        temporary.write_text(text, encoding="utf-8")
    shown = "\n".join(part for _, part in parts)
    with write_whole(page) as temporary:
        temporary.write_text(
            f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{title}</title>\n'
            f"<style>{STYLE}</style>\n</head>\n<body>\n{shown}\n</body>\n</html>\n",
            encoding="utf-8",
        )


def _print_table(table: Printed) -> tuple[str, str]:
    """Return a table as LaTeX and as HTML."""
    starts = [sum(map(len, table.blocks[:i])) for i in range(1, len(table.blocks))]
    frame = pd.DataFrame({key: list(values) for key, values in table.cells.items()})
    best = pd.DataFrame({key: table.bold.get(key, False) for key in frame}, frame.index)
    arguments = (frame, best, table.caption, table.notes, starts)
    return _write_latex(*arguments), _write_html(*arguments)


def _write_latex(frame: pd.DataFrame, best: pd.DataFrame, caption: str, notes: list[str], starts: list[int]) -> str:
    """Return a table environment with the cells of `best` in bold and a rule before each of the rows `starts`."""
    style = frame.style.hide(axis="index").format(escape="latex").format_index(escape="latex", axis=1)
    style.apply(lambda _: best.replace({True: "bfseries: ;", False: ""}).astype(object), axis=None)
    layout = "".join("r" if _is_number(key) else "l" for key in frame)
    lines = style.to_latex(hrules=True, column_format=layout, multicol_align="c").splitlines()
    first = lines.index(r"\midrule") + 1
    for start in reversed(starts):
        lines.insert(first + start, r"\midrule")
    head = [r"\begin{table}", r"\centering\tiny\setlength{\tabcolsep}{3pt}", rf"\caption{{{_escape_latex(caption)}}}"]
    foot = [rf"\par {_escape_latex(note)}" for note in notes] + [r"\end{table}", ""]
    return "\n".join(head + lines + foot)


def _is_number(key: tuple[str, str]) -> bool:
    return key[1] == "Dim" or (key[0] != "" and key[1] != "by")


def _escape_latex(text: str) -> str:
    special = {character: rf"\{character}" for character in "&%$#_{}"}
    special |= {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    return text.translate(str.maketrans(special))


def _write_html(frame: pd.DataFrame, best: pd.DataFrame, caption: str, notes: list[str], starts: list[int]) -> str:
    """Return a table with the cells of `best` in bold and a line above each of the rows `starts`, and the notes below."""
    classes = best.replace({True: "best ", False: ""}).astype(object)
    classes[[key for key in frame if _is_number(key)]] += "number "
    classes.loc[starts] += "first"
    style = frame.style.hide(axis="index").format(escape="html").format_index(escape="html", axis=1)
    style.set_td_classes(classes).set_uuid("table1").set_caption(html.escape(caption))
    table = style.to_html(bold_headers=False)
    return table[table.index("<table") :] + "".join(f"<p>{html.escape(note)}</p>\n" for note in notes)
