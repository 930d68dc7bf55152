"""Names, values and files that would run code, leave their folder or say two things at once; and anything at all."""

import copy
import html
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from configurations import STUDY, change, explain
from docutils.core import publish_parts
from hypothesis import given, settings
from hypothesis import strategies as st
from jinja2 import Template
from snakemake.utils import update_config
from snakemake_runs import run_snakemake

from ipcl_core.config import ConfigError, load_config, read_config
from ipcl_core.config.study import _merge
from ipcl_core.config.yaml_files import find_faults

ROOT = Path(__file__).parents[2]

# ---- hostile text ----------------------------------------------------------------------------------------------------

HOSTILE = [
    "$(touch ran)",
    "`touch ran`",
    "a b; touch ran",
    "../../x",
    "/tmp/x",
    "a\nb",
    "a\x00b",
    "{model}",
    "<script>",
    "..",
    "",
]


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("block", ["datasets", "brains", "recipes", "models", "brains.objects72.regions"])
def test_hostile_name_is_refused(block, name):
    study = copy.deepcopy(STUDY)
    named = study["brains"]["objects72"]["regions"] if "." in block else study[block]
    named[name] = next(iter(named.values()))
    assert f"{block}.{name}" in explain(study)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        *(("pathvars", {"results": value}) for value in HOSTILE if value != "/tmp/x"),
        *(("pathvars", {"results": value}) for value in ("-x", "--help", "logs", "./logs", "benchmarks/", "a/../b")),
        ("pathvars", {"results": "/tmp/x", "logs": "/tmp/x/"}),
        *(("title", f"a{end}{end}.. raw:: html{end}{end}   <script>") for end in "\n\r\x85\u2028\u2029"),
        *(("title", value) for value in ("a\x1b[2Jb", "")),
        *(("brains.objects92.title", value) for value in ("a\nb", "")),
        *(("models.first.framework", value) for value in ("a\nb", "")),
        *(
            ("models.theirs.weights.package", value)
            for value in ("net", "net>=1.0", "net==1.0 --index-url http://x", "-r x==1")
        ),
        *(
            ("models.theirs.weights.package", value)
            for value in ("net==1.0\nother==1.0", "git+https://x/y==1", "./net==1.0")
        ),
        *(("models.theirs.weights.hash", f"sha256:{value}") for value in ("g" * 64, "0" * 64 + "\n", "")),
    ],
)
def test_hostile_value_is_refused(path, value):
    assert f"{path}" in explain(change(path, value))


@pytest.mark.parametrize("folder", ["/scratch/a b/results", "results/x-1", "./..x"])
def test_folders_of_the_results(folder):
    """A cluster's file systems are reached by absolute paths; logs may lie within the results."""
    pathvars = {"results": folder, "logs": f"{folder}/logs"}
    assert load_config(change("pathvars", pathvars)).pathvars == pathvars


def test_every_value_in_a_shell_command_is_quoted():
    """Names with metacharacters are refused anyhow (above); hardly any rule has a shell command at all."""
    for path in [ROOT / "Snakefile", *(ROOT / "rules").glob("*.smk")]:
        text = path.read_text()
        commands = re.findall(r'^ +shell:\n((?: +".*"\n)+)', text, re.MULTILINE)
        assert len(commands) == text.count("shell:") and "    run:" not in text, path
        assert all(value.endswith(":q") for command in commands for value in re.findall(r"{(.*?)}", command)), path


# ---- the YAML file ---------------------------------------------------------------------------------------------------

TEXT = yaml.safe_dump(STUDY)
REPEATED = {
    "title: again\n": "title stands in line",
    "knn: {k: 5, k: 6}\n": "knn.k stands in line",
    "figure2_models: []\nfigure2_models: []\n": "figure2_models stands in line",
    "models: {first: {}, second: {}, first: {}}\n": "models.first stands in line",
    "models: {first: {preprocessing: {mean: [1], mean: [2]}}}\n": "models.first.preprocessing.mean stands in line",
    "more: [{a: 1, a: 2}]\n": "more.a stands in line",
    "__use_yte__: true\n": "__use_yte__: templates are not allowed",
}


@pytest.mark.parametrize("addition", REPEATED)
def test_key_that_stands_twice_is_refused(tmp_path, addition):
    path = tmp_path / "study.yaml"
    path.write_text(TEXT + addition)
    with pytest.raises(ConfigError) as error:
        load_config(yaml.safe_load(path.read_text()), [path])
    n_lines = TEXT.count("\n")
    assert f"  {path}, line {n_lines + addition.count(chr(10))}: " in str(error.value)
    assert REPEATED[addition] in str(error.value)


OTHERS = {
    "knn: {k: 010}\n": "knn.k: YAML reads 010 as 8; write that, or quotes where it is text",
    "models: {m: {preprocessing: {image_size: 3:44}}}\n": "models.m.preprocessing.image_size: YAML reads 3:44 as 224;",
    "brains: {b: {participants: [007, 010]}}\n": "brains.b.participants: YAML reads 007 as 7;",
    "brains: {010: {}}\n": "brains.010: YAML reads 010 as 8;",
    "a: 1:30.5\n": "a: YAML reads 1:30.5 as 90.5;",
    "models: {m: {arguments: {eps: 1e-5}}}\n": "models.m.arguments.eps: YAML reads 1e-5 as text; write 1.0e-05, or quotes",
    "a: [0.5, 2.5e6]\n": "a: YAML reads 2.5e6 as text; write 2500000, or quotes where it is text",
    "a: -.5\n": "a: YAML reads -.5 as text; write -0.5, or quotes",
    "models: {m: {unavailable: None}}\n": "models.m.unavailable: YAML reads None as text; write null, or quotes",
}


@pytest.mark.parametrize("text", OTHERS)
def test_numbers_that_yaml_reads_as_others_are_refused(tmp_path, text):
    (tmp_path / "a.yaml").write_text(text)
    assert find_faults(tmp_path / "a.yaml")[0].startswith(f"{tmp_path}/a.yaml, line 1: {OTHERS[text]}")
    quoted = re.sub(r"\b0\d+|\d+:[\d.]+|[\d.]+e[-\d]+|-\.5|None", r"'\g<0>'", text)
    (tmp_path / "a.yaml").write_text(f"{quoted}n: [0, 10, 0.5, 1.0e-3, e-3, 08:xx, 2024-01-02, 1_000]\n")
    assert find_faults(tmp_path / "a.yaml") == []


@pytest.mark.parametrize(
    "text",
    [
        "a: &a {x: 1, y: 2}\nb: {<<: *a, x: 3}\nc: [*a, *a]\n",
        "a: &a {x: 1}\nb: &b {y: 1}\nc: {<<: [*a, *b], x: 2, y: 2}\n",
        "a: &a {a: *a}\n",
        "",
        "{}",
        '{"a": {"x": 1}, "b": {"x": 1}}',
    ],
)
def test_anchors_and_merges_repeat_nothing(tmp_path, text):
    (tmp_path / "a.yaml").write_text(text)
    assert find_faults(tmp_path / "a.yaml") == []


def test_json_is_read_as_snakemake_reads_it(tmp_path):
    """In it 1e-1 is a number."""
    (tmp_path / "a.yaml").write_text(TEXT)
    (tmp_path / "b.json").write_text('{"knn": {"tau": 1e-1}}')
    assert read_config(tmp_path / "a.yaml", tmp_path / "b.json").knn.tau == 0.1


@pytest.mark.parametrize(
    ("text", "found"), [("- a\n- b\n", r"\['a', 'b'\]"), ("words\n", "'words'"), ("[1]", r"\[1\]")]
)
def test_file_without_keys_is_refused(tmp_path, text, found):
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(ConfigError, match=rf"a\.yaml: cannot be read as YAML with keys and values: it holds {found}"):
        read_config(tmp_path / "a.yaml")


@pytest.mark.parametrize("first", [None, 1, [1, 2], {}, {"x": {"y": 1}}, {"x": None}, {"x": [1]}])
@pytest.mark.parametrize("second", [None, 1, [3], {}, {"x": {}}, {"x": {"y": 2, "z": 3}}, {"x": None}])
def test_files_are_laid_over_each_other_as_snakemake_does(first, second):
    expected = {"knn": copy.deepcopy(first)}
    update_config(expected, {"knn": second})
    assert _merge({"knn": first}, {"knn": second}) == expected


def test_merge_is_what_yaml_says():
    study = yaml.safe_load(TEXT.replace("models:", "models: &models", 1))
    study["models"]["second"] = study["models"]["first"] | {"dim": 64}
    assert load_config(study).models["second"].dim == 64


@pytest.mark.parametrize(
    "place", ["title: {}", "models: {{first: {{source: {}}}}}", "models: {{first: {{arguments: {}}}}}"]
)
def test_aliases_of_aliases_are_refused_at_once(tmp_path, place):
    """A kilobyte that stands for 9^12 words."""
    (tmp_path / "a.yaml").write_text(
        "a0: &a0 [x,x,x,x,x,x,x,x,x]\n"
        + "".join(f"a{i}: &a{i} [{','.join(9 * [f'*a{i - 1}'])}]\n" for i in range(1, 12))
        + place.format("*a11")
    )
    with pytest.raises(
        ConfigError, match=r"a\.yaml: holds [\d,]+ values, its aliases \(\*\) written out; at most 100,000"
    ):
        load_config(yaml.safe_load((tmp_path / "a.yaml").read_text()), [tmp_path / "a.yaml"])


@pytest.mark.workflow
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "keys at top level"),
        ("title: [\n", "not valid JSON or YAML"),
        ("a:\n\tb: 1\n", "not valid JSON or YAML"),
        ("title: !!python/object/apply:os.system ['touch ran']\n", "not valid JSON or YAML"),
        ("title: !!python/name:os.system\n", "title is a Python object; give a plain value"),
        ("knn: {k: 5}\nknn: {k: 6}\n", "knn stands in line 1 already"),
        ("pathvars: {results: $(touch ran)}\n", "pathvars.results"),
        ("models: {'$(touch ran)': {}}\n", "models.$(touch ran)"),
    ],
)
def test_snakemake_stops_at_a_bad_file(tmp_path, text, message):
    (tmp_path / "bad.yaml").write_text(text)
    configs = (ROOT / "config/demo.yaml", "bad.yaml")
    code, said = run_snakemake(tmp_path, "--dry-run", "--snakefile", ROOT / "Snakefile", "--configfile", *configs)
    assert code and message in said and "Traceback" not in said, said
    assert [path.name for path in tmp_path.iterdir() if path.name != ".snakemake"] == ["bad.yaml"]


# ---- anything at all -------------------------------------------------------------------------------------------------

SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["ipcl", "sgd", "first"])
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text() | st.integers(), inner, max_size=3)
)


def list_keys(block, above: str = "") -> list[str]:
    keys = []
    for name, value in block.items():
        keys += [above + name, *(list_keys(value, f"{above}{name}.") if isinstance(value, dict) else [])]
    return keys


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.sampled_from(list_keys(STUDY)), VALUES)
def test_any_value_is_accepted_or_explained(path, value):
    """Nothing but ConfigError comes out."""
    try:
        load_config(change(path, value))
    except ConfigError as error:
        assert str(error).startswith("the configuration cannot be used:\n  ")


@settings(max_examples=200, deadline=None, derandomize=True)
@given(VALUES)
def test_any_content_is_accepted_or_explained(content):
    with pytest.raises(ConfigError):
        load_config(content)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.text(min_size=1, max_size=90))
def test_accepted_names_are_file_names(name):
    try:
        load_config(change("models", {name: STUDY["models"]["first"]}) | {"figure2_models": [name]})
    except ConfigError:
        return
    assert (
        Path(name).name == name and name.isascii() and name.isprintable() and not set(name) & set(" $`;&|<>{}*?\"'\\")
    )


INLINE = [
    "`click <javascript:alert(1)>`__",
    "|x|",
    "see `a`_ and a_ and a__",
    "*a and **b",
    "``a``",
    ":math:`x`",
    "[1]_ http://a.b c@d.e \\*",
]


@pytest.mark.parametrize(
    "title", ["<script>ran()</script>", ".. include:: /etc/passwd", ".. raw:: html", "a & b", *INLINE]
)
def test_title_is_text_in_the_report(title):
    """Snakemake fills the caption and docutils makes HTML of it, as here."""
    template = (ROOT / "docs/captions/workflow.rst").read_text()
    text = Template(template).render(snakemake=SimpleNamespace(config={"title": title}))
    page = publish_parts(text, writer_name="html")["html_body"].replace("&#64;", "@")
    assert f"<p>Report: {html.escape(title, quote=False)}</p>" in page and "<script" not in page and "root:" not in page
