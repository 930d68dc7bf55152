"""
Checks a block of a configuration, and says in one line each what is wrong in it.
"""

from __future__ import annotations

import re
from datetime import date
from typing import Any

from pydantic import TypeAdapter, ValidationError


class ConfigError(ValueError):
    """The configuration cannot be used; the message names each offending key and what is allowed there."""


def check_block(kind: Any, raw: Any, name: str) -> Any:
    """Return a block of a configuration, checked; kind: its class, or the classes that it may be of.

    Raises:
        ConfigError: with the block's name, and a line as of `load_config` an offence.
    """
    try:
        return TypeAdapter(kind).validate_python(raw)
    except ValidationError as error:
        lines = [f"  {_explain(problem, raw)}" for problem in error.errors()]
        raise ConfigError(f"{name} cannot be used:\n" + "\n".join(lines)) from None


def _explain(problem: dict, raw: dict) -> str:
    """One line for one offence. Pydantic's path also holds the names of the alternatives that it tried: leave those out."""
    path, value, last = [], raw, len(problem["loc"]) - 1
    for position, part in enumerate(problem["loc"]):
        try:
            value = value[part]
        except (KeyError, IndexError, TypeError):
            if position < last or problem["type"] != "missing":
                continue
        path.append(str(part))
    key = ".".join(path)
    if problem["type"] == "value_error":
        return ": ".join(filter(None, [key, str(problem["ctx"]["error"])]))
    if problem["type"].startswith("union_tag"):  # of a block whose kind one of its keys says
        context = problem["ctx"]
        key = ".".join([*path, context["discriminator"].strip("'")])
        return f"{key}: " + (
            f"Input should be {context['expected_tags']}; found: {context['tag']!r}"
            if "tag" in context
            else "Field required"
        )
    found = "" if problem["type"] == "missing" else f"; found: {shorten(problem['input'])}"
    hint = ""
    if problem["type"] in ("int_type", "float_type", "bool_type") and _is_quoted(problem["input"]):
        hint = (
            "; for a number write no quotes, and an exponent as in 1.0e-4 (what stands inside --config KEY={...} is text to "
            "Snakemake: write these keys into a file and give it by --configfile, behind the others)"
        )
    if problem["type"] == "string_type" and isinstance(problem["input"], int | float | date):
        hint = "; text that YAML takes for a number, a date or for yes or no needs quotes"
    return f"{key or 'the configuration'}: {problem['msg']}{found}{hint}"


def _is_quoted(value) -> bool:
    """Whether text is that of a number or of a truth value."""
    return isinstance(value, str) and bool(re.fullmatch(r"[-+.\d]+([eE][-+]?\d+)?|true|false", value.strip(), re.I))


def shorten(value: Any) -> str:
    """Return the value as Python writes it, cut to 80 characters."""
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
