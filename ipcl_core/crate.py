"""
A finished run as an RO-Crate: the records of its jobs in the form that archives and other tools read.

    ipcl crate results        writes results/ro-crate-metadata.json; the folder is the crate then

Files stand with their SHA-256, jobs as CreateActions with inputs, outputs, parameters, commit, versions, hardware and time;
the workflow has a step for each rule. Nothing is copied. RO-Crate 1.1 (https://w3id.org/ro/crate/1.1) with the profile
Provenance Run Crate 0.5 and those that it extends.
"""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

from .code import PACKAGE
from .files import write_json
from .records import Results, list_read

PROFILES = {
    "https://w3id.org/ro/wfrun/process/0.5": ("Process Run Crate", "0.5"),
    "https://w3id.org/ro/wfrun/workflow/0.5": ("Workflow Run Crate", "0.5"),
    "https://w3id.org/ro/wfrun/provenance/0.5": ("Provenance Run Crate", "0.5"),
    "https://w3id.org/workflowhub/workflow-ro-crate/1.0": ("Workflow RO-Crate", "1.0"),
}
LANGUAGE = "https://w3id.org/workflowhub/workflow-ro-crate#snakemake"
STUDY, ENGINE = "#study", "#snakemake"
LICENSE = "https://spdx.org/licenses/MIT"
"""Of the workflow."""


def describe_crate(results: Results, snakefile: str, **about) -> dict:
    """Return the JSON-LD of a run: every artifact, source and job that the records of its newest jobs name.

    Args:
        results: what is described; its folder is the crate.
        snakefile: path of the workflow, absolute or relative to the folder.
        about: properties of the folder as a whole, over those that stand here.
    """
    root, jobs = results.root, list({id(record): record for record in results.records.values()}.values())
    jobs.sort(key=lambda record: record["time"])
    hashes = {name: sha256 for record in jobs for name, sha256 in record["inputs"].items()}
    hashes |= dict.fromkeys((name for record in jobs for name in record.get("folders", {}).values()), None)
    hashes |= {name: made["sha256"] for record in jobs for name, made in record["outputs"].items()}

    def identify(name: str) -> str:
        """An absolute path as an address; what is not kept as a mere mention; a folder's name ends in a slash."""
        path = root / name
        inside = quote(name) if path.exists() else f"#{quote(name)}"
        address = path.as_uri() if Path(name).is_absolute() else inside
        return f"{address}/" if path.is_dir() else address

    def describe(name: str, sha256: str | None) -> dict:
        path = root / name
        kind = "Dataset" if path.is_dir() else "File"
        thing = {"@id": identify(name), "@type": kind if path.exists() else "CreativeWork", "name": path.name}
        return thing | ({"sha256": sha256} if sha256 else {})

    things = [describe(name, sha256) for name, sha256 in hashes.items()]
    parts = [{"@id": thing["@id"]} for thing in things if thing["@type"] != "CreativeWork"]
    whole = {
        "@id": "./",
        "@type": "Dataset",
        "name": f"Results in {root.name}",
        "description": "Instance-prototype contrastive learning and its comparison with human visual cortex",
        "datePublished": jobs[-1]["time"],
        "license": "See the licences and citations in the README of the workflow",
        "conformsTo": [{"@id": profile} for profile in PROFILES],
        "mainEntity": {"@id": identify(snakefile)},
        "mentions": [{"@id": STUDY}, {"@id": "#run"}, *({"@id": _name_job(record)} for record in jobs)],
        **about,
    }
    whole["hasPart"] = [whole["mainEntity"], *parts, *whole.get("hasPart", [])]
    descriptor = {
        "@id": "ro-crate-metadata.json",
        "@type": "CreativeWork",
        "conformsTo": [{"@id": "https://w3id.org/ro/crate/1.1"}, {"@id": list(PROFILES)[-1]}],
        "about": {"@id": "./"},
    }
    profiles = [
        {"@id": address, "@type": "CreativeWork", "name": name, "version": version}
        for address, (name, version) in PROFILES.items()
    ]
    actions = [_describe_job(record, identify) for record in jobs]
    place = identify(snakefile)
    described = [*_describe_workflow(jobs, place), *_describe_run(jobs, results, place, identify)]
    return {
        "@context": ["https://w3id.org/ro/crate/1.1/context", "https://w3id.org/ro/terms/workflow-run/context"],
        "@graph": [descriptor, whole, *profiles, *things, *described, *actions],
    }


def _name_job(record: dict) -> str:
    return f"#job/{quote(next(iter(record['outputs'])))}"


def _describe_job(record: dict, identify: Callable[[str], str]) -> dict:
    return {
        "@id": _name_job(record),
        "@type": "CreateAction",
        "name": " ".join([record["rule"], *record["wildcards"].values()]),
        "description": json.dumps({key: record[key] for key in ("params", "threads", "versions", "hardware")}),
        "instrument": {"@id": f"#rule/{record['rule']}"},
        "object": [{"@id": identify(name)} for name in list_read(record)],
        "result": [{"@id": identify(name)} for name in record["outputs"]],
        "endTime": record["time"],
    }


def _describe_workflow(jobs: list[dict], snakefile: str) -> list[dict]:
    """Return the workflow, its language, its rules and its steps; a rule has the commit of its newest job, steps stand in the
    order in which their first jobs ended."""
    rules = {record["rule"]: record["commit"] for record in jobs}
    workflow = {
        "@id": snakefile,
        "@type": ["File", "SoftwareSourceCode", "ComputationalWorkflow", "HowTo"],
        "name": "From images to Table 1 and the figures of Konkle and Alvarez 2020",
        "programmingLanguage": {"@id": LANGUAGE},
        "license": {"@id": LICENSE},
        "version": str(jobs[-1]["commit"]),
        "hasPart": [{"@id": f"#rule/{rule}"} for rule in rules],
        "step": [{"@id": f"#step/{rule}"} for rule in rules],
    }
    language = {
        "@id": LANGUAGE,
        "@type": "ComputerLanguage",
        "name": "Snakemake",
        "identifier": {"@id": "https://doi.org/10.1093/bioinformatics/bts480"},
        "url": {"@id": "https://snakemake.readthedocs.io"},
    }
    license = {"@id": LICENSE, "@type": "CreativeWork", "name": "MIT License", "description": "Licence of the workflow"}
    tools = [
        {
            "@id": f"#rule/{rule}",
            "@type": "SoftwareApplication",
            "name": rule,
            "softwareVersion": str(commit),
            "url": ".",
        }
        for rule, commit in rules.items()
    ]
    steps = [
        {"@id": f"#step/{rule}", "@type": "HowToStep", "position": str(i), "workExample": {"@id": f"#rule/{rule}"}}
        for i, rule in enumerate(rules)
    ]
    return [workflow, language, license, *tools, *steps]


def _describe_run(jobs: list[dict], results: Results, snakefile: str, identify: Callable[[str], str]) -> list[dict]:
    """Return the execution of the workflow, of Snakemake, and of a step for each job."""
    sources = {name: None for record in jobs for name in list_read(record) if name not in results.records}
    study = {
        "@id": STUDY,
        "@type": "CreateAction",
        "name": "The workflow's newest jobs, of one or more calls of Snakemake",
        "instrument": {"@id": snakefile},
        "object": [{"@id": identify(name)} for name in sources],
        "result": [{"@id": identify(name)} for name, record in results.records.items() if record["kept"]],
        "endTime": jobs[-1]["time"],
    }
    controls = [
        {
            "@id": _name_job(record).replace("#job", "#control"),
            "@type": "ControlAction",
            "name": f"Run of step {record['rule']}",
            "instrument": {"@id": f"#step/{record['rule']}"},
            "object": {"@id": _name_job(record)},
        }
        for record in jobs
    ]
    organized = {
        "@id": "#run",
        "@type": "OrganizeAction",
        "name": "Run of Snakemake",
        "instrument": {"@id": ENGINE},
        "object": [{"@id": control["@id"]} for control in controls],
        "result": {"@id": STUDY},
        "endTime": jobs[-1]["time"],
    }
    versions = sorted({record["versions"]["snakemake"] for record in jobs if "snakemake" in record["versions"]})
    engine = {
        "@id": ENGINE,
        "@type": "SoftwareApplication",
        "name": "Snakemake",
        "softwareVersion": ", ".join(versions) or "not recorded",
        "url": "https://snakemake.readthedocs.io",
    }
    return [study, organized, engine, *controls]


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return its exit code."""
    parser = argparse.ArgumentParser(
        prog="ipcl crate", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("results", help="folder of the results")
    try:
        results = Results.read(parser.parse_args(arguments).results)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    if not results.records:
        print(f"{results.root}: holds no record of a job", file=sys.stderr)
        return 2
    path = results.root / "ro-crate-metadata.json"
    write_json(describe_crate(results, str(PACKAGE.parent / "Snakefile")), path)
    print(f"{path}: {len(results.records)} artifacts; `ipcl provenance` checks their hashes")
    return 0
