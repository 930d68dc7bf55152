"""The page to explore a study with: its data, and its behaviour in a real browser."""

import itertools
import re
import shutil
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from explorer_study import EVIL, LAYERS, N_STIMULI, PICTURE, add_encoding, make_study, read_rsm, read_study
from numpy.testing import assert_allclose

from ipcl_core.files import compute_sha256
from ipcl_core.report.explorer import page as explorer
from ipcl_core.report.explorer.page import write_explorer
from ipcl_core.report.figures.style import COLORS
from ipcl_core.rsa.similarity import vectorize_rsm

CHROMIUM = shutil.which("chromium")


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> dict:
    return make_study(tmp_path_factory.mktemp("study"))


@pytest.fixture(scope="module")
def path(study) -> Path:
    write_explorer(path := study["table"].parent / "explorer.html", **study)
    return path


def read_fits(study: dict, comparator: str = "pearson") -> pd.DataFrame:
    table = pd.read_csv(study["statistics"]).query("comparator == @comparator")
    return table.set_index(["model", "region", "layer"]).sort_index()


def test_page_holds_the_files_numbers(path, study):
    data = read_study(path)
    brain = data["brains"]["b"]
    for comparator in ("pearson", "spearman"):
        fits = read_fits(study, comparator)
        for model, layers in LAYERS.items():
            assert brain["models"][model]["layers"] == layers
            for region in ("EarlyV", "IT"):
                shown = brain["models"][model]["fits"][comparator][region]
                for column in ("r", "both_low", "stimuli_high", "p", "q"):
                    values = fits.loc[(model, region), column].to_numpy()
                    assert_allclose(np.array(shown[column], float), values, atol=1e-5, equal_nan=True)
    for model, layers in LAYERS.items():
        with h5py.File(study["table"].parent / f"rsm/b/{model}.h5") as file:
            for layer, stored in zip(layers, brain["models"][model]["rsms"], strict=True):
                rsv, error = vectorize_rsm(file[f"layers/{layer}"][:]), (stored["high"] - stored["low"]) / 508
                assert_allclose(read_rsm(stored), rsv, atol=1.0001 * error, rtol=0, equal_nan=True)
    assert data["colors"]["IPCL"] == COLORS["IPCL"] and data["models"]["first"]["accuracies"][1]["top1"] == 60.5
    weights = "models/first/weights.safetensors"
    assert data["records"][weights]["sha256"] == compute_sha256(path.parent / weights)


def test_other_distances_are_comparators_of_their_own():
    table = pd.DataFrame({"comparator": ["pearson", "cka"], "distance": ["correlation", "euclidean"]})
    names = explorer.name_comparators(table["comparator"], table["distance"])
    assert [*names] == ["pearson", "cka of euclidean distances"]
    assert explorer.name_comparators("pearson", table["distance"])[1] == "pearson of euclidean distances"


def test_names_are_data_and_never_markup(path):
    text, data = path.read_text(), read_study(path)
    assert len(text) < 2.5e6  # of which 2 are plotly.js; each layer adds four bytes for three pairs of stimuli
    assert EVIL not in text and PICTURE not in text
    assert data["title"] == EVIL and data["brains"]["b"]["stimuli"][1]["name"] == f"01 {PICTURE}"


def test_quantised_similarities_are_near():
    rng = np.random.default_rng(0)
    rsv = rng.uniform(-0.3, 0.9, 2556)
    rsv[7] = np.nan
    stored = explorer.quantise_rsv(rsv)
    assert_allclose(read_rsm(stored), rsv, atol=(np.nanmax(rsv) - np.nanmin(rsv)) / 507.9, rtol=0)
    assert len(stored["levels"]) == 4 * 852  # base64 of 2556 bytes
    assert_allclose(read_rsm(explorer.quantise_rsv(np.full(3, 0.25))), 0.25)
    assert np.isnan(read_rsm(explorer.quantise_rsv(np.full(3, np.nan)))).all()


def test_disagreeing_files_are_refused(study, tmp_path):
    def write(**changes):
        write_explorer(tmp_path / "x.html", **study | changes)

    shutil.copytree(study["stimuli"][0], tmp_path / "b/stimuli")
    next((tmp_path / "b/stimuli").iterdir()).unlink()
    with pytest.raises(ValueError, match=r"its 11 stimuli are not the 12 of .*brain\.h5"):
        write(stimuli=[tmp_path / "b/stimuli"])
    first, second, pixels = study["rsms"]
    with pytest.raises(ValueError, match=r"first\.h5: says that it is of b first, and so does .*first\.h5"):
        write(rsms=[first, first, pixels])
    with pytest.raises(ValueError, match="no file says that it is of b first"):
        write(rsms=[second, pixels])
    shutil.copy(second, tmp_path / "m.h5")
    with h5py.File(tmp_path / "m.h5", "a") as file:
        file.attrs["model"] = "first"
    with pytest.raises(ValueError, match="its layers are not those of the statistics"):
        write(rsms=[tmp_path / "m.h5", second, pixels])
    with h5py.File(tmp_path / "m.h5", "a") as file:
        file.attrs["brain"] = "another"
    with pytest.raises(ValueError, match=r"m\.h5: says that it is of another first; wanted are b first, b second"):
        write(rsms=[tmp_path / "m.h5", second, pixels])
    assert not (tmp_path / "x.html").exists()


def test_records_of_what_a_storage_plugin_keeps_are_the_studys(path, study, tmp_path, monkeypatch):
    """The plugin copies what rules declare, and no records: they lie in the results folder where Snakemake runs."""
    monkeypatch.chdir(tmp_path)
    copy = tmp_path / ".snakemake/storage/fs/bucket/results"
    shutil.copytree(path.parent, copy)
    shutil.move(copy / "provenance", tmp_path / "results/provenance")

    def locate(value):
        return copy / Path(value).relative_to(path.parent) if isinstance(value, Path) else value

    moved = {name: [*map(locate, value)] if isinstance(value, list) else locate(value) for name, value in study.items()}
    write_explorer(tmp_path / "x.html", **moved)
    assert read_study(tmp_path / "x.html") == read_study(path)


def test_files_are_paired_by_what_they_say(path, study, tmp_path):
    backwards = {name: files[::-1] for name, files in study.items() if isinstance(files, list)}
    write_explorer(path.parent / "again.html", **study | backwards)
    again = (path.parent / "again.html").read_bytes()
    assert len(study["rsms"]) == 3 and len(again) == path.stat().st_size
    assert read_study(path.parent / "again.html")["brains"] == read_study(path)["brains"]


@pytest.fixture(scope="module")
def encoded(study, path) -> tuple[dict, Path]:
    """The study with encoding, and its page."""
    arguments = add_encoding(study)
    write_explorer(page := path.parent / "encoding.html", **arguments)
    return arguments, page


def read_group(file: Path, region: str, measure: str) -> pd.DataFrame:
    """The group's rows of a region, layers in order, and the mean and standard error over participants of a measure."""
    table = pd.read_csv(file).query("region == @region").sort_values("layer_index")
    single = table[table["participant"] != "group"].groupby("layer_index")[measure]
    return (
        table[table["participant"] == "group"].set_index("layer_index").assign(mean=single.mean(), error=single.sem())
    )


def test_page_holds_encodings_numbers(encoded, path):
    files, page = encoded
    data, plain = read_study(page), read_study(path)
    assert (
        data["brains"]["b"]["encoding"]["partitions"]
        and "encoding" not in plain["brains"]["b"]
        and "measures" not in plain
    )
    models = data["brains"]["b"]["models"]
    for model, file in zip(LAYERS, files["scores"], strict=True):
        assert data["records"][f"encoding/b/{model}.csv"]["rule"] == "fit_encoding"
        for measure, region in itertools.product(data["measures"], ("EarlyV", "IT")):
            group, shown = read_group(file, region, measure), models[model]["fits"][measure][region]
            assert_allclose(np.array(shown["r"], float), group[measure], atol=1e-5, equal_nan=True)
            if measure != "versa_r":
                high = (group["mean"] + 3.18245 * group["error"]).clip(
                    upper=1 if measure in ("median_r", "mean_r") else None
                )
                assert_allclose(np.array(shown["participants_high"], float), high, atol=2e-5, equal_nan=True)
    best = pd.read_csv(files["best"][0]).query("model == 'first' and region == 'IT'").set_index("measure").loc["mean_r"]
    held = models["first"]["held_out"]
    assert held["mean_r"]["IT"] == {"layer": 1, **{k: pytest.approx(best[v], abs=1e-5) for k, v in
                                    {"r": "r_held_out", "low": "low", "high": "high"}.items()}}  # fmt: skip
    assert held["mean_r2"]["IT"] == {"layer": 1, "r": None, "low": None, "high": None}
    assert held["pearson"]["IT"] == {"layer": 3, "r": 0.1, "low": None, "high": None}


def test_ceilings_of_encoding(encoded):
    """Of voxels from their file, of RSMs from the split-half ceiling h: sqrt(2 h / (1 + h))."""
    files, page = encoded
    regions = read_study(page)["brains"]["b"]["regions"]
    assert not [row for row in regions["EarlyV"]["ceilings"] if row["comparator"] != "pearson"]
    rows = {row["comparator"]: row for row in regions["IT"]["ceilings"] if row["kind"] == "voxels, over runs"}
    with h5py.File(files["predictions"][0]) as file:
        voxels = [values[:] for values in file["ceilings/IT"].values()]
    medians = [np.median(values) for values in voxels]
    half = 3.18245 * np.std(medians, ddof=1) / 2
    expected = [np.mean(medians), np.mean(medians) - half, np.mean(medians) + half]
    assert [rows["median_r2"][name] for name in ("r", "low", "high")] == pytest.approx(expected, abs=2e-5)
    assert rows["mean_r"]["r"] == pytest.approx(np.mean([np.sqrt(values).mean() for values in voxels]), abs=1e-5)
    assert rows["median_r_share"]["r"] == 1 and rows["median_r_share"]["low"] is None
    half = (
        pd.read_csv(files["ceilings"][0]).query("region == 'IT' and kind == 'split-half over participants'")["r"].item()
    )
    (band,) = [row for row in regions["IT"]["ceilings"] if row["comparator"] == "versa_r"]
    assert [band["low"], band["r"]] == pytest.approx([half, np.sqrt(2 * half / (1 + half))], abs=1e-5)


def test_encoding_of_other_layers_is_refused(encoded, tmp_path):
    files, _ = encoded
    table = pd.read_csv(files["scores"][0])
    table.assign(layer=table["layer"].replace("fc", "fd")).to_csv(tmp_path / "first.csv", index=False)
    with pytest.raises(ValueError, match="encoding of b first: its layers are not those of the RSMs"):
        write_explorer(tmp_path / "x.html", **files | {"scores": [tmp_path / "first.csv", *files["scores"][1:]]})


# In the browser ---------------------------------------------------------------------------------------------------------


def in_browser(test):
    return pytest.mark.browser(pytest.mark.skipif(not CHROMIUM, reason="no chromium (apt-get install chromium)")(test))


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
    best = pd.read_csv(files["best"][0]).query("measure == 'median_r'").set_index(["model", "region"])
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
    parts = pd.read_csv(files["partitions"][0]).query("participant == 'group' and region == 'IT' and measure == 'rsm'")
    table = page.locator("#parts table", has=page.get_by_text("IT, RSM"))
    names, numbers = (table.locator(f"tbody {part}").all_inner_texts() for part in ("th", "td:nth-child(3)"))
    assert names == ["first alone", "pixels alone", "first + pixels, shared", "all together"]
    expected = [*parts.query("explained == 'alone'")["r2"], parts.query("explained == 'together'")["r2"].iloc[-1]]
    assert [float(text.split(" ")[0].replace("\u2212", "-")) for text in numbers] == pytest.approx(expected, abs=6e-4)
    assert [text.endswith("*") for text in numbers] == [True, False, False, False]
    assert page.evaluate("document.documentElement.scrollWidth") == 390 and page.evaluate(NAMELESS) == [] and said == []
    page.close()
