"""
Columns of tables as JSON has them.
"""

import pandas as pd

DECIMALS = 5
"""Of the numbers in the page; the files have all digits."""


def list_values(column: pd.Series) -> list:
    """Return a column's values: null where there is none, floats rounded."""
    values = [None if pd.isna(value) else value for value in column.tolist()]
    return [round(value, DECIMALS) if isinstance(value, float) else value for value in values]


def list_rows(table: pd.DataFrame) -> list[dict]:
    """Return a dictionary a row."""
    columns = {name: list_values(table[name]) for name in table}
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
