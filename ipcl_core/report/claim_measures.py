"""
The numbers behind the claims of the paper's section 5.

Each `measure_` function yields one number a region, or one for all, with a 95% interval where the number has a distribution.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import scipy

from ..brains.store import BEHAVIOUR
from ..config.architectures import find_family
from ..fits.fit_layers import find_best_layers
from .table1 import list_regions, read_published, read_table1

MARGIN = 0.05
"""A difference of r below it counts as comparable: the published table has up to .04 between IPCL's five runs."""
N_BOOTSTRAPS, SEED = 1000, 0
LATE_CONVOLUTIONS = ("conv_block_4", "conv_block_5")
SELF_SUPERVISED_ALEXNETS = ("IPCL", "Wusnet")
TWO_REGIONS = "two regions at least, an early and a late one"


class CannotJudge(ValueError):
    """The models or tables at hand do not allow to judge a claim; the message says what is missing."""


class Measured(NamedTuple):
    """A claim's number for one region, or for all of them."""

    region: str
    value: float
    low: float = math.nan
    high: float = math.nan
    n: int = 1
    note: str = ""


@dataclass
class Study:
    """What the claims are judged on.

    Args:
        table: one row a model: framework, architecture, family (the architecture without its width), dim, top1 in %, and the
            best layer's r in a column named after each region.
        regions: of the brain, early to late.
        fits: model -> table of `fit_layers.fit_layers`; empty where only Table 1 is known.
    """

    table: pd.DataFrame
    regions: list[str]
    fits: dict[str, pd.DataFrame]

    def select(self, frameworks: Iterable[str] | None = None, family: str = "") -> pd.DataFrame:
        """Return the models of some frameworks whose family begins with a word."""
        rows = self.table[self.table["family"].str.startswith(family)]
        return rows if frameworks is None else rows[rows["framework"].isin(frameworks)]

    def pair(self, region: str) -> pd.DataFrame:
        """Return a row for each self-supervised framework on each family that has a supervised twin: family, framework,
        difference of their mean r."""
        learned = self.table[~self.table["framework"].isin(["Supervised", "Pretrained"])]
        twins = self.select(["Supervised"]).groupby("family")[region].mean()
        means = learned.groupby(["family", "framework"], sort=False)[region].mean()
        means = means[means.index.get_level_values("family").isin(twins.index)].dropna()
        _require(means, "a self-supervised model and a supervised one of the same architecture")
        return (means - means.index.get_level_values("family").map(twins)).rename("difference").reset_index()

    def read_depths(self) -> pd.DataFrame:
        """Return (n_models, n_regions) relative depths of the best layers: 0 the first layer, 1 the last."""
        _require(self.fits, "the fits of every layer; it cannot be judged from the table alone")
        depths = {}
        for name, fit in self.fits.items():
            depths[name] = find_best_layers(fit)["layer_index"] / max(1, fit["layer_index"].max())
        return pd.DataFrame(depths).T.reindex(columns=self.regions)


def read_study(table1: str | Path, brain: str, fits: dict[str, pd.DataFrame]) -> Study:
    """Read what the claims need of one brain data set: Table 1, beside model -> table of `fit_layers.fit_layers`.

    The paper's claims are about trained models: untrained networks and those of `source: own` are left out, every other
    model of the configuration counts.
    """
    table = read_table1(table1, brain)
    regions = [region for region in list_regions(table) if region != BEHAVIOUR] or [BEHAVIOUR]
    table = table[~table["source"].isin(["untrained", "own"])].dropna(
        how="all", subset=[f"{region}_r" for region in regions]
    )
    table = table.rename(columns={f"{region}_r": region for region in regions})
    return Study(_add_family(table), regions, {name: fits[name] for name in table.index})


def read_published_study() -> Study:
    """Return the paper's own Table 1 as a study without fits."""
    return Study(_add_family(read_published()), ["EarlyV", "pOTC", "aOTC"], {})


def _add_family(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(family=table["architecture"].map(find_family))


def _require(there, what: str) -> None:
    """Raise where a condition does not hold, or a collection or table is empty."""
    if not (there if isinstance(there, bool) else len(there)):
        raise CannotJudge(what)


def _find_interval(values: Iterable[float]) -> tuple[float, float, float, int]:
    """Return mean, its 95% t interval (NaN for one value) and n."""
    values = np.asarray([value for value in values if not math.isnan(value)], dtype=float)
    _require(values, "an r that none of these models or layers has")
    mean, n = values.mean(), len(values)
    half = scipy.stats.t.ppf(0.975, n - 1) * values.std(ddof=1) / math.sqrt(n) if n > 1 else math.nan
    return mean, mean - half, mean + half, n


def _compare(first: Iterable[float], second: Iterable[float]) -> tuple[float, float, float, int]:
    """Return the difference of two means, Welch's 95% interval (NaN where either is one value) and both n."""
    a, b = np.asarray(first, float), np.asarray(second, float)
    low = high = math.nan
    if min(len(a), len(b)) > 1 and a.std() + b.std() > 0:
        low, high = scipy.stats.ttest_ind(a, b, equal_var=False).confidence_interval()
    return a.mean() - b.mean(), low, high, len(a) + len(b)


def measure_highest(study: Study) -> Iterator[Measured]:
    means = study.table.groupby(["framework", "family"])[study.regions].mean().dropna()
    ours = means[[family == "alexnet_gn" and name in SELF_SUPERVISED_ALEXNETS for name, family in means.index]]
    others = means.drop(ours.index)
    _require(len(ours) == 2, "IPCL and Wusnet with AlexNet-gn")
    _require(others, "models besides IPCL and Wusnet with AlexNet-gn")
    weaker, rival = ours.mean(axis=1).idxmin(), others.mean(axis=1).idxmax()
    note = f"{' '.join(weaker)} minus {' '.join(rival)}"
    yield Measured("all", *_find_interval(ours.loc[weaker] - others.loc[rival]), note)


def measure_twins(study: Study) -> Iterator[Measured]:
    for region in study.regions:
        pairs = study.pair(region).groupby("family", sort=False)["difference"].mean()
        note = ", ".join(f"{family} {difference:+.3f}" for family, difference in pairs.items())
        yield Measured(region, *_find_interval(pairs), note)


def _list_exceptions(study: Study) -> tuple[list[tuple[str, str, str]], int]:
    """Return (region, framework, family) of the cases where the supervised twin is better by the margin, and all cases."""
    pairs = pd.concat([study.pair(region).assign(region=region) for region in study.regions])
    exceptions = pairs[pairs["difference"] <= -MARGIN]
    return list(exceptions[["region", "framework", "family"]].itertuples(index=False, name=None)), len(pairs)


def measure_cases(study: Study) -> Iterator[Measured]:
    exceptions, n = _list_exceptions(study)
    count = scipy.stats.binomtest(n - len(exceptions), n)
    note = "not: " + "; ".join(" ".join(case) for case in exceptions) if exceptions else ""
    yield Measured("all", count.statistic, *count.proportion_ci(), n, note)


def measure_exceptions(study: Study) -> Iterator[Measured]:
    exceptions, _ = _list_exceptions(study)
    _require(exceptions, "a case where the supervised twin is better")
    expected = [case for case in exceptions if case[0] == study.regions[-1] and case[2] in ("resnet18", "cornet_z_bn")]
    count = scipy.stats.binomtest(len(expected), len(exceptions))
    note = "; ".join(" ".join(case) for case in exceptions)
    yield Measured("all", count.statistic, *count.proportion_ci(), len(exceptions), note)


def _measure_best(study: Study, ours: pd.DataFrame, what: str) -> Iterator[Measured]:
    """The best r of some models minus that of all others."""
    others = study.table.drop(ours.index)
    _require(ours, what)
    _require(others, f"models besides {what}")
    for region in study.regions:
        best, rival = ours[region].idxmax(), others[region].idxmax()
        note = f"{best} {ours.at[best, region]:.2f}, {rival} {others.at[rival, region]:.2f}"
        yield Measured(region, ours.at[best, region] - others.at[rival, region], n=len(study.table), note=note)


def measure_best_self_supervised(study: Study) -> Iterator[Measured]:
    return _measure_best(study, study.select(SELF_SUPERVISED_ALEXNETS, "alexnet"), "IPCL or Wusnet AlexNets")


def measure_best_alexnet(study: Study) -> Iterator[Measured]:
    return _measure_best(study, study.select(family="alexnet"), "AlexNets")


def build_design(table: pd.DataFrame) -> dict[str, np.ndarray]:
    """Return factor -> (n_models, n_columns): of architecture (family), framework, dimension (indicators) and top-1 accuracy.

    Supervised models are a level of dimension, and so are those whose dimension no other has.

    Args:
        table: as of `Study`, every number finite.
    """
    dims = table["dim"].map(lambda dim: "none" if pd.isna(dim) else f"{dim:.0f}")
    dims = dims.where(dims.map(dims.value_counts()) > 1, "of one model")
    return {
        "architecture": _indicate(table["family"]),
        "framework": _indicate(table["framework"]),
        "dimension": _indicate(dims),
        "top-1": (table[["top1"]] - table["top1"].mean()).to_numpy(float),
    }


def partition_variance(design: dict[str, np.ndarray], y: np.ndarray) -> dict[str, np.ndarray]:
    """Return each factor's share of the variance of y: its type II sum of squares over the total, (n_regions,).

    y is (n_models, n_regions) r, or (n_models,); without variance the shares are NaN.

    The model is linear in the factors, without interactions. A share is the increase of the residual sum of squares when the
    factor is left out; what several factors could explain alike belongs to none, so the shares sum to less than 1.
    """

    def residual(factors: Iterable[str]) -> np.ndarray:
        columns = np.hstack([np.ones((len(y), 1)), *(design[factor] for factor in factors)])
        return ((y - columns @ np.linalg.lstsq(columns, y, rcond=1e-10)[0]) ** 2).sum(0)

    full, total = residual(design), np.where(np.ptp(y, axis=0) > 0, residual(()), np.nan)
    return {name: (residual([other for other in design if other != name]) - full) / total for name in design}


def _indicate(levels: pd.Series) -> np.ndarray:
    return pd.get_dummies(levels).to_numpy(float)


def measure_architecture(study: Study) -> Iterator[Measured]:
    rng = np.random.default_rng(SEED)
    table = study.table.dropna(subset=["top1", *study.regions])
    for column in ("family", "framework"):
        _require(table[column].nunique() > 1, f"models of two {column} at least")
    _require(len(table) > 10 and bool((table[study.regions].nunique() > 1).all()), "more than ten models")
    draws = rng.integers(len(table), size=(N_BOOTSTRAPS, len(table)))
    design, y = build_design(table), table[study.regions].to_numpy(float)
    samples = [({name: columns[draw] for name, columns in design.items()}, y[draw]) for draw in draws]
    shares = partition_variance(design, y)
    value, leads = _lead(shares), np.array([_lead(partition_variance(*sample)) for sample in samples])
    for i, region in enumerate(study.regions):
        low, high = np.nanquantile(leads[:, i], [0.025, 0.975])
        note = ", ".join(f"{name} {share[i]:.3f}" for name, share in shares.items())
        yield Measured(region, value[i], low, high, len(table), note)


def _lead(shares: dict[str, np.ndarray]) -> np.ndarray:
    return shares["architecture"] - np.max([share for name, share in shares.items() if name != "architecture"], axis=0)


def measure_same_training(study: Study) -> Iterator[Measured]:
    wusnets = study.select(["Wusnet"])
    ours, others = wusnets[wusnets["family"] == "alexnet_gn"], wusnets[wusnets["family"] != "alexnet_gn"]
    _require(ours, "Wusnets with AlexNet-gn")
    _require(others, "Wusnets with another architecture")
    for region in study.regions:
        rival = others.groupby("family")[region].mean().idxmax()
        yield Measured(region, *_compare(ours[region], others.loc[others["family"] == rival, region]), f"minus {rival}")


def measure_dimension(study: Study) -> Iterator[Measured]:
    rows = study.table.dropna(subset="dim")
    cells = rows["framework"] + " " + rows["architecture"]
    rows = rows[rows["dim"].groupby(cells).transform("nunique") > 1]
    _require(rows, "one framework and architecture with several dimensions")
    cells = cells[rows.index]
    design = np.hstack([_indicate(cells), np.log2(rows[["dim"]].to_numpy(float))])
    scale, freedom = math.log2(1000 / 128), len(rows) - design.shape[1]
    for region in study.regions:
        y = rows[region].to_numpy(float)
        slope = np.linalg.lstsq(design, y, rcond=None)[0]
        half = math.nan
        if freedom > 0:
            variance = ((y - design @ slope) ** 2).sum() / freedom * np.linalg.inv(design.T @ design)[-1, -1]
            half = scipy.stats.t.ppf(0.975, freedom) * math.sqrt(variance) * scale
        value = slope[-1] * scale
        yield Measured(region, value, value - half, value + half, len(rows), f"{cells.nunique()} architectures")


def measure_prediction_by_accuracy(study: Study) -> Iterator[Measured]:
    rows = study.table.dropna(subset="top1")
    _require(len(rows) > 3 and rows["top1"].nunique() > 1, "four models at least, and different accuracies")
    for region in study.regions:
        result = scipy.stats.pearsonr(rows["top1"], rows[region])
        note = "the higher the accuracy, the lower r" if result.confidence_interval().high < 0 else ""
        yield Measured(region, result.statistic, *result.confidence_interval(), len(rows), note)


def measure_hierarchy(study: Study) -> Iterator[Measured]:
    _require(len(study.regions) > 1, TWO_REGIONS)
    depths = study.read_depths()
    yield Measured("all", *_find_interval(depths[study.regions[-1]] - depths[study.regions[0]]))


def measure_family_hierarchy(study: Study) -> Iterator[Measured]:
    _require(len(study.regions) > 1, TWO_REGIONS)
    depths = study.read_depths()
    gains = (depths[study.regions[-1]] - depths[study.regions[0]]).dropna()
    alexnets, resnets = (gains[gains.index.isin(study.select(family=name).index)] for name in ("alexnet", "resnet"))
    _require(alexnets, "AlexNets")
    _require(resnets, "ResNets")
    yield Measured("all", *_compare(alexnets, resnets))


def measure_layer_types(study: Study) -> Iterator[Measured]:
    _require(len(study.regions) > 1, TWO_REGIONS)
    _require(study.fits, "the fits of every layer; it cannot be judged from the table alone")
    leads = {}
    for name in study.select(family="alexnet").index:
        group = study.fits[name].query("participant == 'group'")
        best = {
            kind: group[group["layer"].str.startswith(kind)].groupby("region")["r"].max() for kind in ("conv", "fc")
        }
        leads[name] = (best["conv"] - best["fc"]).reindex(study.regions)
    _require(leads, "AlexNets")
    first, last = study.regions[0], study.regions[-1]
    yield Measured("all", *_find_interval([lead[first] - lead[last] for lead in leads.values()]))


def _measure_lowest(study: Study, models: pd.DataFrame, what: str) -> Iterator[Measured]:
    """The lowest r of the late convolutional layers, over participants where there are any."""
    _require(models, what)
    _require(study.fits, "the fits of every layer; it cannot be judged from the table alone")
    for region in study.regions:
        fits = pd.concat([study.fits[name].assign(model=name) for name in models.index], ignore_index=True)
        late = fits[(fits["region"] == region) & fits["layer"].str.startswith(LATE_CONVOLUTIONS)].dropna(subset="r")
        _require(late, f"late convolutional layers of {what}")
        group = late[late["participant"] == "group"]
        model, layer = group.loc[group["r"].idxmin(), ["model", "layer"]]
        chosen = late[(late["model"] == model) & (late["layer"] == layer)].set_index("participant")["r"]
        people = chosen.drop("group")
        note = f"{model} {layer}, group r {chosen['group']:.3f}"
        yield Measured(region, *_find_interval(people if len(people) else [chosen["group"]]), note)


def measure_supervised_alexnets(study: Study) -> Iterator[Measured]:
    models = study.select(["Supervised"], "alexnet_")
    return _measure_lowest(study, models, "supervised AlexNets with group or batch norm")


def measure_original_alexnet(study: Study) -> Iterator[Measured]:
    models = study.select(["Supervised"], "alexnet")
    return _measure_lowest(study, models[models["family"] == "alexnet"], "the original AlexNet, supervised")
