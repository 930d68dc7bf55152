"""What tests of records share: a study of short texts, each recorded as a workflow script does it."""

from pathlib import Path
from types import SimpleNamespace

from ipcl_core.records import record_job

SCRIPTS = sorted((Path(__file__).parents[1] / "workflow_scripts").glob("*.py"))


def run_job(
    rule: str,
    inputs: list,
    outputs: dict[str, str],
    *sources,
    params=None,
    folders=None,
    kept=True,
    again=False,
    **wildcards,
) -> None:
    """Write the outputs into results/ and record them, as a workflow script does."""
    for name, text in outputs.items():
        path = Path("results") / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    job = SimpleNamespace(
        rule=rule,
        config={},
        wildcards=wildcards,
        threads=2,
        params=params or {},
        input=[str(path) for path in inputs],
        output=[f"results/{name}" for name in outputs],
        scriptdir=SCRIPTS[0].parent,
    )
    record_job(job, *sources, folders=folders, kept=kept, again=again)


def make_study() -> None:
    """A study of two models and one brain data set, in the layout of the workflow; every artifact is a short text."""
    Path("source").mkdir()
    Path("source/a.png").write_text("picture")
    Path("betas.mat").write_text("betas")
    run_job("join_shards", [], {"data/pictures/train.beton": "beton", "data/pictures/train.json": "{}"}, "source")
    run_job("import_own_brain", [], {"brain/objects/brain.h5": "brain"}, "betas.mat", brain="objects")
    for model in ("first", "second"):
        weights, rsm, fits = (
            f"models/{model}/weights.safetensors",
            f"rsm/objects/{model}.h5",
            f"rsa/objects/{model}.csv",
        )
        beton, both = "results/data/pictures/train.beton", {"brain": "objects", "model": model}
        run_job("train_model", [beton], {weights: f"weights {model}"}, params={"model": {"seed": 7}}, model=model)
        activations = f"activations/objects/{model}.h5"
        run_job("extract_activations", [f"results/{weights}"], {activations: f"{model}"}, kept=False, **both)
        run_job("make_rsms", [f"results/{activations}"], {rsm: f"rsm {model}"}, **both)
        Path("results", activations).unlink()
        run_job("fit_layers", [f"results/{rsm}", "results/brain/objects/brain.h5"], {fits: f"fits {model}"}, **both)
        accuracy = f"accuracy/pictures/{model}.csv"
        run_job("measure_accuracy", [f"results/{weights}"], {accuracy: f"accuracy {model}"}, model=model)
    header = "model,brain,top1,IT_r,IT_layer,IT_post_r\n"
    fits = [f"results/rsa/objects/{model}.csv" for model in ("first", "second")]
    accuracies = [f"results/accuracy/pictures/{model}.csv" for model in ("first", "second")]
    table = {"table1.csv": f"{header}first,objects,50.5,0.25,conv5,0.5\nsecond,objects,40.0,0.125,conv3,0.5\n"}
    run_job("table1", [*fits, *accuracies], table)
    run_job("figure2", ["results/table1.csv", *fits], {"figures/objects/figure2.svg": "<svg/>"}, brain="objects")
