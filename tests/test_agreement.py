"""docs/agreement.md: each measure beside independent computations of it, made anew."""

import re
from pathlib import Path

from benchmarks.agreement import list_rows

PAGE = Path(__file__).parents[1] / "docs/agreement.md"


def test_every_measure_agrees_and_stands_on_the_page():
    rows = list_rows()
    assert [row for row in rows if not row.difference <= row.allowed] == []
    said = re.findall(r"^\| (.+?) \| (.+?) \| (\S+) \| (\S+) \|$", PAGE.read_text(), re.MULTILINE)
    assert [(measure, against, float(allowed)) for measure, against, _, allowed in said] == [
        (row.measure, row.against, row.allowed) for row in rows
    ]
    assert all(float(difference) <= float(allowed) for *_, difference, allowed in said)
