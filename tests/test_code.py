"""Which code stands behind a script, and that the folders of the package import one way."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ipcl_core import code
from ipcl_core.code import PACKAGE, list_code

REPOSITORY = Path(__file__).parents[1]
SCRIPTS = sorted((REPOSITORY / "workflow_scripts").glob("*.py"))
ORDER = (
    "flat",
    "config",
    "images",
    "views",
    "networks",
    "training",
    "accuracy",
    "rsa",
    "encoding",
    "brains",
    "fits",
    "report",
    "library",
    "commands",
    "release",
)
"""The way of the data. Each folder imports from itself and from those before it; the commands that users type come last."""
COMMANDS = ("check", "command", "costs", "crate", "__main__", "new_study", "provenance", "simulation")


def find_room(file: Path) -> str:
    parts = file.relative_to(PACKAGE).parts
    if len(parts) > 1:
        return parts[0]
    return "commands" if file.stem in COMMANDS else "flat"


def list_modules() -> list[Path]:
    return [file for file in sorted(PACKAGE.rglob("*.py")) if file.name != "__init__.py"]


def list_imported(file: Path) -> set[Path]:
    """Modules of the package that a module's own statements name, found by importlib's rules."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.ImportFrom) or not (node.level or (node.module or "").startswith("ipcl_core")):
            continue
        base = file.parents[node.level - 1] if node.level else PACKAGE.parent
        place = base.joinpath(*(node.module or "").split(".")) if node.module else base
        for alias in node.names:
            candidates = [place / f"{alias.name}.py", place.with_suffix(".py"), place / "__init__.py"]
            found.add(next(path for path in candidates if path.is_file()))
    return found


def test_every_module_has_a_room():
    assert {find_room(file) for file in list_modules()} == set(ORDER)


@pytest.mark.parametrize("file", list_modules(), ids=lambda file: str(file.relative_to(PACKAGE)))
def test_folders_import_one_way(file):
    room = ORDER.index(find_room(file))
    back = [str(other.relative_to(PACKAGE)) for other in list_imported(file) if ORDER.index(find_room(other)) > room]
    assert not back


@pytest.mark.parametrize("name", ["make_rsms", "fit_layers", "measure_layers", "table1", "claims", "import_own_brain"])
def test_code_of_a_script_is_what_runs(name):
    """A fresh process that imports what the script imports loads every module of the list; more only by packages' faces."""
    script = REPOSITORY / f"workflow_scripts/{name}.py"
    imports = [line for line in script.read_text().splitlines() if line.startswith("from ")]
    program = "\n".join(
        [*imports, "import sys", "print(*(m.__file__ for n, m in sys.modules.items() if n[:9] == 'ipcl_core'))"]
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    loaded = {Path(file).resolve() for file in done.stdout.split()}
    found = {file for file in list_code(script) if file.suffix == ".py"} - {script}
    assert found <= loaded
    more = {str(file.relative_to(PACKAGE)) for file in loaded - found if file.name != "__init__.py"}
    assert {file for file in more if not file.startswith("config/")} <= {"code.py", "logs.py", "records.py"}


BLOCKS = """
def one():
    class Two:
        from ipcl_core.cards import in_class
    try:
        from ipcl_core.memory import tried
    except ImportError:
        from ipcl_core.costs import handled
    else:
        from ipcl_core.crate import otherwise
    finally:
        from ipcl_core.check import at_last
    for _ in ():
        with open("x"):
            if one:
                pass
            elif two:
                from ipcl_core.provenance import nested
    match one:
        case 1:
            from ipcl_core.simulation import matched
"""


def test_code_holds_imports_at_any_depth(tmp_path):
    (tmp_path / "script.py").write_text(BLOCKS)
    modules = re.findall(r"ipcl_core\.(\w+)", BLOCKS)
    assert {PACKAGE / f"{module}.py" for module in modules} <= set(list_code(tmp_path / "script.py"))


def test_code_holds_data_that_is_named():
    found = {str(file.relative_to(PACKAGE)) for file in list_code(PACKAGE / "report/explorer/page.py")}
    kinds = (".js", ".css", ".html")
    pages = {f"report/explorer/{file.name}" for file in (PACKAGE / "report/explorer").iterdir() if file.suffix in kinds}
    assert pages <= found and "data/published_table1.csv" in found
    assert not [name for name in found if name.startswith(("training/", "networks/", "accuracy/"))]


def test_code_of_a_training_holds_networks_that_are_only_named(tmp_path, monkeypatch):
    """An architecture of a module of its own is an entry of config/architectures.py, which imports nothing."""
    script = REPOSITORY / "workflow_scripts/train_model.py"
    module = PACKAGE / "report/table1.py"
    assert module not in list_code(script)
    text = (
        (PACKAGE / "config/architectures.py")
        .read_text()
        .replace("networks.architectures:CORnetZ", "report.table1:make")
    )
    (tmp_path / "architectures.py").write_text(text)
    monkeypatch.setattr(code, "BUILDERS", tmp_path / "architectures.py")
    code._list_direct.cache_clear()
    assert module in list_code(script)
    code._list_direct.cache_clear()


def test_every_rule_with_a_script_has_one_of_its_own():
    """Scripts are named after their rules; and what a rule depends on is derived from its own script."""

    rules = "\n".join(path.read_text() for path in (REPOSITORY / "rules").rglob("*.smk"))
    blocks = re.findall(r"^rule (\w+):\n((?:    .*\n|\n)*)", rules, re.MULTILINE)
    scripts = {name: re.search(r"workflow_scripts/(\w+)\.py", text) for name, text in blocks}
    named = {name: match[1] for name, match in scripts.items() if match}
    assert named == {name: name for name in named} and set(named) == {path.stem for path in SCRIPTS}
    coded = {name: match[1] for name, text in blocks if (match := re.search(r'code_of\("(\w+)"\)', text))}
    assert coded == {name: name for name in coded}
    not_repeated = {
        "embed_images",
        "train_probes",
        "extract_activations",
        "train_model",
        "check_training",
    }
    not_repeated |= {
        "initialize_model",
        "convert_weights",
        "make_own_model",
        "fetch_weights",
        "fetch_betas",
        "fetch_stimuli",
    }
    not_repeated |= {
        "download_package",
        "export_twemoji",
        "export_torchvision",
        "list_images",
        "encode_shard",
        "join_shards",
    }
    assert set(named) - set(coded) == not_repeated | {"check_node"}


def test_modules_and_functions_are_short():
    """400 lines a module, 60 a function without its docstring."""
    long = []
    for file in [*PACKAGE.rglob("*.py"), *SCRIPTS]:
        text = file.read_text(encoding="utf-8")
        if len(text.splitlines()) > 400:
            long.append(str(file))
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                docstring = ast.get_docstring(node, clean=False) or ""
                if node.end_lineno - node.lineno - docstring.count("\n") > 60:
                    long.append(f"{file}: {node.name}")
    assert long == []
