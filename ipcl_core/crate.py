"""
A finished run as an RO-Crate: the records of its jobs in the form that archives and other tools read.

    ipcl crate results        writes results/ro-crate-metadata.json; the folder is the crate then

Files stand with their SHA-256, jobs as CreateActions with inputs, outputs, parameters, commit, versions, hardware and time.
Nothing is copied. RO-Crate 1.1 (https://w3id.org/ro/crate/1.1) with the profile Process Run Crate 0.5.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from urllib.parse import quote

from .files import write_json
from .records import Results, list_read

PROFILE = "https://w3id.org/ro/wfrun/process/0.5"


def describe_crate(results: Results) -> dict:
    """Return the JSON-LD of a run: every artifact, source and job that the records of its newest jobs name."""
    root, jobs = results.root, {id(record): record for record in results.records.values()}.values()
    hashes = {name: sha256 for record in jobs for name, sha256 in record["inputs"].items()}
    hashes |= dict.fromkeys((name for record in jobs for name in record.get("folders", {}).values()), None)
    hashes |= {name: made["sha256"] for record in jobs for name, made in record["outputs"].items()}

    def identify(name: str) -> str:
        """An absolute path as an address; what is not kept as a mere mention; a folder's name ends in a slash."""
        path = root / name
        address = path.as_uri() if Path(name).is_absolute() else ("" if path.exists() else "#") + quote(name)
        return address + "/" * path.is_dir()

    things = [
        {
            "@id": identify(name),
            "@type": "Dataset" if (root / name).is_dir() else "File" if (root / name).exists() else "CreativeWork",
            "name": Path(name).name,
            **({"sha256": sha256} if sha256 else {}),
        }
        for name, sha256 in hashes.items()
    ]
    actions = [_describe_job(record, identify) for record in jobs]
    whole = {
        "@id": "./",
        "@type": "Dataset",
        "name": f"Results in {root.name}",
        "description": "Instance-prototype contrastive learning and its comparison with human visual cortex",
        "datePublished": max(record["time"] for record in jobs),
        "license": "See the licences and citations in the README of the workflow",
        "conformsTo": {"@id": PROFILE},
        "hasPart": [{"@id": thing["@id"]} for thing in things if thing["@type"] != "CreativeWork"],
        "mentions": [{"@id": action["@id"]} for action in actions],
    }
    descriptor = {
        "@id": "ro-crate-metadata.json",
        "@type": "CreativeWork",
        "conformsTo": {"@id": "https://w3id.org/ro/crate/1.1"},
        "about": {"@id": "./"},
    }
    profile = {"@id": PROFILE, "@type": "CreativeWork", "name": "Process Run Crate", "version": "0.5"}
    graph = [descriptor, whole, profile, *things, *actions, *_describe_rules(jobs)]
    return {
        "@context": ["https://w3id.org/ro/crate/1.1/context", "https://w3id.org/ro/terms/workflow-run/context"],
        "@graph": graph,
    }


def _describe_job(record: dict, identify: Callable[[str], str]) -> dict:
    return {
        "@id": f"#job/{quote(next(iter(record['outputs'])))}",
        "@type": "CreateAction",
        "name": " ".join([record["rule"], *record["wildcards"].values()]),
        "description": json.dumps({key: record[key] for key in ("params", "threads", "versions", "hardware")}),
        "instrument": {"@id": f"#rule/{record['rule']}"},
        "object": [{"@id": identify(name)} for name in list_read(record)],
        "result": [{"@id": identify(name)} for name in record["outputs"]],
        "endTime": record["time"],
    }


def _describe_rules(jobs: Iterable[dict]) -> list[dict]:
    """Return the instruments: each rule with the commit of its newest job."""
    rules = {record["rule"]: record["commit"] for record in sorted(jobs, key=lambda record: record["time"])}
    return [
        {
            "@id": f"#rule/{rule}",
            "@type": "SoftwareApplication",
            "name": rule,
            "softwareVersion": str(commit),
            "url": ".",
        }
        for rule, commit in rules.items()
    ]


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
    write_json(describe_crate(results), path)
    print(f"{path}: {len(results.records)} artifacts; `ipcl provenance` checks their hashes")
    return 0
