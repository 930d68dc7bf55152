"""
What every block of a configuration has in common.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Annotated, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator

T = TypeVar("T")


def suggest(name: str, names: Iterable[str], n: int = 1) -> str:
    """Say which of the names could be meant by one that is not among them; "" where none is like it."""
    near = difflib.get_close_matches(name, list(names), n=n)
    return f" (did you mean {' or '.join(near)}?)" if near else ""


def _refuse_repetition(values: list) -> list:
    if twice := [value for value in values if values.count(value) > 1]:
        raise ValueError(f"{twice[0]} stands there {values.count(twice[0])} times")
    return values


def _refuse_names_alike(blocks: dict) -> dict:
    seen: dict[str, str] = {}
    for name in blocks:
        if (other := seen.setdefault(name.casefold(), name)) != name:
            raise ValueError(
                f"{other} and {name} differ in upper and lower case alone, which some file systems do not tell; rename one"
            )
    return blocks


Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=80)]
Line = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029]+$")]
"""One line of text."""
Color = Annotated[str, StringConstraints(pattern=r"^(white|black|gray|grey|#[0-9A-Fa-f]{6})$")]
"""As Pillow reads it; gray is #808080."""
Hash = Annotated[str, StringConstraints(pattern=r"^(sha256:[0-9a-f]{8,64}|md5:[0-9a-f]{8,32})$")]
"""sha256: or md5: and the whole hash or its first 8 or more digits."""
Place = Annotated[str, StringConstraints(pattern=r"^(https://.+|[^:]+)$")]
"""An address (https), or a path on this machine."""
Text = Annotated[str, StringConstraints(min_length=1)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
Range = Annotated[list[float], Field(min_length=2, max_length=2)]
Distinct = Annotated[list[T], AfterValidator(_refuse_repetition)]
"""A list in which nothing stands twice."""
Blocks = Annotated[dict[Name, T], AfterValidator(_refuse_names_alike)]
"""Blocks whose names are those of files or folders."""
PerChannel = Annotated[list[float], Field(min_length=3, max_length=3)]


class Strict(BaseModel):
    """A block of the configuration: unknown keys are errors, values are not converted between types."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )

    @model_validator(mode="before")
    @classmethod
    def _keys_are_known(cls, data):
        if not isinstance(data, dict):
            raise ValueError(f"needs keys and values: {', '.join(cls.model_fields)}")
        for key in data:
            if key not in cls.model_fields:
                hint = suggest(str(key), cls.model_fields)
                raise ValueError(f"unknown key {key!r}{hint}; allowed here: {', '.join(cls.model_fields)}")
        return data
