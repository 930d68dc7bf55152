"""The built site (make docs) in a browser: whole without another site, as wide as the screen, with a search."""

from pathlib import Path

import pytest
import yaml
from playwright.sync_api import sync_playwright

REPOSITORY = Path(__file__).parents[1]
SITE = REPOSITORY / "site"
pytestmark = pytest.mark.site


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        yield browser
        browser.close()


def list_pages() -> list[str]:
    """As the navigation has them."""
    nav = yaml.safe_load((REPOSITORY / "mkdocs.yml").read_text())["nav"]
    entries = [
        entry for section in nav for part in section.values() for entry in ([part] if isinstance(part, str) else part)
    ]
    return [str(Path(entry).with_suffix(".html")) for entry in entries]


@pytest.mark.parametrize("width", [1400, 400])
def test_pages_ask_for_nothing_and_fit_the_screen(browser, width):
    page, asked, said, wide = browser.new_page(viewport={"width": width, "height": 900}), [], [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    for name in list_pages():
        page.goto((SITE / name).as_uri())
        if page.evaluate("document.documentElement.scrollWidth > innerWidth"):
            wide.append(name)
    page.close()
    assert (
        len(asked) > len(list_pages())
        and [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []
    )
    assert (said, wide) == ([], [])


def test_search_finds_a_key_without_a_server(browser):
    page = browser.new_page(viewport={"width": 1400, "height": 900})
    page.goto((SITE / "index.html").as_uri())
    page.locator("input.md-search__input").fill("queue_size")
    found = page.locator("a.md-search-result__link").first
    found.wait_for()
    assert "reference/configuration.html" in found.get_attribute("href")
    page.close()


def test_every_tutorial_shows_what_it_printed_and_drew():
    tutorials = [SITE / name for name in list_pages() if name.startswith("tutorials/")]
    assert len(tutorials) == 4
    for page in tutorials:
        text = page.read_text(encoding="utf-8")
        assert "<img alt=" in text and "<table>" in text and f'href="{page.stem}.ipynb"' in text
        assert page.with_suffix(".ipynb").is_file()
