"""The page to explore a study with, in a real browser."""

import re
import shutil
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from explorer_study import (
    EVIL,
    LAYERS,
    N_STIMULI,
    PICTURE,
    make_study,
    read_fits,
    read_group,
    read_study,
    write_encoded,
    write_page,
)
from numpy.testing import assert_allclose

from ipcl_core.files import compute_sha256
from ipcl_core.report.figures.style import COLORS

CHROMIUM = shutil.which("chromium")


def in_browser(test):
    return pytest.mark.browser(pytest.mark.skipif(not CHROMIUM, reason="no chromium (apt-get install chromium)")(test))


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> dict:
    return make_study(tmp_path_factory.mktemp("study"))


@pytest.fixture(scope="module")
def path(study) -> Path:
    return write_page(study)


@pytest.fixture(scope="module")
def encoded(study) -> tuple[dict, Path]:
    return write_encoded(study)


@pytest.fixture(scope="module")
def browser():
    """A headless Chromium, Debian's."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def window(browser, path):
    """The page, opened once, and what it wrote to the console or asked for."""
    page, said = browser.new_page(), []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda asked: asked.url.startswith("data:") or said.append(asked.url))
    page.goto(path.as_uri())
    page.locator("#table tbody tr").first.wait_for()
    page.evaluate("window.first = structuredClone(state)")
    assert said == [path.as_uri()]
    return page, said


@pytest.fixture
def view(window, request):
    """The page as it opens, in a window of some size; it may write nothing to the console and ask for no other file."""
    page, said = window
    said.clear()
    width, height = getattr(request, "param", (1300, 900))
    page.set_viewport_size({"width": width, "height": height})
    page.mouse.move(0, 0)
    page.evaluate("""async () => {
        document.querySelectorAll("details").forEach((details) => (details.open = false));
        document.activeElement.blur();
        find("provenance").close();
        Object.assign(state, structuredClone(first));
        fillControls();
        draw();
        await new Promise((done) => setTimeout(done, 150));
    }""")
    yield page
    assert said == []


def name_layer(study: dict, model: str, layer: str, region: str) -> str:
    """How the page begins to speak of a layer."""
    row = read_fits(study).loc[(model, region, layer)]
    r = f"{row['r']:.3f}".replace("-", "\u2212")
    n = LAYERS[model].index(layer) + 1
    return f"{model}, {layer} (layer {n} of {len(LAYERS[model])}, 30 units), {region}: r = {r}"


def find_pixel(view, plot: str, x: float, y: float) -> tuple[float, float]:
    """Where in the window a point of a plot is."""
    view.locator(f"#{plot}").scroll_into_view_if_needed()
    code = """([id, x, y]) => {
        const plot = find(id), box = plot.getBoundingClientRect(), { xaxis, yaxis } = plot._fullLayout;
        return [box.x + xaxis._offset + xaxis.d2p(x), box.y + yaxis._offset + yaxis.d2p(y)];
    }"""
    return view.evaluate(code, [plot, x, y])


def read_cell(view, side: str, row: int, column: int) -> list[int]:
    """The colour of a matrix's cell."""
    code = """([id, x, y]) => {
        const context = new OffscreenCanvas(99, 99).getContext("2d", { willReadFrequently: true });
        context.drawImage(document.getElementById(id), 0, 0);
        return [...context.getImageData(x, y, 1, 1).data].slice(0, 3);
    }"""
    return view.evaluate(code, [f"{side}-rsm", int(column), int(row)])


@in_browser
def test_markup_in_names_stays_text(view):
    assert view.evaluate("window.hacked") is None
    assert view.locator("h1").inner_text() == EVIL and view.title() == f"{EVIL}: explorer"
    assert view.locator("#brain option").inner_text() == f"Objects {EVIL}"
    assert view.locator("img[src=x]").count() == 0 and "lost (unavailable: <i>not</i> published)" in view.inner_text(
        "#models"
    )
    row = view.locator("#table tbody tr", has=view.get_by_text("second", exact=True))
    assert "<b>New</b>" in row.inner_text()


@in_browser
def test_names_that_are_numbers_keep_their_order(browser, path, tmp_path):
    """As those of areas; a browser puts an object's keys that are numbers into their own order."""
    text = path.read_text()
    start = text.index('id="study">')
    for name, number in (("EarlyV", "37"), ("IT", "17"), ("first", "50"), ("second", "18")):
        text = text[:start] + re.sub(rf'"{name}(?="|_)', f'"{number}', text[start:])
    (changed := tmp_path / "numbers.html").write_text(text)
    page = browser.new_page()
    page.goto(changed.as_uri())
    assert page.evaluate("[listRegions(), listAvailable().slice(0, 2)]") == [["37", "17"], ["50", "18"]]


@in_browser
def test_pointing_at_a_layer_shows_its_rsm_beside_the_brains(view, study):
    fits = read_fits(study)
    for model, i, region in (("first", 2, "IT"), ("second", 0, "EarlyV")):
        layer = LAYERS[model][i]
        depth, r = i / (len(LAYERS[model]) - 1), fits.loc[(model, region, layer), "r"]
        plot = f"curves-{['EarlyV', 'IT'].index(region)}"
        place = find_pixel(view, plot, depth, r)
        view.mouse.move(*place)
        view.wait_for_function("text => document.getElementById('layer').innerText.startsWith(text)",
                               arg=name_layer(study, model, layer, region))  # fmt: skip
        ring = view.locator(f"#{plot} + .ring").bounding_box()
        assert_allclose([ring["x"] + ring["width"] / 2, ring["y"] + ring["height"] / 2], place, atol=1)
        assert view.inner_text("#model-title") == f"{model}, {layer}"
        assert view.inner_text("#brain-title").startswith(region)
        with h5py.File(study["table"].parent / f"rsm/b/{model}.h5") as file:
            rsm = file[f"layers/{layer}"][:]
        low, high = (np.unravel_index(f(rsm + 2 * sign * np.eye(N_STIMULI)), rsm.shape)
                     for f, sign in ((np.argmin, 1), (np.argmax, -1)))  # fmt: skip
        assert read_cell(view, "model", *low) == [0x44, 0x01, 0x54]
        assert read_cell(view, "model", *high) == read_cell(view, "model", *high[::-1]) == [0xFD, 0xE7, 0x25]
        assert read_cell(view, "model", 3, 3) == [255, 255, 255]


@in_browser
def test_the_keyboard_reaches_every_layer_and_cell(view, study):
    for _ in range(60):
        view.keyboard.press("Tab")
        if view.evaluate("document.activeElement.getAttribute('aria-label')") == "Layer curves, IT":
            break
    read = "document.activeElement.getAttribute('aria-valuetext')"
    view.keyboard.press("Home")
    assert view.evaluate(read).startswith(name_layer(study, "first", "conv.0", "IT"))
    view.keyboard.press("ArrowRight")
    assert view.inner_text("#layer").startswith(name_layer(study, "first", "conv.1", "IT"))
    view.keyboard.press("ArrowDown")  # the next model, at about the same depth
    view.keyboard.press("End")
    said = view.evaluate(read)
    assert said.startswith("second, b (layer 2 of 2, 30 units), IT: r = none") and "constant activations" in said
    assert read_cell(view, "model", 2, 5) == read_cell(view, "model", 5, 2) == [190, 190, 190]
    view.locator("#brain-frame").focus()
    for key in ("ArrowDown", "ArrowRight", "ArrowRight", "ArrowUp"):
        view.keyboard.press(key)
    assert "01 " + PICTURE + " and 02 object. second, b: not defined; IT" in view.inner_text("#cell")


@in_browser
def test_pointing_at_a_cell_shows_its_two_stimuli(view, study):
    box = view.locator("#model-frame").bounding_box()
    view.mouse.move(*(box[start] + place * box["width"] / N_STIMULI for start, place in (("x", 4.5), ("y", 9.5))))
    view.wait_for_function("document.getElementById('cell').innerText.startsWith('09 object and 04 object')")
    pictures = view.locator("#pair img")
    assert [picture.get_attribute("alt") for picture in pictures.all()] == ["Stimulus 09 object", "Stimulus 04 object"]
    assert pictures.first.evaluate("image => [image.naturalWidth, image.naturalHeight]") == [85, 128]
    model, layer = view.inner_text("#model-title").split(", ")
    with h5py.File(study["table"].parent / f"rsm/b/{model}.h5") as file:
        rsm = file[f"layers/{layer}"][:]
    said, error = re.search(r"r = (\S+) \(± (\S+), quantised", view.inner_text("#cell")).groups()
    assert abs(float(said.replace("\u2212", "-")) - rsm[9, 4]) <= float(error) + 6e-4


@in_browser
def test_models_comparator_and_ceilings_are_chosen(view, study):
    ceilings = pd.read_csv(study["ceilings"][0]).set_index(["region", "kind"])["r"]
    names = (
        "id => document.getElementById(id).data.filter(t => t.meta).map(t => [t.meta.model, t.line.color, t.y.length])"
    )
    drawn = "id => document.getElementById(id).layout.annotations.map(a => a.text)"
    assert [name for name, _, _ in view.evaluate(names, "curves-1")] == ["first", "second"]
    view.get_by_role("checkbox", name="second").uncheck()
    view.get_by_role("checkbox", name="leave-one-out, upper").check()
    assert view.evaluate(names, "curves-1") == [["first", COLORS["IPCL"], 4]]
    kinds = ("leave-one-out, upper", "split-half over participants")
    assert view.evaluate(drawn, "curves-1") == [f"{kind} {ceilings['IT', kind]:.2f}" for kind in kinds]
    assert view.evaluate(drawn, "curves-0") == [] and "No noise ceiling shown" in view.inner_text("#curves-0-text")
    view.select_option("#measure", "spearman")
    r = view.evaluate("document.getElementById('curves-1').data.find(t => t.meta).y")
    assert_allclose(r, read_fits(study, "spearman").loc[("first", "IT")].loc[LAYERS["first"], "r"], atol=1e-5)
    assert view.evaluate(drawn, "curves-1") == [] and "they are Pearson correlations" in view.inner_text(
        "#curves-1-text"
    )
    view.get_by_role("button", name="None", exact=True).click()
    assert view.evaluate(names, "curves-1") == []
    view.get_by_role("button", name="All", exact=True).click()
    assert [name for name, _, _ in view.evaluate(names, "curves-1")] == [*LAYERS]


@in_browser
def test_tables_say_what_the_plots_show(view, study):
    view.click("#curves-table summary")
    rows = view.locator("#curves-table tbody tr")
    rows.first.wait_for()
    assert rows.count() == 6
    row = read_fits(study).loc[("first", "IT", "fc")]
    shown = "{:.3f} ({:.3f} to {:.3f})".format(*row[["r", "both_low", "both_high"]]).replace("-", "\u2212")
    assert rows.nth(2).locator("td").nth(2).inner_text() == shown
    dimensionality = [f"{row['participation_ratio']:.1f}", f"{row['power_law_exponent']:.2f}"]
    assert rows.nth(2).locator("td").all_inner_texts()[3:] == dimensionality
    view.click("#pairs-table summary")
    view.locator("#pairs-table tbody tr").first.wait_for()
    assert view.locator("#pairs-table table").count() == 2 and view.locator("#pairs-table tbody tr").count() == 40


@in_browser
def test_no_p_is_0_and_no_zero_negative(view):
    found = view.evaluate(
        "[-0.0004, -0.0005, null].map((x) => format(x)).concat([0, 0.00003, 0.0001, 0.25].map(formatP))"
    )
    assert found == ["0.000", "\u22120.001", "none", "< 0.0001", "< 0.0001", "0.0001", "0.2500"]


def test_accuracy_against_fit(view, study):
    best = read_fits(study)["r"].groupby(["model", "region"]).max()
    points = "document.getElementById('scatter-1').points.map(p => [p.name, p.x, p.y])"
    expected = [[name, 30.25 + 10 * i] for i, name in enumerate(LAYERS)]
    assert [point[:2] for point in view.evaluate(points)] == expected
    assert_allclose([r for _, _, r in view.evaluate(points)], [best[name, "IT"] for name in LAYERS], atol=1e-5)
    names = "document.getElementById('scatter-1').layout.annotations.map(a => a.text)"
    assert {*LAYERS} <= {*view.evaluate(names)}
    view.mouse.move(*find_pixel(view, "scatter-1", 30.25, best["first", "IT"]))
    view.wait_for_function(
        "document.getElementById('scatter-1-text').innerText.startsWith('first: top-1 30.3% by weighted kNN')"
    )
    view.select_option("#protocol", "linear probe (L-BFGS)")
    assert [point[:2] for point in view.evaluate(points)] == [["pixels", 58.5], ["second", 59.5], ["first", 60.5]]
    view.locator("#scatters .frame").nth(1).focus()
    view.keyboard.press("ArrowLeft")
    said = view.evaluate("document.activeElement.getAttribute('aria-valuetext')")
    assert said.startswith("second: top-1 59.5% by linear probe (L-BFGS), r = ")


@in_browser
def test_the_table_is_sorted_by_any_column(view):
    names = view.locator("#table tbody th")
    assert names.all_inner_texts() == ["first", "second", "pixels", "lost"]
    for heading, orders in {
        "top-1 (%)": [["pixels", "second", "first", "lost"], ["first", "second", "pixels", "lost"]],
        "model": [["first", "lost", "pixels", "second"], ["second", "pixels", "lost", "first"]],
    }.items():
        for order in orders:
            view.locator("#table").get_by_role("button", name=heading, exact=True).press("Enter")
            assert names.all_inner_texts() == order
    assert view.locator("#table th[aria-sort]").all_inner_texts() == ["model \u25bc"]
    assert view.evaluate("document.activeElement.innerText").startswith("model")


@in_browser
def test_every_number_says_where_it_comes_from(view, path):
    view.get_by_role("button", name="Provenance: first").last.click()
    said = view.inner_text("#provenance")
    weights = "models/first/weights.safetensors"
    for name in (weights, "statistics/b/first.csv", "accuracy/d/first.csv", "rsm/b/first.h5"):
        assert f"{name}: SHA-256 {compute_sha256(path.parent / name)}; rule " in said
    data = read_study(path)["records"][weights]
    assert f"commit {data['commit'] or 'unknown'}" in said and '"epochs": 100' in said and '"seed": 7' in said
    assert "second" not in said and "made anew" not in said
    view.evaluate(
        "name => { study.records[name].sha256 = 'other'; showProvenance('', listModelSources('first')); }", weights
    )
    assert f"{weights}: made anew since; what was read had SHA-256 {data['sha256']}" in view.inner_text("#provenance")
    view.keyboard.press("Escape")
    assert not view.locator("#provenance").is_visible()
    view.get_by_role("button", name="Provenance: Noise ceilings of IT").click()
    assert "statistics/b/noise_ceilings.csv: SHA-256" in view.inner_text("#provenance")


NAMELESS = """() => [...document.querySelectorAll("button, select, input, [tabindex='0'], summary, img, th")].filter((e) =>
    !e.closest("[aria-hidden=true], dialog") && !(e.ariaLabel || e.textContent.trim() || e.alt || e.labels?.[0]
    || document.getElementById(e.getAttribute("aria-labelledby")))).map((e) => e.outerHTML)"""
LUMINANCES = """() => [...document.body.querySelectorAll("*")].filter((e) => e.innerText && !e.closest("svg")).map((e) => {
    const levels = getComputedStyle(e).color.match(/[0-9]+/g).map((level) => level / 255);
    const [r, g, b] = levels.map((level) => (level <= 0.04 ? level / 12.92 : ((level + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
})"""


@in_browser
def test_a_screen_reader_finds_names_and_contrast(view):
    view.click("#curves-table summary")
    assert view.evaluate(NAMELESS) == []
    # WCAG 2: (L1 + 0.05) / (L2 + 0.05) >= 4.5, on the darkest background, that of the buttons: #f4f4f4, L = 0.905
    assert 0.955 / (max(view.evaluate(LUMINANCES)) + 0.05) >= 4.5
    assert view.locator("html").get_attribute("lang") == "en" and view.locator("main, h1").count() == 2


@in_browser
@pytest.mark.parametrize("view", [(390, 844)], indirect=True)
def test_a_phone_shows_everything_in_its_width(view, study):
    assert view.evaluate("document.documentElement.scrollWidth") == 390
    for plot in view.locator(".plot").all():
        box = plot.bounding_box()
        assert 300 < box["width"] <= 390 and box["x"] >= 0 and box["x"] + box["width"] <= 390
    x, y = find_pixel(view, "curves-1", 1 / 3, read_fits(study).loc[("first", "IT", "conv.1"), "r"])
    view.locator("#curves .frame").nth(1).dispatch_event("pointerdown", {"clientX": x, "clientY": y})  # a tap
    assert view.inner_text("#layer").startswith(name_layer(study, "first", "conv.1", "IT"))
    first, second = (view.locator(f"#{side}-frame").bounding_box() for side in ("model", "brain"))
    assert first["y"] == second["y"] and min(first["width"], second["width"]) > 150


@in_browser
def test_paper_has_plots_of_its_width_and_no_controls(view, tmp_path):
    view.evaluate("""addEventListener("beforeprint", () => {
        window.widths = [...document.querySelectorAll(".plot")].map((plot) => plot._fullLayout.width);
    })""")
    content = view.pdf(prefer_css_page_size=True)
    assert view.evaluate("window.widths") == [660] * 4  # of 688 pixels: A4 less its margins
    view.wait_for_function("document.getElementById('curves-0')._fullLayout.width !== 660")
    boxes = {tuple(map(float, box.split()[2:])) for box in re.findall(rb"/MediaBox \[([\d. ]+)\]", content)}
    assert boxes and all(abs(width - 595) < 2 and abs(height - 842) < 2 for width, height in boxes)
    view.emulate_media(media="print")
    assert not view.locator("#measure").is_visible() and view.locator("#table .paper").first.is_visible()


@in_browser
def test_encoding_is_shown_beside_rsa(browser, encoded, view):
    """Another page than `view`, which has none of it."""
    assert not view.locator("#partitions").is_visible() and view.locator("#measure option").count() == 2
    assert view.evaluate("document.getElementById('curves-1').data.filter(t => t.meta?.heldOut).length") == 0
    files, path = encoded
    page, said = browser.new_page(viewport={"width": 390, "height": 844}), []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(path.as_uri())
    page.locator("#table tbody tr").first.wait_for()
    page.select_option("#measure", "median_r")
    drawn = page.evaluate("""document.getElementById('curves-1').data.filter(t => t.meta).map(
        t => [t.meta.model ?? `${t.meta.heldOut}, held out`, t.x, t.y])""")
    drawn = {name: (x, y) for name, x, y in drawn}
    assert_allclose(drawn["first"][1], read_group(files["scores"][0], "IT", "median_r")["median_r"], atol=1e-5)
    best = (
        pd.read_csv(files["best"][0])
        .query("measure == 'median_r' and resampled == 'both'")
        .set_index(["model", "region"])
    )
    assert drawn["first, held out"][0] == [1 / 3]
    assert drawn["first, held out"][1] == pytest.approx([best.at[("first", "IT"), "r_held_out"]], abs=1e-5)
    bands = "document.getElementById('curves-1').layout.shapes.filter(s => s.type === 'rect').map(s => [s.y0, s.y1])"
    (row,) = [
        row for row in read_study(path)["brains"]["b"]["regions"]["IT"]["ceilings"] if row["comparator"] == "median_r"
    ]
    assert page.evaluate(bands) == [[row["low"], row["high"]]]
    headings = page.locator("#table thead th").all_inner_texts()
    cells = (
        page.locator("#table tbody tr", has=page.get_by_text("first", exact=True)).locator("th, td").all_inner_texts()
    )
    shown = dict(zip(headings, cells, strict=True))
    assert (
        shown["IT, held out"] == f"{best.at[('first', 'IT'), 'r_held_out']:.3f}"
        and shown["layer IT, held out"] == "conv.1"
    )
    parts = pd.read_csv(files["partitions"][0]).query("region == 'IT' and measure == 'voxels' and resampled == 'both'")
    table = page.locator("#parts table", has=page.get_by_text("IT, voxels"))
    names, numbers = (table.locator(f"tbody {part}").all_inner_texts() for part in ("th", "td:nth-child(3)"))
    assert names == ["first alone", "pixels alone", "first + pixels, shared", "all together"]
    expected = [*parts.query("explained == 'alone'")["r2"], parts.query("explained == 'together'")["r2"].iloc[-1]]
    assert [float(text.split(" ")[0].replace("\u2212", "-")) for text in numbers] == pytest.approx(expected, abs=6e-4)
    assert [text.endswith("*") for text in numbers] == [True, False, False, False]
    assert page.evaluate("document.documentElement.scrollWidth") == 390 and page.evaluate(NAMELESS) == [] and said == []
    page.close()
