"""
The checked configuration, the names that wildcards may take, and what several rules look up.
"""

import difflib
import os
import sys
from pathlib import Path

from snakemake.cli import get_argument_parser

# ipcl_core is found here and in the scripts, in every environment
HERE = str(Path(str(workflow.current_basedir)).parent)
sys.path.insert(0, HERE)
others = os.getenv("PYTHONPATH", "").split(os.pathsep)
os.environ.update(PYTHONPATH=os.pathsep.join(dict.fromkeys([HERE, *filter(None, others)])))

from ipcl_core.config import ConfigError, load_config, missing_paths

try:
    study = load_config(config, [] if is_imported else workflow.configfiles)
except ConfigError as error:
    raise WorkflowError(str(error)) from None

available, measured = study.available, study.measured


def find_place(name):
    """Return the folder that a path variable stands for, behind the prefix that an importer may give this module."""
    return workflow.pathvars.apply(workflow.modifier.path_modifier.replace_prefix(f"<{name}>"))


# what the jobs get: they write their records there
config = config | {"pathvars": {name: find_place(name) for name in ("results", "logs", "benchmarks")}}


def list_from(blocks, source):
    """Names of the models, data sets or brain data sets that come from one kind of source."""
    return [name for name, block in blocks.items() if block.source == source]


def list_trained():
    """Names of the models that are trained here."""
    return [name for name, model in study.models.items() if model.origin == "trained here"]


def list_fetched():
    """Names of the models whose weights come from an address or a path."""
    return [name for name, model in available.items() if model.source != "own" and getattr(model, "weights", None)]


def list_remote(key):
    """Names of the brain data sets of which a key is an address."""
    return [name for name, block in study.brains.items() if str(getattr(block, key, None)).startswith("https://")]


def list_published_brains():
    """Names of the brain data sets of which the configuration has published numbers."""
    return list(dict.fromkeys(row.brain for row in study.published))


def list_published(stage):
    """The HDF5 files of a stage, of every brain and model of which the configuration has published numbers."""
    return list(dict.fromkeys(f"<results>/{stage}/{row.brain}/{row.model}.h5" for row in study.published))


def list_pictured():
    """Names of the models that learn from images, as far as these are converted: to train on, or to measure accuracy on."""
    converted = {model.dataset for model in measured.values()}
    converted |= {study.models[name].dataset for name in list_trained()}
    return [name for name in list_from(available, "trained") if study.models[name].dataset in converted]


def match_any(names):
    """Wildcard constraint: one of the names, or nothing at all where there are none."""
    return "|".join(map(re.escape, names)) or "(?!)"


wildcard_constraints:
    brain=match_any(study.brains),
    dataset=match_any(study.datasets),
    model=match_any(available),
    split="train|val",


def stop_at_unknown_names(words):
    """Before the DAG is built: of a target that no rule makes, say which brains, data sets, models or files there are.

    Args:
        words: of the command line.
    """
    names = {"brain": study.brains, "dataset": study.datasets, "model": available}
    outputs = [re.sub(r"\{(\w+).*?\}", r"{\1}", str(output)) for made in workflow.rules for output in made.output]
    for target in get_argument_parser().parse_known_args(words)[0].targets:
        unknown, is_made = [], False
        for output in outputs:
            parts = re.split(r"\{(\w+)\}", output)  # text, wildcard, text, ...
            pattern = "".join(f"(?P<{part}>[^/]+)" if i % 2 else re.escape(part) for i, part in enumerate(parts))
            if match := re.fullmatch(pattern, target):
                wrong = [
                    (key, value) for key, value in match.groupdict().items() if value not in names.get(key, [value])
                ]
                is_made |= not wrong
                unknown += wrong
        if is_made or os.path.exists(target):
            continue
        if unknown:
            key, value = unknown[0]
            raise WorkflowError(f"{target}: there is no {key} {value} in the study, but {', '.join(names[key])}")
        if target.startswith(f"{find_place('results')}/"):
            near = difflib.get_close_matches(target, outputs, cutoff=0.5)
            raise WorkflowError(f"{target}: no rule makes it; the files most like it are {', '.join(near) or 'none'}")


def stop_if_paths_are_missing(dag):
    """Before anything runs: say which of the user's own folders and files are needed and not there."""
    # by their scripts, as an importer may call the rules otherwise
    jobs = [(Path(job.rule.script).stem, job.wildcards) for job in dag.needrun_jobs() if job.rule.script]
    datasets = {wildcards.dataset for script, wildcards in jobs if script == "list_images"}
    brains = {wildcards.brain for script, wildcards in jobs if script.startswith("import_")}
    models = {wildcards.model for script, wildcards in jobs if script == "fetch_weights"}
    missing = missing_paths(study, datasets, brains, models)
    own = {wildcards.model for script, wildcards in jobs if script == "make_own_model"}
    missing += [f"  models.{name}.{fault}" for name in sorted(own) for fault in find_files(study.models[name])[1]]
    if missing:
        raise WorkflowError(
            "Nothing was started: the configuration names data that is not here.\n" + "\n".join(missing)
        )


def remove_checkpoints():
    """Remove the last checkpoints of trainings whose weights are there, once all jobs have succeeded."""
    for path in Path(find_place("results")).glob("models/*/checkpoint*.pt"):
        if path.with_name("weights.safetensors").exists():
            path.unlink()
