import math
import re

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from scipy import stats

from ipcl_core.report.claim_measures import (
    CannotJudge,
    Measured,
    Study,
    build_design,
    partition_variance,
    read_published_study,
)
from ipcl_core.report.claims import CLAIMS, Claim, judge_claims, write_claims
from ipcl_core.report.table1 import read_published

REGIONS = ("EarlyV", "pOTC", "aOTC")
NEED_FITS = ["hierarchy_weak", "hierarchy_clearer_in_alexnets", "convolutions_fit_early_regions"]
NEED_FITS += ["negative_late_supervised", "not_negative_in_original_alexnet"]
FROM_TABLE = [claim.name for claim in CLAIMS if claim.name not in NEED_FITS]
SIDES = {  # what the sentence says of its number
    "highest_correspondence": (">", 0),  # the highest
    "twins": (">", -0.05),  # comparable or higher
    "nearly_all_cases": (">", 0.8),  # in nearly all cases
    "exceptions": (">", 0.5),  # the main cases
    "best_is_self_supervised": (">", 0),  # the highest was self-supervised
    "architecture_matters_most": (">", 0),  # more than any other factor
    "same_training": (">", 0),  # more brain-like
    "best_is_alexnet": (">", 0),  # the best matching
    "dimension_negligible": ("within", 0.05),  # negligible, up or down
    "accuracy_not_predictive": ("<", 0.3),  # below Cohen's medium correlation
    "hierarchy_weak": ("<", 0.5),  # not particularly clear
    "hierarchy_clearer_in_alexnets": (">", 0),  # clearer in AlexNets
    "convolutions_fit_early_regions": (">", 0),  # better with the earlier regions
    "negative_late_supervised": ("<", 0),  # negative
    "not_negative_in_original_alexnet": (">", 0),  # not negative
}


@pytest.fixture(scope="module")
def judged() -> pd.DataFrame:
    """The claims, judged on the paper's own Table 1."""
    return judge_claims(read_published_study()).set_index("claim")


def test_sides_and_bounds():
    assert {claim.name: (claim.side, claim.bound) for claim in CLAIMS} == SIDES


@pytest.mark.parametrize("name", FROM_TABLE)
def test_published_table_gives_the_papers_verdicts(judged, name):
    assert judged.loc[[name], "verdict"].eq("holds").all()


@pytest.mark.parametrize("name", NEED_FITS)
def test_claims_on_layers_cannot_be_judged_from_a_table(judged, name):
    row = judged.loc[name]
    assert row["verdict"] == "cannot be judged" and row["note"].startswith("needs ") and math.isnan(row["value"])


def test_published_numbers_by_hand(judged):
    """From the printed table: means of 5 IPCL runs and 3 Wusnets per architecture, and so on."""
    highest = judged.loc["highest_correspondence"]
    differences = [0.75 - 0.72, 2.32 / 5 - 0.46, 1.42 / 5 - 0.23]  # IPCL minus the supervised AlexNet-gn
    assert highest["value"] == pytest.approx(np.mean(differences), abs=1e-9)
    half = stats.t.ppf(0.975, 2) * np.std(differences, ddof=1) / math.sqrt(3)
    assert_allclose(highest[["low", "high"]].tolist(), np.mean(differences) + np.array([-half, half]), atol=1e-9)
    twins = judged.loc["twins"].set_index("region")
    resnet50 = (0.24 + 0.80 / 3 + 0.47 / 2) / 3  # Wusnet, SimCLR, MoCo v2
    alexnet_gn = (1.42 / 5 + 0.96 / 3) / 2
    aotc = [alexnet_gn - 0.23, 0.87 / 3 - 0.22, 0.48 / 3 - 0.25, 0.59 / 3 - 0.30, resnet50 - 0.22]
    assert twins.at["aOTC", "value"] == pytest.approx(np.mean(aotc), abs=1e-9) and twins.at["aOTC", "n"] == 5
    assert twins["firm"].to_dict() == {"EarlyV": "yes", "pOTC": "yes", "aOTC": "no"}
    cases = judged.loc["nearly_all_cases"]
    assert (cases["value"], cases["n"]) == (21 / 24, 24)
    assert cases["note"] == "not: pOTC MoCo2 resnet50; aOTC Wusnet cornet_z_bn; aOTC Wusnet resnet18"
    assert judged.at["exceptions", "value"] == pytest.approx(2 / 3)
    best = judged.loc["best_is_self_supervised"].set_index("region")["value"]
    assert_allclose(best[[*REGIONS]], [0.77 - 0.72, 0.48 - 0.46, 0.33 - 0.30], atol=1e-9)
    best = judged.loc["best_is_alexnet"].set_index("region")["value"]
    assert_allclose(best[[*REGIONS]], [0.77 - 0.65, 0.48 - 0.44, 0.33 - 0.30], atol=1e-9)
    same = judged.loc["same_training"].set_index("region")
    assert_allclose(same.loc[[*REGIONS], "value"], [2.29 / 3 - 1.93 / 3, 1.42 / 3 - 1.34 / 3, 0.96 / 3 - 0.87 / 3])
    welch = stats.ttest_ind([0.30, 0.33, 0.33], [0.27, 0.31, 0.29], equal_var=False).confidence_interval()
    assert_allclose(same.loc["aOTC", ["low", "high"]].tolist(), welch, atol=1e-9)


def test_accuracy_is_fishers_interval(judged):
    table = read_published()
    for region, row in judged.loc["accuracy_not_predictive"].set_index("region").iterrows():
        r = np.corrcoef(table["top1"], table[region])[0, 1]
        half = stats.norm.ppf(0.975) / math.sqrt(28 - 3)
        expected = [r, math.tanh(math.atanh(r) - half), math.tanh(math.atanh(r) + half)]
        assert_allclose(row[["value", "low", "high"]].tolist(), expected, atol=1e-9)


def test_dimension_is_the_slope_within_architectures(judged):
    """Against the within-group estimator: centre r and log2(d) on each architecture's mean, then one slope."""
    table = read_published().query("framework == 'Wusnet' and architecture != 'resnet50'")
    x = np.log2(table["dim"]) - np.log2(table["dim"]).groupby(table["architecture"]).transform("mean")
    for region, row in judged.loc["dimension_negligible"].set_index("region").iterrows():
        y = table[region] - table[region].groupby(table["architecture"]).transform("mean")
        slope = (x * y).sum() / (x**2).sum()
        error = math.sqrt(((y - slope * x) ** 2).sum() / (12 - 5) / (x**2).sum())
        scale, half = math.log2(1000 / 128), stats.t.ppf(0.975, 7) * error
        assert_allclose(row[["value", "low", "high"]].tolist(), np.array([slope, slope - half, slope + half]) * scale)
        assert row["n"] == 12 and row["note"] == "4 architectures"


def make_table(rows: list[tuple]) -> pd.DataFrame:
    """A study's table: family, framework, dim, top1, r of the region V."""
    table = pd.DataFrame(rows, columns=["family", "framework", "dim", "top1", "V"])
    table["architecture"], table.index = table["family"], [f"model{i}" for i in range(len(table))]
    return table


def test_variance_partition_of_a_balanced_design():
    """Without overlap of the factors, type II shares are the shares of the marginal means."""
    effects = {"alexnet_gn": 0.3, "alexnet_bn": 0.0, "resnet18": -0.3}, {"IPCL": 0.1, "Wusnet": -0.1}
    rows = [(a, f, 128, 50.0, 0.5 + x + y) for a, x in effects[0].items() for f, y in effects[1].items()]
    shares = partition_variance(build_design(table := make_table(rows)), table["V"].to_numpy())
    total = 2 * 2 * 0.3**2 + 6 * 0.1**2
    expected = {"architecture": 4 * 0.3**2 / total, "framework": 6 * 0.1**2 / total, "dimension": 0, "top-1": 0}
    assert shares == pytest.approx(expected, abs=1e-12)


def test_variance_partition_equals_nested_fits():
    """Against residual sums of squares of the models with and without a factor, their columns written out."""
    table = read_published_study().table
    names = {"architecture": "family", "framework": "framework"}
    one = np.ones((28, 1))
    columns = {
        f: np.hstack([np.array(table[c] == v, float)[:, None] for v in table[c].unique()]) for f, c in names.items()
    }
    dims = table["dim"].fillna(0)
    columns["dimension"] = np.hstack([np.array(dims == v, float)[:, None] for v in (0, 128, 256, 1000)])
    columns["top-1"] = table[["top1"]].to_numpy()
    y = table["pOTC"].to_numpy()

    def residual(*factors):
        design = np.hstack([one, *(columns[f] for f in factors)])
        return ((y - design @ (np.linalg.pinv(design, rcond=1e-8) @ y)) ** 2).sum()

    total = ((y - y.mean()) ** 2).sum()
    for factor, share in partition_variance(build_design(table), table["pOTC"].to_numpy(float)).items():
        others = [f for f in columns if f != factor]
        assert share == pytest.approx((residual(*others) - residual(*columns)) / total, abs=1e-6)


def test_lost_claims_are_named():
    """A study that says the opposite of the paper in everything that a table can tell."""
    rows = [("resnet18", "Wusnet", dim, 40 + i, 0.3 + 0.1 * i) for i, dim in enumerate((128, 256, 1000))]
    rows += [("alexnet_gn", "Wusnet", 128, 20, 0.1), ("alexnet_gn", "IPCL", 128, 21, 0.1)]
    rows += [("resnet18", "Supervised", None, 70, 0.9), ("alexnet_gn", "Supervised", None, 60, 0.85)]
    rows += [("alexnet_bn", "Supervised", None, 65, 0.8), ("alexnet_bn", "Wusnet", 128, 66, 0.2)]
    rows += [("cornet_z_bn", "Supervised", None, 70, 0.88), ("cornet_z_bn", "Wusnet", 128, 30, 0.2)]
    verdicts = judge_claims(Study(make_table(rows), ["V"], {})).set_index("claim")["verdict"]
    assert verdicts[FROM_TABLE].eq("does not hold").all()


@pytest.mark.parametrize(
    ("side", "measured", "verdict", "firm"),
    [
        (">", (0.2, 0.15, 0.3), "holds", "yes"),
        (">", (0.2, 0.05, 0.3), "holds", "no"),
        (">", (0.0, -0.1, 0.05), "does not hold", "yes"),
        (">", (0.0, -0.1, 0.2), "does not hold", "no"),
        ("<", (0.0, -0.1, 0.05), "holds", "yes"),
        ("<", (0.2, 0.05, 0.3), "does not hold", "no"),
        ("within", (0.0, -0.05, 0.05), "holds", "yes"),
        ("within", (0.0, -0.15, 0.05), "holds", "no"),
        ("within", (-0.2, -0.3, -0.15), "does not hold", "yes"),
        (">", (0.2, math.nan, math.nan), "holds", ""),
        (">", (math.nan, math.nan, math.nan), "cannot be judged", ""),
    ],
)
def test_verdicts(side, measured, verdict, firm):
    claim = Claim("a", "b", "c", "d", 0.1, side, lambda study: iter([Measured("V", *measured)]))
    (row,) = claim.judge(None)
    assert (row["verdict"], row["firm"]) == (verdict, firm)


def test_missing_models_are_named():
    study = Study(make_table([("alexnet_gn", "IPCL", 128, 30, 0.5)] * 2), ["V"], {})
    notes = judge_claims(study).set_index("claim")
    assert notes["verdict"].eq("cannot be judged").all()
    assert notes.at["highest_correspondence", "note"] == "needs IPCL and Wusnet with AlexNet-gn"
    assert "the same architecture" in notes.at["twins", "note"]
    with pytest.raises(CannotJudge, match="the fits"):
        study.read_depths()


def test_layers_that_are_not_there_are_no_evidence():
    """A configuration that chose convolutions alone, or neither, says nothing about fully-connected layers."""
    columns = ["region", "layer", "layer_index", "participant", "r"]
    for name in ("conv_block", "norm"):
        fits = [(region, f"{name}_{i}", i, "group", 0.1 * i) for region in ("V", "W") for i in (1, 4, 5)]
        table = make_table([("alexnet_gn", "IPCL", 128, 30, 0.5)]).assign(W=0.5)
        study = Study(table, ["V", "W"], {"model0": pd.DataFrame(fits, columns=columns)})
        row = judge_claims(study).set_index("claim").loc["convolutions_fit_early_regions"]
        assert row["verdict"] == "cannot be judged" and "layers" in row["note"]


def test_one_region_is_no_hierarchy():
    columns = ["region", "layer", "layer_index", "participant", "r"]
    fits = [("V", layer, i, "group", 0.1 * i) for i, layer in enumerate(LAYERS)]
    table = make_table([("alexnet_gn", "IPCL", 128, 30, 0.5), ("resnet18", "IPCL", 128, 30, 0.5)])
    study = Study(table, ["V"], dict.fromkeys(table.index, pd.DataFrame(fits, columns=columns)))
    rows = judge_claims(study).set_index("claim").loc[NEED_FITS[:3]]
    assert rows["verdict"].eq("cannot be judged").all() and rows["note"].str.contains("two regions").all()


LAYERS = ["conv_block_1.0", "conv_block_4.1", "conv_block_5.2", "fc6.0", "fc7.0"]


def write_fits(path, r: dict[str, list[float]], shifts=(-0.02, 0.0, 0.03)):
    """Fits of five layers; participants' r are the group's, shifted."""
    rows, names = [], ("objects", path.stem)
    for region, values in r.items():
        for i, value in enumerate(values):
            layer = f"l.{i}" if "resnet" in path.name else LAYERS[i]
            rows.append((*names, region, layer, i, "group", value, 10))
            rows += [(*names, region, layer, i, f"S{n}", value + shift, 10) for n, shift in enumerate(shifts)]
    columns = ["brain", "model", "region", "layer", "layer_index", "participant", "r", "n_pairs"]
    pd.DataFrame(rows, columns=columns).to_csv(path, index=False)


@pytest.fixture
def run(tmp_path):
    """Table 1 and fits of a run: two AlexNets whose best layer moves from first to last, two ResNets where it does not."""
    forward = {"V1": [0.5, 0.4, -0.2, 0.1, 0.2], "IT": [0.1, -0.3, 0.1, 0.2, 0.4]}
    still = {"V1": [0.1, 0.5, 0.1, 0.1, 0.1], "IT": [0.1, 0.3, 0.1, 0.1, 0.1]}
    models = {"supervised_alexnet_bn": ("Supervised", "alexnet_bn", still)}
    models |= {"supervised_alexnet_gn": ("Supervised", "alexnet_gn", forward)}
    models |= {"supervised_alexnet": ("Supervised", "alexnet", still)}
    models |= {"ipcl_alexnet_gn": ("IPCL", "alexnet_gn", forward)}
    models |= {f"resnet_{n}": ("Wusnet", "resnet18", still) for n in (1, 2)}
    models |= {"untrained_alexnet_gn": ("Untrained", "alexnet_gn", still), "mine": ("IPCL", "alexnet_gn", still)}
    rows = []
    for name, (framework, architecture, r) in models.items():
        write_fits(tmp_path / f"{name}.csv", r)
        row = {
            "model": name,
            "framework": framework,
            "architecture": architecture,
            "dim": 128,
            "width": 1.0,
            "top1": 40.0,
        }
        source = "own" if name == "mine" else "untrained" if framework == "Untrained" else "trained"
        row |= {"source": source, "origin": "trained here", "brain": "objects", "regions": "V1, IT"}
        row |= {"V1_r": max(r["V1"]), "V1_noise_ceiling": 0.9, "IT_r": max(r["IT"]), "IT_noise_ceiling": 0.8}
        rows.append(row)
    table = pd.DataFrame(rows)
    table.to_csv(tmp_path / "table1.csv", index=False)
    judge(tmp_path, [*models])
    return tmp_path


def judge(folder, models: list[str]) -> None:
    fits = [folder / f"{name}.csv" for name in models]
    files = folder / "table1.csv", fits, folder / "claims.csv", folder / "claims.md"
    write_claims(*files, titles={"objects": "Objects"})


def test_claims_on_layers_by_hand(run):
    claims = pd.read_csv(run / "claims.csv", index_col="claim", keep_default_na=False)
    gains = [
        0.0,
        1.0,
        0.0,
        1.0,
        0.0,
        0.0,
    ]  # supervised bn, gn, original; IPCL; the ResNets; the untrained network and the user's own take no part
    weak = claims.loc["hierarchy_weak"]
    assert float(weak["value"]) == pytest.approx(np.mean(gains)) and weak["n"] == "6"
    half = stats.t.ppf(0.975, 5) * np.std(gains, ddof=1) / math.sqrt(6)
    assert_allclose([float(weak["low"]), float(weak["high"])], [1 / 3 - half, 1 / 3 + half], atol=1e-12)
    clearer = claims.loc["hierarchy_clearer_in_alexnets"]
    assert float(clearer["value"]) == pytest.approx(1 / 2) and clearer["verdict"] == "holds" and clearer["firm"] == "no"
    early = [(0.5 - 0.2) - (0.1 - 0.4), (0.5 - 0.1) - (0.3 - 0.1)] * 2
    assert float(claims.at["convolutions_fit_early_regions", "value"]) == pytest.approx(np.mean(early))
    negative = claims.loc["negative_late_supervised"].set_index("region")
    people = np.array([-0.02, 0, 0.03]) - 0.3
    assert float(negative.at["IT", "value"]) == pytest.approx(people.mean()) and negative.at["IT", "n"] == "3"
    assert negative.at["IT", "note"] == "supervised_alexnet_gn conv_block_4.1, group r -0.300"
    assert negative["verdict"].eq("holds").all() and negative["firm"].eq("yes").all()
    assert claims.loc["not_negative_in_original_alexnet", "verdict"].eq("holds").all()
    assert claims.at["highest_correspondence", "note"] == "needs IPCL and Wusnet with AlexNet-gn"


def test_page_quotes_every_claim_with_its_verdicts(run):
    page = (run / "claims.md").read_text()
    for claim in CLAIMS:
        assert f'> "{claim.quote}" (section 5, {claim.section})' in page and claim.statistic in page
    assert page.count("\n# Objects\n") == 1
    rows = [line for line in page.splitlines() if line.startswith("| ") and not line.startswith("| region")]
    claims = pd.read_csv(run / "claims.csv")
    assert len(rows) == len(claims) and {row.count("|") for row in rows} == {8}
    assert "nan" not in page.lower().replace("dominan", "")


def test_a_name_with_the_mark_between_cells_stays_in_its_cell(run):
    """The note on the case where the supervised twin is better names the framework."""
    table = pd.read_csv(run / "table1.csv").replace({"framework": {"IPCL": "IPCL | five views"}})
    table.loc[table["model"] == "ipcl_alexnet_gn", "V1_r"] -= 0.3
    table.to_csv(run / "table1.csv", index=False)
    judge(run, list(table["model"]))
    rows = [line for line in (run / "claims.md").read_text().splitlines() if line.startswith("| ")]
    assert any(r"V1 IPCL \| five views" in row for row in rows)
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {8}


def test_published_verdicts_stand_beside_those_of_the_papers_data(run):
    table = pd.read_csv(run / "table1.csv").rename(columns=lambda name: name.replace("V1_", "EarlyV_"))
    table.assign(EarlyV_r_published=0.5, regions="EarlyV, IT").to_csv(run / "table1.csv", index=False)
    for file in [path for path in run.glob("*.csv") if path.name not in ("table1.csv", "claims.csv")]:
        file.write_text(file.read_text().replace(",V1,", ",EarlyV,"))
    judge(run, list(table["model"]))
    claims = pd.read_csv(run / "claims.csv").set_index(["claim", "region"])
    assert claims.at[("best_is_alexnet", "EarlyV"), "verdict_published"] == "holds"
    assert claims.at[("best_is_alexnet", "EarlyV"), "value_published"] == pytest.approx(0.12)
    assert "| 0.120 holds |" in (run / "claims.md").read_text()
    other = table.assign(EarlyV_r_published=0.5, brain="other", regions="EarlyV, IT")
    pd.concat([table.assign(regions="EarlyV, IT"), other]).to_csv(run / "table1.csv", index=False)
    judge(run, list(table["model"]))
    assert "value_published" not in pd.read_csv(run / "claims.csv"), "numbers of a region of that name in other data"


def test_hierarchy_is_that_of_the_brain_whatever_another_one_has(run):
    """In the table, the columns of another brain's IT stand before those of V1."""
    expected = (run / "claims.csv").read_bytes()
    table = pd.read_csv(run / "table1.csv")
    other = table.drop(columns=[name for name in table if name.startswith("V1_")]).assign(brain="other", regions="IT")
    pd.concat([other, table]).to_csv(run / "table1.csv", index=False)
    judge(run, list(table["model"]))
    assert (run / "claims.csv").read_bytes() == expected


def test_claims_are_about_the_brain(run):
    """A region of judgments, behind the others, takes no part."""
    expected = (run / "claims.csv").read_bytes()
    table = pd.read_csv(run / "table1.csv")
    judged = {name.replace("IT_", "Behaviour_"): 1 - table[name] for name in table if name.startswith("IT_")}
    assert "Behaviour_noise_ceiling" in judged and len(judged) > 1
    table.assign(**judged, regions="V1, IT, Behaviour").to_csv(run / "table1.csv", index=False)
    for name in table["model"]:
        fits = pd.read_csv(run / f"{name}.csv")
        more = fits[fits["region"] == "IT"].assign(region="Behaviour", r=lambda rows: -rows["r"])
        pd.concat([fits, more]).to_csv(run / f"{name}.csv", index=False)
    judge(run, list(table["model"]))
    assert (run / "claims.csv").read_bytes() == expected
