import math
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from table1_studies import (
    KRIEGESKORTE,
    REGIONS,
    describe,
    write_accuracy,
    write_ceilings,
    write_fits,
    write_paper,
    write_study,
)

from ipcl_core.report.table1 import list_regions, make_table1, print_table1, read_published, read_table1, split_blocks

# "36.7", "34.9", ... in the printed order, bold cells as printed: (row of the printed table, column)
PRINTED_BOLD = {(6, "aOTC"), (7, "EarlyV"), (7, "pOTC"), (7, "aOTC"), (8, "top1"), (11, "pOTC"), (12, "top1")}
PRINTED_BOLD |= {(16, "top1"), (20, "top1"), (22, "top1"), (25, "top1"), (29, "top1")}


@pytest.fixture
def small(tmp_path) -> pd.DataFrame:
    """Table 1 of `write_study`."""
    make_table1(**write_study(tmp_path), table=tmp_path / "table1.csv")
    return pd.read_csv(tmp_path / "table1.csv")


@pytest.mark.parametrize("part", ["accuracies", "fits", "ceilings"])
def test_files_are_paired_by_what_they_say(small, tmp_path, part):
    study = write_study(tmp_path)
    study[part].reverse()
    make_table1(**study, table=tmp_path / "again.csv")
    assert (tmp_path / "again.csv").read_bytes() == (tmp_path / "table1.csv").read_bytes()


@pytest.mark.parametrize("part,names", [("accuracies", "d ipcl"), ("fits", "one ipcl"), ("ceilings", "one")])
def test_files_that_say_otherwise_are_refused(tmp_path, part, names):
    study, table = write_study(tmp_path), tmp_path / "table1.csv"
    first, *others = study[part]
    with pytest.raises(ValueError, match=rf"no file says that it is of {names}"):
        make_table1(**study | {part: others}, table=table)
    with pytest.raises(
        ValueError, match=rf"(ipcl|one)\.csv: says that it is of {names}, and so does .*(ipcl|one)\.csv"
    ):
        make_table1(**study | {part: [first, first, *others]}, table=table)
    text = first.read_text()
    first.write_text(text.replace("ipcl", "ipcl2").replace("one", "none"))
    with pytest.raises(ValueError, match=r"says that it is of .*(ipcl2|none); wanted are"):
        make_table1(**study, table=table)
    first.write_text(
        "\n".join([*text.splitlines(), text.splitlines()[-1].replace("ipcl", "labelled").replace("one", "two"), ""])
    )
    with pytest.raises(ValueError, match=r"csv: is of 2 (brain|brain and model|dataset and model), not of one"):
        make_table1(**study, table=table)
    first.write_text(text.replace("model", "modell").replace("brain", "brian"))
    with pytest.raises(
        ValueError, match=r"csv: does not say which (model|brain|brain and model) it is of; make it again"
    ):
        make_table1(**study, table=table)
    assert not table.exists()


def test_model_without_any_r_says_so(tmp_path):
    make_table1(
        {"flat": describe(source="own", origin="own code")},
        {"one": KRIEGESKORTE},
        tmp_path / "table1.csv",
        accuracies=[write_accuracy(tmp_path / "a.csv", "flat", "weighted kNN,fc7,36.6666,80,200,0.07,1000,50,True")],
        fits=[write_fits(tmp_path / "f.csv", "one", "flat", {"V1": math.nan, "IT": 0.3})],
        ceilings=[write_ceilings(tmp_path / "c.csv", "one", {"V1": 0.9, "IT": 0.8})],
    )
    row = pd.read_csv(tmp_path / "table1.csv").iloc[0]
    assert row["V1_layer"] == "no layer has an r" and math.isnan(row["V1_r"])
    assert row["IT_layer"] == "b" and row["origin"] == "own code"


@pytest.mark.parametrize("others", [True, False])
def test_model_without_data_set_has_no_accuracy(tmp_path, others):
    study = write_study(tmp_path)
    study["models"] = {
        name: describe(dataset="d" if others and name == "ipcl" else None) for name in study["models"] if name != "lost"
    }
    study["accuracies"] = study["accuracies"][:1] if others else []
    make_table1(**study, table=tmp_path / "table1.csv")
    table = pd.read_csv(tmp_path / "table1.csv", index_col="model")
    assert table.loc[["labelled", "neighbours"], ["dataset", "top1", "top1_protocol", "n_test"]].isna().all(axis=None)
    assert table["V1_r"].notna().all() and table["top1"].notna().any() == others
    files = {"tex": tmp_path / "t.tex", "page": tmp_path / "t.html"}
    print_table1(tmp_path / "table1.csv", {"one": "1", "two": "2"}, **files)
    make_table1(**study | {"accuracies": []}, table=tmp_path / "again.csv", accuracy=False)
    again = pd.read_csv(tmp_path / "again.csv", index_col="model")
    assert again["top1"].isna().all() and (again["top1_protocol"].str.startswith("not measured (")).all()
    assert ("top-1" in files["page"].read_text().lower()) == ("top-1" in files["tex"].read_text().lower()) == others


def test_layers_that_are_numbers_keep_their_names(tmp_path):
    fits = write_fits(tmp_path / "f.csv", "one", "nets", {"V1": 0.3})
    fits.write_text(fits.read_text().replace(",b,", ",1,").replace(",a,", ",0,").replace(",c,", ",2,"))
    make_table1(
        {"nets": describe()},
        {"one": KRIEGESKORTE},
        tmp_path / "table1.csv",
        accuracies=[write_accuracy(tmp_path / "a.csv", "nets", "weighted kNN,3,36.6666,80,200,0.07,1000,50,True")],
        fits=[fits],
        ceilings=[write_ceilings(tmp_path / "c.csv", "one", {"V1": 0.9})],
    )
    row = pd.read_csv(tmp_path / "table1.csv", dtype=str).iloc[0]
    assert row["V1_layer"] == "1" and row["top1_protocol"] == "weighted kNN (k=200, tau=0.07, 3)"


def test_a_protocol_is_that_of_its_first_layer(tmp_path):
    """Of several layers the first is the one that Table 1 prints."""
    rows = [("linear probe (L-BFGS)", "fc7", 51), ("linear probe (L-BFGS)", "fc6", 42), ("weighted kNN", "fc7", 33)]
    rows += [("weighted kNN", "fc6", 24)]
    lines = [f"{protocol},{layer},{top1},90,,,,50,{i == 2}" for i, (protocol, layer, top1) in enumerate(rows)]
    make_table1(
        {"net": describe()},
        {"one": KRIEGESKORTE},
        tmp_path / "table1.csv",
        accuracies=[write_accuracy(tmp_path / "a.csv", "net", *lines)],
        fits=[write_fits(tmp_path / "f.csv", "one", "net", {"V1": 0.3})],
        ceilings=[write_ceilings(tmp_path / "c.csv", "one", {"V1": 0.9})],
    )
    row = pd.read_csv(tmp_path / "table1.csv").iloc[0]
    assert (row["top1"], row["knn_top1"], row["linear_probe_l_bfgs_top1"]) == (33, 33, 51)


def test_table1_by_hand(small, tmp_path):
    assert small["brain"].tolist() == ["one"] * 4 + ["two"] * 4
    assert small["model"].tolist() == ["ipcl", "labelled", "neighbours", "lost"] * 2
    assert_allclose(small["top1"], [50.13, 60.12, 36.67, math.nan] * 2, rtol=0, atol=0)
    protocols = ["linear probe (L-BFGS) (fc6)", "softmax", "weighted kNN (k=200, tau=0.07, fc7)"]
    assert small["top1_protocol"].tolist()[:3] == protocols
    assert_allclose(small["knn_top1"], [36.67, 36.67, 36.67, math.nan] * 2, rtol=0, atol=0)
    assert_allclose(small["softmax_top1"], [math.nan, 60.12, math.nan, math.nan] * 2, rtol=0, atol=0)
    assert_allclose(small["linear_probe_l_bfgs_top1"], [50.13, *[math.nan] * 3] * 2, rtol=0, atol=0)
    assert_allclose(small["n_test"], [50, 50, 50, math.nan] * 2, rtol=0, atol=0)
    assert_allclose(small["dim"], [128, math.nan, 128, 64] * 2, rtol=0, atol=0)
    assert "128,1.0" in (tmp_path / "table1.csv").read_text()  # whole dimensions, no 128.0
    r = [0.3124, 0.2124, 0.1124, math.nan, 0.5124, 0.4124, 0.3124, math.nan]
    assert_allclose(small["V1_r"], r, rtol=0, atol=1e-12)
    assert small["V1_layer"].tolist()[:3] == ["b"] * 3
    assert_allclose(small["V1_noise_ceiling"], [0.9124] * 4 + [0.5] * 4, rtol=0, atol=0)
    assert_allclose(small["V1_n_layers"], [3, 3, 3, math.nan] * 2, rtol=0, atol=0)
    assert_allclose(small["IT_n_layers"], [3, 3, 3, *[math.nan] * 5], rtol=0, atol=0)
    assert_allclose(small["IT_r"], [0.3124, 0.2124, 0.1124, *[math.nan] * 5], rtol=0, atol=1e-12)
    assert small["IT_noise_ceiling"].isna().all()
    assert small["V1_n_participants"].eq(10).all() and small["IT_n_participants"].tolist()[:4] == [0] * 4


def test_unavailable_model_has_its_row_with_the_reason(small):
    lost = small[small["model"] == "lost"]
    assert len(lost) == 2 and (lost["origin"] == "unavailable").all()
    assert (lost["reason"] == "<b>_no_ copy</b>, 50% & $1").all()
    assert lost[["top1", "top1_protocol", "V1_r", "V1_layer"]].isna().all(axis=None)


def test_study_without_published_models_has_no_published_columns(small):
    assert not [name for name in small if "published" in name or "difference" in name]


@pytest.fixture(scope="module")
def paper(tmp_path_factory) -> Path:
    return write_paper(tmp_path_factory.mktemp("paper"))


def test_published_numbers_and_differences_stand_beside_the_measured(paper):
    table, published = pd.read_csv(paper, index_col="model"), read_published()
    known = table.loc[published.index]
    assert_allclose(known["top1_published"], published["top1"], rtol=0, atol=0)
    assert_allclose(known["top1_difference"], [0, 2, *[0] * 26], rtol=0, atol=1e-9)
    for region in REGIONS:
        assert_allclose(known[f"{region}_r_published"], published[region], rtol=0, atol=0)
        assert_allclose(known[f"{region}_r_difference"], 0.013, rtol=0, atol=1e-9)
        columns = list(table)
        at = columns.index(f"{region}_r")
        assert columns[at + 1 : at + 3] == [f"{region}_r_published", f"{region}_r_difference"]
    new = table.loc["new"]
    assert new["EarlyV_r"] == pytest.approx(0.763) and new[["top1_published", "EarlyV_r_difference"]].isna().all()


def test_published_numbers_are_compared_on_the_papers_data_only(tmp_path):
    name = "supervised_resnet18"
    fits = [write_fits(tmp_path / "f.csv", "b", name, {"EarlyV": 0.5})]
    ceilings = [write_ceilings(tmp_path / "c.csv", "b", {"EarlyV": 0.9})]
    for dataset, source in (("imagenet", "kriegeskorte_2008"), ("cifar10", "magri_konkle_2019")):
        accuracies = [
            write_accuracy(tmp_path / "a.csv", name, "softmax,output,60.0,9,,,,50,True", dataset=dataset),
        ]
        models, brains = {name: describe(dataset=dataset)}, {"b": SimpleNamespace(source=source)}
        make_table1(models, brains, tmp_path / "t.csv", accuracies=accuracies, fits=fits, ceilings=ceilings)
        table = pd.read_csv(tmp_path / "t.csv")
        assert ("top1_published" in table) == (dataset == "imagenet")
        assert ("EarlyV_r_published" in table) == (source == "magri_konkle_2019")


def test_published_table_is_the_papers():
    """Column sums and single cells that were read off the printed table."""
    published = read_published()
    assert len(published) == 28 and published.index.is_unique
    assert published["framework"].value_counts().to_dict() == {
        "IPCL": 5, "Wusnet": 13, "Supervised": 5, "SimCLR": 3, "MoCo2": 2,
    }  # fmt: skip
    assert published.loc["wusnet_cornet_z_bn_d256", ["top1", *REGIONS]].tolist() == [34.7, 0.55, 0.36, 0.16]
    assert published.loc["mocov2_resnet50_ep800", ["top1", *REGIONS]].tolist() == [71.1, 0.42, 0.29, 0.24]
    assert_allclose(published[[*REGIONS]].max(), [0.77, 0.48, 0.33], rtol=0, atol=0)


def test_blocks_are_the_printed_ones(paper):
    blocks = split_blocks(read_table1(paper, "objects72"))
    assert [len(block) for block in blocks] == [9, 4, 4, 4, 2, 4, 3, 1]  # the last: the new model
    assert [block.index[-1] for block in blocks[4:7]] == ["supervised_resnet50"] * 3


def test_regions_of_other_brains_are_left_out(tmp_path):
    pd.DataFrame(
        {
            "model": ["first", "first"],
            "architecture": "alexnet_gn",
            "width": 1,
            "brain": ["mine", "theirs"],
            "regions": ["IT", "V4"],
            "V4_r": [np.nan, 0.5],
            "V4_layer": ["", "fc6"],
            "V4_noise_ceiling": np.nan,
            "V4_n_participants": [np.nan, 1],
            "IT_r": np.nan,
            "IT_noise_ceiling": np.nan,
            "IT_n_participants": [8, np.nan],
        }
    ).to_csv(tmp_path / "table1.csv", index=False)
    names = {brain: list_regions(read_table1(tmp_path / "table1.csv", brain)) for brain in ("mine", "theirs")}
    assert names == {"mine": ["IT"], "theirs": ["V4"]}
    assert not [name for name in read_table1(tmp_path / "table1.csv", "mine") if name.startswith("V4")]


def test_regions_stand_in_the_order_of_their_brain(tmp_path):
    """One brain has V1 and IT, the other V4 between; of a third the one region is a number."""
    study = {"models": {"net": describe(dataset=None)}, "accuracies": []}
    regions = {"one": ["V1", "IT"], "two": ["V1", "V4", "IT"], "back": ["IT", "V1"], "last": ["007"]}
    fits = [
        write_fits(tmp_path / f"{brain}_net.csv", brain, "net", dict.fromkeys(own, 0.3))
        for brain, own in regions.items()
    ]
    ceilings = [
        write_ceilings(tmp_path / f"{brain}.csv", brain, dict.fromkeys(own, 0.5)) for brain, own in regions.items()
    ]
    brains = dict.fromkeys(regions, KRIEGESKORTE)
    make_table1(**study, brains=brains, fits=fits, ceilings=ceilings, table=tmp_path / "table1.csv")
    tables = {brain: read_table1(tmp_path / "table1.csv", brain) for brain in regions}
    assert {brain: list_regions(table) for brain, table in tables.items()} == regions
    assert tables["two"].loc["net", ["V1_r", "V4_r", "IT_r"]].notna().all()
    make_table1(
        **study, brains={"last": KRIEGESKORTE}, fits=fits[-1:], ceilings=ceilings[-1:], table=tmp_path / "alone.csv"
    )
    assert list_regions(read_table1(tmp_path / "alone.csv", "last")) == ["007"]


def test_brain_without_rows_is_an_error(paper):
    with pytest.raises(ValueError, match="no rows for brain objekts72; there are objects72"):
        read_table1(paper, "objekts72")


class Page(HTMLParser):
    """The cells of a page's tables: (row, text, classes); opened and closed tags."""

    def __init__(self, text: str):
        super().__init__()
        self.rows, self.open, self.texts, self.addresses = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.addresses += [value for key, value in attrs if key in ("src", "href")]
        if tag != "meta":
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag == "td":
            self.rows[-1].append(["", dict(attrs).get("class", "")])

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)
        if self.open and self.open[-1] == "td":
            self.rows[-1][-1][0] += data


COLUMNS = {"top1": 4, "EarlyV": 9, "pOTC": 13, "aOTC": 17}  # of the measured numbers in the printed table


@pytest.fixture(scope="module")
def printed(paper) -> tuple[str, str]:
    """The published numbers themselves as a run's table, as LaTeX and as HTML."""
    table = pd.read_csv(paper)
    table = table[table["model"] != "new"]
    for name in ("top1", *(f"{region}_r" for region in REGIONS)):
        table[name] = table[f"{name}_published"]
    copy = paper.with_name("published.csv")
    table.to_csv(copy, index=False)
    tex, page = paper.with_name("table1.tex"), paper.with_name("table1.html")
    print_table1(copy, {"objects72": "72 objects"}, tex=tex, page=page)
    return tex.read_text(), page.read_text()


def test_bold_is_as_printed(printed):
    tex, page = printed
    rows = [row for row in Page(page).rows if row]
    bold = {(i, name) for i, row in enumerate(rows) for name, at in COLUMNS.items() if "best" in row[at][1]}
    assert len(rows) == 30 and bold == PRINTED_BOLD
    body = tex.split(r"\midrule", 1)[1].split(r"\bottomrule")[0]
    rows = [line.split(" & ") for line in body.splitlines() if line.endswith(r"\\")]
    bold = {(i, name) for i, row in enumerate(rows) for name, at in COLUMNS.items() if row[at].startswith(r"\bfseries")}
    assert len(rows) == 30 and bold == PRINTED_BOLD
    assert tex.count(r"\bfseries") == page.count(" best number") == len(PRINTED_BOLD)


def test_latex_is_well_formed(printed):
    tex = printed[0]
    assert re.findall(r"\\begin\{(\w+)\}", tex) == ["table", "tabular"]
    assert re.findall(r"\\end\{(\w+)\}", tex) == ["tabular", "table"]
    n_columns = len(re.search(r"\\begin\{tabular\}\{([lr]+)\}", tex)[1])
    for line in tex.split(r"\toprule")[1].split(r"\bottomrule")[0].splitlines():
        if line.endswith(r"\\"):
            spans = [int(n) for n in re.findall(r"\\multicolumn\{(\d+)\}", line)]
            assert line.count(" & ") + 1 - len(spans) + sum(spans) == n_columns
    assert tex.count(r"\midrule") == 7  # below the head and between seven blocks
    depth = 0
    for brace in re.findall(r"(?<!\\)[{}]", tex):
        depth += 1 if brace == "{" else -1
        assert depth >= 0
    assert depth == 0


def test_texts_are_escaped(small, tmp_path):
    print_table1(
        tmp_path / "table1.csv", {"one": "A & B <i>", "two": "2"}, tex=tmp_path / "t.tex", page=tmp_path / "t.html"
    )
    tex, page = (tmp_path / "t.tex").read_text(), (tmp_path / "t.html").read_text()
    assert tex.count(r"\begin{table}") == 2 and r"A \& B <i>" in tex
    assert r"<b>\_no\_ copy</b>, 50\% \& \$1" in tex
    read = Page(page)
    assert read.open == [] and "lost is unavailable: <b>_no_ copy</b>, 50% & $1" in read.texts and not read.addresses
    assert "<i>" not in page and "<b>" not in page and "A &amp; B" in page
    assert "none (one group average)" in page


def test_note_on_a_ceiling_stands_beside_it_and_in_the_caption(tmp_path):
    doubt = "participants may not agree at all: r of each with the others -0.10 to 0.12"
    study = write_study(tmp_path)
    for path in study["ceilings"]:
        ceilings = pd.read_csv(path).astype({"note": object})
        ceilings.loc[(ceilings["region"] == "V1") & (ceilings["brain"] == "one"), "note"] = doubt
        ceilings.to_csv(path, index=False)
    make_table1(**study, table=tmp_path / "table1.csv")
    table = pd.read_csv(tmp_path / "table1.csv").set_index(["brain", "model"])
    assert table.loc["one", "V1_noise_ceiling_note"].eq(doubt).all()
    assert table.loc["one", "IT_noise_ceiling_note"].eq("one group average").all()
    assert table.loc["two", "V1_noise_ceiling_note"].isna().all()
    titles, files = {"one": "1", "two": "2"}, {"tex": tmp_path / "t.tex", "page": tmp_path / "t.html"}
    print_table1(tmp_path / "table1.csv", titles, **files)
    one, two = [caption for caption in Page(files["page"].read_text()).texts if "noise ceilings" in caption]
    assert f"V1 0.91 (n = 10 participants; {doubt}), IT none (one group average)." in one
    assert "V1 0.50 (n = 10 participants)." in two
    for path in study["ceilings"]:
        pd.read_csv(path).assign(note=None).to_csv(path, index=False)
    make_table1(**study, table=tmp_path / "without.csv")
    assert not [name for name in pd.read_csv(tmp_path / "without.csv") if name.endswith("_note")]


def test_page_is_utf8_in_any_locale(small, tmp_path):
    """As its header says; the locale here knows ASCII alone."""
    script = "import sys; from ipcl_core.report.table1 import print_table1\ntable, tex, page = sys.argv[1:]\n"
    script += "print_table1(table, {'one': 'Größe ≤ 5', 'two': '2'}, tex=tex, page=page)\n"
    (tmp_path / "print.py").write_text(script, encoding="utf-8")
    files = [tmp_path / name for name in ("table1.csv", "t.tex", "t.html")]
    environment = os.environ | {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    subprocess.run([sys.executable, tmp_path / "print.py", *files], env=environment, check=True)
    assert all("Größe" in file.read_text(encoding="utf-8") for file in files[1:])


def test_block_of_one_has_no_bold_accuracy_and_no_zero_is_negative(small, tmp_path):
    table = pd.read_csv(tmp_path / "table1.csv").assign(top1_published=50.0, top1_difference=-0.001)
    table["framework"] = table["model"]
    table.to_csv(tmp_path / "t.csv", index=False)
    print_table1(tmp_path / "t.csv", {"one": ""}, tex=tmp_path / "t.tex", page=tmp_path / "t.html")
    rows = [row for row in Page((tmp_path / "t.html").read_text()).rows if row]
    assert not [row[4] for row in rows if "best" in row[4][1]] and "-0.0" not in (tmp_path / "t.tex").read_text()
