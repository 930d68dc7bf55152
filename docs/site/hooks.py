"""
What the site makes of the pages: tutorials are run, and reference is written from the code.

A page below tutorials/ is a notebook in Markdown (jupytext). It is executed in the repository's root; what its cells print
and draw is put behind them, and the notebook with its outputs beside the page. In other pages a line `<!-- made: NAME -->` is
replaced by what the function of this name in `MADE` returns.
"""

import contextlib
import importlib
import io
import json
import os
import re
from pathlib import Path
from unittest import mock

import jupytext
from mkdocs.structure.files import File
from nbclient import NotebookClient
from nbconvert import MarkdownExporter
from traitlets.config import Config as Settings

import ipcl_core
from ipcl_core import command
from ipcl_core.config import Config

ROOT = Path(__file__).parents[2]
SETTINGS = Settings({"KernelManager": {"transport": "ipc"}})
KERNEL = ["--InlineBackend.figure_formats=svg", "--HistoryManager.enabled=False"]
TIMEOUT = 600
"""Seconds that a cell may take."""


def on_page_markdown(markdown, page, config, files):
    """Return the page with what is made; mkdocs calls this."""
    if page.file.src_uri.startswith("tutorials/"):
        return run_tutorial(markdown, page.file, config, files)
    return re.sub(r"<!-- made: (\w+) -->", lambda found: "\n\n".join(MADE[found[1]]()), markdown)


def run_tutorial(markdown, file, config, files):
    """Execute a tutorial; return it with its outputs, whose pictures are added to the site's files."""
    notebook, name = jupytext.reads(markdown, "md"), Path(file.src_uri).stem
    place = {"metadata": {"path": str(ROOT)}}
    with mock.patch.dict(os.environ, {"TQDM_DISABLE": "1"}):
        NotebookClient(
            notebook, config=SETTINGS, kernel_name="python3", timeout=TIMEOUT, resources=place, extra_arguments=KERNEL
        ).execute()
    body, resources = MarkdownExporter().from_notebook_node(notebook, {"unique_key": name})
    body = re.sub(r"<style scoped>.*?</style>", "", body, flags=re.DOTALL)
    body = body.replace('<table border="1" class="dataframe">', "<table>")  # as the site's other tables
    made = resources["outputs"] | {f"{name}.ipynb": jupytext.writes(notebook, "ipynb").encode()}
    for made_name, content in made.items():
        files.append(File.generated(config, f"tutorials/{made_name}", content=content))
    return body.replace("\n\n", f"\n\n[This page as a notebook]({name}.ipynb)\n{{ .kind }}\n\n", 1)


# ---- the configuration -----------------------------------------------------------------------------------------------


def write_configuration():
    """Yield every key of a configuration: its type, default and meaning, from the pydantic schema."""
    schema = Config.model_json_schema()
    return write_blocks("A study", {"Config": schema}, schema["$defs"], depth=0)


def write_blocks(path, alternatives, blocks, depth, by=None):
    """Yield what may stand at a place, then what may stand in it; of alternatives what they have in common comes first, once.

    Args:
        path: of the place, as models.NAME.
        alternatives: class -> JSON schema.
        blocks: those that are not written yet.
        depth: of the place: 0 is the study.
        by: the key that tells alternatives apart.
    """
    first, *others = alternatives.values()
    common = [
        key for key, one in first["properties"].items() if all(other["properties"].get(key) == one for other in others)
    ]
    if others:
        yield f"{'#' * min(depth + 1, 3)} {path} {{ #{path} }}"
        yield "By " + ", ".join(
            f"[`{by}: {one['properties'][by]['const']}`](#{name})" for name, one in alternatives.items()
        )
        yield from write_keys(first, common, path)
    for name, block in alternatives.items():
        which = f", {by}: {block['properties'][by]['const']}" if others else ""
        yield f"{'###' if others else '#' * max(2, min(depth + 1, 3))} {path}{which} {{ #{name} }}"
        yield escape(block["description"])
        yield from write_keys(
            block, [key for key in block["properties"] if not others or key not in [*common, by]], name
        )
    for key, value in (item for block in alternatives.values() for item in block["properties"].items()):
        named = list(dict.fromkeys(re.findall(r'"#/\$defs/(\w+)"', json.dumps(value))))
        inner = {name: blocks.pop(name) for name in named if "properties" in blocks.get(name, ())}
        if inner:
            place = (key if depth == 0 else f"{path}.{key}") + (".NAME" if "patternProperties" in value else "")
            tells = re.search(r'"propertyName": "(\w+)"', json.dumps(value))
            yield from write_blocks(place, inner, blocks, depth + 1, tells and tells[1])


def write_keys(block, keys, anchor):
    for key in keys:
        value = block["properties"][key]
        yield f"#### `{key}` {{ #{anchor}.{key} }}"
        default = f"default `{json.dumps(value['default'])}`" if "default" in value else "required"
        is_block = value.get("$ref") or "discriminator" in value
        default = "" if is_block and default != "required" else default
        yield "; ".join(filter(None, (describe(value), default))) + "\n{ .kind }"
        yield escape(value.get("description", ""))


def escape(text):
    return text.replace("<", "&lt;")


def describe(value):
    """Return the type of a JSON schema in words."""
    match value:
        case {"$ref": ref}:
            name = ref.rpartition("/")[2]
            return "anything" if name == "JsonValue" else f"[keys and values](#{name})"
        case {"oneOf": _, "discriminator": {"mapping": mapping, "propertyName": by}}:
            return "one of " + ", ".join(f"[`{by}: {key}`](#{ref.rpartition('/')[2]})" for key, ref in mapping.items())
        case {"anyOf": kinds}:
            return " or ".join(map(describe, kinds))
        case {"const": one}:
            return f"`{one}`"
        case {"enum": names}:
            return " or ".join(f"`{name}`" for name in names)
        case {"type": "array", "items": items}:
            sizes = [value.get(key) for key in ("minItems", "maxItems")]
            n = (
                ""
                if sizes[0] is None
                else f", {sizes[0]} of them"
                if sizes[0] == sizes[1]
                else f", at least {sizes[0]}"
            )
            return f"list of {describe(items)}{n}"
        case {"type": "object"}:
            inner = next(iter(value.get("patternProperties", {}).values()), value.get("additionalProperties"))
            names = value["propertyNames"].get("enum") if "propertyNames" in value else None
            return f"{' or '.join(f'`{name}`' for name in names) if names else 'names'}, each with {describe(inner)}"
        case {"type": "integer" | "number" as kind}:
            return kind.replace("integer", "whole number") + describe_range(value)
        case {"type": "boolean"}:
            return "`true` or `false`"
        case {"type": "null"}:
            return "`null`"
    return "text"


def describe_range(value):
    words = {"minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most", "exclusiveMaximum": "below"}
    return "".join(f", {word} {value[key]:g}" for key, word in words.items() if key in value)


# ---- library, commands, tables and figures ---------------------------------------------------------------------------


def write_library():
    """Yield what mkdocstrings makes the public names from: functions, then classes."""
    names = sorted(ipcl_core.__all__, key=lambda name: isinstance(getattr(ipcl_core, name), type))
    return (f"::: ipcl_core.{name}" for name in names)


def write_commands():
    """Yield what each command says of itself."""
    yield from write_help("ipcl", command.main)
    for name, module in command.MODULES.items():
        yield from write_help(f"ipcl {name}", importlib.import_module(f"ipcl_core.{module}").main)


def write_help(name, main):
    said = io.StringIO()
    with (
        mock.patch.dict(os.environ, {"COLUMNS": "100"}),
        contextlib.redirect_stdout(said),
        contextlib.suppress(SystemExit),
    ):
        main(["--help"])
    yield f"## {name}\n\n```text\n{said.getvalue().strip()}\n```"


def write_captions():
    """Yield the captions of tables and figures, as the report has them."""
    for path in sorted(set((ROOT / "docs/captions").glob("*.rst")) - {ROOT / "docs/captions/workflow.rst"}):
        text = path.read_text(encoding="utf-8")
        yield f"## {path.stem}\n\n" + re.sub(r"{{ snakemake\.\w+\.(\w+) }}", r"`{\1}`", text)


MADE = {
    "library": write_library,
    "configuration": write_configuration,
    "commands": write_commands,
    "captions": write_captions,
}
"""Name -> function that returns what is put in place of its line."""
