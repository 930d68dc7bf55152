"""Encoding beside RSA as a table and as figures: what is drawn and printed stands in the files, by name."""

import itertools
import re

import matplotlib
import numpy as np
import pytest
from explorer_study import LAYERS, add_encoding, make_study
from numpy.testing import assert_allclose
from scipy import stats
from test_figures import find_texts

from ipcl_core.files import read_csv, write_csv
from ipcl_core.report.encoding import read_layers
from ipcl_core.report.figures.encoding import (
    draw_figure_encoding,
    draw_figure_partitions,
    plot_encoding,
    plot_partitions,
)
from ipcl_core.report.figures.style import COLORS, STYLE
from ipcl_core.report.table_encoding import make_table_encoding, print_table_encoding

MODELS = ["first", "second", "pixels"]


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> dict:
    return add_encoding(make_study(tmp_path_factory.mktemp("study")))


@pytest.fixture(scope="module")
def arguments(study) -> tuple:
    held_out = (study["rsa_best"], study["best"])
    return study["table"], study["statistics"], study["scores"], held_out, study["ceilings"][0], study["predictions"][0]


@pytest.fixture(scope="module")
def drawn(arguments):
    with matplotlib.rc_context(STYLE):
        return plot_encoding(*arguments, brain="b", title="A title", models=MODELS)


@pytest.fixture(scope="module")
def parts(study):
    with matplotlib.rc_context(STYLE):
        return plot_partitions(study["table"], study["partitions"][0], brain="b", title="A title", fdr=0.05)


def read_lines(ax) -> dict:
    return {line.get_label(): line for line in ax.lines if not line.get_label().startswith("_")}


def test_interval_is_over_the_participants_who_have_the_number(study, tmp_path):
    """Of four one has no share of a ceiling, as all of its voxels have none."""
    scores = read_csv(study["scores"][0])
    scores.loc[scores["participant"] == "a", "median_r_share"] = np.nan
    write_csv(scores, tmp_path / "scores.csv")
    (table,) = read_layers([tmp_path / "scores.csv"], ["b"], ["first"]).values()
    row = table.set_index(["region", "layer_index"]).loc[("IT", 0)]
    values = scores.query("region == 'IT' and layer_index == 0 and participant in ['b', 'c', 'd']")["median_r_share"]
    expected = stats.ttest_1samp(values, 0).confidence_interval()
    assert_allclose(row[["median_r_share_low", "median_r_share_high"]].astype(float), expected, rtol=0, atol=1e-9)


def test_curves_and_diamonds_are_the_files_numbers(drawn, study):
    fits = read_csv(study["statistics"]).query("comparator == 'pearson'")
    best = read_csv(study["best"][0]).query("resampled == 'both'").set_index(["model", "region", "measure"])
    panels = dict(zip(itertools.product(("EarlyV", "IT"), ("pearson", "median_r", "versa_r")), drawn.axes, strict=True))
    for ((region, measure), ax), model in itertools.product(panels.items(), MODELS):
        lines, layers = read_lines(ax), LAYERS[model]
        if measure == "pearson":
            own = fits.query("model == @model and region == @region").set_index("layer")["r"]
            held_out, layer = 0.1 + MODELS.index(model) / 10, layers[-1]
        else:
            scores = read_csv(study["scores"][MODELS.index(model)]).query(
                "participant == 'group' and region == @region"
            )
            own = scores.set_index("layer")[measure]
            held_out, layer = best.loc[(model, region, measure), ["r_held_out", "held_out_layer"]]
        assert_allclose(lines[model].get_ydata(), own[layers])
        place = layers.index(layer) / (len(layers) - 1) if len(layers) > 1 else 0.5
        assert_allclose(lines[f"{model}, held out"].get_xydata(), [[place, held_out]])
    assert panels["IT", "median_r"].get_title() == "" and panels["EarlyV", "median_r"].get_title().startswith(
        "encoding"
    )


def test_ceilings_are_bands_where_they_are_known(drawn, study):
    bands = {i: [p for p in ax.patches if p.get_label() == "ceiling"] for i, ax in enumerate(drawn.axes)}
    assert [len(bands[i]) for i in range(6)] == [0, 0, 0, 1, 1, 0]
    half = read_csv(study["ceilings"][0]).query("region == 'IT' and kind == 'split-half over participants'")["r"].item()
    box = bands[3][0].get_bbox()
    assert [box.y0, box.y1] == pytest.approx([half, np.sqrt(2 * half / (1 + half))])
    low, high = drawn.axes[4].get_ylim()
    assert low < bands[4][0].get_bbox().y0 and bands[4][0].get_bbox().y1 < high


def test_bars_are_the_parts(parts, study):
    """Of voxels with the interval over participants and stimuli, by which alone a star is given."""
    table = read_csv(study["partitions"][0]).query("measure == 'rsm' or resampled != 'participants'")
    table = table.set_index(["region", "measure", "explained", "by", "participant"]).sort_index()
    names = {"first alone": "first", "pixels alone": "pixels", "first + pixels, shared": "first + pixels"}
    shown = [(r, m) for m in ("voxels", "rsm") for r in ("EarlyV", "IT")]
    for (region, measure), ax in zip(shown, parts.axes, strict=True):
        assert ax.get_title() == f"{region}, {'RSM' if measure == 'rsm' else measure}"
        bars, lines = {bar.get_label(): bar[0] for bar in ax.containers}, read_lines(ax)
        for label, by in [*names.items(), ("first + pixels, together", "first + pixels")]:
            rows = table.loc[(region, measure, "together" if label.endswith("together") else "alone", by)]
            assert bars[label].get_width() == pytest.approx(rows.at["group", "r2"])
            assert_allclose(lines[f"{label}, participants"].get_xdata(), rows.drop("group")["r2"])
            assert_allclose(lines[f"{label}, interval"].get_xdata(), rows.loc["group", ["low", "high"]].astype(float))
            assert (f"{label}, significant" in lines) == (label == "first alone" and measure == "voxels")
        assert matplotlib.colors.to_hex(bars["first alone"].get_facecolor()) == COLORS["IPCL"].lower()


@pytest.mark.parametrize("name", ["drawn", "parts"])
def test_texts_neither_overlap_nor_are_cut(request, name):
    figure = request.getfixturevalue(name)
    with matplotlib.rc_context(STYLE):
        figure.draw_without_rendering()
        texts = find_texts(figure)
        boxes = [text.get_window_extent() for text in texts]
    assert len(texts) > 10 and min(text.get_fontsize() for text in texts) >= 7
    for box in boxes:
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= figure.bbox.x1 and box.y1 <= figure.bbox.y1
    for (one, a), (two, b) in itertools.combinations(zip(texts, boxes, strict=True), 2):
        assert min(a.x1, b.x1) - max(a.x0, b.x0) <= 0.5 or min(a.y1, b.y1) - max(a.y0, b.y0) <= 0.5, (one, two)


def test_files_are_whole(study, arguments, tmp_path):
    kinds = ("svg", "png", "pdf")
    first, second = ({kind: tmp_path / f"{name}.{kind}" for kind in kinds} for name in ("encoding", "partitions"))
    draw_figure_encoding(*arguments, brain="b", title="", models=MODELS, **first)
    draw_figure_partitions(study["table"], study["partitions"][0], brain="b", title="", fdr=0.05, **second)
    assert sorted(tmp_path.iterdir()) == sorted([*first.values(), *second.values()])


def test_table_has_held_out_numbers_beside_table_1(study, tmp_path):
    ceilings = {"b": (study["ceilings"][0], study["predictions"][0])}
    files = {"statistics": study["rsa_best"], "encoding": study["best"], "ceilings": ceilings}
    make_table_encoding(study["table"], tmp_path / "t.csv", **files)
    table, first = (read_csv(path).set_index("model") for path in (tmp_path / "t.csv", study["table"]))
    assert list(table.index) == list(first.index) == [*MODELS, "lost"]
    best = read_csv(study["best"][0]).query("resampled == 'both'").set_index(["measure", "region", "model"])
    for region, model in itertools.product(("EarlyV", "IT"), MODELS):
        row = table.loc[model]
        assert row[f"{region}_r"] == first.at[model, f"{region}_r"]
        assert row[f"{region}_r_held_out"] == pytest.approx(0.1 + MODELS.index(model) / 10)
        for measure in ("median_r", "versa_r"):
            own = best.loc[(measure, region, model)]
            assert row[f"{region}_{measure}_held_out"] == pytest.approx(own["r_held_out"], abs=5.1e-5)
            assert row[f"{region}_{measure}_held_out_layer"] == own["held_out_layer"]
        assert row[f"{region}_median_r_held_out_low"] == pytest.approx(
            best.loc[("median_r", region, model), "low"], abs=5.1e-5
        )
    assert table.loc["lost"].filter(like="held_out").isna().all() and table["EarlyV_median_r_ceiling"].isna().all()
    print_table_encoding(tmp_path / "t.csv", {"b": "Objects"}, tex=tmp_path / "t.tex", page=tmp_path / "t.html")
    page, tex = ((tmp_path / name).read_text() for name in ("t.html", "t.tex"))
    (row,) = [part for part in page.split("<tr>") if ">IPCL<" in part and "unavailable" not in part]
    (latex,) = [line for line in tex.splitlines() if line.startswith("IPCL") and "trained" in line]
    expected = [
        first.at["first", "IT_r"],
        0.1,
        *(best.at[(m, "IT", "first"), "r_held_out"] for m in ("median_r", "versa_r")),
    ]
    assert [float(cell) for cell in re.findall(r">([^<>]*)</td>", row)[-4:]] == [round(value, 2) for value in expected]
    assert re.findall(r"\d\.\d\d", latex)[-4:] == [f"{value:.2f}" for value in expected]
    assert "lost is unavailable" in page and "midrule" in tex
