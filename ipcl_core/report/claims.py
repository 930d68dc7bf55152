"""
The claims of the paper's section 5, each as one number with an interval and a verdict.

A claim says that its statistic lies above or below a bound, or within it on both sides of 0. It holds where the number
does, and is firm where the whole 95% interval does.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pandas as pd

from ..files import write_csv, write_whole
from .claim_measures import (
    MARGIN,
    N_BOOTSTRAPS,
    CannotJudge,
    Measured,
    Study,
    measure_architecture,
    measure_best_alexnet,
    measure_best_self_supervised,
    measure_cases,
    measure_dimension,
    measure_exceptions,
    measure_family_hierarchy,
    measure_hierarchy,
    measure_highest,
    measure_layer_types,
    measure_original_alexnet,
    measure_prediction_by_accuracy,
    measure_same_training,
    measure_supervised_alexnets,
    measure_twins,
    read_published_study,
    read_study,
)
from .printing import print_row
from .table1 import read_fits

NEARLY_ALL = 0.8


@dataclass
class Claim:
    """A sentence of section 5 and the number that decides it."""

    name: str
    section: str
    """Heading of the paragraph."""
    quote: str
    statistic: str
    bound: float
    side: str
    """">": the number must be above the bound; "<": below; "within": between minus the bound and the bound."""
    measure: Callable[[Study], Iterator[Measured]]

    def judge(self, study: Study) -> list[dict]:
        """Return one row a region: statistic, value, low, high, n, verdict, firm, note."""
        try:
            rows = [self._judge(measured) for measured in self.measure(study)]
        except CannotJudge as error:
            rows = [{"region": "", "verdict": "cannot be judged", "firm": "", "note": f"needs {error}"}]
        return [{"claim": self.name} | row for row in rows]

    def _judge(self, measured: Measured) -> dict:
        if math.isnan(measured.value):
            return {"region": measured.region, "verdict": "cannot be judged", "firm": "", "note": measured.note}
        low, high = {">": (self.bound, math.inf), "<": (-math.inf, self.bound), "within": (-self.bound, self.bound)}[
            self.side
        ]
        verdict = "holds" if low < measured.value < high else "does not hold"
        firm = ""
        if not math.isnan(measured.low):
            inside, outside = low < measured.low and measured.high < high, measured.high < low or high < measured.low
            firm = "yes" if (inside if verdict == "holds" else outside) else "no"
        return {**measured._asdict(), "verdict": verdict, "firm": firm}


COMPARISON, ARCHITECTURE, HIERARCHY = (
    "Self-supervised vs Category-supervised Comparison",
    "Base Architecture Effects",
    "Hierarchical Representation",
)
CLAIMS = [
    Claim(
        "highest_correspondence",
        COMPARISON,
        "the IPCL self-supervised model shows the highest general correspondence with the visual system hierarchy, along with "
        "the Wusnet model using the same Alexnet group norm architecture",
        "mean r of IPCL or of Wusnet with AlexNet-gn, whichever is lower, minus that of the best other framework and "
        "architecture; mean over regions, t interval over regions",
        *(0, ">", measure_highest),
    ),
    Claim(
        "twins",
        COMPARISON,
        "in nearly all cases, the self-supervised models showed comparable or higher correlation than category-supervised "
        "models with the same architecture",
        "mean r of the self-supervised models, each framework counted alike, minus the supervised twin's; mean over "
        "architectures, paired t interval over architectures",
        *(-MARGIN, ">", measure_twins),
    ),
    Claim(
        "nearly_all_cases",
        COMPARISON,
        "in nearly all cases, the self-supervised models showed comparable or higher correlation than category-supervised "
        "models with the same architecture",
        f"share of the bars of figure 2C (framework, architecture, region) that are at most {MARGIN} below the supervised "
        "twin; Clopper-Pearson interval",
        *(NEARLY_ALL, ">", measure_cases),
    ),
    Claim(
        "exceptions",
        COMPARISON,
        "the main cases where a category-supervised model showed a stronger correlation than the self-supervised counterparts "
        "were the final model layers in some architectures (Resnet 18, Cornet-z) in the later stage brain sector (aOTC)",
        f"of the bars that are over {MARGIN} below the supervised twin, the share that are ResNet-18 or CORnet-Z in the last "
        "region; Clopper-Pearson interval",
        *(0.5, ">", measure_exceptions),
    ),
    Claim(
        "best_is_self_supervised",
        COMPARISON,
        "for all three brain sectors including the most anterior stage, the highest layer-brain correlation was a "
        "self-supervised (IPCL or Wusnet) Alexnet",
        "highest r of an IPCL or Wusnet AlexNet minus the highest of all other models; no interval, both are extremes",
        *(0, ">", measure_best_self_supervised),
    ),
    Claim(
        "architecture_matters_most",
        ARCHITECTURE,
        "the convolutional neural network architecture is the single factor that matters most for brain fits in this dataset, "
        "surprisingly more than either the learning framework, the dimensionality of the projection head, or the emergent "
        "categorization accuracy",
        "share of the variance of r due to architecture minus the largest share of framework, dimension and top-1: type II "
        "sums of squares of an additive linear model over the total sum of squares; percentile interval of "
        f"{N_BOOTSTRAPS} bootstrap samples of models",
        *(0, ">", measure_architecture),
    ),
    Claim(
        "same_training",
        ARCHITECTURE,
        "Wusnet training over an Alexnet-gn base encoder produced more brain-like representations than the same training on "
        "an Alexnet-bn, Resnet18, Resnet50, or Cornet-z architecture",
        "mean r of the Wusnets with AlexNet-gn minus that of the best other architecture; Welch interval over models",
        *(0, ">", measure_same_training),
    ),
    Claim(
        "best_is_alexnet",
        ARCHITECTURE,
        "In this dataset, the best matching model in each sector was always from the Alexnet model family",
        "highest r of an AlexNet minus the highest of all other models; no interval, both are extremes",
        *(0, ">", measure_best_alexnet),
    ),
    Claim(
        "dimension_negligible",
        ARCHITECTURE,
        "the variations in the dimensionality of the latent space from 128, 256, to 1000 had a negligible effect on the "
        "layer-brain correlations",
        "change of r from 128 to 1000 dimensions: slope on log2(dim) within framework and architecture, t interval of the "
        "least-squares fit",
        *(MARGIN, "within", measure_dimension),
    ),
    Claim(
        "accuracy_not_predictive",
        ARCHITECTURE,
        "emergent top-1 classification accuracy was not predictive of brain similarity",
        "Pearson correlation of top-1 with r over models, by each model's protocol; Fisher interval. Predictive would be a "
        "positive correlation of .3, Cohen's medium, or more",
        *(0.3, "<", measure_prediction_by_accuracy),
    ),
    Claim(
        "hierarchy_weak",
        HIERARCHY,
        "this correspondence between model layer hierarchy and brain hierarchy is not particularly clear in these data",
        "relative depth (0 first, 1 last layer) of the best layer for the last region minus that for the first; mean and t "
        "interval over models. Clear would be half the network or more",
        *(0.5, "<", measure_hierarchy),
    ),
    Claim(
        "hierarchy_clearer_in_alexnets",
        HIERARCHY,
        "The Alexnet family architectures show slightly clearer hierarchical correspondence than Resnet18 or Resnet50 "
        "architectures",
        "the same difference of depths, AlexNets minus ResNets; Welch interval over models",
        *(0, ">", measure_family_hierarchy),
    ),
    Claim(
        "convolutions_fit_early_regions",
        HIERARCHY,
        "with convolutional layers vs fully-connected layers correlating better with the earlier vs later brain regions, "
        "respectively",
        "AlexNets: lead of the best convolutional over the best fully-connected layer in the first region minus that in the "
        "last; mean and t interval over models",
        *(0, ">", measure_layer_types),
    ),
    Claim(
        "negative_late_supervised",
        HIERARCHY,
        "the category-supervised models show low, or even negative, correlations at late convolutional stages",
        "lowest r of the layers of conv 4 and 5 of the supervised AlexNets with group or batch norm, chosen by the group RSM; "
        "mean and t interval over participants. Negative is what is asked for",
        *(0, "<", measure_supervised_alexnets),
    ),
    Claim(
        "not_negative_in_original_alexnet",
        HIERARCHY,
        "These negative correlations were also not evident when we tested the original Alexnet on our dataset",
        "the same lowest r of the original, split-channel AlexNet",
        *(0, ">", measure_original_alexnet),
    ),
]


def judge_claims(study: Study) -> pd.DataFrame:
    """Judge every claim.

    Returns:
        One row a claim and region: claim, region, value, low, high (95% interval, NaN where there is none), n (models, pairs,
        cases or participants, as the statistic says), verdict (holds, does not hold, cannot be judged), firm (whether the
        whole interval is on the verdict's side: yes, no, or empty), note.
    """
    rows = pd.DataFrame([row for claim in CLAIMS for row in claim.judge(study)])
    columns = ["claim", "region", "value", "low", "high", "n", "verdict", "firm", "note"]
    return rows.reindex(columns=columns).astype({"n": "Int64"})


def write_claims(
    table1: str | Path, fits: list[str | Path], claims: str | Path, page: str | Path, *, titles: dict[str, str]
) -> None:
    """Judge the claims on every brain data set; write all rows as CSV, and as Markdown to read.

    Args:
        table1: CSV of `table1.make_table1`.
        fits: CSV of `fit_layers.fit_layers` of each brain data set and model.
        claims: CSV to write, the rows of `judge_claims` with brain, section and quote; beside value and verdict those of the
            paper's own Table 1 for regions of the same data.
        page: Markdown to write.
        titles: brain data set -> its title.

    Source: section 5.
    """
    about = pd.DataFrame(
        [{"claim": claim.name, "section": f"5, {claim.section}", "quote": claim.quote} for claim in CLAIMS]
    )
    parts, texts = [], []
    fitted = read_fits(fits, table1, titles)
    for brain, title in titles.items():
        study = read_study(table1, brain, {model: fit for (of, model), fit in fitted.items() if of == brain})
        rows = judge_claims(study).assign(brain=brain).merge(about, on="claim")
        if any(f"{region}_r_published" in study.table for region in study.regions):
            rows = rows.merge(_judge_published(), how="left", on=["claim", "region"])
        parts.append(rows)
        texts.append(f"# {title}\n\n" + "\n".join(_print_claim(claim, rows) for claim in CLAIMS))
    write_csv(pd.concat(parts), claims)
    with write_whole(page) as temporary:
        temporary.write_text(INTRODUCTION + "\n".join(texts), encoding="utf-8")


@cache
def _judge_published() -> pd.DataFrame:
    """Value and verdict of every claim and region in the paper's own Table 1; its bootstrap takes seconds."""
    published = judge_claims(read_published_study()).set_index(["claim", "region"])
    return published[["value", "verdict"]].add_suffix("_published")


INTRODUCTION = """The claims of section 5 of Konkle and Alvarez 2020, judged from this run's numbers. A claim holds where its
number is on the claimed side of the bound; it is firm where the whole 95% interval is. Best layers are chosen on the data that
they are reported on, so every r is biased upwards, the more so the more layers a network has.

"""


def _print_claim(claim: Claim, rows: pd.DataFrame) -> str:
    rows = rows[rows["claim"] == claim.name]
    bound = {">": "above ", "<": "below ", "within": "within +-"}[claim.side] + f"{claim.bound:g}"
    lines = [f"## {claim.name.replace('_', ' ')}", "", f'> "{claim.quote}" (section 5, {claim.section})', ""]
    lines += [f"Statistic: {claim.statistic}. Claimed: {bound}.", ""]
    has_published = "value_published" in rows
    head = ["region", "value", "95% interval", "n", "verdict", "firm", "note"] + ["published table"] * has_published
    lines += [print_row(head), "|---" * len(head) + "|"]
    for row in rows.to_dict("records"):
        interval = "none" if pd.isna(row["low"]) else f"{_print_number(row['low'])} to {_print_number(row['high'])}"
        cells = [
            row["region"],
            _print_number(row["value"]),
            interval,
            row["n"],
            row["verdict"],
            row["firm"],
            row["note"],
        ]
        if has_published:
            known = not pd.isna(row["verdict_published"])
            cells.append(f"{_print_number(row['value_published'])} {row['verdict_published']}" if known else "")
        lines.append(print_row("" if pd.isna(cell) else cell for cell in cells))
    return "\n".join([*lines, ""])


def _print_number(value: float) -> str:
    return "" if pd.isna(value) else f"{round(value, 3) + 0.0:.3f}"
