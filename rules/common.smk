"""
The checked configuration, the names that wildcards may take, and what several rules look up.
"""

import os
import sys
from pathlib import Path

# ipcl_core is found here and in the scripts, in every environment
sys.path.insert(0, workflow.basedir)
os.environ.update(PYTHONPATH=workflow.basedir)

from ipcl_core.config import ConfigError, load_config, missing_paths

try:
    study = load_config(config, workflow.configfiles)
except ConfigError as error:
    raise WorkflowError(str(error)) from None

available, measured = study.available, study.measured


def list_from(blocks, source):
    """Names of the models, data sets or brain data sets that come from one kind of source."""
    return [name for name, block in blocks.items() if block.source == source]


def list_origin(*origins):
    """Names of the models whose weights have one of these origins."""
    return [name for name, model in study.models.items() if model.origin in origins]


def list_fetched():
    """Names of the models whose weights come from an address or a path."""
    return [name for name, model in available.items() if model.source != "own" and getattr(model, "weights", None)]


def match_any(names):
    """Wildcard constraint: one of the names, or nothing at all where there are none."""
    return "|".join(map(re.escape, names)) or "(?!)"


wildcard_constraints:
    brain=match_any(study.brains),
    dataset=match_any(study.datasets),
    model=match_any(available),
    split="train|val",


def stop_at_unknown_names(words):
    """Before the DAG is built: of a target that no rule makes, say which brains, data sets and models there are."""
    names = {"brain": study.brains, "dataset": study.datasets, "model": available}
    for word in words:
        unknown = []
        for output in [str(output) for made in workflow.rules for output in made.output]:
            parts = re.split(r"\{(\w+).*?\}", output)  # text, wildcard, text, ...
            pattern = "".join(f"(?P<{part}>[^/]+)" if i % 2 else re.escape(part) for i, part in enumerate(parts))
            if match := re.fullmatch(pattern, word):
                wrong = [
                    (key, value) for key, value in match.groupdict().items() if value not in names.get(key, [value])
                ]
                if not wrong:
                    break
                unknown += wrong
        else:
            if unknown:
                key, value = unknown[0]
                raise WorkflowError(f"{word}: there is no {key} {value} in the study, but {', '.join(names[key])}")


def stop_if_paths_are_missing(dag):
    """Before anything runs: say which of the user's own folders and files are needed and not there."""
    jobs = list(dag.needrun_jobs())
    datasets = {job.wildcards.dataset for job in jobs if job.rule.name == "list_images"}
    brains = {job.wildcards.brain for job in jobs if job.rule.name.startswith("import_")}
    models = {job.wildcards.model for job in jobs if job.rule.name == "fetch_weights"}
    missing = missing_paths(study, datasets, brains, models)
    own = {job.wildcards.model for job in jobs if job.rule.name == "make_own_model"}
    missing += [f"  models.{name}.{fault}" for name in sorted(own) for fault in find_files(study.models[name])[1]]
    if missing:
        raise WorkflowError(
            "Nothing was started: the configuration names data that is not here.\n" + "\n".join(missing)
        )


def remove_checkpoints():
    """Remove the last checkpoints of trainings whose weights are there, once all jobs have succeeded."""
    for path in Path(study.pathvars.get("results", "results")).glob("models/*/checkpoint*.pt"):
        if path.with_name("weights.safetensors").exists():
            path.unlink()
