"""
A study with several seeds of each model (NAME_seed0, NAME_seed1 ...): its numbers over seeds, for docs/miniature.md.

    python -m benchmarks.over_seeds results/cifar10 docs/miniature_layers.png

A number is the mean over seeds and their range; n is the number of seeds. `r` is that of the best layer, as in Table 1;
`held out` that of the layer that other stimuli chose (best_layers.csv); the interval is the mean over seeds of the best
layer's 95% interval over what a region allows (statistics.csv). Pairs are those of a model's seeds with another's
(pairs.csv); q is over all pairs.
"""

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd


def read(path: Path) -> pd.DataFrame:
    """Read a table, and say in the column `kind` which models differ in their seed alone."""
    table = pd.read_csv(path)
    for column in ("model", "model_a", "model_b"):
        if column in table:
            table[column.replace("model", "kind")] = table[column].str.replace(r"_seed\d+$", "", regex=True)
    return table


def read_layers(results: Path) -> pd.DataFrame:
    """Return r of every layer of every model, with its intervals."""
    models = read(results / "table1.csv")["model"].unique()
    places = sorted((results / "statistics").iterdir())
    return pd.concat([read(place / f"{model}.csv") for place in places for model in models], ignore_index=True)


def say(values: pd.Series, digits: int) -> str:
    """Return the mean and, of several values, the range."""
    values = values.dropna()
    if values.empty:
        return ""
    low, mean, high = (f"{x:.{digits}f}" for x in (values.min(), values.mean(), values.max()))
    return mean if len(values) == 1 else f"{mean} ({low} to {high})"


def print_table(rows: list[dict]) -> None:
    print("\n| " + " | ".join(rows[0]) + " |\n|" + "---|" * len(rows[0]))
    for row in rows:
        print("| " + " | ".join(map(str, row.values())) + " |")


def list_models(results: Path) -> list[dict]:
    """Accuracies in %."""
    rows, table = [], read(results / "table1.csv").drop_duplicates("model")
    for kind, models in table.groupby("kind", sort=False):
        row = {"model": kind, "n": len(models)}
        for column, name in {
            "knn_top1": "kNN",
            "linear_probe_l_bfgs_top1": "linear probe",
            "softmax_top1": "softmax",
        }.items():
            row[f"{name} (%)"] = say(models[column], 1) if column in models else ""
        rows.append(row)
    return rows


def list_layers(results: Path) -> list[dict]:
    """Of each model and region the best layer, its interval, and r of the layer that other stimuli chose."""
    rows, statistics = [], read_layers(results)
    best = pd.concat([read(path) for path in sorted(results.glob("statistics/*/best_layers.csv"))])
    at_best = statistics.loc[statistics.groupby(["brain", "model", "region"])["r"].idxmax()]
    for (brain, region, kind), chosen in best.groupby(["brain", "region", "kind"], sort=False):
        found = at_best.query("brain == @brain and region == @region and kind == @kind")
        over = next(what for what in ("both", "stimuli") if found[f"{what}_low"].notna().all())
        rows.append(
            {
                "brain": brain,
                "region": region,
                "model": kind,
                "best layers": ", ".join(found["layer"]),
                "r": say(found["r"], 3),
                "95%": f"{found[f'{over}_low'].mean():.2f} to {found[f'{over}_high'].mean():.2f}",
                "over": {"both": "participants and stimuli", "stimuli": "stimuli"}[over],
                "held out": say(chosen["stimuli_r_held_out"], 3),
            }
        )
    return rows


def list_pairs(results: Path) -> list[dict]:
    """Differences of r between the seeds of two models, and how many of them are significant in either direction."""
    rows, pairs = [], pd.concat([read(path) for path in sorted(results.glob("statistics/*/pairs.csv"))])
    for (brain, region, one, other), found in pairs.groupby(["brain", "region", "kind_a", "kind_b"], sort=False):
        if one != other:
            sure = found[found["significant"]]
            counts = f"{(sure['difference'] > 0).sum()}, {(sure['difference'] < 0).sum()} of {len(found)}"
            row = {"brain": brain, "region": region, "model": one, "minus": other, "r": say(found["difference"], 3)}
            rows.append(row | {"over": found["resampled"].iloc[0], "above, below (q < .05)": counts})
    return rows


def list_claims(results: Path) -> list[dict]:
    """The verdicts on the paper's claims that can be judged here."""
    claims = pd.read_csv(results / "claims.csv")
    rows = []
    for claim in claims[claims["value"].notna()].itertuples():
        interval = "" if pd.isna(claim.low) else f"{claim.low:.2f} to {claim.high:.2f}"
        row = {"claim": claim.claim, "region": claim.region, "value": f"{claim.value:.3f}", "95%": interval}
        rows.append(row | {"n": claim.n, "verdict": claim.verdict, "firm": "" if pd.isna(claim.firm) else claim.firm})
    return rows


def draw_layers(results: Path, path: str) -> None:
    """Draw the mean r over seeds of every layer, their range as a band, and the split-half ceiling; a panel a region."""
    table = read_layers(results)
    ceilings = pd.concat([pd.read_csv(one) for one in sorted(results.glob("statistics/*/noise_ceilings.csv"))])
    ceilings = ceilings[ceilings["kind"] == "split-half over participants"].set_index(["brain", "region"])["r"]
    regions = list(table.groupby(["brain", "region"], sort=False))
    figure, panels = plt.subplots(1, len(regions), figsize=(3 * len(regions), 3), layout="constrained", squeeze=False)
    for panel, ((brain, region), found) in zip(panels[0], regions, strict=True):
        for color, marker, (kind, models) in zip(
            ("#0072B2", "#D55E00", "#3C3C3C", "#009E73"), "osD^", found.groupby("kind", sort=False), strict=False
        ):
            by_layer = models.groupby("layer_index")["r"]
            panel.plot(by_layer.mean(), color=color, marker=marker, markersize=3, label=kind)
            panel.fill_between(
                by_layer.min().index, by_layer.min(), by_layer.max(), color=color, alpha=0.2, linewidth=0
            )
        if ceilings.notna().get((brain, region), False):
            panel.axhline(ceilings[brain, region], color="0.4", linewidth=1, linestyle="--")
        panel.axhline(0, color="0.8", linewidth=1)
        panel.set_title(region, fontsize="medium")
        panel.set_xlabel("layer")
        panel.spines[["top", "right"]].set_visible(False)
    panels[0, 0].set_ylabel("r")
    figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False)
    figure.savefig(path, dpi=150)


def main() -> None:
    results = Path(sys.argv[1])
    for rows in (list_models(results), list_layers(results), list_pairs(results), list_claims(results)):
        print_table(rows)
    draw_layers(results, sys.argv[2])


if __name__ == "__main__":
    main()
