import itertools
import math
import re

import matplotlib
import numpy as np
import pandas as pd
import pytest
from figure_studies import ALEXNET, CEILING, DEMO, PAPER, RESNET, TITLE, Study, model
from matplotlib.colors import to_hex
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image

from ipcl_core.report.figures.accuracy import draw_figure3, plot_figure3
from ipcl_core.report.figures.layers import (
    draw_figure2,
    draw_figure_layers,
    find_blocks,
    plot_figure2,
    plot_figure_layers,
)
from ipcl_core.report.figures.pictures import draw_figure_stimuli, plot_figure_stimuli
from ipcl_core.report.figures.style import COLORS, STYLE, WIDTH


@pytest.fixture(scope="module")
def demo(tmp_path_factory) -> Study:
    missing = [("untrained", "IT")]
    return Study(tmp_path_factory.mktemp("demo"), DEMO, {"EarlyV": math.nan, "IT": 0.6}, missing)


@pytest.fixture(scope="module")
def paper(tmp_path_factory) -> Study:
    return Study(tmp_path_factory.mktemp("paper"), PAPER, {"EarlyV": 0.9, "pOTC": 0.7, "aOTC": 0.55})


LONG = {"IPCL": "Prototypes of five views, no labels", "Pretrained": "Supervised on ImageNet-21k (timm, augreg)"}


@pytest.fixture(scope="module")
def hard(tmp_path_factory) -> Study:
    """Seven regions, long names of frameworks, and a model that has no r at all."""
    models = [row | {"framework": LONG.get(row["framework"], row["framework"])} for row in DEMO]
    regions = {f"R{i}": 0.5 for i in range(7)}
    return Study(tmp_path_factory.mktemp("hard"), models, regions, [("untrained", region) for region in regions])


def read_lines(ax) -> dict:
    """The lines of an axes by their label, without those that have none."""
    return {line.get_label(): line for line in ax.lines if not line.get_label().startswith("_")}


def find_panel(figure, title: str, row: int = 0):
    """The axes `row` rows below the axes of that title."""
    top = next(ax for ax in figure.axes if ax.get_title().replace("\n", " ") == title)
    spec = top.get_subplotspec()
    place = (spec.rowspan.start + row, spec.colspan.start)
    return next(
        ax for ax in figure.axes if (ax.get_subplotspec().rowspan.start, ax.get_subplotspec().colspan.start) == place
    )


def draw_all(study: Study, stimuli, folder) -> list:
    """Draw the four figures; return their paths."""
    kinds = ("svg", "png", "pdf")
    paths = {name: {kind: folder / f"{name}.{kind}" for kind in kinds} for name in ("2", "3", "stimuli", "layers")}
    common = {"brain": "objects", "title": TITLE}
    draw_figure2(study.table, study.fits, models=["ipcl"], **common, **paths["2"])
    draw_figure3(str(study.table), **common, **paths["3"])
    draw_figure_stimuli(stimuli, title=TITLE, **paths["stimuli"])
    draw_figure_layers(study.table, study.fits, **common, **paths["layers"])
    return [path for several in paths.values() for path in several.values()]


def test_figures_are_whole_and_the_same_each_time(image_folder, tmp_path):
    style = dict(matplotlib.rcParams)
    study = Study(tmp_path, DEMO[:2], {"IT": 0.6})
    first, second = (draw_all(study, image_folder / "a", tmp_path / name) for name in ("first", "second"))
    for one, two in zip(first, second, strict=True):
        content = one.read_bytes()
        assert content == two.read_bytes()
        if one.suffix == ".svg":
            assert content.startswith(b"<?xml") and content.rstrip().endswith(b"</svg>")
        elif one.suffix == ".pdf":
            assert content.startswith(b"%PDF") and b"/Type3" not in content
            n_fonts = content.count(b"/Type /FontDescriptor")
            assert content.count(b"/FontFile2") == n_fonts > 0  # each font is inside
            _, _, width, _ = map(float, re.search(rb"/MediaBox \[ (.*?) \]", content)[1].split())
            assert width / 72 * 25.4 <= 183  # mm, two columns of Nature
        else:
            with Image.open(one) as image:
                image.load()
                assert image.info["dpi"] == pytest.approx((300, 300), abs=0.1)
                assert image.width <= WIDTH * 300
    assert sorted((tmp_path / "first").iterdir()) == sorted(first)  # no temporary file is left
    assert dict(matplotlib.rcParams) == style


@pytest.mark.parametrize("words", ["for 5$", "$5 and $6", r"a \$ and $\undefined{$", "50% {of} ^_ # & ~"])
def test_names_of_the_users_are_no_formulas(image_folder, tmp_path, words):
    """Titles, frameworks, models and regions; a $ is a $, and figure 1's own formulas stay formulas."""
    study = Study(tmp_path, [m | {"framework": f"{m['framework']} {words}"} for m in DEMO[:2]], {f"IT {words}": 0.6})
    common = {"brain": "objects", "title": words}
    with matplotlib.rc_context(STYLE):
        figure = plot_figure2(study.table, study.fits, models=["ipcl"], **common)
        others = [plot_figure3(study.table, **common), plot_figure_layers(study.table, study.fits, **common)]
        for drawn in (figure, *others, plot_figure_stimuli(image_folder / "a", title=words)):
            drawn.draw_without_rendering()  # stops where a formula is wrong
    texts = [text for text in figure.findobj(matplotlib.text.Text) if words in text.get_text().replace("\n", " ")]
    assert len(texts) > 4 and not any(text.get_parse_math() for text in texts)


@pytest.mark.parametrize(
    ("brain", "models", "message"),
    [
        ("objekts", ["ipcl"], "objekts.*objects, elsewhere"),
        ("objects", ["ipcl", "ipkl"], "no model ipkl .*ipcl, wusnet"),
    ],
)
def test_unknown_names_are_errors(demo, tmp_path, brain, models, message):
    out = {kind: tmp_path / f"2.{kind}" for kind in ("svg", "png", "pdf")}
    with pytest.raises(ValueError, match=message):
        draw_figure2(demo.table, demo.fits, brain=brain, title="", models=models, **out)
    assert not list(tmp_path.iterdir())


def test_figure2_curves_are_the_group_rows_in_layer_order(demo):
    figure = demo.plot("figure2", models=("wusnet", "efficientnet"))
    for row, region in enumerate(("EarlyV", "IT")):
        lines = read_lines(find_panel(figure, "Wusnet AlexNet-gn x0.25", row))
        assert {*lines} - {CEILING} == {"wusnet", "twin"}
        for name in ("wusnet", "twin"):
            assert_array_equal(lines[name].get_ydata(), demo.r[name, region])  # NaN included: gaps
            assert_array_equal(lines[name].get_xdata(), np.arange(len(demo.r[name, region])))
        assert to_hex(lines["wusnet"].get_color()) == COLORS["Wusnet"].lower()
        assert to_hex(lines["twin"].get_color()) == COLORS["Supervised"].lower()


def test_figure2_twin_needs_the_same_architecture_and_width_trained_here(tmp_path):
    models = [
        model("narrow", "IPCL", "alexnet_gn", 40.0, width=0.25),
        model("wide", "Supervised", "alexnet_gn", 60.0, dim=None),
        model("bn", "Supervised", "alexnet_bn", 60.0, width=0.25, dim=None),
        model("foreign", "Supervised", "alexnet_gn", 60.0, width=0.25, dim=None, source="fetched"),
        model("right1", "Supervised", "alexnet_gn", 60.0, width=0.25, dim=None),
        model("right2", "Supervised", "alexnet_gn", 60.0, width=0.25, dim=None),
    ]
    figure = Study(tmp_path, models, {"IT": math.nan}).plot("figure2", models=("narrow", "wide", "bn"))
    assert {*read_lines(find_panel(figure, "IPCL AlexNet-gn x0.25"))} == {"narrow", "right1", "right2"}
    assert {*read_lines(find_panel(figure, "Supervised AlexNet-gn"))} == {"wide"}
    assert {*read_lines(find_panel(figure, "Supervised AlexNet-bn x0.25"))} == {"bn"}


def test_figure2_shows_replications_and_dims_in_one_panel(paper):
    figure = paper.plot("figure2", models=("ipcl1", "wusnet_resnet18_256"))
    seeds = read_lines(find_panel(figure, "IPCL AlexNet-gn"))
    assert {*seeds} == {"ipcl0", "ipcl1", "ipcl2", "supervised_alexnet_gn", CEILING}
    assert {seeds[f"ipcl{i}"].get_linestyle() for i in range(3)} == {"-"}
    dims = read_lines(find_panel(figure, "Wusnet ResNet-18"))
    styles = {dim: dims[f"wusnet_resnet18_{dim}"].get_linestyle() for dim in (128, 256, 1000)}
    assert styles == {128: ":", 256: "--", 1000: "-"}
    assert len({dims[f"wusnet_resnet18_{dim}"].get_color() for dim in styles}) == 1
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert [text for text in legend if text.startswith("dim")] == ["dim 128", "dim 256", "dim 1000"]


def test_figure2_shows_the_widths_of_a_resnet_in_one_panel_with_their_twin(paper):
    figure = paper.plot("figure2", models=("simclr_2",))
    lines = read_lines(find_panel(figure, "SimCLR ResNet-50"))
    assert {*lines} == {"simclr_1", "simclr_2", "simclr_4", "supervised_resnet50", CEILING}
    assert [lines[f"simclr_{n}"].get_linestyle() for n in (1, 2, 4)] == [":", "--", "-"]
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert {"x1", "x2", "x4"} <= {*legend} and not [text for text in legend if text.startswith("dim")]


def test_layers_of_a_resnet_without_named_width_are_solid(tmp_path):
    models = [model("plain", "Untrained", "resnet50", 3.0), model("x1", "Untrained", "resnet50x1", 3.0, dim=2048)]
    figure = Study(tmp_path, models, {"IT": math.nan}).plot("layers")
    lines = read_lines(find_panel(figure, "Untrained ResNet-50"))
    assert (lines["plain"].get_linestyle(), lines["x1"].get_linestyle()) == ("-", ":")
    assert "ResNet-50" not in [text.get_text() for text in figure.legends[0].get_texts()]


def test_figure2_bars_are_means_over_a_frameworks_models(paper):
    figure = paper.plot("figure2", models=("ipcl0",))
    ax = find_panel(figure, "best layer of every model", 1)
    bars = {bar.get_label(): bar[0] for bar in ax.containers}
    assert len(bars) == 3 * 3 + 5  # three frameworks; IPCL, SimCLR and its twin, untrained, pixels
    best = paper.rows["pOTC_r"]
    assert bars["IPCL AlexNet-gn"].get_height() == pytest.approx(best[["ipcl0", "ipcl1", "ipcl2"]].mean())
    assert bars["Supervised ResNet-18"].get_height() == pytest.approx(best["supervised_resnet18"])
    assert to_hex(bars["Supervised ResNet-18"].get_facecolor()) == COLORS["Supervised"].lower()
    dots = np.concatenate([dots.get_offsets()[:, 1] for dots in ax.collections])
    assert_allclose(np.sort(dots), np.sort(best), rtol=0, atol=0)
    bottom = find_panel(figure, "best layer of every model", 2)
    labels = [label.get_text() for label in bottom.get_xticklabels()]
    assert labels == ["AlexNet-gn", "AlexNet-bn", "ResNet-18", "ResNet-50", "pixels"]
    assert bars["SimCLR ResNet-50"].get_height() == pytest.approx(best[["simclr_1", "simclr_2", "simclr_4"]].mean())


def test_figure2_row_has_one_range_that_holds_everything(paper):
    figure = paper.plot("figure2", models=("ipcl0", "wusnet_resnet18_128"))
    for row, ceiling in enumerate((0.9, 0.7, 0.55)):
        axes = [ax for ax in figure.axes if ax.get_subplotspec().rowspan.start == row]
        assert len(axes) == 3 and len({ax.get_ylim() for ax in axes}) == 1
        low, high = axes[0].get_ylim()
        shown = np.concatenate([line.get_ydata() for ax in axes for line in ax.lines])
        assert low < np.nanmin(shown) and high > max(np.nanmax(shown), ceiling)


def test_ceiling_is_drawn_where_there_is_one(demo):
    for name, arguments in (("figure2", {"models": ("ipcl",)}), ("layers", {})):
        figure = demo.plot(name, **arguments)
        for ax in figure.axes:
            lines = read_lines(ax)
            if ax.get_subplotspec().rowspan.start == 0:
                assert CEILING not in lines
            else:
                assert_array_equal(lines[CEILING].get_ydata(), [0.6, 0.6])
    assert "(no noise ceiling)" in demo.plot("figure2", models=("ipcl",)).axes[0].get_ylabel()


def test_figure2_says_where_participants_may_not_agree(tmp_path):
    study = Study(tmp_path, DEMO, {"V1": 0.03, "IT": 0.6})
    note = "participants may not agree at all: r of each with the others -0.10 to 0.12"
    pd.read_csv(study.table).assign(V1_noise_ceiling_note=note, IT_noise_ceiling_note=None).to_csv(study.table)
    figure = study.plot("figure2", models=("ipcl",))
    v1, it = [label for ax in figure.axes if (label := " ".join(ax.get_ylabel().split()))]
    assert v1 == "V1 correlation r (participants may not agree at all)" and it == "IT correlation r"
    with matplotlib.rc_context(STYLE):
        figure.draw_without_rendering()
        boxes = [text.get_window_extent() for text in find_texts(figure)]
    (long,) = [box for box, text in zip(boxes, find_texts(figure), strict=True) if "agree" in text.get_text()]
    assert sum(box.overlaps(long) for box in boxes) == 1 and long.x0 >= 0


def test_legend_names_no_ceiling_where_no_region_has_one(tmp_path):
    study = Study(tmp_path, DEMO, {"EarlyV": math.nan})
    for name, arguments in (("figure2", {"models": ("ipcl",)}), ("figure3", {}), ("layers", {})):
        legend = study.plot(name, **arguments).legends[0]
        assert legend.get_texts() and CEILING not in [text.get_text() for text in legend.get_texts()]


def test_model_without_r_has_no_bar_no_marker_and_no_peak(demo):
    bars = find_panel(demo.plot("figure2", models=("ipcl",)), "best layer of every model", 1)
    labels = {bar.get_label() for bar in bars.containers}
    assert "Untrained AlexNet-gn x0.25" not in labels and len(labels) == len(DEMO) - 1
    panel = read_lines(find_panel(demo.plot("layers"), "Untrained AlexNet-gn x0.25", 1))
    assert np.isnan(panel["untrained"].get_ydata()).all() and "peak" not in panel
    marker = read_lines(demo.plot("figure3").axes[1])["untrained"]
    assert np.isnan(marker.get_ydata()).all()


def test_figure3_markers_are_the_tables_numbers(paper):
    figure = paper.plot("figure3")
    assert [ax.get_title().split("\n")[0] for ax in figure.axes] == ["EarlyV", "pOTC", "aOTC"]
    for ax, region in zip(figure.axes, ("EarlyV", "pOTC", "aOTC"), strict=True):
        lines = read_lines(ax)
        for name, row in paper.rows.iterrows():
            assert_allclose(lines[name].get_xydata(), [[row["top1"], row[f"{region}_r"]]], rtol=0, atol=0)
        low, high = ax.get_ylim()
        assert low < paper.rows[f"{region}_r"].min() and high > paper.rows[f"{region}_r"].max()


def test_figure3_titles_do_not_touch(tmp_path):
    """Ceilings that are far from every model have the longest."""
    figure = Study(tmp_path, DEMO, {"EarlyV": 0.9, "IT": 0.95, "Behaviour": 0.8}).plot("figure3")
    figure.draw_without_rendering()
    boxes = [ax.title.get_window_extent() for ax in figure.axes]
    assert all(other.x0 - one.x1 > 0.2 * figure.dpi for one, other in itertools.pairwise(boxes))  # inches


def test_figure3_leaves_out_models_without_accuracy(tmp_path):
    study = Study(tmp_path, DEMO[:5] + [DEMO[5] | {"dataset": None, "top1": None}], {"IT": 0.6})
    figure = study.plot("figure3")
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert len(figure.axes[0].lines) == 5 + (CEILING in names) and not {"Pretrained", "EfficientNet-lite0"} & {*names}


def test_figure3_markers_tell_framework_and_architecture(demo):
    lines = read_lines(demo.plot("figure3").axes[0])
    assert lines["ipcl"].get_markerfacecolor() == COLORS["IPCL"]
    assert lines["twin"].get_markerfacecolor() == "w" and lines["twin"].get_markeredgecolor() == COLORS["Supervised"]
    assert lines["untrained"].get_markerfacecolor() == COLORS["Untrained"]
    shapes = {name: lines[name].get_marker() for name in ("ipcl", "wusnet", "twin", "other", "efficientnet")}
    assert shapes["ipcl"] == shapes["wusnet"] == shapes["twin"]
    assert len({*shapes.values()}) == 3


@pytest.mark.parametrize(
    ("spans", "drawn"), [(-0.5, True), (0.9, True), (-1.9, True), (2.0, False), (-3.0, False), (math.nan, False)]
)
def test_figure3_draws_a_ceiling_that_is_near(tmp_path, spans, drawn):
    """Near: at most as far from the best r, lowest to highest, as their range is wide."""
    best = Study(tmp_path, DEMO, {"IT": math.nan}).rows["IT_r"]
    ceiling = best.max() + spans * (best.max() - best.min())
    ax = Study(tmp_path, DEMO, {"IT": ceiling}).plot("figure3").axes[0]
    assert (CEILING in read_lines(ax)) == drawn
    low, high = ax.get_ylim()
    assert (low < ceiling < high) == drawn
    note = f"split-half noise ceiling {ceiling:.2f}" if drawn else f"noise ceiling {ceiling:.2f}, off scale"
    note = "no noise ceiling" if math.isnan(ceiling) else note
    assert ax.get_title() == f"IT\n{note}"


def test_layers_shows_every_model_in_the_panels_of_its_framework_and_of_its_twins(paper, demo):
    figure = paper.plot("layers")
    shown = [name for ax in figure.axes for name in read_lines(ax) if name not in (CEILING, "peak")]
    twins = dict.fromkeys(("supervised_alexnet_bn", "supervised_resnet18"), 2) | {"supervised_alexnet_gn": 3}
    assert {name: shown.count(name) for name in paper.rows.index} == {
        name: 3 * twins.get(name, 1) for name in paper.rows.index
    }
    assert {*read_lines(find_panel(figure, "Untrained AlexNet-gn"))} == {"untrained_alexnet_gn", CEILING, "peak"}
    assert {*read_lines(find_panel(demo.plot("layers"), "Supervised AlexNet-bn x0.25", 1))} == {
        "other",
        CEILING,
        "peak",
    }
    for row, region in enumerate(("EarlyV", "pOTC", "aOTC")):
        lines = read_lines(find_panel(figure, "Wusnet ResNet-18", row))
        names = [f"wusnet_resnet18_{dim}" for dim in (128, 256, 1000)]
        assert_array_equal(lines[names[1]].get_ydata(), paper.r[names[1], region])
        best = paper.rows.loc[[*names, "supervised_resnet18"], f"{region}_r"].max()
        assert_array_equal(lines["peak"].get_ydata(), [best] * 2)
        assert read_lines(find_panel(figure, "Pixels pixels", row))["pixels"].get_marker() == "o"  # a line of one point


def test_layers_wraps_columns_onto_bands(paper):
    specs = [ax.get_subplotspec() for ax in paper.plot("layers").axes]
    assert len(specs) == 10 * 3  # panels x regions
    assert {spec.colspan.start for spec in specs} == set(range(5))  # 10 panels are more than 8: two bands of 5
    assert {spec.rowspan.start for spec in specs} == set(range(6))


def test_frameworks_keep_their_colour(paper):
    bars = find_panel(paper.plot("figure2", models=("ipcl0",)), "best layer of every model").containers
    bar = next(bar[0] for bar in bars if bar.get_label() == "A new one ResNet-18")
    marker = read_lines(paper.plot("figure3").axes[0])["new_resnet18"]
    line = read_lines(find_panel(paper.plot("layers"), "A new one ResNet-18"))["new_resnet18"]
    color = to_hex(bar.get_facecolor())
    assert color == to_hex(line.get_color()) == to_hex(marker.get_markerfacecolor())
    assert color not in {value.lower() for value in COLORS.values()}


def test_layer_labels_name_the_last_layer_of_blocks(paper):
    ax = find_panel(paper.plot("figure2", models=("wusnet_resnet18_128", "ipcl0")), "IPCL AlexNet-gn", 2)
    labels = {label.get_text(): ALEXNET[int(x)] for x, label in zip(ax.get_xticks(), ax.get_xticklabels(), strict=True)}
    assert labels["conv1"] == "conv_block_1.3" and labels["conv5"] == "conv_block_5.3" and labels["fc7"] == "fc7.2"
    assert find_blocks(RESNET)[len(RESNET) - 4] == ("layer4", 8)
    assert find_blocks(["a", "b", "b#2"]) == {0: ("a", 1), 1: ("b", 1), 2: ("b#2", 1)}
    deep = ["_stem.pad_of_the_stem"] + [f"_blocks.{i}.conv" for i in range(4)]
    assert [name for name, _ in find_blocks(deep).values()] == ["stem", *(f"block {i}" for i in range(4))]


def find_texts(figure) -> list:
    """All texts that are drawn: titles, labels, the legend's, and the labels of ticks that are within their axis."""
    texts = [figure._suptitle, figure._supxlabel, *(text for legend in figure.legends for text in legend.get_texts())]
    for ax in figure.axes:
        texts += [ax.title, ax.xaxis.label, ax.yaxis.label, *ax.texts]
        for axis in (ax.xaxis, ax.yaxis):
            low, high = sorted(axis.get_view_interval())
            texts += [tick.label1 for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
    return [text for text in texts if text is not None and text.get_visible() and text.get_text()]


@pytest.mark.parametrize("name", ["figure2", "figure3", "layers"])
@pytest.mark.parametrize(
    ("study", "models"),
    [
        ("demo", ("ipcl", "wusnet", "efficientnet")),
        ("paper", ("ipcl0", "wusnet_resnet18_128", "simclr_1")),
        ("hard", ("ipcl", "wusnet", "efficientnet", "untrained")),
    ],
)
def test_texts_are_large_enough_and_neither_overlap_nor_are_cut(request, study, models, name):
    figure = request.getfixturevalue(study).plot(name, **({"models": models} if name == "figure2" else {}))
    with matplotlib.rc_context(STYLE):
        figure.draw_without_rendering()
        texts = find_texts(figure)
        boxes = [text.get_window_extent() for text in texts]
    assert len(texts) > 10 and min(text.get_fontsize() for text in texts) >= 7
    for text, box in zip(texts, boxes, strict=True):
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= figure.bbox.x1 and box.y1 <= figure.bbox.y1, text
    for (one, a), (two, b) in itertools.combinations(zip(texts, boxes, strict=True), 2):
        width, height = min(a.x1, b.x1) - max(a.x0, b.x0), min(a.y1, b.y1) - max(a.y0, b.y0)
        assert width <= 0.5 or height <= 0.5, (one, two)  # pixels of 1/100 inch
