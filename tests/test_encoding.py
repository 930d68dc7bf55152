"""Text is UTF-8 whatever the locale of the machine."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
SOURCES = [path for folder in ("ipcl_core", "workflow_scripts") for path in sorted((REPOSITORY / folder).rglob("*.py"))]
MODE = {"open": 1, "read_text": None, "write_text": None, "FileHandler": None, "fdopen": 1}
"""Function -> position of its mode; None: it has none, and reads or writes text."""


def find_unnamed(source: str) -> list[int]:
    """Lines of calls that read or write text in the encoding of the locale."""
    found = []
    for call in (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)):
        name = getattr(call.func, "attr", getattr(call.func, "id", None))
        keys = {key.arg: getattr(key.value, "value", None) for key in call.keywords}
        if "encoding" in keys or (name == "open" and getattr(getattr(call.func, "value", None), "id", "") in OPENERS):
            continue
        if name in ("run", "Popen", "check_output") and (keys.get("text") or keys.get("universal_newlines")):
            found.append(call.lineno)
        elif name in MODE:
            words = [getattr(word, "value", "") for word in call.args] + [keys.get("mode")]
            if MODE[name] is None or not any(isinstance(word, str) and "b" in word and len(word) < 4 for word in words):
                found.append(call.lineno)
    return found


OPENERS = ("Image", "tarfile", "os", "file", "safe_open")
"""What `open` opens no text with."""


def test_search_by_hand():
    text = "open(p)\nopen(p, 'rb')\np.open('w')\np.open('wb')\np.read_text()\np.read_text(encoding='utf-8')\n"
    text += "subprocess.run(c, text=True)\nsubprocess.run(c)\nImage.open(p)\nFileHandler(p, 'a')\n"
    assert find_unnamed(text) == [1, 3, 5, 7, 10]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_encoding_is_named(path):
    assert find_unnamed(path.read_text(encoding="utf-8")) == []


WRITE = """
import logging
import sys

from ipcl_core.files import read_json, write_json
from ipcl_core.logs import start_log

start_log(sys.argv[1] + ".log")
write_json(read_json(sys.argv[1]), sys.argv[1] + ".copy")
logging.getLogger().info("Größe ≤ 5 %")
"""


def test_machine_that_knows_ascii_alone(tmp_path):
    """What a job reads, writes and logs where the locale has no such letters."""
    path = tmp_path / "a.json"
    path.write_text('{"a": "Größe ≤ 5 %"}', encoding="utf-8")
    environment = os.environ | {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    command = [sys.executable, "-c", "import locale; print(locale.getpreferredencoding(False))"]
    assert "ANSI" in subprocess.run(command, env=environment, capture_output=True, encoding="utf-8", check=True).stdout
    (tmp_path / "write.py").write_text(WRITE, encoding="utf-8")
    subprocess.run([sys.executable, tmp_path / "write.py", path], env=environment, check=True, cwd=REPOSITORY)
    assert json.loads(Path(f"{path}.copy").read_text(encoding="utf-8")) == {"a": "Größe ≤ 5 %"}
    assert "Größe ≤ 5 %" in Path(f"{path}.log").read_text(encoding="utf-8")
