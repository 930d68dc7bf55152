"""What README and docs say that a command can check."""

import ast
import math
import re
import subprocess
import textwrap
from pathlib import Path

import pytest
import yaml
from snakemake_runs import count_jobs, run_snakemake

from ipcl_core.command import MODULES
from ipcl_core.config import Config, read_config

REPOSITORY = Path(__file__).parents[1]
PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]
FOLDERS = (
    "ipcl_core",
    "rules",
    "workflow_scripts",
    "tests",
    "docs",
    "config",
    "envs",
    "profiles",
    "slurm",
    "benchmarks",
)


def read(page: str) -> str:
    return (REPOSITORY / page).read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_links_and_files_are_there(page):
    text = page.read_text(encoding="utf-8")
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", text)
    assert [link for link in links if not (page.parent / link).exists()] == []
    named = re.findall(rf"(?<![\w/.-])(?:{'|'.join(FOLDERS)})/[\w./*-]+\w", text)
    places = (REPOSITORY, REPOSITORY / "tests")
    assert [name for name in named if not any(list(place.glob(name)) for place in places)] == []
    tests = {path.name for path in (REPOSITORY / "tests").rglob("test_*.py")}
    assert [name for name in re.findall(r"\btest_\w+\.py", text) if name not in tests] == []


def test_every_page_stands_once_in_the_navigation_of_the_site():
    named = sorted(re.findall(r"[\w/]+\.md$", read("mkdocs.yml"), re.MULTILINE))
    assert named == sorted(str(path.relative_to(REPOSITORY / "docs")) for path in PAGES[1:])


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_code_blocks_can_be_used(page, tmp_path):
    """Python and shell parse, what ipcl is asked for is there, and YAML, laid over the demo or what it names, is a study."""
    text, blocks = page.read_text(encoding="utf-8"), {}
    for language, block in re.findall(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        blocks.setdefault(language, []).append(block)
    text = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    assert blocks.keys() <= {"python", "yaml", "snakemake", "text"}
    for block in blocks.get("python", []):
        ast.parse(block)
    for block in blocks.get("yaml", []):
        (tmp_path / "study.yaml").write_text(block)
        over = re.match(r"# laid over (\S+)", block)
        read_config(REPOSITORY / (over[1] if over else "config/demo.yaml"), tmp_path / "study.yaml")
    indented = re.findall(r"(?<=\n\n)(?:    .*\n|\n(?=    ))+", text)
    commands = [block for block in indented if block.split()[0] in ("ipcl", "snakemake", "make", "pip", ".", "sudo")]
    for block in commands:
        subprocess.run(["bash", "-n", "-c", textwrap.dedent(block)], check=True)
    asked = re.findall(r"(?:^    |`)ipcl ([a-z]+)", text, re.MULTILINE)
    assert set(asked) <= MODULES.keys()


def test_every_key_of_a_configuration_has_a_meaning():
    """Which the site prints; a block's is that of the block, a key that chooses a block has its one value for it."""
    schema = Config.model_json_schema()
    blocks = {"Config": schema} | {name: block for name, block in schema["$defs"].items() if "properties" in block}
    assert [name for name, block in blocks.items() if "description" not in block] == []
    keys = {f"{name}.{key}": value for name, block in blocks.items() for key, value in block["properties"].items()}
    assert [
        key for key, value in keys.items() if not {"description", "const", "$ref", "discriminator"} & value.keys()
    ] == []


def test_readme_is_short_and_its_make_targets_exist():
    text, makefile = read("README.md"), read("Makefile")
    assert len(text.splitlines()) <= 150
    assert all(f"\n{target}:" in makefile for target in re.findall(r"(?:`|^    )make ([\w-]+)", text, re.MULTILINE))


def test_every_page_is_reachable_from_the_readme():
    found, left = set(), [REPOSITORY / "README.md"]
    while left:
        page = left.pop()
        links = re.findall(r"\]\(([\w./-]+\.md)\)|`?docs/(\w+\.md)`?", page.read_text(encoding="utf-8"))
        for link, name in links:
            path = (page.parent / link).resolve() if link else REPOSITORY / "docs" / name
            if path not in found:
                found.add(path)
                left.append(path)
    assert {path for path in PAGES if path.name != "README.md"} <= found


def test_catalog_of_workflows_finds_what_it_reads():
    """Its own rules: a Snakefile beside rules/*.smk, config/README.md, a deployment method; config/config.yaml is no copy."""
    usage = yaml.safe_load(read(".snakemake-workflow-catalog.yml"))["usage"]
    assert usage["software-stack-deployment"] == {"conda": True} and usage["report"] is True
    assert usage["mandatory-flags"].keys() <= {"desc", "flags"}
    assert (REPOSITORY / "Snakefile").exists() and list((REPOSITORY / "rules").glob("*.smk"))
    assert (REPOSITORY / "config/config.yaml").resolve() == (REPOSITORY / "config.yaml").resolve()
    assert re.search("snakemake", read("README.md"), re.I) and (REPOSITORY / "config/README.md").exists()


def test_table_of_folders_names_every_stage():
    text = read("README.md")
    rows = re.findall(
        r"^\| (`.*|the same.*) \| (.*) \| (.*) \|$", text.split("## Where a number comes from")[1], re.MULTILINE
    )
    rules = {name for _, names, _ in rows for name in re.findall(r"[\w/]+\.smk", names)}
    there = {str(path.relative_to(REPOSITORY / "rules")) for path in (REPOSITORY / "rules").rglob("*.smk")}
    assert rules | {"common.smk", "inputs.smk", "cluster.smk"} == there
    folders = {name for *_, names in rows for name in re.findall(r"\b(\w+)/", names)}
    packages = {path.parent.name for path in (REPOSITORY / "ipcl_core").glob("*/__init__.py")}
    assert packages - {"config", "library", "release"} <= folders


@pytest.fixture(scope="module")
def jobs(tmp_path_factory) -> dict[str, int]:
    """Of the paper up to Table 1: rule -> number of jobs."""
    folder = tmp_path_factory.mktemp("paper")
    code, said = run_snakemake(folder, "--dry-run", "--snakefile", REPOSITORY / "Snakefile", "results/table1.csv")
    assert code == 0, said
    return count_jobs(said)


def test_paper_needs_no_data_for_a_dry_run(jobs):
    assert jobs["train_model"] == 24 and jobs["join_shards"] == 2


def test_numbers_of_jobs_and_submissions(jobs):
    """docs/cluster.md's counts, from a dry run of the paper and the profile's groups."""
    said = re.sub(r"\s+", " ", read("docs/cluster.md"))
    numbers = re.search(r"The paper's (\d+) jobs up to Table 1 .*? are (\d+) submissions", said)
    assert sum(jobs.values()) + 1 == int(numbers[1]) or sum(jobs.values()) == int(numbers[1])
    rules = "\n".join(path.read_text() for path in (REPOSITORY / "rules").rglob("*.smk"))
    local = {
        name
        for name, text in re.findall(r"^rule (\w+):\n((?:    .*\n|\n)*)", rules, re.MULTILINE)
        if "localrule: True" in text
    }
    profile = yaml.safe_load(read("slurm/config.yaml"))
    groups, sizes = profile["groups"], profile["group-components"]
    submissions = sum(n for rule, n in jobs.items() if rule not in local and rule not in groups)
    for group in set(groups.values()):
        together = [jobs[rule] for rule in jobs if groups.get(rule) == group]
        submissions += math.ceil(max(together, default=0) / sizes.get(group, 1))
    assert submissions == int(numbers[2])
    assert f"{jobs['train_model']} trainings" in said


@pytest.mark.parametrize("start, n", [(r"\d+ x \d \|", 12), (r"\d+% \| -?0\.", 3), (r"\d+% \| \d+% \|", 7)])
def test_tables_of_encoding_are_the_benchmarks(start, n):
    rows = [line for line in read("benchmarks/encoding_tests.md").splitlines() if re.match(rf"\| {start}", line)]
    assert len(rows) == n and "\n".join(rows) in read("docs/encoding.md")


def test_power_of_the_tests_of_encoding_is_the_benchmarks():
    row = re.search(r"\| 72 \| 10 \| 2% \|(.*)", read("benchmarks/encoding_tests.md"))[1].split(" | ")
    two, one = row[2], row[4]
    assert f"2% are found in {one} of the studies, and told from nothing in\n{two}" in read("docs/encoding.md")


def test_everything_on_adds_less_than_a_third_of_the_jobs(jobs, tmp_path):
    """The paper with encoding, partitions and weighted layers: docs/encoding.md's counts, from one dry run."""
    more = {"encoding": {"partitions": [["ipcl_alexnet_gn_d128_run1", "pixels"]]}, "statistics": {"weighting": {}}}
    (tmp_path / "more.yaml").write_text(yaml.safe_dump(more))
    files = ["--configfile", REPOSITORY / "config.yaml", "more.yaml"]
    code, said = run_snakemake(tmp_path, "--dry-run", "--snakefile", REPOSITORY / "Snakefile", *files)
    assert code == 0, said
    found = count_jobs(said)
    added = {name: n for name, n in found.items() if re.search("encoding|partition", name) or name == "weigh_layers"}
    assert added["fit_encoding"] == added["weigh_layers"] == jobs["make_rsms"] and not {*added} & {*jobs}
    after = sum(found.values()) + 1  # the rule all
    before = after - sum(added.values())
    said = re.search(r"grows\s+from (\d+) jobs to (\d+)", read("docs/encoding.md"))
    assert (before, after) == tuple(map(int, said.groups()))
    assert sum(added.values()) < before / 3
