"""
What a YAML file must not hold, though Snakemake loads it without a word.

A key that stands twice in one block: the loader takes the last. Digits behind a 0, which YAML 1.1 reads as an octal number,
and digits around a colon, which it reads as minutes and seconds. Text that looks like a value: 1e-4, 1.0e5 and -.5, numbers
in other YAML, and None, which is null. A tag that names a Python object. Aliases of aliases, by
which a kilobyte stands for more values than any memory holds. `__use_yte__`: Snakemake evaluates such a file's values as
Python before this project sees it, so a configuration file from elsewhere deserves a look, as code does.
"""

import json
import re
from pathlib import Path

import yaml

MAX_VALUES = 100_000
"""Of a file, its aliases written out; the paper's has about a thousand."""

NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
TEXT = "tag:yaml.org,2002:str"
NO_NUMBER = re.compile(r"[-+]?([0-9][0-9_]*\.?[0-9_]*|\.[0-9]+)[eE][-+]?[0-9]+|[-+]\.[0-9]+")
OTHER_NUMBER = re.compile(r"[-+]?(0[0-9_]+|[0-9][0-9_]*(:[0-9]+)+(\.[0-9_]*)?)")


def is_json_text(text: str) -> bool:
    """Whether Snakemake reads a file as JSON, in which 1e-4 is a number."""
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def _write_number(value: float) -> str:
    """A number as YAML reads it; a whole one without a point, so that it may stand where whole numbers are wanted too."""
    return yaml.safe_dump(int(value) if value.is_integer() and abs(value) < 1e15 else value).split()[0]


def find_faults(path: str | Path) -> list[str]:
    """List the keys that stand twice in one block, numbers that YAML reads as others or as text, None, Python objects, a
    request for templates, and more than MAX_VALUES values.

    A key that a merge (<<) brings, and the block itself sets anew, stands once.

    Args:
        path: YAML or JSON file; it is parsed, nothing is constructed.

    Returns:
        One line a fault: file, line (from 1), key with the blocks that it is in.
    """
    found: list[str] = []
    sizes: dict[int, int] = {}
    text = Path(path).read_text(encoding="utf-8")
    is_json = is_json_text(text)

    def add(node: yaml.Node, fault: str) -> None:
        found.append(f"{path}, line {node.start_mark.line + 1}: {fault}")

    def check_scalar(node: yaml.ScalarNode, key: str) -> None:
        if node.tag in NUMBERS and OTHER_NUMBER.fullmatch(node.value):
            number = yaml.safe_load(node.value)
            add(node, f"{key}: YAML reads {node.value} as {number}; write that, or quotes where it is text")
        if node.tag != TEXT or node.style is not None or is_json:  # in quotes it is meant as text
            return
        number = NO_NUMBER.fullmatch(node.value)
        if number or node.value == "None":
            wanted = _write_number(float(node.value)) if number else "null"
            add(node, f"{key}: YAML reads {node.value} as text; write {wanted}, or quotes where it is text")

    def visit(node: yaml.Node | None, block: str) -> int:
        """Return the number of values in a node, its aliases written out."""
        if node is None or id(node) in sizes:  # an alias, or a file that refers to itself
            return sizes.get(id(node), 0)
        size = sizes[id(node)] = 1
        if node.tag.startswith("tag:yaml.org,2002:python/"):
            add(node, f"{block[:-1]} is a Python object; give a plain value")
        if isinstance(node, yaml.ScalarNode):
            check_scalar(node, block[:-1])
        elif isinstance(node, yaml.SequenceNode):
            for item in node.value:
                size += visit(item, block)
        elif isinstance(node, yaml.MappingNode):
            lines: dict[str, int] = {}
            for key, value in node.value:
                name = f"{block}{key.value}"
                visit(key, f"{name}.")
                if name == "__use_yte__":
                    add(key, f"{name}: templates are not allowed; write the values out")
                if name in lines:
                    add(key, f"{name} stands in line {lines[name]} already")
                lines.setdefault(name, key.start_mark.line + 1)
                size += visit(value, f"{name}.")
        sizes[id(node)] = size
        return size

    size = visit(yaml.compose(text, yaml.SafeLoader), "")
    if size > MAX_VALUES:
        found.append(f"{path}: holds {size:,} values, its aliases (*) written out; at most {MAX_VALUES:,} are read")
    return found
